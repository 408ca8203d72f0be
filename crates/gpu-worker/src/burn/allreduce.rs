//! All-reduce over peer memory: every GPU adds up its slice of all GPUs' values and gives the sum to
//! all. The sums are known from the seeds, and every GPU verifies all that it was given.

use std::time::Instant;

use cupel_model::worker_burnin::LinkRate;

use super::gpu::{Gpu, Kernel};
use super::hostlink::{GRAIN, fitting, flip, rate_bytes, tell};
use super::log::{ErrorLog, Logged};
use super::pattern::{self, Numbers};
use super::peerlink::{map_all, reach};
use super::report::{Report, Stop};
use crate::cuda::DeviceMemory;
use crate::cuda::args::{PEERS_MAX, ReduceArgs, ReduceCheckArgs, ReduceFillArgs};

/// Faults that are planted on each GPU.
const PLANTED: u64 = 8;

struct Member<'g> {
    gpu: &'g Gpu,
    input: DeviceMemory,
    output: DeviceMemory,
    log: ErrorLog,
    reduce: Kernel,
    check: Kernel,
    seed: u64,
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
    if gpus.len() > PEERS_MAX {
        return Err(Stop::Unsupported(format!(
            "an all-reduce of {} GPUs; at most {PEERS_MAX}",
            gpus.len()
        )));
    }
    map_all(gpus, report)?;
    for one in gpus {
        for other in gpus.iter().filter(|other| other.index != one.index) {
            if !reach(one, other)? {
                return Err(Stop::Unsupported(
                    "not all GPUs reach each other's memory".to_owned(),
                ));
            }
        }
    }
    let count = gpus.len() as u64;
    let mut bytes = bytes;
    for gpu in gpus {
        bytes = fitting(gpu, bytes, GRAIN * count)?;
    }
    let mut members = Vec::new();
    for gpu in gpus {
        members.push(Member::new(gpu, seed, bytes)?);
    }
    report.asked = 1;
    round(&members, bytes)?;
    prove(&members, bytes, &mut Numbers::new(seed, 6), report)?;
    report.proof_complete = true;
    let began = Instant::now();
    let (mut busy, mut rounds) = (0.0, 0.0);
    while rounds == 0.0 || began.elapsed().as_secs_f64() < seconds {
        for member in &members {
            member.gpu.go_on()?;
            member.spoil()?;
        }
        if let Some(member) = members.first() {
            member.gpu.board.phase("all-reduce");
        }
        busy += round(&members, bytes)?;
        rounds += 1.0;
        verify(&members, bytes, "all-reduce", report)?;
        report.verified += 1;
    }
    report.covered = 1;
    // As NCCL counts it: what each GPU's links carry, 2 (n - 1) / n of the size.
    let share = 2.0 * rate_bytes(count - 1) / rate_bytes(count);
    let rate = rate_bytes(bytes) * share * rounds / f64::max(busy, 1e-9) / 1e9;
    report.measure(0, "all-reduce bus rate", rate, "GB/s");
    report.links.push(LinkRate {
        from: None,
        to: None,
        how: "all-reduce".to_owned(),
        gigabytes_per_second: rate,
    });
    Ok(())
}

/// One all-reduce; seconds of the slowest GPU.
fn round(members: &[Member<'_>], bytes: u64) -> Result<f64, Stop> {
    let vectors = bytes / 16 / members.len() as u64;
    let mut args = ReduceArgs {
        vectors,
        peers: u32::try_from(members.len()).unwrap_or(0),
        ..ReduceArgs::default()
    };
    for (member, (input, output)) in members
        .iter()
        .zip(args.inputs.iter_mut().zip(&mut args.outputs))
    {
        *input = member.input.address();
        *output = member.output.address();
    }
    let mut marks = Vec::new();
    for (number, member) in (0_u64..).zip(members) {
        args.first = number * vectors;
        let begin = member.gpu.mark()?;
        member
            .gpu
            .launch(&member.reduce, vectors.div_ceil(256), &args)?;
        marks.push((member, begin, member.gpu.mark()?));
    }
    let mut slowest: f64 = 0.0;
    for (member, begin, end) in &marks {
        member.gpu.wait(end)?;
        slowest = slowest.max(member.gpu.seconds(begin, end)?);
    }
    Ok(slowest.max(1e-9))
}

fn verify(members: &[Member<'_>], bytes: u64, step: &str, report: &mut Report) -> Result<(), Stop> {
    for member in members {
        let found = member.check(members, bytes)?;
        tell(member.gpu, &found, step, None, 0, &[], report);
    }
    Ok(())
}

fn prove(
    members: &[Member<'_>],
    bytes: u64,
    numbers: &mut Numbers,
    report: &mut Report,
) -> Result<(), Stop> {
    for member in members {
        let mut planted: Vec<(u64, u64)> = Vec::new();
        for _ in 0..PLANTED {
            let word = numbers.below(bytes / 8);
            if planted.iter().all(|(other, _)| *other != word) {
                planted.push((word, 1 << numbers.below(64)));
            }
        }
        for (word, mask) in &planted {
            flip(member.gpu, &member.output, *word, *mask)?;
        }
        report.planted += planted.len() as u64;
        let mut found = member.check(members, bytes)?;
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
        tell(member.gpu, &found, "first all-reduce", None, 0, &[], report);
    }
    Ok(())
}

impl<'g> Member<'g> {
    fn new(gpu: &'g Gpu, seed: u64, bytes: u64) -> Result<Self, Stop> {
        let member = Self {
            gpu,
            input: gpu.memory(bytes)?,
            output: gpu.memory(bytes)?,
            log: ErrorLog::new(gpu)?,
            reduce: gpu.kernel("reduce_all", 256, 0)?,
            check: gpu.kernel("reduce_check", 256, 0)?,
            seed: pattern::word(seed, 100 + u64::from(gpu.index)),
        };
        let fill = gpu.kernel("reduce_fill", 256, 0)?;
        let args = ReduceFillArgs {
            input: member.input.address(),
            vectors: bytes / 16,
            seed: member.seed,
        };
        gpu.launch(&fill, (bytes / 16).div_ceil(256), &args)?;
        member.spoil()?;
        Ok(member)
    }

    /// What nobody writes is wrong.
    fn spoil(&self) -> Result<(), Stop> {
        self.output
            .fill(0xff, &self.gpu.stream)
            .map_err(|error| self.gpu.stop(error))?;
        self.gpu.finish()
    }

    fn check(&self, members: &[Member<'_>], bytes: u64) -> Result<Logged, Stop> {
        let mut args = ReduceCheckArgs {
            output: self.output.address(),
            vectors: bytes / 16,
            errors: self.log.address(),
            peers: u32::try_from(members.len()).unwrap_or(0),
            ..ReduceCheckArgs::default()
        };
        for (slot, member) in args.seeds.iter_mut().zip(members) {
            *slot = member.seed;
        }
        self.gpu
            .launch(&self.check, (bytes / 16).div_ceil(256), &args)?;
        self.log.take(self.gpu)
    }
}
