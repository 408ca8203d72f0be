//! From a plan to stages: what of this machine is there to be loaded, and what is missing.
//!
//! # Invariants
//! - Nothing is loaded and nothing is changed here.
//! - A GPU that the bus shows and the driver does not list has a stage, which is not begun: what is
//!   lost is not forgotten.

use std::sync::Arc;

use anyhow::Context as _;
use cupel_burnin::{
    AdapterUnderTest, Blocked, DriveUnderTest, Expects, Floors, GpuSet, Host, Plan, Run, Stage,
    StageKind, StageName,
};
use cupel_hardware::gpu::{BurnOptions, Library};
use cupel_hardware::host_memory::Topology;
use cupel_hardware::{Root, nvme};
use cupel_model::snapshot::{NvmeController, RdmaDevice};
use cupel_model::{PciAddress, Platform, Snapshot};

use crate::config::Settings;
use crate::context::Context;
use crate::exit::Refused;
use crate::gather::{self, Depth, SourceArgs};
use crate::platforms;

/// What names CUDA's library.
const CUDA: &str = "CUPEL_CUDA";
/// What names NVML's.
const NVML: &str = "CUPEL_NVML";

/// A burn-in that can begin.
#[derive(Debug)]
pub struct Prepared {
    /// Its stages.
    pub run: Run,
    /// The machine before it.
    pub before: Box<Snapshot>,
    /// The platform that it is held against.
    pub platform: Option<Platform>,
}

/// What the operator says beside the plan.
#[derive(Clone, Debug, Default)]
pub struct Wishes<'a> {
    /// The platform, by name.
    pub platform: Option<&'a str>,
    /// GPUs are loaded although processes are on them.
    pub even_if_busy: bool,
}

/// Looks at the machine and lays the plan's stages on it.
///
/// # Errors
/// Processors and memory cannot be told; the platform is not known; [`Refused`] when somebody's
/// processes are on a GPU that is to be tested.
pub fn prepare(
    context: &Context,
    settings: &Settings,
    plan: &Plan,
    wishes: &Wishes<'_>,
) -> anyhow::Result<Prepared> {
    let source = SourceArgs::default();
    let before = gather::snapshot_of_depth(context, settings, &source, Depth::WithoutBmcDetails)?;
    let platform = platforms::choose(&context.root, settings, wishes.platform, &before)?;
    let topology = Topology::of(&context.root).context("cannot lay a load on this machine")?;
    // What runs beneath another root is not the machine that the platform describes.
    let held = platform.as_ref().filter(|_| context.root.is_live());
    let floors = Arc::new(Floors::of(held));
    let host = host(
        &context.root,
        &before,
        platform.as_ref(),
        &topology,
        &floors,
    );
    let mut gpus = GpuSet::of(&before, &topology, options(context, settings));
    let wants_gpus = plan.stages.iter().any(|kind| kind.is_gpu());
    if wants_gpus && !wishes.even_if_busy {
        refuse_busy(&before, plan)?;
    }
    if wishes.even_if_busy {
        for gpu in &mut gpus.gpus {
            let mig = mig_is_on(&before, gpu.index);
            gpu.unfit = gpu.unfit.take().filter(|_| mig);
        }
    }
    let mut stages = host.stages(plan);
    let mut preflight = Vec::new();
    if wants_gpus {
        stages.extend(gpus.stages(plan, &floors));
        stages.extend(missing_gpus(plan, &before, platform.as_ref()));
        if !before.gpus.is_empty() {
            preflight = gpus.preflight(&context.root, &before);
        }
    }
    Ok(Prepared {
        run: Run::new(plan.clone(), stages).after(preflight),
        before: Box::new(before),
        platform,
    })
}

/// How GPU workers are started.
fn options(context: &Context, settings: &Settings) -> BurnOptions {
    let named = |variable: &str| {
        std::env::var_os(variable)
            .filter(|value| !value.is_empty())
            .map(|value| value.to_string_lossy().into_owned())
    };
    let library = |name: Option<String>| match name {
        Some(path) => Library::At(path.into()),
        None if context.root.is_live() => Library::Search,
        None => Library::None,
    };
    let configured = settings.nvml_library.value.as_ref();
    BurnOptions {
        cuda: library(named(CUDA)),
        nvml: library(named(NVML).or_else(|| configured.map(|path| path.display().to_string()))),
        ..BurnOptions::new(gather::worker_program())
    }
}

fn mig_is_on(snapshot: &Snapshot, index: u32) -> bool {
    snapshot
        .gpus
        .iter()
        .any(|gpu| gpu.index.get() == Some(index) && gpu.identity.mig_mode.get() == Some(true))
}

/// # Errors
/// [`Refused`] with the GPUs and their processes.
fn refuse_busy(snapshot: &Snapshot, plan: &Plan) -> anyhow::Result<()> {
    let mut busy = Vec::new();
    for gpu in &snapshot.gpus {
        let (Some(index), Some(processes)) = (gpu.index.get(), gpu.processes.compute.value())
        else {
            continue;
        };
        if plan.wants_gpu(index) && !processes.is_empty() {
            let pids: Vec<_> = processes.iter().map(|p| p.pid.to_string()).collect();
            busy.push(format!("GPU {index} (process {})", pids.join(", ")));
        }
    }
    if busy.is_empty() {
        return Ok(());
    }
    Err(Refused(format!(
        "processes are on {}; end them, leave those GPUs out with --gpu, or say --even-if-busy",
        busy.join(", ")
    ))
    .into())
}

/// A stage for each GPU that is on the bus, or that the platform says should be there, and that the
/// driver does not list.
fn missing_gpus(
    plan: &Plan,
    snapshot: &Snapshot,
    platform: Option<&Platform>,
) -> Vec<Box<dyn Stage>> {
    let kind = plan.stages.iter().find(|kind| kind.is_gpu());
    let Some(kind) = kind.copied() else {
        return Vec::new();
    };
    let blocked = |target: String, why: &str| -> Box<dyn Stage> {
        Box::new(Blocked {
            name: StageName::on(kind, target),
            what: "a GPU that cannot be reached".to_owned(),
            why: why.to_owned(),
        })
    };
    let lost = |gpu: &&cupel_model::snapshot::Gpu| gpu.index.get().is_none();
    let mut stages: Vec<_> = snapshot
        .gpus
        .iter()
        .filter(lost)
        .map(|gpu| {
            let place = gpu.pci.get().map_or_else(
                || {
                    gpu.slot
                        .value()
                        .cloned()
                        .unwrap_or_else(|| "gpu?".to_owned())
                },
                |pci: PciAddress| pci.to_string(),
            );
            blocked(place, "the driver does not list this GPU")
        })
        .collect();
    let expected = platform.map_or(0, |platform| platform.gpu.count.value as usize);
    // With GPUs chosen by hand, those that are not there were not asked for.
    if plan.gpus.is_none() && expected > snapshot.gpus.len() {
        let count = expected - snapshot.gpus.len();
        stages.push(blocked(
            format!("missing-{count}"),
            &format!("the platform has {expected} GPUs, and {count} of them are not there"),
        ));
    }
    if snapshot.gpus.is_empty() && expected == 0 && plan.named {
        stages.push(blocked("none".to_owned(), "there is no GPU here"));
    }
    for index in plan.gpus.iter().flatten() {
        if !snapshot
            .gpus
            .iter()
            .any(|gpu| gpu.index.get() == Some(*index))
        {
            stages.push(blocked(
                format!("gpu{index}"),
                "the driver lists no such GPU",
            ));
        }
    }
    stages
}

fn host(
    root: &Root,
    snapshot: &Snapshot,
    platform: Option<&Platform>,
    topology: &Topology,
    floors: &Arc<Floors>,
) -> Host {
    // What a tree describes cannot be tested, and nobody expects it to be.
    let expects = platform
        .filter(|_| root.is_live())
        .map_or_else(Expects::default, |platform| Expects {
            drives: platform.nvme.is_some(),
            adapters: !platform.rdma.is_empty(),
        });
    Host {
        drives: snapshot
            .nvme
            .iter()
            .map(|d| drive(root, snapshot, d))
            .collect(),
        adapters: snapshot.rdma.iter().map(|d| adapter(snapshot, d)).collect(),
        expects,
        floors: Arc::clone(floors),
        ..Host::new(root.clone(), topology.clone())
    }
}

fn node_of(snapshot: &Snapshot, pci: Option<PciAddress>) -> Option<u32> {
    let pci = pci?;
    let device = snapshot.pci.iter().find(|device| device.address == pci)?;
    device.numa_node.get()
}

fn drive(root: &Root, snapshot: &Snapshot, drive: &NvmeController) -> DriveUnderTest {
    let (paths, unsupported) = if root.is_live() {
        match nvme::namespaces(root, &drive.name) {
            Ok(names) => (
                names
                    .iter()
                    .map(|name| format!("/dev/{name}").into())
                    .collect(),
                None,
            ),
            Err(error) => (Vec::new(), Some(error.to_string())),
        }
    } else {
        let why = "drives under a root other than / are files that describe them";
        (Vec::new(), Some(why.to_owned()))
    };
    DriveUnderTest {
        controller: drive.name.clone(),
        serial: drive.serial.value().cloned(),
        model: drive.model.value().cloned(),
        paths,
        numa_node: node_of(snapshot, drive.pci.get()),
        unsupported,
    }
}

fn adapter(snapshot: &Snapshot, device: &RdmaDevice) -> AdapterUnderTest {
    let active = device
        .ports
        .iter()
        .find(|port| port.state.value().is_some_and(|state| state == "ACTIVE"));
    AdapterUnderTest {
        name: device.name.clone(),
        hca_type: device.hca_type.value().cloned(),
        port: active.map(|port| port.number),
        numa_node: node_of(snapshot, device.pci.get()),
    }
}

/// The kinds of stages that a plan may have.
pub fn stage_names() -> String {
    StageKind::list()
}
