//! What to collect, and how long each source may take.

use std::path::PathBuf;
use std::time::Duration;

use cupel_model::snapshot::Tenancy;

use crate::gpu::{GpuOptions, Library, WorkerProgram};
use crate::root::Root;
use crate::services::UNITS;

/// How long each source may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// A source of files that the kernel answers by itself.
    pub source: Duration,
    /// One device that is asked: an RDMA adapter, an NVMe controller, a sensor chip, VPD.
    pub device: Duration,
    /// systemd.
    pub services: Duration,
    /// The management controller, sensors and events included.
    pub bmc: Duration,
    /// The kernel log.
    pub kernel_log: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            source: Duration::from_secs(10),
            device: Duration::from_secs(5),
            services: Duration::from_secs(5),
            bmc: Duration::from_secs(20),
            kernel_log: Duration::from_secs(20),
        }
    }
}

/// What to collect.
#[derive(Clone, Debug)]
pub struct CollectOptions {
    /// The machine, or the directory that stands for it.
    pub root: Root,
    /// The driver library; without it the worker searches, and under a root other than `/` none is
    /// loaded.
    pub nvml_library: Option<PathBuf>,
    /// The GPU worker.
    pub worker: WorkerProgram,
    /// Who owns the node; it is carried into the snapshot.
    pub tenancy: Tenancy,
    /// Units of systemd that matter.
    pub units: Vec<String>,
    /// How long each source may take.
    pub deadlines: Deadlines,
    /// How long one group of driver calls on one GPU may take.
    pub gpu_call_deadline: Duration,
    /// How long the driver may take to initialise.
    pub gpu_initialisation_deadline: Duration,
    /// Whether to read the kernel log.
    pub with_kernel_log: bool,
    /// Whether to read the management controller's sensors and event log: seconds on most servers.
    pub with_bmc_details: bool,
    /// Whether to read VPD of RDMA adapters: their serial numbers.
    pub with_vpd: bool,
    /// Take two samples, this far apart, so that rates can be told.
    pub interval: Option<Duration>,
}

impl CollectOptions {
    /// Everything, once, with the usual deadlines. The GPU worker is the file beside this program.
    pub fn new(root: Root) -> Self {
        let beside = std::env::current_exe()
            .ok()
            .and_then(|program| Some(program.parent()?.join("cupel-gpu-worker")))
            .unwrap_or_else(|| PathBuf::from("cupel-gpu-worker"));
        let worker = WorkerProgram::File(beside);
        let gpu = GpuOptions::new(worker.clone());
        Self {
            root,
            nvml_library: None,
            worker,
            tenancy: Tenancy::default(),
            units: UNITS.map(str::to_owned).to_vec(),
            deadlines: Deadlines::default(),
            gpu_call_deadline: gpu.read_deadline,
            gpu_initialisation_deadline: gpu.open_deadline,
            with_kernel_log: true,
            with_bmc_details: true,
            with_vpd: true,
            interval: None,
        }
    }

    /// The same without what a first sample of two does not need.
    pub(super) fn for_first_sample(&self) -> Self {
        Self {
            with_kernel_log: false,
            with_bmc_details: false,
            with_vpd: false,
            interval: None,
            ..self.clone()
        }
    }

    /// How GPUs are read.
    pub(super) fn gpu(&self) -> GpuOptions {
        let library = match &self.nvml_library {
            Some(path) => Library::At(path.clone()),
            None if self.root.is_live() => Library::Search,
            None => Library::None,
        };
        GpuOptions {
            library,
            read_deadline: self.gpu_call_deadline,
            open_deadline: self.gpu_initialisation_deadline,
            ..GpuOptions::new(self.worker.clone())
        }
    }
}
