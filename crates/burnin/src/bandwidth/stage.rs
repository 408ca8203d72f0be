//! The stage: every node's own memory at once, then every pair of nodes, and what was copied is
//! verified.

use std::sync::Arc;
use std::time::Duration;

use cupel_hardware::host_memory::{MemoryNode, Topology};
use cupel_model::units::Bytes;
use rand::RngExt;

use super::arrays::{Arrays, Crew, Motion, Rate, time};
use crate::fault::FaultPlan;
use crate::floors::Floors;
use crate::memory::{Found, Pattern, Phase, verify};
use crate::plan::{Plan, percent};
use crate::resource::{Claim, Resource};
use crate::result::{
    Coverage, Matrix, Measured, MemoryMismatch, Mismatch, Persistence, Proof, StageResult, Word,
};
use crate::stage::{Stage, StageSpec, Watch};
use crate::stage_kind::{StageKind, StageName};

/// What it may take beyond its time: taking memory and giving it back.
const SLACK: Duration = Duration::from_secs(60);
/// The arrays of a node are this many times its last-level caches. STREAM's rule.
const CACHES: u64 = 4;
/// Smallest array.
const LEAST_BYTES: u64 = 64 << 20;
/// Faults that are planted in what was copied.
const PLANTED: u64 = 16;
/// Most differences that are kept in full.
const KEPT: usize = 64;
/// The least time for a pair of nodes; with less, pairs are left out.
const PAIR: Duration = Duration::from_millis(100);

/// How fast memory is.
#[derive(Debug)]
pub(crate) struct BandwidthStage {
    pub(crate) plan: Plan,
    pub(crate) topology: Arc<Topology>,
    pub(crate) faults: Arc<FaultPlan>,
    pub(crate) floors: Arc<Floors>,
}

impl BandwidthStage {
    fn nodes(&self) -> Vec<&MemoryNode> {
        let nodes = self.topology.nodes.iter();
        nodes.filter(|node| !node.cpus.is_empty()).collect()
    }

    /// Bytes of one array of a node.
    fn array_bytes(&self, node: &MemoryNode) -> u64 {
        let cache = self.topology.cache.get();
        let nodes = self.topology.nodes.len() as u64;
        let wanted = cache.map_or(LEAST_BYTES, |cache| {
            CACHES * cache.bytes.get() * cache.count.div_ceil(nodes.max(1))
        });
        wanted.max(LEAST_BYTES).min(node.available.get() / 4)
    }
}

impl Stage for BandwidthStage {
    fn spec(&self) -> StageSpec {
        let budget = self.plan.budget(StageKind::MemoryBandwidth);
        let nodes = self.nodes();
        let mut claims = vec![Claim::alone(Resource::Processors)];
        claims.extend(
            nodes
                .iter()
                .map(|node| Claim::alone(Resource::Memory { node: node.number })),
        );
        let bytes: u64 = nodes.iter().map(|node| 2 * self.array_bytes(node)).sum();
        StageSpec {
            name: StageName::only(StageKind::MemoryBandwidth),
            what: format!(
                "copies within {} of {} NUMA node{}",
                Bytes(bytes).human(),
                nodes.len(),
                if nodes.len() == 1 { "" } else { "s" }
            ),
            claims,
            expected: budget,
            at_most: budget + SLACK,
            required: true,
        }
    }

    fn run(self: Box<Self>, watch: &Watch) -> StageResult {
        let mut result = StageResult::new(StageName::only(StageKind::MemoryBandwidth));
        let nodes = self.nodes();
        result.coverage = coverage(nodes.len(), 0);
        let pattern = Pattern::new(self.plan.seed.0);
        let mut taken = Vec::new();
        for node in &nodes {
            let words = self.array_bytes(node) / 8;
            match Arrays::take(node.number, &node.cpus, words, pattern) {
                Ok(arrays) => taken.push((*node, arrays)),
                Err(why) => result
                    .reasons
                    .push(format!("NUMA node {}: {why}", node.number)),
            }
        }
        self.measure(&taken, watch, &mut result);
        self.verify(&mut taken, pattern, watch, &mut result);
        if watch.stopped().is_some() {
            result
                .reasons
                .push("it was stopped before its time".to_owned());
        }
        result.judged()
    }
}

fn coverage(asked: usize, covered: usize) -> Coverage {
    Coverage {
        unit: "NUMA nodes".to_owned(),
        asked: asked as u64,
        covered: covered as u64,
        percent: percent(covered as f64, asked as f64),
    }
}

impl BandwidthStage {
    fn measure(&self, taken: &[(&MemoryNode, Arrays)], watch: &Watch, result: &mut StageResult) {
        let budget = self.plan.budget(StageKind::MemoryBandwidth);
        let pairs = taken.len() * taken.len();
        // Half for each node's own memory, half for the pairs, where there are any.
        let own = if pairs > 1 { budget / 2 } else { budget };
        let each = own / 4;
        let stopped = || watch.stopped().is_some();
        let mut totals = Vec::new();
        for (number, motion) in Motion::ALL.into_iter().enumerate() {
            watch.advance(
                percent(number as f64, Motion::ALL.len() as f64),
                format!("{} on every node", motion.name()),
            );
            let crews: Vec<_> = taken
                .iter()
                .map(|(node, arrays)| Crew {
                    cpus: &node.cpus,
                    arrays,
                })
                .collect();
            let heard = |place: usize, rate: f64| {
                if motion == Motion::Copy
                    && let Some((node, _)) = taken.get(place)
                {
                    let on = Resource::Memory { node: node.number };
                    watch.sample("bandwidth", Some(on), rate, "GB/s");
                }
            };
            let rates = time(&crews, motion, each, &stopped, &heard);
            totals.push((motion, rates.iter().map(|rate| rate.best).sum::<f64>()));
            for ((node, _), rate) in taken.iter().zip(&rates) {
                if rate.passes > 0 {
                    result.measured.push(self.held(motion, *rate, Some(node)));
                }
            }
            if motion == Motion::Copy {
                let covered = rates.iter().filter(|rate| rate.passes > 0).count();
                result.coverage = coverage(self.nodes().len(), covered);
            }
        }
        if taken.len() > 1 {
            for (motion, total) in totals {
                let name = format!("{}, all nodes", motion.name());
                let measured = Measured::uncalibrated(name, total, "GB/s");
                result
                    .measured
                    .push(self.floors.hold(StageKind::MemoryBandwidth, measured));
            }
            let time_of_pair = (budget - own) / u32::try_from(pairs).unwrap_or(u32::MAX);
            if time_of_pair < PAIR {
                result
                    .notes
                    .push("there was no time for every pair of nodes".to_owned());
            } else {
                result
                    .matrices
                    .push(pair_matrix(taken, time_of_pair, watch));
            }
        }
    }

    fn held(&self, motion: Motion, rate: Rate, node: Option<&MemoryNode>) -> Measured {
        let mut measured = Measured::uncalibrated(motion.name(), rate.best, "GB/s");
        if let Some(node) = node {
            measured = measured
                .on(Resource::Memory { node: node.number })
                .among(format!("{} processors", node.cpus.len()));
        }
        self.floors.hold(StageKind::MemoryBandwidth, measured)
    }

    /// Copies once more and looks at every word, after faults were planted.
    fn verify(
        &self,
        taken: &mut [(&MemoryNode, Arrays)],
        pattern: Pattern,
        watch: &Watch,
        result: &mut StageResult,
    ) {
        if watch.stopped().is_some() {
            return;
        }
        watch.advance(percent(95.0, 100.0), "verify what was copied");
        let (mut planted, mut hits) = (0, 0);
        for (_, arrays) in taken {
            let node = arrays.node;
            for part in arrays.parts() {
                cupel_hardware::streaming::copy(&part.a, &mut part.b);
                let faults = plant(part.first, &mut part.b, self.faults.blind);
                let mut found = Found::default();
                verify(&part.b, part.first, pattern, Phase::Pattern, &mut found);
                planted += faults.len() as u64;
                for seen in found.kept {
                    let mask = seen.expected ^ seen.got;
                    if faults.contains(&(seen.word, mask)) {
                        hits += 1;
                        continue;
                    }
                    result.mismatch_count += 1;
                    if result.mismatches.len() < KEPT {
                        let mismatch = mismatch(node, seen.word, seen.expected, seen.got);
                        watch.mismatch(mismatch.clone());
                        result.mismatches.push(mismatch);
                    }
                }
            }
        }
        result.proof = Proof::of(planted, hits, true);
    }
}

/// Inverts a bit of some words; returns which, unless they are put back at once.
fn plant(first: u64, words: &mut [u64], blind: bool) -> Vec<(u64, u64)> {
    let mut rng = rand::rng();
    let mut faults: Vec<(u64, u64)> = Vec::new();
    if words.is_empty() {
        return faults;
    }
    for _ in 0..PLANTED {
        let at = rng.random_range(0..words.len());
        let mask = 1 << rng.random_range(0..64);
        let word = first + at as u64;
        if faults.iter().any(|(other, _)| *other == word) {
            continue;
        }
        if !blind {
            words[at] ^= mask;
        }
        faults.push((word, mask));
    }
    faults
}

fn mismatch(node: u32, word: u64, expected: u64, got: u64) -> Mismatch {
    Mismatch::Memory(MemoryMismatch {
        numa_node: node,
        word,
        offset_bytes: word * 8,
        pass: 1,
        phase: Phase::Pattern,
        expected: Word(expected),
        got: Word(got),
        xor: Word(expected ^ got),
        bits: Word(expected ^ got).bits(),
        persistence: Persistence::NotTold,
        holds_word: None,
        physical_address: cupel_model::Reading::unsupported("the copy is gone"),
    })
}

/// Copies in the memory of one node by the processors of another.
fn pair_matrix(taken: &[(&MemoryNode, Arrays)], each: Duration, watch: &Watch) -> Matrix {
    let stopped = || watch.stopped().is_some();
    let pairs = (taken.len() * taken.len()) as f64;
    let mut cells = Vec::new();
    for (processors, _) in taken {
        let mut row = Vec::new();
        for (_, arrays) in taken {
            let done = (cells.len() * taken.len() + row.len()) as f64;
            watch.advance(
                percent(50.0 + 45.0 * done / pairs, 100.0),
                format!("copy in node {} by node {}", arrays.node, processors.number),
            );
            let crew = Crew {
                cpus: &processors.cpus,
                arrays,
            };
            let rates = time(&[crew], Motion::Copy, each, &stopped, &|_, _| {});
            let rate = rates.first().filter(|rate| rate.passes > 0);
            row.push(rate.map(|rate| rate.best));
        }
        cells.push(row);
    }
    let names = |what: &str| {
        let name = |node: u32| format!("{what} {node}");
        taken.iter().map(|(node, _)| name(node.number)).collect()
    };
    Matrix {
        name: "copy in memory, by NUMA node".to_owned(),
        unit: "GB/s".to_owned(),
        rows: names("processors of node"),
        columns: names("memory of node"),
        cells,
        floor: crate::result::Floor::Uncalibrated,
    }
}
