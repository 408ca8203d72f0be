//! The memory of a GPU: all that is free, written and verified in marches and at random.
//!
//! A pass: write the pattern and verify it; turn it into its inverse upwards; turn that back
//! downwards; turn it again in random order; verify at random. So every cell holds both values of
//! every bit, is read after its neighbours were written from either side, and every word is known by
//! its address.

use std::time::Instant;

use cupel_model::worker_burnin::{BurnErrorKind, BurnMismatch, BurnPlace, Staying};

use super::gpu::{Flow, Gpu, Kernel};
use super::log::{ErrorLog, Logged, Record};
use super::pattern::{self, Numbers};
use super::report::{Report, Stop};
use super::staying::Second;
use crate::cuda::args::MemoryArgs;
use crate::cuda::{CudaError, DeviceMemory};

/// What is asked.
pub struct Wanted {
    /// Share of the free memory.
    pub share: f64,
    /// Passes.
    pub passes: u32,
    /// When no further pass is begun.
    pub seconds: f64,
}

/// Memory is taken in pieces of at most this, at least [`SMALLEST`], and a multiple of that.
const LARGEST: u64 = 1 << 30;
/// See [`LARGEST`].
const SMALLEST: u64 = 256 << 10;

/// Bytes that a warp touches at once, and words of 8 bytes in them.
const UNIT_BYTES: u64 = 512;
const UNIT_WORDS: u64 = 64;
/// Units that a block works on at once.
const TILE_UNITS: u64 = 32;

/// Faults that are planted each time.
const PLANTED: u64 = 16;

/// A piece of memory, and the index of its first word.
pub struct Piece {
    /// The memory.
    pub memory: DeviceMemory,
    /// In the numbering of all tested words.
    pub first_word: u64,
}

impl Piece {
    fn words(&self) -> u64 {
        self.memory.bytes() / 8
    }
}

/// In which order units come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Upwards,
    Downwards,
    Random,
}

impl Order {
    fn name(self) -> &'static str {
        match self {
            Self::Upwards => "upwards",
            Self::Downwards => "downwards",
            Self::Random => "random order",
        }
    }
}

/// What a pass does with every unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    Write,
    Verify,
    Turn,
}

impl Act {
    fn name(self) -> &'static str {
        match self {
            Self::Write => "write",
            Self::Verify => "verify",
            Self::Turn => "verify and write",
        }
    }

    /// Bytes that cross the memory's bus for each byte.
    fn traffic(self) -> f64 {
        match self {
            Self::Write | Self::Verify => 1.0,
            Self::Turn => 2.0,
        }
    }
}

/// A step of a pass: what, in which order, and the mask of what is there before and after.
const MARCH: [(Act, Order, u64, u64); 6] = [
    (Act::Write, Order::Upwards, 0, 0),
    (Act::Verify, Order::Upwards, 0, 0),
    (Act::Turn, Order::Upwards, 0, !0),
    (Act::Turn, Order::Downwards, !0, 0),
    (Act::Turn, Order::Random, 0, !0),
    (Act::Verify, Order::Random, !0, !0),
];

/// A fault that was planted.
struct Planted {
    word: u64,
    mask: u64,
}

struct Sweep<'g> {
    gpu: &'g Gpu,
    pieces: Vec<Piece>,
    log: ErrorLog,
    write: Kernel,
    /// Straight, and in random order.
    verify: [Kernel; 2],
    turn: [Kernel; 2],
    second: Second,
    numbers: Numbers,
}

/// Takes memory until `share` of what is free, or until there is no more.
///
/// # Errors
/// The driver's, but not that memory has run out.
pub fn take(gpu: &Gpu, share: f64) -> Result<Vec<Piece>, Stop> {
    let free = gpu.context.free_bytes().map_err(|error| gpu.stop(error))?;
    let wanted = part(free, share);
    let mut size = (free / 64 / SMALLEST * SMALLEST).clamp(SMALLEST, LARGEST);
    let (mut pieces, mut taken) = (Vec::new(), 0);
    while taken < wanted && size >= SMALLEST {
        gpu.go_on()?;
        let bytes = size.min((wanted - taken).div_ceil(SMALLEST) * SMALLEST);
        match DeviceMemory::new(&gpu.context, bytes) {
            Ok(memory) => {
                pieces.push(Piece {
                    memory,
                    first_word: taken / 8,
                });
                taken += bytes;
            }
            Err(error) if error.kind == BurnErrorKind::OutOfMemory => {
                size = size / 2 / SMALLEST * SMALLEST;
            }
            Err(error) => return Err(gpu.stop(error)),
        }
    }
    Ok(pieces)
}

/// A share of bytes.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a share of a size that fits 53 bits, and `as` saturates"
)]
fn part(bytes: u64, share: f64) -> u64 {
    (bytes as f64 * share.clamp(0.0, 1.0)) as u64
}

/// Runs the job.
///
/// # Errors
/// It ends before it is done.
pub fn run(gpu: &Gpu, seed: u64, wanted: &Wanted, report: &mut Report) -> Result<(), Stop> {
    let began = Instant::now();
    gpu.board.phase("taking memory");
    let kernel = |name| gpu.kernel(name, 256, 0);
    let (log, second) = (ErrorLog::new(gpu)?, Second::new(gpu)?);
    let write = kernel("memory_write")?;
    let verify = [kernel("memory_verify")?, kernel("memory_verify_random")?];
    let turn = [kernel("memory_turn")?, kernel("memory_turn_random")?];
    report.asked = gpu.context.free_bytes().map_err(|error| gpu.stop(error))?;
    let pieces = take(gpu, wanted.share)?;
    let taken: u64 = pieces.iter().map(|piece| piece.memory.bytes()).sum();
    if pieces.is_empty() {
        return Err(gpu.stop(CudaError::other(
            "cuMemAlloc_v2",
            BurnErrorKind::OutOfMemory,
            format!(
                "no memory could be had of {} bytes that are free",
                report.asked
            ),
        )));
    }
    report.measure(gpu.index, "tested memory", gigabytes(taken), "GB");
    let mut sweep = Sweep {
        gpu,
        pieces,
        log,
        write,
        verify,
        turn,
        second,
        numbers: Numbers::new(seed, 1),
    };
    for pass in 0..wanted.passes.max(1) {
        if pass > 0 && began.elapsed().as_secs_f64() >= wanted.seconds {
            break;
        }
        sweep.pass(seed.wrapping_add(u64::from(pass)), pass, taken, report)?;
        report.covered = taken;
        report.verified += 1;
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn gigabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e9
}

impl Sweep<'_> {
    fn pass(&mut self, seed: u64, pass: u32, taken: u64, report: &mut Report) -> Result<(), Stop> {
        let mut sweep_seconds = 0.0;
        for (number, (act, order, before, after)) in MARCH.into_iter().enumerate() {
            let step = format!("{}, {}", act.name(), order.name());
            self.gpu.board.phase(format!("pass {}: {step}", pass + 1));
            // Faults are planted before the step that has to find them, once for each kernel.
            let planted = if pass == 0 && matches!(number, 1 | 2 | 5) {
                self.plant(report)?
            } else {
                Vec::new()
            };
            let seconds = self.step(act, order, seed, before, after)?;
            let rate = gigabytes(taken) * act.traffic() / seconds.max(1e-9);
            report.measure(self.gpu.index, &step, rate, "GB/s");
            if number < 2 {
                sweep_seconds += seconds;
            }
            if act == Act::Write {
                continue;
            }
            let logged = self.log.take(self.gpu)?;
            let extra = self.compare(&planted, logged, report);
            if act == Act::Verify {
                self.unplant(&planted)?;
            }
            self.tell(&extra, &step, act, seed, before, after, report)?;
            report.proof_complete |= number == 5;
        }
        report.measure(self.gpu.index, "write and verify sweep", sweep_seconds, "s");
        Ok(())
    }

    /// One step over all memory; seconds that the GPU took.
    fn step(
        &mut self,
        act: Act,
        order: Order,
        seed: u64,
        before: u64,
        after: u64,
    ) -> Result<f64, Stop> {
        let gpu = self.gpu;
        let random = usize::from(order == Order::Random);
        let kernel = match act {
            Act::Write => &self.write,
            Act::Verify => &self.verify[random],
            Act::Turn => &self.turn[random],
        };
        let begin = gpu.mark()?;
        let mut flow = Flow::new(gpu);
        let factor = self.numbers.number() | 1;
        let count = self.pieces.len();
        for number in 0..count {
            gpu.go_on()?;
            let piece = match order {
                Order::Downwards => &self.pieces[count - 1 - number],
                Order::Upwards | Order::Random => &self.pieces[number],
            };
            let units = piece.memory.bytes() / UNIT_BYTES;
            let args = MemoryArgs {
                base: piece.memory.address(),
                first_word: piece.first_word,
                units,
                seed,
                expected_mask: before,
                written_mask: after,
                errors: self.log.address(),
                factor,
                order: u32::from(order == Order::Downwards),
                bits: u64::BITS - units.saturating_sub(1).leading_zeros(),
            };
            gpu.launch(kernel, units.div_ceil(TILE_UNITS), &args)?;
            flow.begun()?;
        }
        let end = gpu.mark()?;
        gpu.wait(&end)?;
        gpu.seconds(&begin, &end)
    }

    fn locate(&self, word: u64) -> Option<(&Piece, u64)> {
        let at = self
            .pieces
            .partition_point(|piece| piece.first_word <= word)
            .checked_sub(1)?;
        let piece = self.pieces.get(at)?;
        let offset = word - piece.first_word;
        (offset < piece.words()).then_some((piece, offset * 8))
    }

    /// Flips bits by copies of the host. Which ones is not told to any kernel.
    fn plant(&mut self, report: &mut Report) -> Result<Vec<Planted>, Stop> {
        let total: u64 = self.pieces.iter().map(Piece::words).sum();
        let mut planted: Vec<Planted> = Vec::new();
        while (planted.len() as u64) < PLANTED.min(total) {
            let word = self.numbers.below(total);
            if planted.iter().any(|other| other.word == word) {
                continue;
            }
            let mask = 1 << self.numbers.below(64);
            self.flip(word, mask)?;
            planted.push(Planted { word, mask });
        }
        report.planted += planted.len() as u64;
        Ok(planted)
    }

    /// Flips them back, where a step left them as they were.
    fn unplant(&self, planted: &[Planted]) -> Result<(), Stop> {
        planted
            .iter()
            .try_for_each(|fault| self.flip(fault.word, fault.mask))
    }

    fn flip(&self, word: u64, mask: u64) -> Result<(), Stop> {
        let Some((piece, offset)) = self.locate(word) else {
            return Ok(());
        };
        let flip = || {
            let is = piece.memory.read_words(offset, 1)?;
            let flipped = is.first().copied().unwrap_or(0) ^ mask;
            piece.memory.write_words(offset, &[flipped])
        };
        flip().map_err(|error| self.gpu.stop(error))
    }

    /// Takes what was planted out of what was found; gives what nobody planted.
    fn compare(&self, planted: &[Planted], logged: Logged, report: &mut Report) -> Logged {
        let unlisted = logged.unlisted();
        let mut records = logged.records;
        for fault in planted {
            let Some(at) = records.iter().position(|record| record.word == fault.word) else {
                // It may be among those that were only counted.
                report.proof_cut_short |= unlisted > 0;
                continue;
            };
            report.found += 1;
            let record = &mut records[at];
            record.got ^= fault.mask;
            if record.got == record.expected {
                records.swap_remove(at);
            }
        }
        Logged {
            total: records.len() as u64 + unlisted,
            records,
        }
    }

    /// Looks a second time at what nobody planted, and reports it.
    #[expect(clippy::too_many_arguments, reason = "all of the step")]
    fn tell(
        &mut self,
        found: &Logged,
        step: &str,
        act: Act,
        seed: u64,
        before: u64,
        after: u64,
        report: &mut Report,
    ) -> Result<(), Stop> {
        if found.total == 0 {
            return Ok(());
        }
        let words: u64 = self.pieces.iter().map(Piece::words).sum();
        for record in &found.records {
            report.mismatch(BurnMismatch {
                gpu: self.gpu.index,
                place: BurnPlace::Memory,
                step: step.to_owned(),
                word: record.word,
                row: None,
                column: None,
                tile: None,
                sm: Some(record.sm),
                expected: Some(record.expected),
                got: Some(record.got),
                difference: None,
                repeats: 1,
                staying: Staying::NotTold,
                holds_word: holds(record, seed, before, words),
            });
        }
        report.count(found.unlisted());
        let looked: Vec<(u64, u64, u64)> = found
            .records
            .iter()
            .take(super::staying::MOST)
            .filter_map(|record| {
                let (piece, offset) = self.locate(record.word)?;
                let proper = pattern::word(seed, record.word) ^ after;
                Some((record.word, piece.memory.address() + offset, proper))
            })
            .collect();
        let told = self
            .second
            .look(self.gpu, &self.pieces, &looked, act == Act::Verify)?;
        for (word, staying) in told {
            report.stays(self.gpu.index, BurnPlace::Memory, word, staying);
        }
        Ok(())
    }
}

/// The word whose content was found: another one where an address went wrong, the word itself
/// where its last write was lost.
fn holds(record: &Record, seed: u64, mask: u64, words: u64) -> Option<u64> {
    [mask, !mask]
        .into_iter()
        .map(|mask| pattern::index_of(seed, record.got ^ mask))
        .find(|index| *index < words)
}

/// Units are whole, so that no word is left out.
const _: () =
    assert!(SMALLEST.is_multiple_of(UNIT_BYTES * TILE_UNITS) && UNIT_WORDS * 8 == UNIT_BYTES);
