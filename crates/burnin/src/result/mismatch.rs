//! Data that was not what it must be, and where.

use cupel_model::Reading;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Word;
use crate::cpu::Kernel;
use crate::gpu::GpuMismatch;
use crate::memory::Phase;

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

/// A word of a drive that was not what had been written there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DriveMismatch {
    /// Kernel's name of the block device.
    pub drive: String,
    /// Its serial.
    pub serial: String,
    /// Byte of the drive.
    pub offset_bytes: u64,
    /// What had been written.
    pub expected: Word,
    /// What was read.
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
    /// On a GPU or on its links.
    Gpu(GpuMismatch),
    /// On a drive.
    Drive(DriveMismatch),
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
            Self::Gpu(m) => m.fmt(f),
            Self::Drive(m) => write!(
                f,
                "drive {} (serial {}) gave {} for {} at byte {}, bits {:?} wrong",
                m.drive, m.serial, m.got, m.expected, m.offset_bytes, m.bits
            ),
        }
    }
}
