//! Verified arithmetic on every SM: products of every type, exact and random.
//!
//! Random products have no oracle of their own. GPUs of one product must give the same bits: each
//! stage puts the hashes of its tiles to the vote, and a GPU whose tile differs from that of the
//! majority has computed wrong, however often it repeats itself.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use cupel_model::Reading;
use cupel_model::worker_burnin::{BurnEnd, BurnWork, Element, Operands, TileHashes};

use super::job::{Jobs, name_of, spec_of, value};
use super::mismatch::GpuMismatch;
use super::set::{Context, GpuUnderTest};
use crate::result::{Mismatch, Persistence, StageResult, Word};
use crate::stage::{Stage, StageSpec, Watch};

/// Rows, columns and depth of products, where nothing else is asked for: as cuBLAS is measured.
const SIZE: u32 = 8192;
/// Of the units that are no tensor cores: a product of 8192 takes them seconds.
const PLAIN_SIZE: u32 = 4096;

fn size_of_products(element: Element) -> u32 {
    match element {
        Element::Bf16 | Element::Fp8 => SIZE,
        Element::Fp32 | Element::Fp64 => PLAIN_SIZE,
    }
}

/// How long the other GPUs' votes are waited for, beyond half of the stage's time.
const PATIENCE: Duration = Duration::from_secs(20);
/// Most differences that are kept in full.
const KEPT: usize = 64;

/// The parts of the stage, and the share of its time that each has.
const PARTS: [(Element, Operands, f64); 6] = [
    (Element::Bf16, Operands::Exact, 0.25),
    (Element::Bf16, Operands::Random, 0.2),
    (Element::Fp8, Operands::Exact, 0.15),
    (Element::Fp8, Operands::Random, 0.1),
    (Element::Fp32, Operands::Exact, 0.15),
    (Element::Fp64, Operands::Exact, 0.15),
];

/// Hashes by what they are of, and by GPU.
type Hashes = BTreeMap<String, BTreeMap<u32, TileHashes>>;

#[derive(Debug, Default)]
struct Poll {
    hashes: Hashes,
    /// GPUs that have begun and will vote again.
    voting: BTreeSet<u32>,
}

/// The vote of all GPUs of the stage.
#[derive(Debug, Default)]
pub(super) struct Votes {
    poll: Mutex<Poll>,
    changed: Condvar,
}

/// A GPU that takes part in the vote; when it is dropped, nobody waits for it any more.
struct Voter<'v> {
    votes: &'v Votes,
    gpu: u32,
}

impl Votes {
    fn poll(&self) -> MutexGuard<'_, Poll> {
        self.poll.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A GPU begins to vote.
    fn join(&self, gpu: u32) -> Voter<'_> {
        self.poll().voting.insert(gpu);
        Voter { votes: self, gpu }
    }
}

impl Voter<'_> {
    fn vote(&self, hashes: TileHashes) {
        let mut poll = self.votes.poll();
        let of = hashes.of.clone();
        poll.hashes.entry(of).or_default().insert(self.gpu, hashes);
    }

    /// Has voted for the last time; waits until all others have, or `until` says to go on, and gives
    /// the tiles in which this GPU, and no other, was outvoted.
    fn outvoted(self, mut until: impl FnMut() -> bool) -> Vec<(String, u64)> {
        let mut poll = self.votes.poll();
        poll.voting.remove(&self.gpu);
        self.votes.changed.notify_all();
        while !poll.voting.is_empty() && !until() {
            poll = self
                .votes
                .changed
                .wait_timeout(poll, Duration::from_millis(100))
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        let mut tiles = Vec::new();
        for (of, votes) in &poll.hashes {
            let own = against(votes)
                .into_iter()
                .filter(|(gpu, _)| *gpu == self.gpu);
            tiles.extend(own.map(|(_, tile)| (of.clone(), tile)));
        }
        tiles
    }
}

impl Drop for Voter<'_> {
    fn drop(&mut self) {
        self.votes.poll().voting.remove(&self.gpu);
        self.votes.changed.notify_all();
    }
}

/// GPUs and tiles that differ from what most of the GPUs have.
fn against(votes: &BTreeMap<u32, TileHashes>) -> Vec<(u32, u64)> {
    let mut found = Vec::new();
    let tiles = votes
        .values()
        .map(|one| one.hashes.len())
        .min()
        .unwrap_or(0);
    for tile in 0..tiles {
        let mut counts: BTreeMap<u64, usize> = BTreeMap::new();
        for one in votes.values() {
            *counts.entry(one.hashes[tile]).or_default() += 1;
        }
        let majority = counts
            .iter()
            .find(|(_, count)| **count * 2 > votes.len())
            .map(|(hash, _)| *hash);
        // Two cannot tell which of them is wrong.
        let Some(right) = majority.filter(|_| votes.len() > 2) else {
            continue;
        };
        for (gpu, one) in votes {
            if one.hashes[tile] != right {
                found.push((*gpu, tile as u64));
            }
        }
    }
    found
}

/// The stage of one GPU.
#[derive(Debug)]
pub(super) struct ComputeStage {
    pub(super) context: Context,
    pub(super) gpu: GpuUnderTest,
    pub(super) votes: std::sync::Arc<Votes>,
}

impl ComputeStage {
    fn part(
        &self,
        jobs: &mut Jobs<'_>,
        voter: &Voter<'_>,
        element: Element,
        operands: Operands,
        seconds: f64,
    ) {
        let kind = match operands {
            Operands::Exact => "exact operands",
            Operands::Random => "random operands",
        };
        let doing = format!("{} gemm, {kind}", element.name());
        let work = BurnWork::Product {
            element,
            operands,
            size: size_of_products(element),
            seconds,
        };
        let gpus = std::slice::from_ref(&self.gpu);
        let Some(outcome) = jobs.run(gpus, &[], work, &doing, seconds) else {
            return;
        };
        if let BurnEnd::Unsupported(_) = outcome.end {
            return;
        }
        if let Some(rate) = value(&outcome, "peak compute rate") {
            let name = format!("{} rate, {kind}", element.name());
            jobs.measure(&self.gpu, &name, rate, "TFLOP/s");
        }
        let verified = u32::try_from(outcome.verified).unwrap_or(u32::MAX);
        let name = format!("{} products verified, {kind}", element.name());
        jobs.tell(&self.gpu, &name, f64::from(verified), "");
        if let Some(hashes) = outcome.hashes {
            voter.vote(hashes);
        }
    }
}

/// A tile that is another one than on most GPUs.
fn differs(gpu: u32, tile: u64, of: &str) -> Mismatch {
    Mismatch::Gpu(GpuMismatch {
        gpu,
        doing: format!("{of}: this tile differs from that of most GPUs of the node"),
        sm: Reading::absent("a hash does not tell the element, nor which multiprocessor made it"),
        tile: Some(tile),
        row: None,
        column: None,
        word: None,
        holds_word: None,
        peer: None,
        expected: Word(0),
        got: Word(0),
        xor: Word(0),
        bits: Vec::new(),
        repeats: 1,
        persistence: Persistence::NotTold,
    })
}

impl ComputeStage {
    /// What the others say of this GPU. A GPU that hangs is not waited for longer than it may.
    fn settle(&self, jobs: &mut Jobs<'_>, voter: Voter<'_>, watch: &Watch) {
        let began = Instant::now();
        let patience = self.context.plan.budget(self.context.kind) / 2 + PATIENCE;
        let tiles = voter.outvoted(|| watch.stopped().is_some() || began.elapsed() > patience);
        for (of, tile) in tiles {
            let mismatch = differs(self.gpu.index, tile, &of);
            watch.mismatch(mismatch.clone());
            jobs.result.mismatch_count += 1;
            if jobs.result.mismatches.len() < KEPT {
                jobs.result.mismatches.push(mismatch);
            }
        }
    }
}

impl Stage for ComputeStage {
    fn spec(&self) -> StageSpec {
        let what = "verified matrix products in bf16, fp8, fp32 and fp64 on every SM".to_owned();
        spec_of(&self.context, &self.gpu, what)
    }

    fn run(self: Box<Self>, watch: &Watch) -> StageResult {
        let name = name_of(&self.context, &self.gpu);
        if let Some(why) = &self.gpu.unfit {
            return StageResult::unsupported(name, why);
        }
        let mut jobs = Jobs::new(&self.context, watch, name);
        let seconds = self.context.plan.budget(self.context.kind).as_secs_f64();
        let voter = self.votes.join(self.gpu.index);
        for (element, operands, share) in PARTS {
            if jobs.over {
                break;
            }
            self.part(&mut jobs, &voter, element, operands, seconds * share);
        }
        self.settle(&mut jobs, voter, watch);
        jobs.judged("products")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hashes(hashes: &[u64]) -> TileHashes {
        TileHashes {
            of: "bf16".to_owned(),
            tile_rows: 128,
            tile_columns: 256,
            tiles_across: 32,
            hashes: hashes.to_vec(),
        }
    }

    fn outvoted(votes: &Votes, gpu: u32) -> Vec<u64> {
        let voter = votes.join(gpu);
        let tiles = voter.outvoted(|| true).into_iter();
        tiles.map(|(_, tile)| tile).collect()
    }

    #[test]
    fn a_gpu_is_outvoted_by_two_and_no_other_is_blamed() {
        let votes = Votes::default();
        for (gpu, of_gpu) in [(0, [1, 2, 3]), (1, [1, 9, 3])] {
            votes.join(gpu).vote(hashes(&of_gpu));
        }
        assert_eq!(outvoted(&votes, 1), [0_u64; 0], "two cannot tell");
        votes.join(2).vote(hashes(&[1, 2, 3]));
        assert_eq!(outvoted(&votes, 1), [1]);
        for gpu in [0, 2] {
            assert_eq!(outvoted(&votes, gpu), [0_u64; 0]);
        }
    }

    #[test]
    fn who_votes_first_waits_for_the_others_and_not_for_one_that_is_gone() {
        let votes = Votes::default();
        let (first, slow, gone) = (votes.join(0), votes.join(1), votes.join(2));
        let more = votes.join(3);
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| {
                first.vote(hashes(&[7]));
                first.outvoted(|| false)
            });
            drop(gone);
            slow.vote(hashes(&[8]));
            more.vote(hashes(&[8]));
            drop((slow, more));
            assert_eq!(waiting.join().expect("thread"), [("bf16".to_owned(), 0)]);
        });
    }
}
