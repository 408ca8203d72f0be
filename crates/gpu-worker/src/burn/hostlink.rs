//! Verified copies between pinned host memory and the GPU, each way and both at once.
//!
//! What is copied is the pattern, with another seed each way. The side that received verifies every
//! word: the GPU by the kernel that verifies its memory, the host by itself.

use std::time::Instant;

use cupel_model::worker_burnin::{BurnMismatch, BurnPlace, LinkRate, Staying};

use super::gpu::{Gpu, Kernel};
use super::log::{ErrorLog, Logged, Record};
use super::pattern::{self, Numbers};
use super::report::{Report, Stop};
use crate::cuda::args::MemoryArgs;
use crate::cuda::{DeviceMemory, PinnedMemory, Stream};

/// Sizes are multiples of this: what a block verifies at once.
pub const GRAIN: u64 = 16 << 10;
/// Faults that are planted each way.
const PLANTED: u64 = 8;

/// The ways, in the order in which they are measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    ToGpu,
    ToHost,
    Both,
}

struct Link<'g> {
    gpu: &'g Gpu,
    seeds: [u64; 2],
    /// On the host: what is sent, what is received.
    sent: PinnedMemory,
    received: PinnedMemory,
    /// On the GPU: what is received, what is sent.
    arrived: DeviceMemory,
    departing: DeviceMemory,
    second: Stream,
    log: ErrorLog,
    write: Kernel,
    verify: Kernel,
    bytes: u64,
}

/// Runs the job.
///
/// # Errors
/// It ends before it is done.
pub fn run(
    gpu: &Gpu,
    seed: u64,
    bytes: u64,
    seconds: f64,
    report: &mut Report,
) -> Result<(), Stop> {
    gpu.board.phase("pinning memory");
    let mut link = Link::new(gpu, seed, fitting(gpu, bytes, GRAIN)?)?;
    report.asked = 3;
    link.prove(&mut Numbers::new(seed, 4), report)?;
    report.proof_complete = true;
    for (way, name, how) in [
        (Way::ToGpu, "host to GPU", "copy engine"),
        (Way::ToHost, "GPU to host", "copy engine"),
        (Way::Both, "host and GPU, both ways", "both ways"),
    ] {
        gpu.board.phase(name);
        let began = Instant::now();
        let (mut copied, mut busy) = (0.0, 0.0);
        while copied == 0.0 || began.elapsed().as_secs_f64() < seconds {
            gpu.go_on()?;
            link.spoil()?;
            let both = if way == Way::Both { 2.0 } else { 1.0 };
            busy += link.copy(way)?;
            copied += both * rate_bytes(link.bytes);
            let found = link.check(way)?;
            tell(gpu, &found, name, None, link.words(), &link.seeds, report);
            report.verified += 1;
            gpu.board
                .sample(gpu.index, name, copied / busy / 1e9, "GB/s");
        }
        let rate = copied / f64::max(busy, 1e-9) / 1e9;
        report.measure(gpu.index, name, rate, "GB/s");
        let (from, to) = match way {
            Way::ToGpu => (None, Some(gpu.index)),
            Way::ToHost | Way::Both => (Some(gpu.index), None),
        };
        report.links.push(LinkRate {
            from,
            to,
            how: how.to_owned(),
            gigabytes_per_second: rate,
        });
        report.covered += 1;
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "for a rate")]
pub fn rate_bytes(bytes: u64) -> f64 {
    bytes as f64
}

/// As much of what was asked as a small part of the free memory, in whole grains.
///
/// # Errors
/// The driver's.
pub fn fitting(gpu: &Gpu, bytes: u64, grain: u64) -> Result<u64, Stop> {
    let free = gpu.context.free_bytes().map_err(|error| gpu.stop(error))?;
    Ok((bytes.min(free / 32) / grain).max(1) * grain)
}

impl<'g> Link<'g> {
    fn new(gpu: &'g Gpu, seed: u64, bytes: u64) -> Result<Self, Stop> {
        let pinned = || PinnedMemory::new(&gpu.context, bytes).map_err(|error| gpu.stop(error));
        let mut link = Self {
            gpu,
            seeds: [pattern::word(seed, 1), pattern::word(seed, 2)],
            sent: pinned()?,
            received: pinned()?,
            arrived: gpu.memory(bytes)?,
            departing: gpu.memory(bytes)?,
            second: Stream::new(&gpu.context).map_err(|error| gpu.stop(error))?,
            log: ErrorLog::new(gpu)?,
            write: gpu.kernel("memory_write", 256, 0)?,
            verify: gpu.kernel("memory_verify", 256, 0)?,
            bytes,
        };
        let seed = link.seeds[0];
        for (word, index) in link.sent.words().iter_mut().zip(0..) {
            *word = pattern::word(seed, index);
        }
        let args = link.args(&link.departing, link.seeds[1]);
        gpu.launch(&link.write, args.units.div_ceil(32), &args)?;
        gpu.finish()?;
        Ok(link)
    }

    fn words(&self) -> u64 {
        self.bytes / 8
    }

    fn args(&self, memory: &DeviceMemory, seed: u64) -> MemoryArgs {
        MemoryArgs {
            base: memory.address(),
            units: self.bytes / 512,
            seed,
            errors: self.log.address(),
            ..MemoryArgs::default()
        }
    }

    /// What a copy does not write is wrong.
    fn spoil(&mut self) -> Result<(), Stop> {
        self.arrived
            .fill(0xff, &self.gpu.stream)
            .map_err(|error| self.gpu.stop(error))?;
        self.received.words().fill(!0);
        self.gpu.finish()
    }

    /// Seconds of the copies.
    fn copy(&self, way: Way) -> Result<f64, Stop> {
        let gpu = self.gpu;
        let begin = gpu.mark()?;
        let mut ends = Vec::new();
        if way != Way::ToHost {
            self.arrived
                .copy_from_host(&self.sent, &gpu.stream)
                .map_err(|error| gpu.stop(error))?;
            ends.push(gpu.mark()?);
        }
        if way != Way::ToGpu {
            let stream = if way == Way::Both {
                &self.second
            } else {
                &gpu.stream
            };
            self.departing
                .copy_to_host(&self.received, stream)
                .map_err(|error| gpu.stop(error))?;
            ends.push(gpu.mark_on(stream)?);
        }
        let mut seconds: f64 = 0.0;
        for end in &ends {
            gpu.wait(end)?;
            seconds = seconds.max(gpu.seconds(&begin, end)?);
        }
        Ok(seconds.max(1e-9))
    }

    /// What is wrong where it came to.
    fn check(&mut self, way: Way) -> Result<Logged, Stop> {
        let mut found = Logged::default();
        if way != Way::ToHost {
            let args = self.args(&self.arrived, self.seeds[0]);
            self.gpu
                .launch(&self.verify, args.units.div_ceil(32), &args)?;
            found = self.log.take(self.gpu)?;
        }
        if way != Way::ToGpu {
            let seed = self.seeds[1];
            let words = self.received.words();
            // Nearly always all of them are right.
            let first = pattern::first_wrong(seed, words).unwrap_or(words.len());
            for (got, index) in words[first..].iter().zip(first as u64..) {
                let expected = pattern::word(seed, index);
                if *got != expected {
                    found.total += 1;
                    if found.records.len() < super::report::KEPT {
                        found.records.push(Record {
                            word: index,
                            expected,
                            got: *got,
                            sm: u32::MAX,
                        });
                    }
                }
            }
        }
        Ok(found)
    }

    /// Both checks have to find what is planted where the copies came to.
    fn prove(&mut self, numbers: &mut Numbers, report: &mut Report) -> Result<(), Stop> {
        self.gpu.board.phase("planted faults");
        for way in [Way::ToGpu, Way::ToHost] {
            self.spoil()?;
            self.copy(way)?;
            let mut planted = Vec::new();
            for _ in 0..PLANTED {
                let word = numbers.below(self.words());
                if planted.iter().all(|(other, _)| *other != word) {
                    planted.push((word, 1 << numbers.below(64)));
                }
            }
            for (word, mask) in &planted {
                self.flip(way, *word, *mask)?;
            }
            report.planted += planted.len() as u64;
            let mut found = self.check(way)?;
            for (word, mask) in &planted {
                let at = found.records.iter().position(|r| r.word == *word);
                let Some(at) = at else {
                    report.proof_cut_short |= found.unlisted() > 0;
                    continue;
                };
                report.found += 1;
                found.records[at].got ^= mask;
                if found.records[at].got == found.records[at].expected {
                    found.records.swap_remove(at);
                    found.total -= 1;
                }
            }
            let (words, seeds) = (self.words(), self.seeds);
            tell(
                self.gpu,
                &found,
                "first copies",
                None,
                words,
                &seeds,
                report,
            );
        }
        Ok(())
    }

    fn flip(&mut self, way: Way, word: u64, mask: u64) -> Result<(), Stop> {
        if way == Way::ToHost {
            let at = usize::try_from(word).unwrap_or(usize::MAX);
            if let Some(slot) = self.received.words().get_mut(at) {
                *slot ^= mask;
            }
            return Ok(());
        }
        flip(self.gpu, &self.arrived, word, mask)
    }
}

/// Flips bits of a word in a GPU's memory.
pub fn flip(gpu: &Gpu, memory: &DeviceMemory, word: u64, mask: u64) -> Result<(), Stop> {
    let flip = || {
        let is = memory.read_words(word * 8, 1)?;
        memory.write_words(word * 8, &[is.first().copied().unwrap_or(0) ^ mask])
    };
    flip().map_err(|error| gpu.stop(error))
}

/// Reports words that came over a link wrong.
pub fn tell(
    gpu: &Gpu,
    found: &Logged,
    step: &str,
    seen_by: Option<u32>,
    words: u64,
    seeds: &[u64],
    report: &mut Report,
) {
    for record in &found.records {
        let holds_word = seeds
            .iter()
            .map(|seed| pattern::index_of(*seed, record.got))
            .find(|index| *index < words);
        report.mismatch(BurnMismatch {
            gpu: seen_by.unwrap_or(gpu.index),
            place: BurnPlace::Link,
            step: step.to_owned(),
            word: record.word,
            row: None,
            column: None,
            tile: None,
            sm: (record.sm != u32::MAX).then_some(record.sm),
            expected: Some(record.expected),
            got: Some(record.got),
            difference: None,
            repeats: 1,
            staying: Staying::NotTold,
            holds_word,
        });
    }
    report.count(found.unlisted());
}
