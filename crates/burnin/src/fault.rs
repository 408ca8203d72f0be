//! Faults that are planted in the tested data.
//!
//! # Invariants
//! - A fault acts where the hardware's would: on the words of the tested buffer after they were
//!   written, on a result after it was computed. No detector is given the list.
//! - What is planted by the run to prove its detector is kept apart from a [`FaultPlan`], which a
//!   test hands in and which the run takes for the hardware's own.

use crate::cpu::Kernel;
use crate::memory::Phase;

/// What a faulty memory cell does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryFaultKind {
    /// One bit is inverted after the write of this phase of the first pass.
    Flip {
        /// Which, 0 to 63.
        bit: u32,
        /// After which write.
        phase: Phase,
    },
    /// The whole word is replaced after the write of this phase of the first pass.
    Replace {
        /// By what.
        value: u64,
        /// After which write.
        phase: Phase,
    },
    /// The content of another word lands here after the write of this phase of the first pass.
    Alias {
        /// Which word's.
        of: u64,
        /// After which write.
        phase: Phase,
    },
    /// One bit keeps its value whatever is written.
    Stuck {
        /// Which, 0 to 63.
        bit: u32,
        /// Whether at one.
        high: bool,
    },
    /// One bit is read inverted the first time in this phase of the first pass, then right.
    Misread {
        /// Which, 0 to 63.
        bit: u32,
        /// In which phase.
        phase: Phase,
    },
}

/// A faulty memory cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryFault {
    /// Word of the tested memory.
    pub word: u64,
    /// What it does.
    pub kind: MemoryFaultKind,
}

/// A wrong result of arithmetic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CpuFault {
    /// Processor that computes it.
    pub cpu: u32,
    /// In which kernel.
    pub kernel: Kernel,
    /// In which round, from 0.
    pub round: u64,
    /// Word of the result; taken modulo its length.
    pub word: u64,
    /// Bit, 0 to 63; taken modulo the kernel's word length.
    pub bit: u32,
}

impl FaultPlan {
    /// Does what [`MemoryFaultKind::Flip`] says to words that were read from a drive.
    pub(crate) fn misread(&self, words: &mut [u64], first: u64) {
        for fault in &self.memory {
            if let MemoryFaultKind::Flip { bit, .. } = fault.kind
                && let Some(at) = fault.word.checked_sub(first)
                && let Some(word) = usize::try_from(at).ok().and_then(|at| words.get_mut(at))
            {
                *word ^= 1 << (bit % 64);
            }
        }
    }
}

/// Faults that a test hands in, to be taken for the hardware's own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FaultPlan {
    /// Faulty cells.
    pub memory: Vec<MemoryFault>,
    /// Wrong results.
    pub cpu: Vec<CpuFault>,
    /// The run's own planted faults vanish before anybody looks: what a blind detector looks like.
    pub blind: bool,
    /// Memory stops being available after this many bytes were taken.
    pub scarce_after_bytes: Option<u64>,
    /// The thread of this shard of memory, or of this processor, dies.
    pub dies: Option<usize>,
}
