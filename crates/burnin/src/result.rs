//! What came of a burn-in: measured, covered, found, proven.
//!
//! # Invariants
//! - Values carry their unit beside them, limits their source; without one: `uncalibrated`.
//! - 64-bit words are hexadecimal text: JSON numbers lose bits above 2^53.

use std::borrow::Cow;

use cupel_model::units::{Bytes, Percent, Seconds};
use cupel_model::{Reading, Timestamp};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::cpu::Kernel;
use crate::memory::Phase;
use crate::plan::{Plan, StageKind};

/// Sixty-four bits of data. JSON: `"0x00c0ffee00000000"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Word(pub u64);

impl Word {
    /// Numbers of the bits that are set, lowest first.
    pub fn bits(self) -> Vec<u32> {
        (0..64).filter(|bit| self.0 >> bit & 1 == 1).collect()
    }
}

impl std::fmt::Display for Word {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:#018x}", self.0)
    }
}

impl Serialize for Word {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Word {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        text.strip_prefix("0x")
            .and_then(|digits| u64::from_str_radix(digits, 16).ok())
            .map(Self)
            .ok_or_else(|| serde::de::Error::custom(format!("{text:?} is not a word (want 0x…)")))
    }
}

impl JsonSchema for Word {
    fn schema_name() -> Cow<'static, str> {
        "Word".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^0x[0-9a-f]{16}$" })
    }
}

/// What came of a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[derive(PartialOrd, Ord)]
pub enum Outcome {
    /// All that was asked was done, and every bit was right.
    Pass,
    /// Less was done than was asked, and what was done was right.
    Incomplete,
    /// A bit was wrong, or the detector is broken.
    Fail,
}

/// What came of the whole run: the worst of its stages.
pub type BurnInVerdict = Outcome;

/// Whether the detector has been shown to find what it is there to find.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[derive(PartialOrd, Ord)]
pub enum Detector {
    /// Every planted fault was found at its word and bit.
    Proven,
    /// The run ended before faults were planted and looked for.
    NotProven,
    /// A planted fault was missed.
    Broken,
}

/// The planted faults and how many were found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Proof {
    /// Whether the detector is to be believed.
    pub detector: Detector,
    /// How many faults were planted.
    pub planted: u64,
    /// How many of them were found at their word and bit.
    pub found: u64,
}

impl Proof {
    /// `whole`: every planted fault had its chance to be found.
    pub(crate) fn of(planted: u64, found: u64, whole: bool) -> Self {
        let detector = if planted == 0 {
            Detector::NotProven
        } else if found == planted {
            Detector::Proven
        } else if whole {
            Detector::Broken
        } else {
            Detector::NotProven
        };
        Self {
            detector,
            planted,
            found,
        }
    }
}

/// How much was tested of what was asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Coverage {
    /// What is counted: `processors` or `bytes`.
    pub unit: String,
    /// How many were asked.
    pub asked: u64,
    /// How many were tested from end to end.
    pub covered: u64,
    /// `covered` of `asked`.
    pub percent: Percent,
}

/// What a measured value is held against.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Floor {
    /// Nobody published or measured a limit that can be trusted for this machine.
    Uncalibrated,
    /// It must be at least this.
    AtLeast {
        /// The limit.
        value: f64,
        /// Where it comes from.
        source: String,
    },
}

/// Something that a stage measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Measured {
    /// What, e.g. `verify rate`.
    pub name: String,
    /// How much.
    pub value: f64,
    /// Of what, e.g. `GB/s`.
    pub unit: String,
    /// What it is held against.
    pub floor: Floor,
}

impl Measured {
    /// A value for which there is no trustworthy limit.
    pub(crate) fn uncalibrated(name: impl Into<String>, value: f64, unit: &str) -> Self {
        Self {
            name: name.into(),
            value: if value.is_finite() { value } else { 0.0 },
            unit: unit.to_owned(),
            floor: Floor::Uncalibrated,
        }
    }
}

/// Whether a wrong word stays wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Persistence {
    /// Read again from memory it was right: the reading went wrong, not the cell.
    Transient,
    /// It stayed wrong until it was written again: the cell or its writing went wrong once.
    Stored,
    /// Written again it was wrong again at the same bits.
    Stuck,
    /// Too little memory was tested to be sure that a second look does not come from a cache.
    NotTold,
}

/// A word of memory that was not what had been written there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MemoryMismatch {
    /// NUMA node of the processor that wrote and read it.
    pub numa_node: u32,
    /// Word of the tested memory; pattern and seed derive from it what belongs there.
    pub word: u64,
    /// Byte of the tested memory.
    pub offset_bytes: u64,
    /// In which pass, from 1.
    pub pass: u64,
    /// In which half of the pass.
    pub phase: Phase,
    /// What belongs there.
    pub expected: Word,
    /// What was there.
    pub got: Word,
    /// The bits that differ.
    pub xor: Word,
    /// Their numbers, lowest first.
    pub bits: Vec<u32>,
    /// Whether it stays wrong.
    pub persistence: Persistence,
    /// Word whose content was found here instead: an address fault; the word itself when its last
    /// write was lost. Null for plain bit faults.
    pub holds_word: Option<u64>,
    /// Physical address of the word, where the kernel tells it.
    pub physical_address: Reading<Word>,
}

/// A result of arithmetic that was not what it must be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CpuMismatch {
    /// Processor that computed it.
    pub cpu: u32,
    /// Processor on which the oracle ran; null when it could not be pinned to another one.
    pub checked_by: Option<u32>,
    /// What was computed.
    pub kernel: Kernel,
    /// On which vector unit.
    pub vector: String,
    /// Round, from 0; seed, kernel and round give the operands.
    pub round: u64,
    /// Word of the result; of a matrix: row * 96 + column.
    pub word: u64,
    /// What it must be.
    pub expected: Word,
    /// What it was.
    pub got: Word,
    /// The bits that differ.
    pub xor: Word,
    /// Their numbers, lowest first.
    pub bits: Vec<u32>,
}

/// A difference that nobody planted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Mismatch {
    /// In arithmetic.
    Cpu(CpuMismatch),
    /// In memory.
    Memory(MemoryMismatch),
}

impl std::fmt::Display for Mismatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Cpu(m) => write!(
                f,
                "processor {} computed {} for {} in {} ({}, round {}, word {}), bits {:?} wrong",
                m.cpu, m.got, m.expected, m.kernel, m.vector, m.round, m.word, m.bits
            ),
            Self::Memory(m) => {
                write!(
                    f,
                    "memory word {} of NUMA node {} held {} for {}, bits {:?} wrong",
                    m.word, m.numa_node, m.got, m.expected, m.bits
                )?;
                if let Some(other) = m.holds_word {
                    write!(f, ", the content of word {other}")?;
                }
                if let Some(address) = m.physical_address.value() {
                    write!(f, ", physical address {address}")?;
                }
                Ok(())
            }
        }
    }
}

/// What came of one stage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StageResult {
    /// Which.
    pub stage: StageKind,
    /// What came of it.
    pub outcome: Outcome,
    /// Why it is not a pass; empty for a pass.
    pub reasons: Vec<String>,
    /// The planted faults.
    pub proof: Proof,
    /// How much was tested.
    pub coverage: Coverage,
    /// What was measured.
    pub measured: Vec<Measured>,
    /// How many differences nobody planted.
    pub mismatch_count: u64,
    /// The first of them.
    pub mismatches: Vec<Mismatch>,
    /// What a reader should know: what was left out, what could not be told.
    pub notes: Vec<String>,
    /// How long it took.
    pub elapsed_seconds: Seconds,
}

impl StageResult {
    /// The same with its outcome, by the rules that hold for every stage.
    pub(crate) fn judged(mut self) -> Self {
        let Proof {
            detector,
            planted,
            found,
        } = self.proof;
        let coverage = &self.coverage;
        if coverage.covered < coverage.asked {
            let amount = |n: u64| match self.stage {
                StageKind::Cpu => format!("{n} processors"),
                StageKind::Memory => Bytes(n).human(),
            };
            self.reasons.push(format!(
                "{} of {} were tested ({})",
                amount(coverage.covered),
                amount(coverage.asked),
                coverage.percent
            ));
        }
        match detector {
            Detector::Proven => {}
            Detector::NotProven => self.reasons.push(
                "the detector was not proven: the run ended before planted faults were looked for"
                    .to_owned(),
            ),
            Detector::Broken => self.reasons.insert(
                0,
                format!(
                    "detector broken: it missed {} of {planted} planted faults",
                    planted - found
                ),
            ),
        }
        if self.mismatch_count > 0 {
            self.reasons
                .insert(0, format!("{} words were wrong", self.mismatch_count));
        }
        self.outcome = if self.mismatch_count > 0 || detector == Detector::Broken {
            Outcome::Fail
        } else if self.reasons.is_empty() {
            Outcome::Pass
        } else {
            Outcome::Incomplete
        };
        self
    }
}

/// What came of a burn-in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BurnInResult {
    /// Version of this JSON.
    pub schema_version: u32,
    /// What was asked.
    pub plan: Plan,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub finished_at: Timestamp,
    /// How long it took, by a clock that never jumps.
    pub elapsed_seconds: Seconds,
    /// The worst of the stages.
    pub verdict: BurnInVerdict,
    /// Whether the detectors are to be believed: the worst of the stages.
    pub detector: Detector,
    /// Whether it was cancelled.
    pub cancelled: bool,
    /// Its stages, in the order in which they ran.
    pub stages: Vec<StageResult>,
    /// What a reader should know about the whole.
    pub notes: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_keep_all_their_bits_through_json() {
        let word = Word(0xffff_0000_0000_0001);
        let json = serde_json::to_string(&word).expect("json");
        assert_eq!(json, "\"0xffff000000000001\"");
        assert_eq!(serde_json::from_str::<Word>(&json).expect("word"), word);
        assert!(serde_json::from_str::<Word>("\"12\"").is_err());
        assert_eq!(Word(0x8000_0000_0000_0005).bits(), [0, 2, 63]);
    }
}
