//! A second look at words that were wrong: misread once, stored wrong, or stuck?
//!
//! A second reading says something only where it comes from the memory and not from the cache. So
//! before each, as much other memory is read as displaces everything: twice the cache. Where there
//! is too little memory for that, nothing is told.

use cupel_model::worker_burnin::Staying;

use super::gpu::{Gpu, Kernel};
use super::memory::Piece;
use super::report::Stop;
use crate::cuda::DeviceMemory;
use crate::cuda::args::WordListArgs;

/// Words that are looked at again in one go.
pub const MOST: usize = 64;

/// What a second look needs.
pub struct Second {
    addresses: DeviceMemory,
    values: DeviceMemory,
    sink: DeviceMemory,
    read: Kernel,
    write: Kernel,
}

impl Second {
    /// Takes its memory.
    ///
    /// # Errors
    /// The driver's.
    pub fn new(gpu: &Gpu) -> Result<Self, Stop> {
        Ok(Self {
            addresses: gpu.memory(MOST as u64 * 8)?,
            values: gpu.memory(MOST as u64 * 8)?,
            sink: gpu.sink()?,
            read: gpu.kernel("words_read", 128, 0)?,
            write: gpu.kernel("words_write", 128, 0)?,
        })
    }

    /// Looks at words: their index, address, and what belongs there now. `untouched`: they were not
    /// written since they were found wrong. Afterwards each has been written with what belongs there.
    ///
    /// # Errors
    /// The driver's.
    pub fn look(
        &self,
        gpu: &Gpu,
        pieces: &[Piece],
        words: &[(u64, u64, u64)],
        untouched: bool,
    ) -> Result<Vec<(u64, Staying)>, Stop> {
        let total: u64 = pieces.iter().map(|piece| piece.memory.bytes()).sum();
        let enough = gpu.context.about.cache_bytes.max(1) * 2;
        if words.is_empty() || total < enough * 2 {
            return Ok(Vec::new());
        }
        let addresses: Vec<u64> = words.iter().map(|(_, address, _)| *address).collect();
        let proper: Vec<u64> = words.iter().map(|(_, _, proper)| *proper).collect();
        let inverse: Vec<u64> = proper.iter().map(|word| !word).collect();
        self.addresses
            .write_words(0, &addresses)
            .map_err(|error| gpu.stop(error))?;
        let again = if untouched {
            Some(self.values(gpu, pieces, enough, words.len())?)
        } else {
            None
        };
        let mut stuck = vec![false; words.len()];
        for written in [&inverse, &proper] {
            self.put(gpu, written)?;
            let is = self.values(gpu, pieces, enough, words.len())?;
            for ((stuck, is), must) in stuck.iter_mut().zip(is).zip(written) {
                *stuck |= is != *must;
            }
        }
        Ok(words
            .iter()
            .enumerate()
            .map(|(at, (word, _, proper))| {
                let staying = match (stuck[at], &again) {
                    (true, _) => Staying::Stuck,
                    (false, None) => Staying::NotTold,
                    (false, Some(again)) if again[at] == *proper => Staying::Transient,
                    (false, Some(_)) => Staying::Stored,
                };
                (*word, staying)
            })
            .collect())
    }

    fn args(&self, count: usize) -> WordListArgs {
        WordListArgs {
            addresses: self.addresses.address(),
            values: self.values.address(),
            count: count as u64,
        }
    }

    /// What the words hold, past the cache.
    fn values(
        &self,
        gpu: &Gpu,
        pieces: &[Piece],
        enough: u64,
        count: usize,
    ) -> Result<Vec<u64>, Stop> {
        // From both ends, so that the words' own neighbourhood is not all that is read.
        let mut left = enough;
        for piece in pieces.iter().rev().chain(pieces) {
            let bytes = piece.memory.bytes().min(left);
            gpu.read_through(&self.sink, piece.memory.address(), bytes)?;
            left -= bytes;
            if left == 0 {
                break;
            }
        }
        gpu.launch(&self.read, 1, &self.args(count))?;
        gpu.finish()?;
        self.values
            .read_words(0, count)
            .map_err(|error| gpu.stop(error))
    }

    fn put(&self, gpu: &Gpu, words: &[u64]) -> Result<(), Stop> {
        self.values
            .write_words(0, words)
            .map_err(|error| gpu.stop(error))?;
        gpu.launch(&self.write, 1, &self.args(words.len()))?;
        gpu.finish()
    }
}
