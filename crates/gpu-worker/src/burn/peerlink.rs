//! Verified copies between GPUs: every pair one way and both, by the copy engines and by the
//! multiprocessors, and all pairs at once.

use std::time::Instant;

use cupel_model::worker_burnin::LinkRate;

use super::gpu::{Gpu, Kernel};
use super::hostlink::{GRAIN, fitting, flip, rate_bytes, tell};
use super::log::ErrorLog;
use super::pattern::{self, Numbers};
use super::report::{Report, Stop};
use crate::cuda::DeviceMemory;
use crate::cuda::args::{MemoryArgs, StreamArgs};

/// Faults that are planted on each GPU.
const PLANTED: u64 = 8;

/// How a pair copies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    Engine,
    Multiprocessors,
}

impl How {
    fn name(self) -> &'static str {
        match self {
            Self::Engine => "copy engine",
            Self::Multiprocessors => "multiprocessors",
        }
    }
}

/// A GPU with what it sends and what it receives.
struct End<'g> {
    gpu: &'g Gpu,
    sent: DeviceMemory,
    received: DeviceMemory,
    log: ErrorLog,
    write: Kernel,
    verify: Kernel,
    copy: Kernel,
    seed: u64,
    bytes: u64,
}

/// Runs the job.
///
/// # Errors
/// It ends before it is done.
pub fn run(
    gpus: &[Gpu],
    seed: u64,
    bytes: u64,
    seconds: f64,
    report: &mut Report,
) -> Result<(), Stop> {
    map_all(gpus, report)?;
    let mut bytes = bytes;
    for gpu in gpus {
        bytes = fitting(gpu, bytes, GRAIN)?;
    }
    let ends = gpus
        .iter()
        .map(|gpu| End::new(gpu, pattern::word(seed, 10 + u64::from(gpu.index)), bytes))
        .collect::<Result<Vec<_>, _>>()?;
    let mut pairs = Vec::new();
    for (number, from) in ends.iter().enumerate() {
        for to in ends.iter().skip(number + 1) {
            if reach(from.gpu, to.gpu)? && reach(to.gpu, from.gpu)? {
                pairs.push((from, to));
            }
        }
    }
    if pairs.is_empty() {
        return Err(Stop::Unsupported(
            "no two GPUs reach each other's memory".to_owned(),
        ));
    }
    let all_pairs = ends.len() * (ends.len() - 1) / 2;
    report.asked = all_pairs as u64;
    prove(&pairs, &mut Numbers::new(seed, 5), report)?;
    report.proof_complete = true;
    for (one, other) in &pairs {
        for how in [How::Engine, How::Multiprocessors] {
            measure(&[(one, other)], how, how.name(), seconds, report)?;
            measure(&[(other, one)], how, how.name(), seconds, report)?;
            measure(
                &[(one, other), (other, one)],
                how,
                &format!("{}, both ways", how.name()),
                seconds,
                report,
            )?;
        }
        report.covered += 1;
    }
    if ends.len() > 2 && pairs.len() == all_pairs {
        at_once(&ends, seconds, report)?;
    }
    Ok(())
}

/// Maps every GPU's memory into every other one where the hardware can.
pub fn map_all(gpus: &[Gpu], report: &mut Report) -> Result<(), Stop> {
    if gpus.len() < 2 {
        return Err(Stop::Unsupported("one GPU has no peer".to_owned()));
    }
    for one in gpus {
        for other in gpus.iter().filter(|other| other.index != one.index) {
            one.go_on()?;
            if reach(one, other)? {
                one.context
                    .map_peer(&other.context)
                    .map_err(|error| one.stop(error))?;
            } else {
                report.note(format!(
                    "{} cannot reach the memory of {}",
                    one.context.about.pci, other.context.about.pci
                ));
            }
        }
    }
    Ok(())
}

/// Whether `one` reaches the memory of `other`.
pub fn reach(one: &Gpu, other: &Gpu) -> Result<bool, Stop> {
    one.context
        .reaches(&other.context)
        .map_err(|error| one.stop(error))
}

/// Every GPU sends to its next one, then to the one after that: each round keeps all links of all
/// GPUs busy, and the round of half the GPUs crosses the middle of the fabric.
fn at_once(ends: &[End<'_>], seconds: f64, report: &mut Report) -> Result<(), Stop> {
    for distance in 1..ends.len() {
        let round: Vec<_> = (0..ends.len())
            .map(|number| (&ends[number], &ends[(number + distance) % ends.len()]))
            .collect();
        let how = format!("all at once, {distance} on");
        measure(&round, How::Engine, &how, seconds, report)?;
    }
    Ok(())
}

/// Copies along all these pairs at the same time, again and again, and verifies what arrived.
fn measure(
    copies: &[(&End<'_>, &End<'_>)],
    how: How,
    name: &str,
    seconds: f64,
    report: &mut Report,
) -> Result<(), Stop> {
    let began = Instant::now();
    let (mut copied, mut busy) = (0.0, 0.0);
    while copied == 0.0 || began.elapsed().as_secs_f64() < seconds {
        for (from, to) in copies {
            from.gpu.go_on()?;
            from.gpu.board.phase(format!(
                "{name}, {} to {}",
                from.gpu.context.about.pci, to.gpu.context.about.pci
            ));
            to.spoil()?;
        }
        let mut marks = Vec::new();
        for (from, to) in copies {
            let begin = from.gpu.mark()?;
            from.begin(to, how)?;
            marks.push((from, begin, from.gpu.mark()?));
        }
        let mut slowest: f64 = 0.0;
        for (from, begin, end) in &marks {
            from.gpu.wait(end)?;
            slowest = slowest.max(from.gpu.seconds(begin, end)?);
        }
        busy += slowest.max(1e-9);
        for (from, to) in copies {
            copied += rate_bytes(from.bytes);
            let found = to.check(from.seed)?;
            let step = format!("{name}, from {}", from.gpu.context.about.pci);
            tell(
                to.gpu,
                &found,
                &step,
                None,
                to.bytes / 8,
                &[from.seed],
                report,
            );
        }
        report.verified += copies.len() as u64;
    }
    let rate = copied / f64::max(busy, 1e-9) / 1e9;
    if let Some((from, to)) = copies.first() {
        let one = copies.len() <= 2;
        report.links.push(LinkRate {
            from: one.then_some(from.gpu.index),
            to: one.then_some(to.gpu.index),
            how: name.to_owned(),
            gigabytes_per_second: rate,
        });
        from.gpu.board.sample(from.gpu.index, name, rate, "GB/s");
    }
    Ok(())
}

/// Each GPU's check has to find what is planted after a copy.
fn prove(
    pairs: &[(&End<'_>, &End<'_>)],
    numbers: &mut Numbers,
    report: &mut Report,
) -> Result<(), Stop> {
    let mut proven = std::collections::BTreeSet::new();
    for (from, to) in pairs.iter().flat_map(|(a, b)| [(*a, *b), (*b, *a)]) {
        if !proven.insert(to.gpu.index) {
            continue;
        }
        to.spoil()?;
        from.begin(to, How::Engine)?;
        from.gpu.finish()?;
        let mut planted: Vec<(u64, u64)> = Vec::new();
        for _ in 0..PLANTED {
            let word = numbers.below(to.bytes / 8);
            if planted.iter().all(|(other, _)| *other != word) {
                planted.push((word, 1 << numbers.below(64)));
            }
        }
        for (word, mask) in &planted {
            flip(to.gpu, &to.received, *word, *mask)?;
        }
        report.planted += planted.len() as u64;
        let mut found = to.check(from.seed)?;
        for (word, mask) in planted {
            let Some(at) = found.records.iter().position(|r| r.word == word) else {
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
        tell(
            to.gpu,
            &found,
            "first copies",
            None,
            to.bytes / 8,
            &[from.seed],
            report,
        );
    }
    Ok(())
}

impl<'g> End<'g> {
    fn new(gpu: &'g Gpu, seed: u64, bytes: u64) -> Result<Self, Stop> {
        let end = Self {
            gpu,
            sent: gpu.memory(bytes)?,
            received: gpu.memory(bytes)?,
            log: ErrorLog::new(gpu)?,
            write: gpu.kernel("memory_write", 256, 0)?,
            verify: gpu.kernel("memory_verify", 256, 0)?,
            copy: gpu.kernel("stream_copy", 256, 0)?,
            seed,
            bytes,
        };
        let args = end.args(&end.sent, seed);
        gpu.launch(&end.write, args.units.div_ceil(32), &args)?;
        gpu.finish()?;
        Ok(end)
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
    fn spoil(&self) -> Result<(), Stop> {
        self.received
            .fill(0xff, &self.gpu.stream)
            .map_err(|error| self.gpu.stop(error))?;
        self.gpu.finish()
    }

    /// Begins to send to another GPU.
    fn begin(&self, to: &Self, how: How) -> Result<(), Stop> {
        let (source, target) = (self.sent.address(), to.received.address());
        match how {
            How::Engine => to
                .gpu
                .context
                .copy_from(
                    target,
                    &self.gpu.context,
                    source,
                    self.bytes,
                    &self.gpu.stream,
                )
                .map_err(|error| self.gpu.stop(error)),
            How::Multiprocessors => {
                let args = StreamArgs {
                    to: target,
                    from: source,
                    vectors: self.bytes / 16,
                };
                self.gpu.launch(&self.copy, self.bytes / 16 / 256, &args)
            }
        }
    }

    /// What is wrong with what arrived.
    fn check(&self, seed: u64) -> Result<super::log::Logged, Stop> {
        let args = self.args(&self.received, seed);
        self.gpu
            .launch(&self.verify, args.units.div_ceil(32), &args)?;
        self.log.take(self.gpu)
    }
}
