//! What belongs into a word: a function of (seed, word index), and its inverse function.
//!
//! # Invariants
//! - No two words of a run hold the same pattern, so that a word which holds another one's names
//!   it: that is how address faults are found.
//! - Any word can be derived again from the seed in the result.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The half of a pass.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// The pattern itself.
    Pattern,
    /// All its bits inverted.
    Inverse,
}

impl Phase {
    /// Both, in order.
    pub const ALL: [Self; 2] = [Self::Pattern, Self::Inverse];

    /// What the pattern is combined with by exclusive-or.
    pub fn mask(self) -> u64 {
        match self {
            Self::Pattern => 0,
            Self::Inverse => u64::MAX,
        }
    }

    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pattern => "pattern",
            Self::Inverse => "inverse",
        }
    }
}

/// 2^64 divided by the golden ratio: neighbouring indexes land far apart.
const STRIDE: u64 = 0x9e37_79b9_7f4a_7c15;
/// An odd factor; multiplying by it can be undone.
const FACTOR: u64 = 0xbf58_476d_1ce4_e5b9;

/// The inverse of an odd number modulo 2^64, by Newton's iteration.
const fn inverse(odd: u64) -> u64 {
    let mut guess = odd;
    let mut step = 0;
    while step < 5 {
        guess = guess.wrapping_mul(2_u64.wrapping_sub(odd.wrapping_mul(guess)));
        step += 1;
    }
    guess
}

const STRIDE_INVERSE: u64 = inverse(STRIDE);
const FACTOR_INVERSE: u64 = inverse(FACTOR);

/// The pattern of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pattern {
    seed: u64,
}

impl Pattern {
    /// The pattern of this seed.
    pub fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// What belongs into word `index`.
    #[inline(always)]
    pub fn word(self, index: u64) -> u64 {
        let mut z = index.wrapping_mul(STRIDE).wrapping_add(self.seed);
        z ^= z >> 32;
        z = z.wrapping_mul(FACTOR);
        z ^ z >> 32
    }

    /// How many of `words`, of which the first is word `first`, do not hold what belongs there: the
    /// comparison that memory, drives and copies are verified by.
    pub fn differing(self, words: &[u64], first: u64) -> u64 {
        let mut found = super::detector::Found::default();
        super::detector::verify(words, first, self, Phase::Pattern, &mut found);
        found.count
    }

    /// Which word's pattern this is; every value is some word's.
    pub fn index_of(self, word: u64) -> u64 {
        let mut z = word ^ word >> 32;
        z = z.wrapping_mul(FACTOR_INVERSE);
        z ^= z >> 32;
        z.wrapping_sub(self.seed).wrapping_mul(STRIDE_INVERSE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_word_names_its_index(seed: u64, index: u64) {
            let pattern = Pattern::new(seed);
            prop_assert_eq!(pattern.index_of(pattern.word(index)), index);
        }
    }

    #[test]
    fn every_bit_is_set_about_half_of_the_time() {
        let pattern = Pattern::new(1);
        for bit in 0..64 {
            let ones = (0..4096)
                .filter(|index| pattern.word(*index) >> bit & 1 == 1)
                .count();
            assert!((1800..2300).contains(&ones), "bit {bit}: {ones}");
        }
    }
}
