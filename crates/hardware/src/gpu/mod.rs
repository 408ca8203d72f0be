//! GPUs: the client that owns the GPU workers, and the merge of what they tell with what is on the
//! PCI bus.
//!
//! # Invariants
//! - No driver library is loaded in this process. A worker that misses its deadline is killed and
//!   reaped without blocking; its replacement leaves that GPU alone.
//! - One GPU that hangs or crashes the driver costs its own readings and one deadline; the others
//!   are read to the end.
//! - Nothing that a worker says is trusted ([`frames`]).
//! - With [`UNREAPED_MAX`] workers that cannot be killed, no further one is started.
//!
//! # What is absent
//! No judgement: a GPU that is missing is described, not reported.

mod backoff;
mod burn;
mod client;
pub mod frames;
mod merge;
mod program;
mod reaper;
mod skip;
mod survey;
mod worker;

pub use backoff::retry_after;
pub use burn::{BurnLost, BurnOptions, BurnTask, burn};
pub use client::Client;
pub use program::{SpawnError, WorkerProgram};
pub use reaper::{UNREAPED_MAX, unreaped};

use std::path::PathBuf;
use std::time::Duration;

use cupel_model::snapshot::{Driver, Gpu, PciDevice, Problem, WorkerState};
use cupel_model::worker::Group;
use cupel_model::{Reading, Timestamp};

use merge::merge;
use survey::Listed;

/// Where the driver library is looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Library {
    /// Nowhere: under a root other than `/` no library is loaded unless one is named.
    None,
    /// There alone.
    At(PathBuf),
    /// Where the loader finds it, then where the GPU operator and other distributions put it.
    Search,
}

/// How GPUs are read.
#[derive(Clone, Debug)]
pub struct GpuOptions {
    /// The worker.
    pub worker: WorkerProgram,
    /// The driver library.
    pub library: Library,
    /// For one group of calls on one GPU.
    pub read_deadline: Duration,
    /// For loading, initialising and listing. Without persistence the first initialisation takes
    /// seconds a GPU.
    pub open_deadline: Duration,
    /// For all of it; what is not read by then has failed.
    pub budget: Duration,
    /// How long a GPU that hung or crashed the driver is left alone, by failures in a row.
    pub pause: fn(u32) -> Duration,
    /// How long the answer to a group of calls is believed while the same worker lives.
    pub keep: fn(Group) -> Duration,
}

impl GpuOptions {
    /// The usual deadlines, and the library where the loader finds it.
    pub fn new(worker: WorkerProgram) -> Self {
        Self {
            worker,
            library: Library::Search,
            read_deadline: Duration::from_secs(5),
            open_deadline: Duration::from_secs(30),
            budget: Duration::from_secs(120),
            pause: retry_after,
            keep: keep_for,
        }
    }
}

/// How long the answer to a group of calls is believed. Who a GPU is hardly changes, and its NVLinks
/// are three quarters of all calls; both are asked for once a minute, however often the rest is. The
/// driver answers some of those calls through the GPU's own processor.
fn keep_for(group: Group) -> Duration {
    match group {
        // Less than the minute, so that a cadence that divides it hits it.
        Group::Identity | Group::RetiredPages | Group::Nvlink => Duration::from_secs(55),
        Group::Memory
        | Group::Ecc
        | Group::RemappedRows
        | Group::Thermal
        | Group::Clocks
        | Group::Pcie
        | Group::Fabric
        | Group::Processes => Duration::ZERO,
    }
}

/// The kernel half of the driver, as read from procfs and sysfs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct KernelDriver {
    /// Version of the loaded module.
    pub version: Reading<String>,
    /// `open` or `proprietary`.
    pub flavour: Reading<String>,
}

/// GPUs and their driver.
#[derive(Clone, Debug, PartialEq)]
pub struct GpuCollection {
    /// By PCI address: those that NVML lists and those on the PCI bus, one entry each.
    pub gpus: Vec<Gpu>,
    /// The driver, and how the worker fared.
    pub driver: Driver,
    /// What belongs to no single GPU.
    pub problems: Vec<Problem>,
}

/// What the driver tells of GPUs, before it is merged with what is on the PCI bus: the two are read
/// at different times.
#[derive(Clone, Debug, PartialEq)]
pub struct GpuSurvey {
    /// What it lists, or why nobody has asked it.
    told: Result<Vec<Listed>, String>,
    /// The driver, and how the worker fared.
    pub driver: Driver,
    /// What belongs to no single GPU.
    pub problems: Vec<Problem>,
}

impl GpuSurvey {
    /// The driver was not asked, because of `why`. That is no failure of a worker: none was
    /// started.
    pub fn unread(why: &str) -> Self {
        let failed = || Reading::failed(why);
        Self {
            told: Err(why.to_owned()),
            driver: Driver {
                kernel_version: failed(),
                flavour: failed(),
                library_version: failed(),
                nvml_version: failed(),
                cuda_version: failed(),
                library_path: failed(),
                worker: WorkerState::NotStarted {
                    why: why.to_owned(),
                },
            },
            problems: Vec::new(),
        }
    }

    /// One entry for each GPU that the driver lists or that is on the bus, by PCI address.
    pub fn gpus(&self, pci: &[PciDevice]) -> Vec<Gpu> {
        match &self.told {
            Ok(listed) => merge(listed.clone(), pci, &self.driver.worker),
            // What nobody has asked is unknown, not absent.
            Err(why) => {
                let worker = WorkerState::Failed {
                    why: why.clone(),
                    hung: None,
                };
                merge(Vec::new(), pci, &worker)
            }
        }
    }
}

/// Reads all GPUs once, with a worker of its own that is gone afterwards.
pub fn collect(
    options: &GpuOptions,
    kernel: &KernelDriver,
    pci: &[PciDevice],
    taken_at: Timestamp,
) -> GpuCollection {
    Client::new(options.clone()).collect(kernel, pci, taken_at)
}
