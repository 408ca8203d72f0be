//! The stage: a pinned thread on every online processor, the proof of the detector, the result.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use cupel_hardware::amx::Amx;
use cupel_hardware::host_memory::Topology;
use cupel_hardware::processor::{VectorUnit, pin};
use cupel_model::Reading;
use rand::RngExt;

use super::board::{Board, Claim, hold};
use super::int8;
use super::kernel::Kernel;
use crate::fault::FaultPlan;
use crate::host_watch::HostWatch;
use crate::plan::{Plan, percent};
use crate::resource::{Claim as Claimed, Resource};
use crate::result::{Coverage, CpuMismatch, Measured, Mismatch, Proof, StageResult, Word};
use crate::stage::{Stage, StageSpec, Watch};
use crate::stage_kind::{StageKind, StageName};

/// How often progress is told and a cancellation looked for.
const TICK: Duration = Duration::from_millis(50);
/// Most differences that are kept in full.
const KEPT: usize = 64;
/// Rounds in which every processor has faults planted in every kernel's result.
const PROOF_ROUNDS: u64 = 1;
/// Rounds that are computed however short the time is.
const LEAST_ROUNDS: u64 = PROOF_ROUNDS + 1;

/// A fault that the run planted to prove its detector.
#[derive(Debug)]
struct Planted {
    cpu: u32,
    kernel: Kernel,
    round: u64,
    word: u64,
    mask: u64,
}

/// What a thread brings home.
#[derive(Debug, Default)]
struct Worker {
    refused: Option<String>,
}

/// What all threads share.
struct Shared<'a> {
    plan: &'a Plan,
    faults: &'a FaultPlan,
    board: Board,
    found: Mutex<Vec<CpuMismatch>>,
    /// Kept here and not with the threads: what a thread planted before it died is not taken for
    /// the hardware's.
    planted: Mutex<Vec<Planted>>,
    /// Verified results, by processor and kernel.
    verified: Vec<[AtomicU64; Kernel::COUNT]>,
    /// Operations and the nanoseconds that they took, by kernel.
    computed: [(AtomicU64, AtomicU64); Kernel::COUNT],
    cpus: &'a [u32],
    units: Vec<VectorUnit>,
    /// Those that multiply and add in one instruction; all where none does.
    fused: Vec<VectorUnit>,
    /// The tile unit, where there is one.
    amx: Option<Amx>,
    end: Instant,
    stop: AtomicBool,
}

impl Shared<'_> {
    fn count(&self, cpu: u32, kernel: Kernel) {
        if let Some(counters) = self.place(cpu).and_then(|at| self.verified.get(at)) {
            for (counter, of) in counters.iter().zip(Kernel::ALL) {
                if of == kernel {
                    counter.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }

    fn counts(&self) -> Vec<[u64; Kernel::COUNT]> {
        let read = |counters: &[AtomicU64; Kernel::COUNT]| {
            std::array::from_fn(|at| counters[at].load(Ordering::Relaxed))
        };
        self.verified.iter().map(read).collect()
    }

    fn place(&self, cpu: u32) -> Option<usize> {
        self.cpus.iter().position(|other| *other == cpu)
    }

    fn settle(&self, claim: &Claim, by: Option<u32>) {
        let wrong = self.board.settle(claim, by);
        if wrong.is_empty() {
            self.count(claim.cpu, claim.kernel);
        } else {
            hold(&self.found).extend(wrong);
        }
    }

    fn work(&self, place: usize, cpu: u32) -> Worker {
        let mut worker = Worker::default();
        if let Err(errno) = pin(cpu) {
            worker.refused = Some(errno.desc().to_owned());
            return worker;
        }
        // A lone processor repeats every unit, on the next vector unit.
        let repeats = if self.cpus.len() == 1 { 2 } else { 1 };
        let mut round = 0;
        while !self.stop.load(Ordering::Relaxed)
            && (round < LEAST_ROUNDS || Instant::now() < self.end)
        {
            if self.faults.dies == Some(place) && round == PROOF_ROUNDS {
                std::panic::resume_unwind(Box::new("killed by the test's fault plan"));
            }
            for (turn, kernel) in Kernel::ALL.into_iter().enumerate() {
                for repeat in 0..repeats {
                    self.unit(place + turn + repeat, cpu, kernel, round, repeat);
                }
            }
            if let Some(claim) = self.board.take_dispute(Some(cpu)) {
                self.settle(&claim, Some(cpu));
            }
            round += 1;
        }
        worker
    }

    /// Computes one result, plants what is to be planted, and brings it to the board.
    fn unit(&self, turn: usize, cpu: u32, kernel: Kernel, round: u64, repeat: usize) {
        let turn = turn + usize::try_from(round % 64).unwrap_or(0);
        let units = if kernel.is_fused() {
            &self.fused
        } else {
            &self.units
        };
        let unit = units[turn % units.len()];
        let began = Instant::now();
        let (mut words, operations, vector) = match (kernel, self.amx) {
            (Kernel::Int8Product, Some(amx)) => {
                let (words, operations) = int8::in_tiles(self.plan.seed.0, round, amx);
                (words, operations, "amx")
            }
            (kernel, _) => {
                let words = kernel.compute(self.plan.seed.0, round, unit);
                (words, kernel.operations(), unit.name())
            }
        };
        for ((done, nanoseconds), of) in self.computed.iter().zip(Kernel::ALL) {
            if of == kernel {
                let took = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
                done.fetch_add(operations, Ordering::Relaxed);
                nanoseconds.fetch_add(took, Ordering::Relaxed);
            }
        }
        let mut flip = |word: u64, bit: u32| {
            let mask = 1 << (bit % kernel.word_bits());
            let word = word % kernel.words();
            if let Ok(at) = usize::try_from(word) {
                words[at] ^= mask;
            }
            (word, mask)
        };
        let mut avoid = None;
        for fault in &self.faults.cpu {
            if (fault.cpu, fault.kernel, fault.round) == (cpu, kernel, round) && repeat == 0 {
                avoid = Some(flip(fault.word, fault.bit).0);
            }
        }
        if round < PROOF_ROUNDS && repeat == 0 {
            let mut word = rand::rng().random_range(0..kernel.words());
            if avoid == Some(word) {
                word = (word + 1) % kernel.words();
            }
            let bit = rand::rng().random_range(0..64);
            let (word, mask) = flip(word, bit);
            if self.faults.blind {
                flip(word, bit);
            }
            hold(&self.planted).push(Planted {
                cpu,
                kernel,
                round,
                word,
                mask,
            });
        }
        let claim = Claim {
            cpu,
            vector,
            kernel,
            round,
            words,
        };
        for (cpu, kernel) in self.board.post(claim) {
            self.count(cpu, kernel);
        }
    }
}

/// Verified arithmetic on every online processor.
#[derive(Debug)]
pub(crate) struct CpuStage {
    pub(crate) plan: Plan,
    pub(crate) topology: Arc<Topology>,
    pub(crate) faults: Arc<FaultPlan>,
}

/// What it may take beyond its time: the last round, and the disputes.
const SLACK: Duration = Duration::from_secs(60);

impl Stage for CpuStage {
    fn spec(&self) -> StageSpec {
        let time = self.plan.budget(StageKind::Cpu);
        StageSpec {
            name: StageName::only(StageKind::Cpu),
            what: format!(
                "verified arithmetic on {} processors",
                self.topology.cpus.len()
            ),
            claims: vec![Claimed::alone(Resource::Processors)],
            expected: time,
            at_most: time + SLACK,
            required: true,
        }
    }

    fn run(self: Box<Self>, watch: &Watch) -> StageResult {
        let result = run(&self.plan, &self.topology, &self.faults, watch);
        for mismatch in &result.mismatches {
            watch.mismatch(mismatch.clone());
        }
        result
    }
}

fn run(plan: &Plan, topology: &Topology, faults: &FaultPlan, watch: &Watch) -> StageResult {
    let cpus = topology.cpus.as_slice();
    let amx = int8::usable(plan.seed.0);
    let began = Instant::now();
    let shared = Shared {
        plan,
        faults,
        board: Board::new(plan.seed.0, cpus.len().max(2)),
        found: Mutex::default(),
        planted: Mutex::default(),
        verified: cpus.iter().map(|_| Default::default()).collect(),
        computed: Default::default(),
        cpus,
        fused: fused_units(),
        amx: amx.get(),
        units: VectorUnit::available(),
        end: began + plan.budget(StageKind::Cpu),
        stop: AtomicBool::new(false),
    };
    let mut host = HostWatch::begin(topology);
    let workers = run_threads(&shared, &mut host, watch);
    while let Some(claim) = shared.board.take_dispute(None) {
        shared.settle(&claim, None);
    }
    let cancelled = watch.stopped().is_some();
    let died = which(cpus, &workers, Option::is_none);
    let refused = which(cpus, &workers, |worker| {
        worker
            .as_ref()
            .is_some_and(|worker| worker.refused.is_some())
    });
    let mut reasons = Vec::new();
    if cancelled {
        reasons.push("it was stopped before its time".to_owned());
    }
    if !died.is_empty() {
        reasons.push(format!("the thread of processor {} died", list(&died)));
    }
    if !refused.is_empty() {
        reasons.push(format!(
            "this process may not run on processor {}: run it outside of the container or cpuset",
            list(&refused)
        ));
    }
    let counts = shared.counts();
    let covered = counts
        .iter()
        .filter(|kernels| kernels.iter().all(|count| *count > 0))
        .count() as u64;
    let whole = died.is_empty() && !cancelled;
    let found = std::mem::take(&mut *hold(&shared.found));
    let (proof, real) = compare(&hold(&shared.planted), found, whole);
    let names: Vec<_> = shared.units.iter().map(|unit| unit.name()).collect();
    let mut notes = vec![format!(
        "vector units: {}; {}",
        names.join(", "),
        match &amx {
            Reading::Value(_) => "the tile unit of AMX",
            Reading::Absent(why) | Reading::Unsupported(why) | Reading::Failed(why) => why,
        }
    )];
    if cpus.len() == 1 {
        notes.push(
            "there is one processor only: its results were held against its own repeats and the oracle"
                .to_owned(),
        );
    }
    StageResult {
        reasons,
        proof,
        coverage: Coverage {
            unit: "processors".to_owned(),
            asked: cpus.len() as u64,
            covered,
            percent: percent(covered as f64, cpus.len() as f64),
        },
        measured: measure(&counts, &shared.computed),
        mismatch_count: real.len() as u64,
        mismatches: real.into_iter().take(KEPT).map(Mismatch::Cpu).collect(),
        notes,
        counters: host.end(),
        ..StageResult::new(StageName::only(StageKind::Cpu))
    }
    .judged()
}

fn fused_units() -> Vec<VectorUnit> {
    let all = VectorUnit::available();
    let fused: Vec<_> = all.iter().copied().filter(|unit| unit.is_fused()).collect();
    if fused.is_empty() { all } else { fused }
}

/// One thread a processor; tells progress until all have ended. A thread that died is `None`.
fn run_threads(shared: &Shared<'_>, host: &mut HostWatch, watch: &Watch) -> Vec<Option<Worker>> {
    let began = Instant::now();
    let whole = shared.plan.budget(StageKind::Cpu).as_secs_f64();
    std::thread::scope(|scope| {
        let threads: Vec<_> = shared
            .cpus
            .iter()
            .enumerate()
            .map(|(place, cpu)| {
                std::thread::Builder::new()
                    .name(format!("burn-in-cpu{cpu}"))
                    .spawn_scoped(scope, move || shared.work(place, *cpu))
            })
            .collect();
        while threads.iter().flatten().any(|thread| !thread.is_finished()) {
            if watch.stopped().is_some() {
                shared.stop.store(true, Ordering::Relaxed);
            }
            watch.advance(
                percent(began.elapsed().as_secs_f64().min(whole), whole),
                "verified arithmetic",
            );
            host.tick(watch, None);
            let left = shared.end.saturating_duration_since(Instant::now());
            std::thread::sleep(left.clamp(Duration::from_millis(2), TICK));
        }
        threads
            .into_iter()
            .map(|thread| thread.ok()?.join().ok())
            .collect()
    })
}

fn which(
    cpus: &[u32],
    workers: &[Option<Worker>],
    is: impl Fn(&Option<Worker>) -> bool,
) -> Vec<u32> {
    cpus.iter()
        .zip(workers)
        .filter(|(_, worker)| is(worker))
        .map(|(cpu, _)| *cpu)
        .collect()
}

fn list(cpus: &[u32]) -> String {
    let texts: Vec<_> = cpus.iter().map(u32::to_string).collect();
    texts.join(", ")
}

/// Holds what was planted against what was found; what remains is the hardware's. `whole`: every
/// planted fault had its chance to be found.
fn compare(
    planted: &[Planted],
    mut found: Vec<CpuMismatch>,
    whole: bool,
) -> (Proof, Vec<CpuMismatch>) {
    let mut hits = 0;
    for fault in planted {
        let at = found.iter().position(|seen| {
            (seen.cpu, seen.kernel, seen.round, seen.word)
                == (fault.cpu, fault.kernel, fault.round, fault.word)
        });
        let Some(at) = at else { continue };
        hits += 1;
        let rest = found[at].xor.0 ^ fault.mask;
        if rest == 0 {
            found.swap_remove(at);
        } else {
            // More than what was planted is wrong in this word: that is the hardware's.
            let seen = &mut found[at];
            seen.got = Word(seen.got.0 ^ fault.mask);
            seen.xor = Word(rest);
            seen.bits = Word(rest).bits();
        }
    }
    found.sort_by_key(|seen| (seen.round, seen.cpu, seen.kernel, seen.word));
    (Proof::of(planted.len() as u64, hits, whole), found)
}

/// Verified operations by kernel, how fast one processor does them, and how far the slowest
/// processor is behind.
fn measure(
    counts: &[[u64; Kernel::COUNT]],
    computed: &[(AtomicU64, AtomicU64); Kernel::COUNT],
) -> Vec<Measured> {
    let operations: u64 = counts
        .iter()
        .flat_map(|kernels| kernels.iter().zip(Kernel::ALL))
        .map(|(count, kernel)| count * kernel.operations())
        .sum();
    let mut measured = vec![Measured::uncalibrated(
        "verified operations",
        operations as f64,
        "",
    )];
    for (kernel, (done, nanoseconds)) in Kernel::ALL.into_iter().zip(computed) {
        let nanoseconds = nanoseconds.load(Ordering::Relaxed);
        if nanoseconds > 0 {
            let done = done.load(Ordering::Relaxed);
            measured.push(Measured::uncalibrated(
                format!("{kernel}, rate of one processor"),
                done as f64 / nanoseconds as f64,
                "Gop/s",
            ));
        }
    }
    let mut each: Vec<u64> = counts.iter().map(|kernels| kernels.iter().sum()).collect();
    each.sort_unstable();
    if let (Some(slowest), Some(median)) = (each.first(), each.get(each.len() / 2)) {
        measured.push(Measured::uncalibrated(
            "slowest processor, of the median",
            percent(*slowest as f64, *median as f64).get(),
            "%",
        ));
    }
    measured
}
