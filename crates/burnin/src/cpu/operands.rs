//! Operands of every kernel, derived from (seed, kernel, round) alone.
//!
//! # Invariants
//! - Two processors that are given the same three numbers compute on the same bits.
//! - Integer-valued operands are so small that every partial sum of a product is exact.

use super::kernel::Kernel;
use crate::memory::Pattern;

/// Rows and columns of a matrix.
pub(super) const SIDE: usize = 96;
/// Words of a matrix.
pub(super) const AREA: usize = SIDE * SIDE;

/// Whole numbers up to 2^20: a product is below 2^40, a sum of 96 below 2^47, exact in FP64.
const FP64_BITS: u32 = 20;
/// Whole numbers up to 2^8: a product is at most 2^16, a sum of 96 below 2^23, exact in FP32.
const FP32_BITS: u32 = 8;

/// A stream of derived words.
pub(super) struct Stream {
    pattern: Pattern,
    next: u64,
}

impl Stream {
    pub(super) fn new(seed: u64, kernel: Kernel, round: u64) -> Self {
        let pattern = Pattern::new(seed);
        Self {
            pattern: Pattern::new(pattern.word(round) ^ pattern.word(!kernel.number())),
            next: 0,
        }
    }

    pub(super) fn word(&mut self) -> u64 {
        let word = self.pattern.word(self.next);
        self.next += 1;
        word
    }

    /// A whole number of at most `bits` bits, with sign.
    fn integer(&mut self, bits: u32) -> i32 {
        let word = self.word();
        let magnitude = i32::try_from(word >> (64 - bits)).unwrap_or(0);
        if word & 1 == 1 { -magnitude } else { magnitude }
    }
}

/// Two matrices of whole numbers, row by row.
pub(super) fn integers(seed: u64, kernel: Kernel, round: u64) -> (Vec<i32>, Vec<i32>) {
    let bits = if kernel.word_bits() == 32 {
        FP32_BITS
    } else {
        FP64_BITS
    };
    let mut stream = Stream::new(seed, kernel, round);
    let mut matrix = || (0..AREA).map(|_| stream.integer(bits)).collect();
    (matrix(), matrix())
}

/// Two matrices of numbers in [1, 2) with random mantissas, as bits.
pub(super) fn mantissas(seed: u64, kernel: Kernel, round: u64) -> (Vec<u64>, Vec<u64>) {
    let mut stream = Stream::new(seed, kernel, round);
    let narrow = kernel.word_bits() == 32;
    let mut matrix = || {
        (0..AREA)
            .map(|_| {
                let word = stream.word();
                if narrow {
                    0x3f80_0000 | word >> 41
                } else {
                    0x3ff0_0000_0000_0000 | word >> 12
                }
            })
            .collect()
    };
    (matrix(), matrix())
}
