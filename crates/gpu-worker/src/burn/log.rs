//! The log of differences in a GPU's memory: kernels write it, the host takes it.

use super::gpu::Gpu;
use super::report::Stop;
use crate::cuda::DeviceMemory;
use crate::cuda::args::{LOG_HEAD_BYTES, RECORD_BYTES};

/// Differences that are kept of one launch or of several; all are counted.
const CAPACITY: u64 = 4096;

/// A difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// Index of the word.
    pub word: u64,
    /// What must be there.
    pub expected: u64,
    /// What was there.
    pub got: u64,
    /// Multiprocessor that saw it.
    pub sm: u32,
}

/// What was logged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Logged {
    /// The first of them.
    pub records: Vec<Record>,
    /// How many there were.
    pub total: u64,
}

impl Logged {
    /// How many are not among the records.
    pub fn unlisted(&self) -> u64 {
        self.total - self.records.len() as u64
    }
}

/// A log.
pub struct ErrorLog {
    memory: DeviceMemory,
}

impl ErrorLog {
    /// An empty one.
    ///
    /// # Errors
    /// The driver's.
    pub fn new(gpu: &Gpu) -> Result<Self, Stop> {
        let bytes = LOG_HEAD_BYTES as u64 + CAPACITY * RECORD_BYTES as u64;
        let log = Self {
            memory: gpu.memory(bytes)?,
        };
        log.clear(gpu)?;
        Ok(log)
    }

    /// For the kernels.
    pub fn address(&self) -> u64 {
        self.memory.address()
    }

    fn clear(&self, gpu: &Gpu) -> Result<(), Stop> {
        self.memory
            .write_words(0, &[0, CAPACITY])
            .map_err(|error| gpu.stop(error))
    }

    /// Waits for the GPU, and takes what was logged.
    ///
    /// # Errors
    /// The driver's.
    pub fn take(&self, gpu: &Gpu) -> Result<Logged, Stop> {
        gpu.finish()?;
        let read = |offset, count| {
            self.memory
                .read_words(offset, count)
                .map_err(|error| gpu.stop(error))
        };
        let total = read(0, 1)?.first().copied().unwrap_or(0);
        if total == 0 {
            return Ok(Logged::default());
        }
        let kept = usize::try_from(total.min(CAPACITY)).unwrap_or(0);
        let words = read(LOG_HEAD_BYTES as u64, kept * RECORD_BYTES / 8)?;
        let records = words
            .chunks_exact(RECORD_BYTES / 8)
            .map(|record| Record {
                word: record[0],
                expected: record[1],
                got: record[2],
                sm: u32::try_from(record[3] & u64::from(u32::MAX)).unwrap_or(0),
            })
            .collect();
        self.clear(gpu)?;
        Ok(Logged { records, total })
    }
}
