//! The part of the tested memory that one thread owns.
//!
//! # Invariants
//! - The thread that tests it touches it first, pinned: its pages are its NUMA node's.
//! - Its words have numbers that no other shard's have.

use super::pattern::{Pattern, Phase};

/// Words between two looks at clock, cancellation and free memory: 8 MiB.
pub(super) const CHUNK: usize = 1 << 20;
/// Words that are allocated at once: 256 MiB, so that a large machine needs few mappings.
const BLOCK: usize = 1 << 25;

/// Memory could not be allocated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the system refused to allocate memory")]
pub(super) struct Refused;

#[derive(Debug)]
pub(super) struct Shard {
    /// NUMA node.
    pub(super) node: u32,
    /// Processor that its thread is pinned to.
    pub(super) cpu: u32,
    /// Number of its first word.
    pub(super) first: u64,
    /// How many words it is to have.
    pub(super) target: u64,
    blocks: Vec<Vec<u64>>,
}

impl Shard {
    pub(super) fn new(node: u32, cpu: u32, first: u64, target: u64) -> Self {
        Self {
            node,
            cpu,
            first,
            target,
            blocks: Vec::new(),
        }
    }

    /// How many words it has.
    pub(super) fn len(&self) -> u64 {
        self.blocks.iter().map(|block| block.len() as u64).sum()
    }

    /// Takes one more chunk and writes what belongs there; returns its words, 0 when it is whole.
    pub(super) fn grow(&mut self, pattern: Pattern, phase: Phase) -> Result<u64, Refused> {
        let have = self.len();
        let missing = usize::try_from(self.target - have).map_err(|_| Refused)?;
        if missing == 0 {
            return Ok(0);
        }
        if self.blocks.last().is_none_or(|block| block.len() == BLOCK) {
            let mut block = Vec::new();
            block
                .try_reserve_exact(missing.min(BLOCK))
                .map_err(|_| Refused)?;
            self.blocks.push(block);
        }
        let Some(block) = self.blocks.last_mut() else {
            return Ok(0);
        };
        let words = missing.min(CHUNK).min(BLOCK - block.len()) as u64;
        let begin = self.first + have;
        let mask = phase.mask();
        block.extend((begin..begin + words).map(|index| pattern.word(index) ^ mask));
        Ok(words)
    }

    /// Its chunks in order, with the number of each one's first word.
    pub(super) fn chunks(&self) -> impl Iterator<Item = (u64, &[u64])> {
        let mut next = self.first;
        self.blocks
            .iter()
            .flat_map(|block| block.chunks(CHUNK))
            .map(move |chunk| {
                let first = next;
                next += chunk.len() as u64;
                (first, chunk)
            })
    }

    /// The same, to be written.
    pub(super) fn chunks_mut(&mut self) -> impl Iterator<Item = (u64, &mut [u64])> {
        let mut next = self.first;
        self.blocks
            .iter_mut()
            .flat_map(|block| block.chunks_mut(CHUNK))
            .map(move |chunk| {
                let first = next;
                next += chunk.len() as u64;
                (first, chunk)
            })
    }

    fn place(&self, word: u64) -> Option<(usize, usize)> {
        let local = usize::try_from(word.checked_sub(self.first)?).ok()?;
        Some((local / BLOCK, local % BLOCK))
    }

    /// A word by its number.
    pub(super) fn get(&self, word: u64) -> Option<&u64> {
        let (block, at) = self.place(word)?;
        self.blocks.get(block)?.get(at)
    }

    /// A word by its number, to be written.
    pub(super) fn get_mut(&mut self, word: u64) -> Option<&mut u64> {
        let (block, at) = self.place(word)?;
        self.blocks.get_mut(block)?.get_mut(at)
    }

    /// Reads from the beginning, at least `bytes` if there are as many, to push everything else
    /// out of the caches.
    pub(super) fn stream(&self, bytes: u64) {
        let mut read = 0;
        for (_, chunk) in self.chunks() {
            if read >= bytes {
                break;
            }
            let sum = std::hint::black_box(chunk)
                .iter()
                .fold(0_u64, |sum, word| sum ^ word);
            std::hint::black_box(sum);
            read += chunk.len() as u64 * 8;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_keep_their_numbers_over_chunks() {
        let pattern = Pattern::new(9);
        let words = CHUNK as u64 + 5;
        let mut shard = Shard::new(0, 0, 100, words);
        while shard.grow(pattern, Phase::Pattern).expect("memory") > 0 {}
        assert_eq!(shard.len(), words);
        assert_eq!(
            shard.chunks().map(|(first, _)| first).collect::<Vec<_>>(),
            [100, 100 + CHUNK as u64]
        );
        for word in [100, 100 + CHUNK as u64, 104 + CHUNK as u64] {
            assert_eq!(shard.get(word).copied(), Some(pattern.word(word)));
        }
        assert_eq!(shard.get(99), None);
        assert_eq!(shard.get(105 + CHUNK as u64), None);
        *shard.get_mut(101).expect("word") = 1;
        assert_eq!(
            shard.chunks_mut().next().map(|(_, words)| words[1]),
            Some(1)
        );
    }
}
