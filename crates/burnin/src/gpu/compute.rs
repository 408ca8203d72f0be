//! Verified arithmetic on every SM: products of every type, exact and random.
//!
//! Random products have no oracle of their own. GPUs of one product must give the same bits: each
//! stage puts the hashes of its tiles to the vote, and a GPU whose tile differs from that of the
//! majority has computed wrong, however often it repeats itself.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

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
#[derive(Debug, Default)]
pub(super) struct Votes(Mutex<BTreeMap<String, BTreeMap<u32, TileHashes>>>);

impl Votes {
    /// Puts a GPU's hashes to the vote; gives the tiles in which a GPU differs from the majority of
    /// those that have voted so far, each pair once.
    fn put(&self, gpu: u32, hashes: TileHashes) -> Vec<(u32, u64)> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let votes = all.entry(hashes.of.clone()).or_default();
        let before = against(votes);
        votes.insert(gpu, hashes);
        let mut now = against(votes);
        now.retain(|one| !before.contains(one));
        now
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
    fn part(&self, jobs: &mut Jobs<'_>, element: Element, operands: Operands, seconds: f64) {
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
            let tile_size = [hashes.tile_rows, hashes.tile_columns];
            let across = u64::from(hashes.tiles_across.max(1));
            for (gpu, tile) in self.votes.put(self.gpu.index, hashes) {
                let mismatch = differs(gpu, tile, tile_size, across, &doing);
                jobs.result.mismatch_count += 1;
                jobs.result.mismatches.push(mismatch);
            }
        }
    }
}

/// A tile that is another one than on most GPUs.
fn differs(gpu: u32, tile: u64, size: [u32; 2], across: u64, doing: &str) -> Mismatch {
    Mismatch::Gpu(GpuMismatch {
        gpu,
        doing: format!("{doing}: this tile differs from that of most GPUs of the node"),
        sm: Reading::absent("which one computed the tile is not known of other GPUs"),
        tile: Some(tile),
        row: Some(tile / across * u64::from(size[0])),
        column: Some(tile % across * u64::from(size[1])),
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
        for (element, operands, share) in PARTS {
            if jobs.over {
                break;
            }
            self.part(&mut jobs, element, operands, seconds * share);
        }
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

    #[test]
    fn a_gpu_is_outvoted_by_two_and_named_once() {
        let votes = Votes::default();
        assert_eq!(votes.put(0, hashes(&[1, 2, 3])), []);
        assert_eq!(votes.put(1, hashes(&[1, 9, 3])), [], "two cannot tell");
        assert_eq!(votes.put(2, hashes(&[1, 2, 3])), [(1, 1)]);
        assert_eq!(votes.put(3, hashes(&[1, 2, 4])), [(3, 2)]);
        assert_eq!(votes.put(4, hashes(&[1, 2, 3])), []);
    }
}
