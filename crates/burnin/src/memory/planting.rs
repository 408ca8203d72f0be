//! Plants faults in a shard after it was written, and afterwards holds what was planted against
//! what was found.
//!
//! # Invariants
//! - The list never reaches the detector: planting changes words, nothing else.
//! - What was found beyond the list is the hardware's, also in a word where something was planted.

use rand::RngExt;
use rand::rngs::ThreadRng;

use super::detector::Difference;
use super::pattern::{Pattern, Phase};
use super::shard::Shard;
use crate::fault::{FaultPlan, MemoryFault, MemoryFaultKind};

/// Faults that the run plants in each shard.
const PER_SHARD: u64 = 8;

/// What was done to a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Planted {
    pub(super) word: u64,
    pub(super) mask: u64,
}

/// Plants in one shard.
#[derive(Debug)]
pub(super) struct Planter {
    pattern: Pattern,
    /// The run's own, to prove the detector.
    own: Vec<MemoryFault>,
    /// A test's, taken for the hardware's.
    foreign: Vec<MemoryFault>,
    blind: bool,
}

impl Planter {
    pub(super) fn new(pattern: Pattern, faults: &FaultPlan, shard: &Shard) -> Self {
        let end = shard.first + shard.target;
        Self {
            pattern,
            own: Vec::new(),
            foreign: faults
                .memory
                .iter()
                .filter(|fault| (shard.first..end).contains(&fault.word))
                .copied()
                .collect(),
            blind: faults.blind,
        }
    }

    /// Chooses the run's own faults, at random words and bits of what the shard has.
    pub(super) fn choose(&mut self, shard: &Shard) {
        let words = shard.first..shard.first + shard.len();
        if words.is_empty() {
            return;
        }
        let mut rng = rand::rng();
        for number in 0..PER_SHARD.min(shard.len()) {
            let word = rng.random_range(words.clone());
            let taken = |fault: &MemoryFault| fault.word == word;
            if self.own.iter().any(taken) || self.foreign.iter().any(taken) {
                continue;
            }
            let kind = kind(number, word, &words, &mut rng);
            self.own.push(MemoryFault { word, kind });
        }
    }

    /// After the shard was written: returns what the run itself planted.
    pub(super) fn after_write(&self, shard: &mut Shard, pass: u64, phase: Phase) -> Vec<Planted> {
        for fault in &self.foreign {
            self.apply(shard, fault, pass, phase);
        }
        let mut planted = Vec::new();
        for fault in self.own.iter().filter(|_| pass == 1) {
            let before = shard.get(fault.word).copied();
            self.apply(shard, fault, pass, phase);
            let after = shard.get(fault.word).copied();
            if let (Some(before), Some(after)) = (before, after)
                && before != after
            {
                planted.push(Planted {
                    word: fault.word,
                    mask: before ^ after,
                });
                if self.blind
                    && let Some(slot) = shard.get_mut(fault.word)
                {
                    *slot = before;
                }
            }
        }
        planted
    }

    /// After single words were written again: only what is stuck comes back.
    pub(super) fn after_rewrite(&self, shard: &mut Shard) {
        for fault in self.foreign.iter().chain(&self.own) {
            if let MemoryFaultKind::Stuck { bit, high } = fault.kind {
                stick(shard, fault.word, bit, high);
            }
        }
    }

    /// Before words are read a second time: what was only misread is right now.
    pub(super) fn before_second_look(&self, shard: &mut Shard, phase: Phase) {
        for fault in &self.foreign {
            if let MemoryFaultKind::Misread { phase: when, .. } = fault.kind
                && when == phase
                && let Some(slot) = shard.get_mut(fault.word)
            {
                *slot = self.pattern.word(fault.word) ^ phase.mask();
            }
        }
    }

    /// Takes the run's own faults away; returns the words that have to be written and looked at
    /// once more.
    pub(super) fn retire(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.own)
            .into_iter()
            .map(|fault| fault.word)
            .collect()
    }

    fn apply(&self, shard: &mut Shard, fault: &MemoryFault, pass: u64, phase: Phase) {
        let first = |when: Phase| pass == 1 && when == phase;
        let Some(slot) = shard.get_mut(fault.word) else {
            return;
        };
        match fault.kind {
            MemoryFaultKind::Flip { bit, phase } | MemoryFaultKind::Misread { bit, phase } => {
                if first(phase) {
                    *slot ^= 1 << (bit % 64);
                }
            }
            MemoryFaultKind::Replace { value, phase } => {
                if first(phase) {
                    *slot = value;
                }
            }
            MemoryFaultKind::Alias { of, phase } => {
                if first(phase) {
                    *slot = self.pattern.word(of) ^ phase.mask();
                }
            }
            MemoryFaultKind::Stuck { bit, high } => stick(shard, fault.word, bit, high),
        }
    }
}

fn stick(shard: &mut Shard, word: u64, bit: u32, high: bool) {
    if let Some(slot) = shard.get_mut(word) {
        let mask = 1 << (bit % 64);
        if high {
            *slot |= mask;
        } else {
            *slot &= !mask;
        }
    }
}

/// The kinds take turns, so that every shard of eight words or more has all of them.
fn kind(
    number: u64,
    word: u64,
    words: &std::ops::Range<u64>,
    rng: &mut ThreadRng,
) -> MemoryFaultKind {
    let bit = rng.random_range(0..64);
    let other = rng.random_range(words.clone());
    let phase = if number.is_multiple_of(2) {
        Phase::Pattern
    } else {
        Phase::Inverse
    };
    match number % 4 {
        1 => MemoryFaultKind::Stuck {
            bit,
            high: number.is_multiple_of(3),
        },
        2 if other != word => MemoryFaultKind::Alias { of: other, phase },
        3 => MemoryFaultKind::Replace {
            value: rng.random(),
            phase,
        },
        _ => MemoryFaultKind::Flip { bit, phase },
    }
}

/// Takes what was planted out of what was found: how many were found, and what remains.
pub(super) fn compare<T>(
    planted: &[Planted],
    mut found: Vec<(Difference, T)>,
) -> (u64, Vec<(Difference, T)>) {
    let mut hits = 0;
    for fault in planted {
        let Some(at) = found.iter().position(|(seen, _)| seen.word == fault.word) else {
            continue;
        };
        hits += 1;
        if found[at].0.mask() == fault.mask {
            found.remove(at);
        } else {
            // More than what was planted is wrong in this word: that is the hardware's.
            found[at].0.got ^= fault.mask;
        }
    }
    (hits, found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_found_beyond_the_list_remains() {
        let seen = |word, got| {
            (
                Difference {
                    word,
                    expected: 0,
                    got,
                },
                (),
            )
        };
        let planted = [
            Planted { word: 1, mask: 4 },
            Planted { word: 2, mask: 8 },
            Planted { word: 9, mask: 1 },
        ];
        let (hits, rest) = compare(&planted, vec![seen(1, 4), seen(2, 9), seen(3, 2)]);
        assert_eq!(hits, 2);
        assert_eq!(rest, [seen(2, 1), seen(3, 2)]);
    }

    #[test]
    fn every_kind_is_planted_in_a_large_shard_and_retired() {
        let pattern = Pattern::new(3);
        let mut shard = Shard::new(0, 0, 0, 1 << 16);
        while shard.grow(pattern, Phase::Pattern).expect("memory") > 0 {}
        let mut planter = Planter::new(pattern, &FaultPlan::default(), &shard);
        planter.choose(&shard);
        assert!(planter.own.len() >= 7, "{:?}", planter.own);
        for is in [
            (|k| matches!(k, MemoryFaultKind::Flip { .. })) as fn(MemoryFaultKind) -> bool,
            |k| matches!(k, MemoryFaultKind::Replace { .. }),
            |k| matches!(k, MemoryFaultKind::Stuck { .. }),
            |k| matches!(k, MemoryFaultKind::Alias { .. }),
        ] {
            assert!(planter.own.iter().any(|fault| is(fault.kind)));
        }
        assert!(
            !planter
                .after_write(&mut shard, 1, Phase::Pattern)
                .is_empty()
        );
        assert_eq!(planter.after_write(&mut shard, 2, Phase::Pattern), []);
        planter.retire();
        assert!(planter.own.is_empty());
    }
}
