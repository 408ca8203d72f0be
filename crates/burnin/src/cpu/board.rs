//! Where processors hold their results against each other.
//!
//! # Invariants
//! - A result counts as verified only when the oracle accepted its unit and its bits equal those
//!   that another processor (on a machine with one: another run) got for the same unit.
//! - The second processor to bring a unit runs the oracle on the first one's words; whatever is
//!   disputed is settled by a processor other than the one that computed it, where there is one.
//! - Memory is bounded by how far the fastest processor runs ahead: a unit that all have brought
//!   is forgotten.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::kernel::Kernel;
use super::oracle;
use crate::result::{CpuMismatch, Word};

/// A result and who computed it.
#[derive(Clone, Debug)]
pub(super) struct Claim {
    pub(super) cpu: u32,
    pub(super) vector: &'static str,
    pub(super) kernel: Kernel,
    pub(super) round: u64,
    pub(super) words: Vec<u64>,
}

#[derive(Debug)]
enum Entry {
    /// Nobody has brought it.
    Empty,
    /// One has; the oracle has not looked yet.
    Waiting(Claim),
    /// Two agree and the oracle accepted it: the digest of what is right.
    Agreed { digest: u64, posts: usize },
    /// Somebody differs: each claim is settled by itself.
    Disputed { posts: usize },
}

/// Processor and kernel of a result that was verified.
pub(super) type Verified = (u32, Kernel);

type Units = HashMap<(u64, Kernel), Arc<Mutex<Entry>>>;

#[derive(Debug)]
pub(super) struct Board {
    seed: u64,
    /// How many results a unit will have.
    posts: usize,
    units: Mutex<Units>,
    disputes: Mutex<Vec<Claim>>,
}

pub(super) fn hold<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A thread that died is reported by its stage; what it left is still consistent.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Each step can be undone, so that results which differ in one word never share a digest.
fn digest(words: &[u64]) -> u64 {
    words.iter().fold(0, |sum: u64, word| {
        (sum ^ word)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .rotate_left(29)
    })
}

impl Board {
    pub(super) fn new(seed: u64, posts: usize) -> Self {
        Self {
            seed,
            posts,
            units: Mutex::default(),
            disputes: Mutex::default(),
        }
    }

    /// Brings a result; returns whose results are verified by it.
    pub(super) fn post(&self, claim: Claim) -> Vec<Verified> {
        let unit = (claim.round, claim.kernel);
        let entry = Arc::clone(
            hold(&self.units)
                .entry(unit)
                .or_insert_with(|| Arc::new(Mutex::new(Entry::Empty))),
        );
        let mut entry = hold(&entry);
        let mut verified = Vec::new();
        let posts = match std::mem::replace(&mut *entry, Entry::Empty) {
            Entry::Empty => {
                *entry = Entry::Waiting(claim);
                1
            }
            Entry::Waiting(first) => {
                let same = first.words == claim.words;
                if same && oracle::is_right(first.kernel, self.seed, first.round, &first.words) {
                    verified.extend([(first.cpu, first.kernel), (claim.cpu, claim.kernel)]);
                    *entry = Entry::Agreed {
                        digest: digest(&first.words),
                        posts: 2,
                    };
                } else {
                    hold(&self.disputes).extend([first, claim]);
                    *entry = Entry::Disputed { posts: 2 };
                }
                2
            }
            Entry::Agreed {
                digest: right,
                posts,
            } => {
                let posts = posts + 1;
                if digest(&claim.words) == right {
                    verified.push((claim.cpu, claim.kernel));
                } else {
                    hold(&self.disputes).push(claim);
                }
                *entry = Entry::Agreed {
                    digest: right,
                    posts,
                };
                posts
            }
            Entry::Disputed { posts } => {
                hold(&self.disputes).push(claim);
                *entry = Entry::Disputed { posts: posts + 1 };
                posts + 1
            }
        };
        if posts >= self.posts {
            hold(&self.units).remove(&unit);
        }
        verified
    }

    /// Takes a dispute that `by` may settle: any but its own. `None` may settle all.
    pub(super) fn take_dispute(&self, by: Option<u32>) -> Option<Claim> {
        let mut disputes = hold(&self.disputes);
        let at = disputes
            .iter()
            .position(|claim| by.is_none_or(|by| by != claim.cpu))?;
        Some(disputes.swap_remove(at))
    }

    /// Settles a dispute: the words that are wrong, none if the claim was right.
    pub(super) fn settle(&self, claim: &Claim, by: Option<u32>) -> Vec<CpuMismatch> {
        let truth = oracle::truth(claim.kernel, self.seed, claim.round);
        truth
            .iter()
            .zip(&claim.words)
            .zip(0..)
            .filter(|((expected, got), _)| expected != got)
            .map(|((expected, got), word)| CpuMismatch {
                cpu: claim.cpu,
                checked_by: by,
                kernel: claim.kernel,
                vector: claim.vector.to_owned(),
                round: claim.round,
                word,
                expected: Word(*expected),
                got: Word(*got),
                xor: Word(expected ^ got),
                bits: Word(expected ^ got).bits(),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cupel_hardware::processor::VectorUnit;

    fn claim(cpu: u32, kernel: Kernel) -> Claim {
        Claim {
            cpu,
            vector: "baseline",
            kernel,
            round: 1,
            words: kernel.compute(5, 1, VectorUnit::Baseline),
        }
    }

    #[test]
    fn equal_results_verify_each_other_and_are_forgotten() {
        let board = Board::new(5, 3);
        assert_eq!(board.post(claim(0, Kernel::Fp64Exact)).len(), 0);
        assert_eq!(board.post(claim(1, Kernel::Fp64Exact)).len(), 2);
        assert_eq!(board.post(claim(2, Kernel::Fp64Exact)).len(), 1);
        assert!(hold(&board.units).is_empty());
    }

    #[test]
    fn whoever_is_wrong_is_named_whether_first_second_or_last() {
        for kernel in Kernel::ALL {
            for wrong in 0..3_u32 {
                let board = Board::new(5, 3);
                for cpu in 0..3 {
                    let mut claim = claim(cpu, kernel);
                    if cpu == wrong {
                        claim.words[3] ^= 1 << 17;
                    }
                    board.post(claim);
                }
                let mut found = Vec::new();
                while let Some(claim) = board.take_dispute(None) {
                    found.extend(board.settle(&claim, None));
                }
                assert_eq!(found.len(), 1, "{kernel} {wrong}");
                assert_eq!((found[0].cpu, found[0].word), (wrong, 3));
                assert_eq!(found[0].bits, [17]);
            }
        }
    }

    #[test]
    fn processors_that_are_wrong_alike_do_not_verify_each_other() {
        for kernel in [
            Kernel::IntegerMultiply,
            Kernel::IntegerChain,
            Kernel::Fp64Exact,
        ] {
            let board = Board::new(5, 2);
            for cpu in 0..2 {
                let mut claim = claim(cpu, kernel);
                claim.words[0] ^= 1;
                assert!(board.post(claim).is_empty());
            }
            let mut found = 0;
            while let Some(claim) = board.take_dispute(None) {
                found += board.settle(&claim, None).len();
            }
            assert_eq!(found, 2, "{kernel}");
        }
    }

    #[test]
    fn nobody_settles_a_dispute_about_itself() {
        let board = Board::new(5, 2);
        hold(&board.disputes).push(claim(4, Kernel::IntegerChain));
        assert!(board.take_dispute(Some(4)).is_none());
        assert!(board.take_dispute(Some(5)).is_some());
    }
}
