//! Verified copies: between host memory and GPUs, between GPUs, and all-reduce.

use std::sync::Mutex;

use cupel_model::worker_burnin::{BurnOutcome, BurnWork, LinkRate};

use super::job::{Jobs, spec_over, value};
use super::set::{Context, GpuUnderTest};
use crate::plan::PlanKind;
use crate::resource::{Claim, Resource};
use crate::result::{Matrix, StageResult};
use crate::stage::{Stage, StageSpec, Watch};
use crate::stage_kind::{StageKind, StageName};

/// Size of a copy between host and GPU.
const HOST_BYTES: u64 = 256 << 20;
/// Size of a copy between GPUs.
const PEER_BYTES: u64 = 512 << 20;

/// Copies between the host's memory and all GPUs at once, from each NUMA node.
#[derive(Debug)]
pub(super) struct HostLinksStage {
    pub(super) context: Context,
    pub(super) gpus: Vec<GpuUnderTest>,
    pub(super) nodes: Vec<(u32, Vec<u32>)>,
}

/// What came of the copies of one GPU with one node.
struct Copied {
    gpu: usize,
    node: usize,
    outcome: BurnOutcome,
}

impl HostLinksStage {
    fn work(&self, seconds: f64) -> BurnWork {
        BurnWork::HostLink {
            bytes: HOST_BYTES,
            // Three ways, each for itself.
            seconds: seconds / 3.0,
        }
    }

    /// One round: these GPUs at once, each with one node.
    fn round(
        &self,
        watch: &Watch,
        name: &StageName,
        round: &[(usize, usize)],
        seconds: f64,
        done: &Mutex<Vec<Copied>>,
    ) -> Vec<StageResult> {
        std::thread::scope(|scope| {
            let threads: Vec<_> = round
                .iter()
                .map(|(at, node)| {
                    scope.spawn(move || {
                        let gpu = &self.gpus[*at];
                        let mut jobs = Jobs::new(&self.context, watch, name.clone());
                        let (number, cpus) = match self.nodes.get(*node) {
                            Some((number, cpus)) => (*number, &cpus[..]),
                            None => (0, &[][..]),
                        };
                        let doing = format!("copies with memory of NUMA node {number}");
                        let gpus = std::slice::from_ref(gpu);
                        let work = self.work(seconds);
                        if let Some(outcome) = jobs.run(gpus, cpus, work, &doing, seconds) {
                            done.lock()
                                .unwrap_or_else(std::sync::PoisonError::into_inner)
                                .push(Copied {
                                    gpu: *at,
                                    node: *node,
                                    outcome,
                                });
                        }
                        jobs.judged("ways")
                    })
                })
                .collect();
            threads
                .into_iter()
                .filter_map(|thread| thread.join().ok())
                .collect()
        })
    }

    fn matrices(&self, copied: &[Copied]) -> Vec<Matrix> {
        let ways = [
            ("host to GPU", "host to GPU"),
            ("GPU to host", "GPU to host"),
            ("host and GPU, both ways", "host and GPU, both ways"),
        ];
        ways.into_iter()
            .map(|(told, name)| {
                let cell = |gpu: usize, node: usize| {
                    copied
                        .iter()
                        .rev()
                        .find(|one| one.gpu == gpu && one.node == node)
                        .and_then(|one| value(&one.outcome, told))
                };
                Matrix {
                    name: name.to_owned(),
                    unit: "GB/s".to_owned(),
                    rows: self
                        .gpus
                        .iter()
                        .map(|gpu| format!("GPU {}", gpu.index))
                        .collect(),
                    columns: self
                        .nodes
                        .iter()
                        .map(|(node, _)| format!("NUMA node {node}"))
                        .collect(),
                    cells: (0..self.gpus.len())
                        .map(|gpu| (0..self.nodes.len()).map(|node| cell(gpu, node)).collect())
                        .collect(),
                    floor: self.context.floors.find(self.context.kind, name, "GB/s"),
                }
            })
            .collect()
    }
}

impl Stage for HostLinksStage {
    fn spec(&self) -> StageSpec {
        let nodes = self
            .nodes
            .iter()
            .map(|(node, _)| Claim::alone(Resource::Memory { node: *node }));
        let what = format!(
            "verified copies between memory of {} NUMA nodes and {} GPUs",
            self.nodes.len(),
            self.gpus.len()
        );
        spec_over(&self.context, &self.gpus, nodes.collect(), what)
    }

    fn run(self: Box<Self>, watch: &Watch) -> StageResult {
        let name = StageName::only(self.context.kind);
        let fit: Vec<usize> = (0..self.gpus.len())
            .filter(|at| {
                let gpu = &self.gpus[*at];
                gpu.unfit.is_none() && !watch.is_lost(&Resource::Gpu { index: gpu.index })
            })
            .collect();
        if fit.is_empty() {
            return StageResult::unsupported(name, "no GPU can be tested");
        }
        let nodes = self.nodes.len().max(1);
        let budget = self.context.plan.budget(self.context.kind).as_secs_f64();
        // Every GPU with every node: all at once in turns, so that nodes are evenly loaded; in the
        // longer plans each GPU by itself as well, before.
        let mut rounds: Vec<Vec<(usize, usize)>> = Vec::new();
        if self.context.plan.kind != PlanKind::Quick {
            rounds.extend(
                fit.iter()
                    .flat_map(|at| (0..nodes).map(move |node| vec![(*at, node)])),
            );
        }
        let alone = rounds.len();
        rounds.extend(
            (0..nodes).map(|turn| fit.iter().map(|at| (*at, (at + turn) % nodes)).collect()),
        );
        let seconds = budget / f64::from(u32::try_from(rounds.len()).unwrap_or(u32::MAX));
        let (mut results, mut by_itself) = (Vec::new(), Vec::new());
        let done = Mutex::new(Vec::new());
        for (number, round) in rounds.iter().enumerate() {
            if number == alone {
                by_itself = take(&done);
            }
            if watch.stopped().is_some() {
                break;
            }
            results.extend(self.round(watch, &name, round, seconds, &done));
        }
        let at_once = take(&done);
        let shown = if by_itself.is_empty() {
            &at_once
        } else {
            &by_itself
        };
        let mut result = merged(name, results);
        result.matrices = self.matrices(shown);
        for (at, gpu) in self.gpus.iter().enumerate() {
            for way in ["host to GPU", "GPU to host"] {
                let best = shown
                    .iter()
                    .filter(|one| one.gpu == at)
                    .filter_map(|one| value(&one.outcome, way))
                    .fold(f64::NAN, f64::max);
                if best.is_finite() {
                    let measured = crate::result::Measured::uncalibrated(
                        format!("{way}, best node"),
                        best,
                        "GB/s",
                    )
                    .on(Resource::Gpu { index: gpu.index })
                    .among(&gpu.name);
                    let held = self.context.floors.hold(self.context.kind, measured);
                    result.measured.push(held);
                }
            }
        }
        if watch.stopped().is_some() {
            result
                .reasons
                .push("it was stopped before its time".to_owned());
        }
        result.judged()
    }
}

fn take(done: &Mutex<Vec<Copied>>) -> Vec<Copied> {
    let mut done = done
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    std::mem::take(&mut *done)
}

/// One result of several, to be judged again.
fn merged(name: StageName, results: Vec<StageResult>) -> StageResult {
    let mut whole = StageResult::new(name);
    let (mut planted, mut found, mut complete) = (0, 0, true);
    let (mut asked, mut covered) = (0, 0);
    for one in results {
        planted += one.proof.planted;
        found += one.proof.found;
        complete &= one.proof.detector != crate::result::Detector::NotProven;
        asked += one.coverage.asked;
        covered += one.coverage.covered;
        whole.mismatch_count += one.mismatch_count;
        whole.mismatches.extend(one.mismatches);
        whole.lost.extend(one.lost);
        whole.notes.extend(one.notes);
        if one.class == Some(crate::result::FailureClass::Lost) {
            whole.class = one.class;
        }
        if one.mismatch_count == 0 && one.coverage.covered == one.coverage.asked {
            whole.reasons.extend(one.reasons);
        } else if one.class.is_none() {
            let told = one.reasons.into_iter();
            whole
                .reasons
                .extend(told.filter(|why| !why.contains(" were tested (")));
        }
    }
    whole.notes.sort();
    whole.notes.dedup();
    whole.lost.sort();
    whole.lost.dedup();
    whole.reasons.dedup();
    whole.mismatches.truncate(64);
    whole.proof = crate::result::Proof::of(planted, found, complete);
    whole.coverage = crate::result::Coverage {
        unit: "ways".to_owned(),
        asked,
        covered,
        percent: crate::plan::percent(
            f64::from(u32::try_from(covered).unwrap_or(u32::MAX)),
            f64::from(u32::try_from(asked).unwrap_or(u32::MAX)),
        ),
    };
    whole
}

/// Copies between all GPUs, or all-reduce: one worker has all of them.
#[derive(Debug)]
pub(super) struct LinksStage {
    pub(super) context: Context,
    pub(super) gpus: Vec<GpuUnderTest>,
}

impl LinksStage {
    fn fit(&self, watch: &Watch) -> Vec<GpuUnderTest> {
        let mut fit = self.gpus.clone();
        fit.retain(|gpu| {
            gpu.unfit.is_none() && !watch.is_lost(&Resource::Gpu { index: gpu.index })
        });
        fit
    }

    fn work(&self, gpus: usize, seconds: f64) -> BurnWork {
        let bytes = PEER_BYTES;
        if self.context.kind == StageKind::GpuAllReduce {
            return BurnWork::AllReduce { bytes, seconds };
        }
        // Each pair in two kinds of copies and three ways; and as many rounds of all at once.
        let parts = gpus * gpus.saturating_sub(1) / 2 * 6 + gpus;
        let parts = f64::from(u32::try_from(parts.max(1)).unwrap_or(u32::MAX));
        BurnWork::PeerLink {
            bytes,
            seconds: seconds / parts,
        }
    }

    fn tell(&self, jobs: &mut Jobs<'_>, gpus: &[GpuUnderTest], outcome: &BurnOutcome) {
        let one_way = "copy engine";
        for (how, name) in [
            (one_way, "copy, one way"),
            ("multiprocessors", "copy by multiprocessors, one way"),
            ("copy engine, both ways", "copy, both ways"),
        ] {
            let matrix = matrix(gpus, &outcome.links, how, name);
            let floor = self.context.floors.find(self.context.kind, name, "GB/s");
            if matrix.cells.iter().flatten().any(Option::is_some) {
                jobs.result.matrices.push(Matrix { floor, ..matrix });
            }
        }
        for rate in outcome.links.iter().filter(|rate| rate.from.is_none()) {
            let measured =
                crate::result::Measured::uncalibrated(&rate.how, rate.gigabytes_per_second, "GB/s");
            let held = self.context.floors.hold(self.context.kind, measured);
            jobs.result.measured.push(held);
        }
    }
}

/// Rates of one kind as a matrix: rows send.
fn matrix(gpus: &[GpuUnderTest], rates: &[LinkRate], how: &str, name: &str) -> Matrix {
    let names: Vec<String> = gpus
        .iter()
        .map(|gpu| format!("GPU {}", gpu.index))
        .collect();
    let cell = |from: usize, to: usize| {
        let is =
            |end: Option<u32>, at: usize| end.and_then(|end| usize::try_from(end).ok()) == Some(at);
        rates
            .iter()
            .find(|rate| rate.how == how && is(rate.from, from) && is(rate.to, to))
            .map(|rate| rate.gigabytes_per_second)
    };
    Matrix {
        name: name.to_owned(),
        unit: "GB/s".to_owned(),
        rows: names.clone(),
        columns: names,
        cells: (0..gpus.len())
            .map(|from| (0..gpus.len()).map(|to| cell(from, to)).collect())
            .collect(),
        floor: crate::result::Floor::Uncalibrated,
    }
}

impl Stage for LinksStage {
    fn spec(&self) -> StageSpec {
        let what = if self.context.kind == StageKind::GpuAllReduce {
            format!("verified all-reduce over {} GPUs", self.gpus.len())
        } else {
            format!(
                "verified copies over every pair of {} GPUs",
                self.gpus.len()
            )
        };
        let fabric = vec![Claim::alone(Resource::GpuFabric)];
        spec_over(&self.context, &self.gpus, fabric, what)
    }

    fn run(self: Box<Self>, watch: &Watch) -> StageResult {
        let name = StageName::only(self.context.kind);
        let gpus = self.fit(watch);
        if gpus.len() < 2 {
            return StageResult::unsupported(name, "fewer than two GPUs can be tested");
        }
        let seconds = self.context.plan.budget(self.context.kind).as_secs_f64();
        let (doing, unit) = if self.context.kind == StageKind::GpuAllReduce {
            ("all-reduce", "runs")
        } else {
            ("copies between GPUs", "pairs")
        };
        let mut jobs = Jobs::new(&self.context, watch, name.clone());
        let work = self.work(gpus.len(), seconds);
        let outcome = jobs.run(&gpus, &[], work, doing, seconds);
        if let Some(outcome) = &outcome {
            if let cupel_model::worker_burnin::BurnEnd::Unsupported(why) = &outcome.end {
                return StageResult::unsupported(name, why);
            }
            self.tell(&mut jobs, &gpus, outcome);
        }
        if gpus.len() < self.gpus.len() {
            jobs.result.reasons.push(format!(
                "{} of {} GPUs were left out",
                self.gpus.len() - gpus.len(),
                self.gpus.len()
            ));
        }
        jobs.judged(unit)
    }
}
