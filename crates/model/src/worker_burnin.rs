//! The burn-in side of the worker protocol: what a GPU worker is asked to load and to verify.
//!
//! # Invariants
//! - A job runs in the worker's background; the socket stays free. [`BurnAsk::Start`], then
//!   [`BurnAsk::Poll`] until there is an outcome; [`BurnAsk::Stop`] asks for an early end, which
//!   comes as an outcome too. One job at a time.
//! - A poll is answered from memory, without a driver call, even while one hangs: the answer then
//!   says which and for how long.
//! - Nothing is judged here: an outcome says what was done, found and measured.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::pci::PciAddress;

/// What is asked of a worker that burns in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum BurnAsk {
    /// Begin a job. Answered at once.
    Start(Box<BurnJob>),
    /// How far is it?
    Poll,
    /// End it early.
    Stop,
}

/// A job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BurnJob {
    /// Path or file name of `libcuda.so.1`.
    pub cuda: String,
    /// Path or file name of `libnvidia-ml.so.1`, for power and temperature; without it nothing is
    /// steered, and nobody stops a GPU that grows too hot.
    #[serde(default)]
    pub nvml: Option<String>,
    /// The GPUs, by address: CUDA's order is not NVML's. Jobs of one GPU take the first.
    pub gpus: Vec<PciAddress>,
    /// What patterns, operands and planted faults are derived from.
    pub seed: u64,
    /// Processors that the job is bound to, and so the memory that it pins; empty: any.
    #[serde(default)]
    pub cpus: Vec<u32>,
    /// What to do.
    pub work: BurnWork,
}

/// What a job does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum BurnWork {
    /// Open the GPUs and say what CUDA makes of them.
    Describe,
    /// Write and verify the GPU's free memory.
    Memory {
        /// Share of the free memory that is wanted, 0 to 1.
        share: f64,
        /// Passes over all of it; at least one is made.
        passes: u32,
        /// When no further pass is begun.
        seconds: f64,
    },
    /// Matrix products, verified.
    Product {
        /// Type of the operands.
        element: Element,
        /// What the operands are.
        operands: Operands,
        /// Rows, columns and depth.
        size: u32,
        /// How long.
        seconds: f64,
    },
    /// As much power as the limit allows: products and memory at once, steered by measured power.
    Power {
        /// Type of the operands.
        element: Element,
        /// Rows, columns and depth of the products.
        size: u32,
        /// How long.
        seconds: f64,
        /// Load that comes and goes; constant without.
        #[serde(default)]
        pulse: Option<Pulse>,
    },
    /// Verified copies between pinned host memory and the GPU.
    HostLink {
        /// Size of a copy.
        bytes: u64,
        /// How long each direction is measured.
        seconds: f64,
    },
    /// Verified copies between every pair of GPUs, and of all at once.
    PeerLink {
        /// Size of a copy.
        bytes: u64,
        /// How long each pair is measured.
        seconds: f64,
    },
    /// All-reduce over peer memory.
    AllReduce {
        /// Size of each GPU's share.
        bytes: u64,
        /// How long.
        seconds: f64,
    },
}

/// Type of matrix elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Element {
    /// bfloat16, added up in float.
    Bf16,
    /// 8-bit float with four bits of exponent, added up in float.
    Fp8,
    /// float, on the units that are no tensor cores.
    Fp32,
    /// double, likewise.
    Fp64,
}

impl Element {
    /// All types, in the order in which they are tried.
    pub const ALL: [Self; 4] = [Self::Bf16, Self::Fp8, Self::Fp32, Self::Fp64];

    /// As in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bf16 => "bf16",
            Self::Fp8 => "fp8",
            Self::Fp32 => "fp32",
            Self::Fp64 => "fp64",
        }
    }
}

/// What operands are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Operands {
    /// Small integers: one right result, which the host knows.
    Exact,
    /// Random signs and mantissas: the most power; compared over time and between GPUs.
    Random,
}

/// Load that comes and goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Pulse {
    /// Time under load.
    pub on_ms: u32,
    /// Time without.
    pub off_ms: u32,
    /// The first pulse waits a random part of this, so that GPUs are not in step; 0: in step.
    pub stagger_ms: u32,
    /// Pulses grow to their full length over this many of them.
    pub ramp: u32,
}

/// What a worker that burns in answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum BurnAnswer {
    /// The job has begun.
    Started,
    /// How far it is.
    Progress(BurnProgress),
    /// There is no job.
    Idle,
}

/// How far a job is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BurnProgress {
    /// Grows with every step that was done. One that stands still is a hang.
    pub beat: u64,
    /// What is being done, in words.
    pub phase: String,
    /// The driver function that was entered and has not returned.
    pub calling: Option<String>,
    /// For how long nothing has happened.
    pub still_ms: u64,
    /// The latest of each measured value.
    pub samples: Vec<BurnSample>,
    /// Differences so far that nobody planted.
    pub mismatch_count: u64,
    /// When it is over.
    pub outcome: Option<Box<BurnOutcome>>,
}

/// A value as it is now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BurnSample {
    /// What, e.g. `compute rate`.
    pub name: String,
    /// Which GPU of the job.
    pub gpu: u32,
    /// How much.
    pub value: f64,
    /// Of what, e.g. `TFLOP/s`.
    pub unit: String,
}

/// How a job ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum BurnEnd {
    /// All that was asked was done.
    Done,
    /// It was asked to end.
    Stopped,
    /// It could not go on.
    Failed(BurnError),
    /// What is asked is not to be had on this GPU or driver.
    Unsupported(String),
    /// It grew too hot, or its memory failed: for the sake of the part nobody went on.
    Unsafe(String),
}

/// Why a job could not go on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, thiserror::Error)]
#[error("{call}: {what}")]
pub struct BurnError {
    /// What it means.
    pub kind: BurnErrorKind,
    /// The driver function, or `dlopen`.
    pub call: String,
    /// CUDA's result, where there is one.
    pub code: Option<i32>,
    /// In words.
    pub what: String,
    /// Which GPU of the job, where one is concerned.
    #[serde(default)]
    pub gpu: Option<u32>,
}

/// What a failure means for whoever has to act.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum BurnErrorKind {
    /// There is no driver library, or one that cannot be loaded.
    NoDriver,
    /// The driver sees no such GPU.
    NoGpu,
    /// The fabric manager is not there, or not of the driver's version (802).
    FabricNotReady,
    /// Memory could not be had.
    OutOfMemory,
    /// An uncorrectable ECC error.
    UncorrectableEcc,
    /// An NVLink error.
    NvlinkError,
    /// The GPU is gone, or its context is beyond use.
    Lost,
    /// A kernel did not end in time.
    Hung,
    /// The image does not fit the GPU or the driver.
    Image,
    /// Anything else.
    Other,
}

/// What came of a job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BurnOutcome {
    /// How it ended.
    pub end: BurnEnd,
    /// What CUDA makes of the GPUs.
    pub gpus: Vec<CudaGpu>,
    /// Faults that the job planted.
    pub planted: u64,
    /// How many of them were found, at the right word and bit (products: row and column).
    pub found: u64,
    /// Whether every planted fault had its chance to be found.
    pub proof_complete: bool,
    /// What was asked: bytes of memory, or products; 0 where nothing is counted.
    pub asked: u64,
    /// What was done of it, from end to end.
    pub covered: u64,
    /// Products, copies or passes that were verified.
    pub verified: u64,
    /// What was measured over the whole job.
    pub measured: Vec<BurnSample>,
    /// Differences that nobody planted.
    pub mismatch_count: u64,
    /// The first of them.
    pub mismatches: Vec<BurnMismatch>,
    /// Random products: a hash of each tile of the result, to be compared between GPUs.
    #[serde(default)]
    pub hashes: Option<TileHashes>,
    /// Links: a rate for each pair and way.
    #[serde(default)]
    pub links: Vec<LinkRate>,
    /// What a reader should know.
    pub notes: Vec<String>,
    /// How long it took.
    pub seconds: f64,
}

/// A GPU as CUDA describes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CudaGpu {
    /// Where.
    pub pci: PciAddress,
    /// Name.
    pub name: String,
    /// Compute capability, e.g. `9.0`.
    pub capability: String,
    /// Multiprocessors.
    pub multiprocessors: u32,
    /// L2 cache, bytes.
    pub cache_bytes: u64,
    /// Memory, bytes.
    pub memory_bytes: u64,
    /// Free before the job took any.
    pub free_bytes: u64,
    /// The image that it runs, e.g. `sm_90a`, or `compute_80` compiled by the driver.
    pub image: String,
    /// Version of the CUDA driver API, e.g. `12.8`.
    pub driver: String,
}

/// What kind of thing was wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum BurnPlace {
    /// A word of 8 bytes of the tested memory.
    Memory,
    /// An element of a product.
    Product,
    /// A word of 8 bytes that came over a link.
    Link,
}

/// Whether a wrong word stays wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Staying {
    /// Read again from memory it was right.
    Transient,
    /// It stayed wrong until it was written again.
    Stored,
    /// Written again it was wrong again.
    Stuck,
    /// Nobody could look again: it was overwritten, or there is too little memory to displace what
    /// the cache holds.
    NotTold,
}

/// A value that was not what it must be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BurnMismatch {
    /// Which GPU of the job.
    pub gpu: u32,
    /// What kind of thing.
    pub place: BurnPlace,
    /// In which step, e.g. `verify, upwards`, `product 17`, `copy to GPU 3`.
    pub step: String,
    /// Index of the word, or of the element row after row.
    pub word: u64,
    /// Products: row and column.
    pub row: Option<u32>,
    /// See `row`.
    pub column: Option<u32>,
    /// Products: tile, row of tiles after row of tiles.
    pub tile: Option<u32>,
    /// Multiprocessor: that computed the tile, or that read the memory.
    pub sm: Option<u32>,
    /// What must be there, as bits; none where only a sum told.
    pub expected: Option<u64>,
    /// What was there.
    pub got: Option<u64>,
    /// Difference of the sum, where only a sum told.
    pub difference: Option<i64>,
    /// How often this word was wrong.
    pub repeats: u32,
    /// Whether it stays wrong.
    pub staying: Staying,
    /// Memory: the word whose content was found here instead.
    pub holds_word: Option<u64>,
}

/// Hashes of the tiles of a product.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TileHashes {
    /// What they are comparable with: kernel, type, size, seed.
    pub of: String,
    /// Rows of a tile.
    pub tile_rows: u32,
    /// Columns of a tile.
    pub tile_columns: u32,
    /// Tiles in a row of tiles.
    pub tiles_across: u32,
    /// Row of tiles after row of tiles.
    pub hashes: Vec<u64>,
}

/// How fast a link was.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LinkRate {
    /// From this GPU of the job; none: the host.
    pub from: Option<u32>,
    /// To this GPU of the job; none: the host.
    pub to: Option<u32>,
    /// How: `copy engine`, `multiprocessors`, `both ways`, `all at once`.
    pub how: String,
    /// Gigabytes (10^9) a second; both ways: of both together.
    pub gigabytes_per_second: f64,
}
