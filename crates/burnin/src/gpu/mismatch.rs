//! A difference on a GPU, and how a worker's word for it becomes one.

use cupel_model::Reading;
use cupel_model::worker_burnin::{BurnMismatch, BurnPlace, Staying};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::result::{Persistence, Word};

/// A difference on a GPU that nobody planted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct GpuMismatch {
    /// NVML index.
    pub gpu: u32,
    /// What was done, e.g. `bf16 gemm, exact operands` or `address pattern, inverse`.
    pub doing: String,
    /// Streaming multiprocessor that computed or read it.
    pub sm: Reading<u32>,
    /// Tile of the result, in arithmetic.
    pub tile: Option<u64>,
    /// Row of the result, in arithmetic.
    pub row: Option<u64>,
    /// Column of the result, in arithmetic.
    pub column: Option<u64>,
    /// Word of the tested memory, in memory and on links.
    pub word: Option<u64>,
    /// Memory: the word whose content was found here instead, an address fault; the word itself
    /// when its last write was lost.
    #[serde(default)]
    pub holds_word: Option<u64>,
    /// The other end, on links: `host`, `gpu5`.
    pub peer: Option<String>,
    /// What must be there.
    pub expected: Word,
    /// What was there.
    pub got: Word,
    /// The bits that differ.
    pub xor: Word,
    /// Their numbers, lowest first.
    pub bits: Vec<u32>,
    /// How often it was seen at this place.
    pub repeats: u64,
    /// Whether it stays wrong.
    pub persistence: Persistence,
}

impl GpuMismatch {
    /// A worker's word for it; `gpu` is the NVML index of the job's GPU.
    pub(super) fn of(told: &BurnMismatch, gpu: u32, doing: &str) -> Self {
        let (expected, got) = (told.expected.unwrap_or(0), told.got.unwrap_or(0));
        let xor = Word(expected ^ got);
        let of_product = told.place == BurnPlace::Product;
        Self {
            gpu,
            doing: format!("{doing}: {}", told.step),
            sm: told.sm.map_or_else(
                || Reading::absent("the step does not tell its multiprocessor"),
                Reading::Value,
            ),
            tile: told.tile.map(u64::from),
            row: told.row.map(u64::from),
            column: told.column.map(u64::from),
            word: (!of_product).then_some(told.word),
            holds_word: told.holds_word,
            peer: None,
            expected: Word(expected),
            got: Word(got),
            xor,
            bits: xor.bits(),
            repeats: u64::from(told.repeats),
            persistence: match told.staying {
                Staying::Transient => Persistence::Transient,
                Staying::Stored => Persistence::Stored,
                Staying::Stuck => Persistence::Stuck,
                Staying::NotTold => Persistence::NotTold,
            },
        }
    }
}

impl std::fmt::Display for GpuMismatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "GPU {}, {}: {} for {}, bits {:?} wrong",
            self.gpu, self.doing, self.got, self.expected, self.bits
        )?;
        if let Some(sm) = self.sm.value() {
            write!(f, ", SM {sm}")?;
        }
        if let (Some(row), Some(column)) = (self.row, self.column) {
            write!(f, ", row {row}, column {column}")?;
        }
        if let Some(word) = self.word {
            write!(f, ", word {word}")?;
        }
        match (self.word, self.holds_word) {
            (Some(word), Some(other)) if word == other => {
                f.write_str(", its last write was lost")?
            }
            (_, Some(other)) => write!(f, ", the content of word {other}")?,
            (_, None) => {}
        }
        if let Some(peer) = &self.peer {
            write!(f, ", with {peer}")?;
        }
        if self.repeats > 1 {
            write!(f, ", {} times", self.repeats)?;
        }
        Ok(())
    }
}
