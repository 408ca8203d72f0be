//! What a job has done, found and measured so far.

use std::collections::HashMap;
use std::sync::Arc;

use cupel_model::worker_burnin::{
    BurnEnd, BurnError, BurnMismatch, BurnOutcome, BurnPlace, BurnSample, CudaGpu, LinkRate,
    Staying, TileHashes,
};

use super::board::Board;
use crate::cuda::CudaError;

/// Differences that are kept; all are counted.
pub const KEPT: usize = 1024;

/// Why a job ends before it is done.
#[derive(Clone, Debug, PartialEq)]
pub enum Stop {
    /// It could not go on.
    Failed(BurnError),
    /// What was asked is not to be had.
    Unsupported(String),
    /// It was asked to end.
    Stopped,
}

impl Stop {
    /// An error of the GPU with this number.
    pub fn on(error: CudaError, gpu: u32) -> Self {
        Self::Failed(error.told(Some(gpu)))
    }
}

impl From<CudaError> for Stop {
    fn from(error: CudaError) -> Self {
        Self::Failed(error.told(None))
    }
}

/// What came of a job so far.
pub struct Report {
    board: Arc<Board>,
    /// The GPUs.
    pub gpus: Vec<CudaGpu>,
    /// Planted faults.
    pub planted: u64,
    /// How many of them were found.
    pub found: u64,
    /// Whether a planted fault had no chance to be found.
    pub proof_cut_short: bool,
    /// Whether all planting that the job meant to do was done.
    pub proof_complete: bool,
    /// What was asked.
    pub asked: u64,
    /// What was done of it.
    pub covered: u64,
    /// How much was verified.
    pub verified: u64,
    /// Hashes of a random product.
    pub hashes: Option<TileHashes>,
    /// Rates of links.
    pub links: Vec<LinkRate>,
    measured: Vec<BurnSample>,
    mismatch_count: u64,
    mismatches: Vec<BurnMismatch>,
    places: HashMap<(u32, BurnPlace, u64), usize>,
    notes: Vec<String>,
}

impl Report {
    /// An empty one.
    pub fn new(board: &Arc<Board>) -> Self {
        Self {
            board: Arc::clone(board),
            gpus: Vec::new(),
            planted: 0,
            found: 0,
            proof_cut_short: false,
            proof_complete: false,
            asked: 0,
            covered: 0,
            verified: 0,
            hashes: None,
            links: Vec::new(),
            measured: Vec::new(),
            mismatch_count: 0,
            mismatches: Vec::new(),
            places: HashMap::new(),
            notes: Vec::new(),
        }
    }

    /// Something that a reader should know.
    pub fn note(&mut self, note: impl Into<String>) {
        let note = note.into();
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    /// What was measured over the whole job; shown at once, too.
    pub fn measure(&mut self, gpu: u32, name: &str, value: f64, unit: &str) {
        if !value.is_finite() {
            return;
        }
        self.board.sample(gpu, name, value, unit);
        self.measured.retain(|m| m.gpu != gpu || m.name != name);
        self.measured.push(BurnSample {
            name: name.to_owned(),
            gpu,
            value,
            unit: unit.to_owned(),
        });
    }

    /// A difference that nobody planted. One at a known place counts there as a repeat.
    pub fn mismatch(&mut self, mismatch: BurnMismatch) {
        self.count(1);
        let place = (mismatch.gpu, mismatch.place, mismatch.word);
        if let Some(at) = self.places.get(&place) {
            let known = &mut self.mismatches[*at];
            known.repeats += 1;
            known.staying = worse(known.staying, mismatch.staying);
            return;
        }
        if self.mismatches.len() < KEPT {
            self.places.insert(place, self.mismatches.len());
            self.mismatches.push(mismatch);
        }
    }

    /// More of them than are told one by one.
    pub fn count(&mut self, more: u64) {
        self.mismatch_count += more;
        self.board.mismatches(self.mismatch_count);
    }

    /// A word turned out to stay wrong, or not to.
    pub fn stays(&mut self, gpu: u32, place: BurnPlace, word: u64, staying: Staying) {
        if let Some(at) = self.places.get(&(gpu, place, word)) {
            let known = &mut self.mismatches[*at];
            known.staying = worse(known.staying, staying);
        }
    }

    /// The end.
    pub fn outcome(self, end: BurnEnd, seconds: f64) -> BurnOutcome {
        BurnOutcome {
            end,
            gpus: self.gpus,
            planted: self.planted,
            found: self.found,
            proof_complete: self.proof_complete && !self.proof_cut_short,
            asked: self.asked,
            covered: self.covered.min(self.asked),
            verified: self.verified,
            measured: self.measured,
            mismatch_count: self.mismatch_count,
            mismatches: self.mismatches,
            hashes: self.hashes,
            links: self.links,
            notes: self.notes,
            seconds,
        }
    }
}

/// What is known of a word that was seen twice.
fn worse(known: Staying, new: Staying) -> Staying {
    let rank = |staying| match staying {
        Staying::NotTold => 0,
        Staying::Transient => 1,
        Staying::Stored => 2,
        Staying::Stuck => 3,
    };
    if rank(new) > rank(known) { new } else { known }
}
