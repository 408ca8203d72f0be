//! GPU stages: patterns over memory, verified arithmetic, power, links.

use cupel_model::Reading;
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
        if let Some(peer) = &self.peer {
            write!(f, ", with {peer}")?;
        }
        if self.repeats > 1 {
            write!(f, ", {} times", self.repeats)?;
        }
        Ok(())
    }
}
