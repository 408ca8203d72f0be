//! The stage: lays shards over NUMA nodes, runs their threads, judges.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use cupel_hardware::host_memory::Topology;
use cupel_model::units::Bytes;

use super::pattern::{Pattern, Phase};
use super::shard::Shard;
use super::worker::{Report, Shared};
use crate::fault::FaultPlan;
use crate::host_watch::HostWatch;
use crate::plan::{Plan, percent};
use crate::resource::{Claim, Resource};
use crate::result::{Coverage, Measured, Mismatch, Proof, StageResult};
use crate::stage::{Stage, StageSpec, Watch};
use crate::stage_kind::{StageKind, StageName};

/// How often progress is told and a cancellation looked for.
const TICK: Duration = Duration::from_millis(50);
/// Most differences that are kept in full.
const KEPT: usize = 64;
/// Smallest shard: a page.
const LEAST_SHARD: u64 = 4096;
/// Kept free whatever is asked: a fiftieth of all memory, at least this.
const LEAST_RESERVE: u64 = 128 << 20;

/// What is laid where.
#[derive(Debug)]
struct Layout {
    shards: Vec<Shard>,
    asked: u64,
    reserve: u64,
    reasons: Vec<String>,
    notes: Vec<String>,
}

/// Memory that stays free so that the kernel kills nobody.
fn reserve(total: u64) -> u64 {
    (total / 50).max(LEAST_RESERVE).min(total / 4)
}

fn lay(plan: &Plan, topology: &Topology) -> Layout {
    let per_mille = (plan.memory_share.get() * 10.0).round().clamp(0.0, 1000.0);
    // Between 0 and 1000: small enough for any integer.
    let per_mille = (0..=1000_u32)
        .find(|n| f64::from(*n) >= per_mille)
        .unwrap_or(1000);
    let share =
        |bytes: u64| u64::try_from(u128::from(bytes) * u128::from(per_mille) / 1000).unwrap_or(0);
    let available = topology.available.bytes.get();
    let reserve = reserve(topology.available.total.get());
    let usable = available.saturating_sub(reserve);
    let mut layout = Layout {
        shards: Vec::new(),
        asked: 0,
        reserve,
        reasons: Vec::new(),
        notes: Vec::new(),
    };
    if let Some(group) = &topology.available.limited_by {
        layout.notes.push(format!(
            "the cgroup {group} limits this process: {} may be taken",
            Bytes(available).human()
        ));
    }
    let wanted: u64 = topology
        .nodes
        .iter()
        .filter(|node| !node.cpus.is_empty())
        .map(|node| share(node.available.get()))
        .sum();
    if wanted > usable {
        layout.reasons.push(format!(
            "{} were asked of {} that are available, and {} stay in reserve so that nothing is \
             killed: ask for less",
            Bytes(wanted).human(),
            Bytes(available).human(),
            Bytes(reserve).human()
        ));
    }
    let mut first = 0;
    for node in &topology.nodes {
        if node.cpus.is_empty() {
            layout.notes.push(format!(
                "NUMA node {} has memory and no processor: its {} are not tested",
                node.number,
                node.available.human()
            ));
            continue;
        }
        let asked = share(node.available.get());
        let given = if wanted > usable {
            u64::try_from(u128::from(asked) * u128::from(usable) / u128::from(wanted)).unwrap_or(0)
        } else {
            asked
        };
        let shards = (given / LEAST_SHARD).min(node.cpus.len() as u64);
        let Some(words) = (given / 8).checked_div(shards) else {
            layout.asked += asked;
            continue;
        };
        // What does not divide evenly is not asked.
        layout.asked += if given < asked {
            asked
        } else {
            words * shards * 8
        };
        for cpu in node.cpus.iter().zip(0..shards).map(|(cpu, _)| *cpu) {
            layout
                .shards
                .push(Shard::new(node.number, cpu, first, words));
            first += words;
        }
    }
    if layout.shards.is_empty() {
        layout.reasons.push(format!(
            "too little free memory to test: {}",
            Bytes(available).human()
        ));
    }
    layout
}

/// Verified patterns over a share of free memory.
#[derive(Debug)]
pub(crate) struct MemoryStage {
    pub(crate) plan: Plan,
    pub(crate) topology: Arc<Topology>,
    pub(crate) faults: Arc<FaultPlan>,
}

/// What it may take beyond its time: giving terabytes back takes a while.
const SLACK: Duration = Duration::from_secs(120);

impl Stage for MemoryStage {
    fn spec(&self) -> StageSpec {
        let layout = lay(&self.plan, &self.topology);
        let nodes: std::collections::BTreeSet<_> =
            layout.shards.iter().map(|shard| shard.node).collect();
        let time = self.plan.budget(StageKind::Memory);
        let mut claims = vec![Claim::alone(Resource::Processors)];
        claims.extend(
            nodes
                .iter()
                .map(|node| Claim::shared(Resource::Memory { node: *node })),
        );
        StageSpec {
            name: StageName::only(StageKind::Memory),
            what: format!(
                "verified patterns over {} of {} NUMA node{}",
                Bytes(layout.shards.iter().map(|shard| shard.target * 8).sum()).human(),
                nodes.len(),
                if nodes.len() == 1 { "" } else { "s" },
            ),
            claims,
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
    let began = Instant::now();
    let Layout {
        shards,
        asked,
        reserve,
        mut reasons,
        mut notes,
    } = lay(plan, topology);
    let words: u64 = shards.iter().map(|shard| shard.target).sum();
    let before = topology.source.swapped();
    let cache = topology.cache.get();
    let shared = Shared {
        pattern: Pattern::new(plan.seed.0),
        source: &topology.source,
        faults,
        reserve,
        words,
        cache_bytes: cache.map(|cache| cache.bytes.get()),
        repeats: plan.memory_repeats,
        end: began + plan.budget(StageKind::Memory),
        stop: AtomicBool::new(false),
        moved: AtomicU64::new(0),
        taken: AtomicU64::new(0),
        swapped: AtomicU64::new(0),
    };
    let mut host = HostWatch::begin(topology);
    let reports = run_threads(shards, &shared, plan, &mut host, watch);
    let cancelled = watch.stopped().is_some();
    if cancelled {
        reasons.push("it was stopped before its time".to_owned());
    }
    let died = reports.iter().filter(|report| report.is_none()).count();
    if died > 0 {
        reasons.push(format!("{died} of its threads died"));
    }
    let reports: Vec<Report> = reports.into_iter().flatten().collect();
    let mut why: Vec<&String> = reports.iter().filter_map(|r| r.short.as_ref()).collect();
    why.sort();
    why.dedup();
    reasons.extend(why.into_iter().cloned());

    let mut covered: u64 = reports.iter().map(|report| report.covered * 8).sum();
    if let Some(before) = before.get() {
        let swapped = shared.swapped.into_inner().saturating_sub(before.get());
        if swapped > 0 {
            covered = covered.saturating_sub(swapped);
            notes.push(format!(
                "{} of the tested memory were in swap for a while: that part is not counted",
                Bytes(swapped).human()
            ));
        }
    }
    match cache {
        Some(cache) if covered == asked && covered < 2 * cache.bytes.get() * cache.count => {
            reasons.push(format!(
                "{} are less than twice the last-level caches of this machine: the memory itself \
                 was hardly touched; give a larger share",
                Bytes(covered).human()
            ));
        }
        Some(_) => {}
        None => notes.push(
            "the size of the last-level cache is not known: transient and stuck are not told apart"
                .to_owned(),
        ),
    }
    let whole = died == 0 && !cancelled && reports.iter().all(|report| report.whole);
    let planted = reports.iter().map(|report| report.planted).sum();
    let hits = reports.iter().map(|report| report.hits).sum();
    let mismatch_count = reports.iter().map(|report| report.wrong).sum();
    let measured = measure(&reports);
    let mut mismatches: Vec<_> = reports.into_iter().flat_map(|r| r.mismatches).collect();
    mismatches.sort_by_key(|seen| (seen.pass, seen.phase, seen.word));
    StageResult {
        reasons,
        proof: Proof::of(planted, hits, whole),
        coverage: Coverage {
            unit: "bytes".to_owned(),
            asked,
            covered,
            percent: percent(covered as f64, asked as f64),
        },
        measured,
        mismatch_count,
        mismatches: mismatches
            .into_iter()
            .take(KEPT)
            .map(Mismatch::Memory)
            .collect(),
        notes,
        counters: host.end(),
        ..StageResult::new(StageName::only(StageKind::Memory))
    }
    .judged()
}

/// One thread a shard; tells progress until all have ended. A thread that died is `None`.
fn run_threads(
    shards: Vec<Shard>,
    shared: &Shared<'_>,
    plan: &Plan,
    host: &mut HostWatch,
    watch: &Watch,
) -> Vec<Option<Report>> {
    let began = Instant::now();
    let whole = plan.budget(StageKind::Memory).as_secs_f64();
    // Two writes and two reads of every word.
    let pass = (shared.words * 4 * 8).max(1);
    std::thread::scope(|scope| {
        let threads: Vec<_> = shards
            .into_iter()
            .enumerate()
            .map(|(place, shard)| {
                std::thread::Builder::new()
                    .name(format!("burn-in-mem{}", shard.cpu))
                    .spawn_scoped(scope, move || shared.work(place, shard))
            })
            .collect();
        while threads.iter().flatten().any(|thread| !thread.is_finished()) {
            if watch.stopped().is_some() {
                shared.stop.store(true, Ordering::Relaxed);
            }
            let moved = shared.moved.load(Ordering::Relaxed);
            let done = if plan.memory_repeats {
                percent(began.elapsed().as_secs_f64().min(whole), whole)
            } else {
                percent(moved.min(pass) as f64, pass as f64)
            };
            watch.advance(done, doing(moved, pass));
            host.tick(watch, Some(moved));
            std::thread::sleep(TICK);
        }
        threads
            .into_iter()
            .map(|thread| thread.ok()?.join().ok())
            .collect()
    })
}

/// What most threads are at, by the bytes that were moved.
fn doing(moved: u64, pass: u64) -> String {
    let quarter = moved % pass * 4 / pass;
    let verb = if quarter.is_multiple_of(2) {
        "write"
    } else {
        "verify"
    };
    let phase = if quarter < 2 {
        Phase::Pattern
    } else {
        Phase::Inverse
    };
    format!("{verb} {}, pass {}", phase.name(), moved / pass + 1)
}

fn measure(reports: &[Report]) -> Vec<Measured> {
    let rate = |of: fn(&Report) -> (u64, Duration)| {
        reports
            .iter()
            .map(of)
            .filter(|(_, time)| !time.is_zero())
            .map(|(bytes, time)| bytes as f64 / time.as_secs_f64() / 1e9)
            .sum::<f64>()
    };
    let passes = reports
        .iter()
        .map(|report| report.passes)
        .min()
        .unwrap_or(0);
    let mut measured = vec![Measured::uncalibrated(
        "whole passes",
        passes as f64,
        "passes",
    )];
    let rates = [
        ("first write rate", rate(|r| r.first_write)),
        ("write rate", rate(|r| r.write)),
        ("verify rate", rate(|r| r.verify)),
    ];
    measured.extend(
        rates
            .into_iter()
            .filter(|(_, rate)| *rate > 0.0)
            .map(|(name, rate)| Measured::uncalibrated(name, rate, "GB/s")),
    );
    measured
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::result::Word;
    use cupel_hardware::host_memory::{Available, MemoryNode, MemorySource};
    use cupel_model::Reading;

    fn machine(available: u64, nodes: &[(u32, &[u32], u64)]) -> Topology {
        Topology {
            cpus: vec![0, 1, 2, 3],
            nodes: nodes
                .iter()
                .map(|(number, cpus, bytes)| MemoryNode {
                    number: *number,
                    cpus: cpus.to_vec(),
                    available: Bytes(*bytes),
                })
                .collect(),
            cache: Reading::absent("test"),
            available: Available {
                bytes: Bytes(available),
                total: Bytes(available),
                limited_by: None,
            },
            source: MemorySource::Fixed(Bytes(available)),
        }
    }

    #[test]
    fn shards_lie_on_every_node_and_do_not_overlap() {
        let topology = machine(
            8 << 30,
            &[
                (0, &[0, 1], 6 << 30),
                (1, &[2, 3], 1 << 30),
                (2, &[], 1 << 30),
            ],
        );
        let layout = lay(&Plan::quick(Word(1)), &topology);
        assert_eq!(layout.asked, (3 << 30) + (1 << 29));
        assert_eq!(layout.reasons, Vec::<String>::new());
        assert_eq!(layout.notes.len(), 1, "{:?}", layout.notes);
        let mut next = 0;
        for shard in &layout.shards {
            assert_eq!(shard.first, next);
            next += shard.target;
        }
        assert_eq!(next * 8, layout.asked);
        let places: Vec<_> = layout.shards.iter().map(|s| (s.node, s.cpu)).collect();
        assert_eq!(places, [(0, 0), (0, 1), (1, 2), (1, 3)]);
    }

    #[test]
    fn a_reserve_is_kept_and_said() {
        let topology = machine(1 << 30, &[(0, &[0], 1 << 30)]);
        let plan = Plan::quick(Word(1)).memory_share(percent(95.0, 100.0));
        let layout = lay(&plan, &topology);
        let laid: u64 = layout.shards.iter().map(|shard| shard.target * 8).sum();
        assert!(laid <= (1 << 30) - LEAST_RESERVE);
        assert!(layout.asked > laid);
        assert_eq!(layout.reasons.len(), 1, "{:?}", layout.reasons);
    }

    #[test]
    fn too_little_memory_is_said() {
        let layout = lay(&Plan::quick(Word(1)), &machine(100, &[(0, &[0], 100)]));
        assert!(layout.shards.is_empty());
        assert_eq!(layout.reasons.len(), 1, "{:?}", layout.reasons);
    }

    #[test]
    fn progress_says_what_is_done() {
        assert_eq!(doing(0, 400), "write pattern, pass 1");
        assert_eq!(doing(150, 400), "verify pattern, pass 1");
        assert_eq!(doing(399, 400), "verify inverse, pass 1");
        assert_eq!(doing(600, 400), "write inverse, pass 2");
    }
}
