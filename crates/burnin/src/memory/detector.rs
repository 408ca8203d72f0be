//! The detector: reads words and says which are not what belongs there.
//!
//! # Invariants
//! - It is given words, where they begin, pattern and phase; never what was planted.
//! - It looks at every bit of every word and goes on after the first difference.

use super::pattern::{Pattern, Phase};

/// Most differences of one shard that are kept; the rest are counted.
pub(super) const KEPT: usize = 4096;
/// Words that are compared before anybody asks whether one differed.
const STRIP: usize = 512;

/// A word that is not what belongs there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Difference {
    /// Word of the tested memory.
    pub(crate) word: u64,
    /// What belongs there.
    pub(crate) expected: u64,
    /// What is there.
    pub(crate) got: u64,
}

impl Difference {
    pub(super) fn mask(self) -> u64 {
        self.expected ^ self.got
    }
}

/// What was found.
#[derive(Clone, Debug, Default)]
pub(crate) struct Found {
    /// The first of them, in order.
    pub(crate) kept: Vec<Difference>,
    /// How many there are.
    pub(crate) count: u64,
}

/// Reads `words`, of which the first is word `first`.
#[inline(never)]
pub(crate) fn verify(words: &[u64], first: u64, pattern: Pattern, phase: Phase, found: &mut Found) {
    // What was written must be read: the compiler is not to know what stands there.
    let words = std::hint::black_box(words);
    let mask = phase.mask();
    let mut begin = first;
    for strip in words.chunks(STRIP) {
        let differing = strip.iter().zip(begin..).fold(0, |sum, (got, index)| {
            sum | (got ^ pattern.word(index) ^ mask)
        });
        if differing != 0 {
            for (got, word) in strip.iter().zip(begin..) {
                let expected = pattern.word(word) ^ mask;
                if *got != expected {
                    found.count += 1;
                    if found.kept.len() < KEPT {
                        found.kept.push(Difference {
                            word,
                            expected,
                            got: *got,
                        });
                    }
                }
            }
        }
        begin += strip.len() as u64;
    }
}

/// Writes what belongs there.
#[inline(never)]
pub(super) fn write(words: &mut [u64], first: u64, pattern: Pattern, phase: Phase) {
    let mask = phase.mask();
    for (word, index) in std::hint::black_box(words).iter_mut().zip(first..) {
        *word = pattern.word(index) ^ mask;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn planted_faults_are_found_at_their_word_and_bits_and_nothing_else(
            size in 1_usize..3000,
            first: u64,
            seed: u64,
            inverse: bool,
            faults in proptest::collection::vec((any::<prop::sample::Index>(), 1_u64..), 0..20),
        ) {
            let first = first >> 8;
            let pattern = Pattern::new(seed);
            let phase = if inverse { Phase::Inverse } else { Phase::Pattern };
            let mut words = vec![0; size];
            write(&mut words, first, pattern, phase);
            let mut planted = std::collections::BTreeMap::new();
            for (at, mask) in faults {
                *planted.entry(at.index(size)).or_insert(0) ^= mask;
            }
            planted.retain(|_, mask| *mask != 0);
            for (at, mask) in &planted {
                words[*at] ^= mask;
            }
            let mut found = Found::default();
            verify(&words, first, pattern, phase, &mut found);
            let seen: Vec<_> = found.kept.iter().map(|d| (d.word, d.mask())).collect();
            let want: Vec<_> = planted.iter().map(|(at, mask)| (first + *at as u64, *mask)).collect();
            prop_assert_eq!(seen, want);
            prop_assert_eq!(found.count, planted.len() as u64);
        }
    }
}
