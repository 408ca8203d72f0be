//! The protocol between the agent and a GPU worker.
//!
//! # Invariants
//! - A stream socket pair on the worker's standard input; frames are a `u32` little-endian length
//!   and that many bytes of JSON, at most [`MAX_FRAME`].
//! - The worker speaks first: one [`Hello`]. Then one request is in flight at a time; before each
//!   driver call the worker sends [`FromWorker::Calling`], so that a hang has a name.
//! - A request names one GPU and one group of calls; nothing in an answer is trusted.
//! - The worker ends when its socket does.

use std::io::{self, Read, Write};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::reading::Reading;
use crate::snapshot::{
    GpuClocks, GpuEcc, GpuEvent, GpuFabric, GpuIdentity, GpuMemory, GpuNvlinks, GpuPcie,
    GpuProcesses, GpuRemappedRows, GpuRetiredPages, GpuThermal, Problem,
};
use crate::worker_burnin::{BurnAnswer, BurnAsk};

/// Version of this protocol; both sides must agree.
pub const PROTOCOL: u32 = 1;
/// Largest frame body, in bytes.
pub const MAX_FRAME: usize = 4 << 20;

/// The first frame of a worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Hello {
    /// [`PROTOCOL`].
    pub protocol: u32,
    /// Version of the build, which must be the agent's own.
    pub build: String,
}

/// A group of driver calls that is asked for, and fails, together.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Group {
    /// Name, UUID, serial, board, VBIOS, InfoROM, module id, modes.
    Identity,
    /// Framebuffer.
    Memory,
    /// ECC modes and counters.
    Ecc,
    /// Row remapping.
    RemappedRows,
    /// Page retirement (before Ampere).
    RetiredPages,
    /// Temperatures, power, energy, fans.
    Thermal,
    /// Clocks, performance state, throttle reasons and their durations.
    Clocks,
    /// PCIe link and replays as the driver sees them.
    Pcie,
    /// NVLink states, remote ends and counters.
    Nvlink,
    /// Fabric manager's registration.
    Fabric,
    /// Processes on the GPU, utilisation, recovery action.
    Processes,
}

impl Group {
    /// All groups, in the order in which they are asked.
    pub const ALL: [Self; 11] = [
        Self::Identity,
        Self::Memory,
        Self::Ecc,
        Self::RemappedRows,
        Self::RetiredPages,
        Self::Thermal,
        Self::Clocks,
        Self::Pcie,
        Self::Nvlink,
        Self::Fabric,
        Self::Processes,
    ];
}

/// What the agent asks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Request {
    /// Echoed in the answer.
    pub id: u64,
    /// What is wanted.
    pub ask: Ask,
}

/// The requests there are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Ask {
    /// Load the driver library, initialise it, list the GPUs.
    Open {
        /// Path or file name of `libnvidia-ml.so.1`.
        library: String,
        /// NVML indices to leave alone: an earlier worker hung or died there.
        #[serde(default)]
        skip: Vec<u32>,
    },
    /// One group of calls on one GPU.
    Read {
        /// NVML index, 0-based.
        gpu: u32,
        /// Which calls.
        group: Group,
    },
    /// Wait for events, all this time.
    Watch {
        /// How long.
        milliseconds: u64,
        /// NVML indices to leave alone: an earlier worker hung or died there.
        #[serde(default)]
        skip: Vec<u32>,
    },
    /// Let go of the driver: shut the library down, keep the process.
    Close,
    /// Load and verify a GPU.
    Burn(BurnAsk),
}

/// What the worker sends.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FromWorker {
    /// First frame.
    Hello(Hello),
    /// About to enter a driver call.
    Calling {
        /// Of the request in flight.
        id: u64,
        /// Name of the C function.
        call: String,
        /// NVML index, where the call concerns one GPU.
        #[serde(default)]
        gpu: Option<u32>,
    },
    /// The end of a request.
    Answer {
        /// Of the request.
        id: u64,
        /// What came of it; the error is a sentence fragment with the driver's own words.
        result: Result<Box<Answer>, WorkerError>,
    },
}

/// Why a request as a whole failed (single values fail inside their group).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, thiserror::Error)]
#[error("{call}: {what}")]
pub struct WorkerError {
    /// The driver function, or `dlopen`.
    pub call: String,
    /// NVML's return code, where there is one.
    pub code: Option<u32>,
    /// In words.
    pub what: String,
}

/// Answers, one a kind of request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// To [`Ask::Open`].
    Opened(Opened),
    /// To [`Ask::Open`], by a library that is there and does not start.
    Refused(Refused),
    /// To [`Group::Identity`].
    Identity(GpuIdentity),
    /// To [`Group::Memory`].
    Memory(GpuMemory),
    /// To [`Group::Ecc`].
    Ecc(GpuEcc),
    /// To [`Group::RemappedRows`].
    RemappedRows(Reading<GpuRemappedRows>),
    /// To [`Group::RetiredPages`].
    RetiredPages(Reading<GpuRetiredPages>),
    /// To [`Group::Thermal`].
    Thermal(GpuThermal),
    /// To [`Group::Clocks`].
    Clocks(GpuClocks),
    /// To [`Group::Pcie`].
    Pcie(GpuPcie),
    /// To [`Group::Nvlink`].
    Nvlink(Reading<GpuNvlinks>),
    /// To [`Group::Fabric`].
    Fabric(Reading<GpuFabric>),
    /// To [`Group::Processes`].
    Processes(GpuProcesses),
    /// To [`Ask::Watch`].
    Watched(Watched),
    /// To [`Ask::Close`].
    Closed,
    /// To [`Ask::Burn`].
    Burn(BurnAnswer),
}

/// What came of watching for events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Watched {
    /// The events, by time of arrival.
    pub events: Reading<Vec<GpuEvent>>,
    /// GPUs that were not watched, and watching that ended early.
    pub problems: Vec<Problem>,
}

/// The driver as the library describes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Opened {
    /// Driver version as NVML gives it.
    pub driver_version: Reading<String>,
    /// NVML library version.
    pub nvml_version: Reading<String>,
    /// CUDA driver API version, e.g. `12.8`.
    pub cuda_version: Reading<String>,
    /// Path of the library as the loader found it.
    #[serde(default)]
    pub library_path: Reading<String>,
    /// One entry an NVML index, in order: the PCI address, or why there is no handle.
    pub gpus: Vec<Reading<crate::pci::PciAddress>>,
}

/// A driver library that refused to start, and what it tells all the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Refused {
    /// The refusal.
    pub error: WorkerError,
    /// NVML library version, which needs no driver.
    pub nvml_version: Reading<String>,
    /// Path of the library as the loader found it.
    pub library_path: Reading<String>,
}

/// Writes one frame.
///
/// # Errors
/// The socket's, or a body above [`MAX_FRAME`].
pub fn write_frame(to: &mut impl Write, message: &impl Serialize) -> io::Result<()> {
    let body = serde_json::to_vec(message)?;
    let length = u32::try_from(body.len())
        .ok()
        .filter(|_| body.len() <= MAX_FRAME)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "frame above 4 MiB"))?;
    let mut frame = Vec::with_capacity(body.len() + 4);
    frame.extend_from_slice(&length.to_le_bytes());
    frame.extend_from_slice(&body);
    to.write_all(&frame)?;
    to.flush()
}

/// Reads one frame; `None` at a clean end of file.
///
/// # Errors
/// The socket's, an end in the middle, a body above [`MAX_FRAME`], or JSON that does not fit.
pub fn read_frame<T: serde::de::DeserializeOwned>(from: &mut impl Read) -> io::Result<Option<T>> {
    let mut length = [0_u8; 4];
    let mut have = 0;
    while have < 4 {
        match from.read(&mut length[have..]) {
            Ok(0) if have == 0 => return Ok(None),
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(n) => have += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let length = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
    if length > MAX_FRAME {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("frame of {length} bytes is above 4 MiB"),
        ));
    }
    let mut body = Vec::new();
    from.take(length as u64).read_to_end(&mut body)?;
    if body.len() != length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    serde_json::from_slice(&body)
        .map(Some)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}
