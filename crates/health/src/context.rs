//! What the checks look at: the snapshot, the platform, and what follows from both together.
//!
//! # Invariants
//! - Everything is found in one pass over the parts; looking one up costs a map access.
//! - A GPU counts as lost by its own state or by what the kernel said, never by what a program
//!   wrote into the kernel log.

use std::collections::BTreeMap;

use cupel_model::platform::Platform;
use cupel_model::snapshot::{Gpu, Nvswitch, PciDevice, RememberedPart, Tenancy, WorkerState};
use cupel_model::{
    Component, ComponentKind, Event, EventKind, LogSource, PciAddress, Snapshot, Timestamp,
};

/// Why a GPU counts as off the bus.
#[derive(Clone, Debug, Default)]
pub struct Loss {
    /// Its PCI configuration space does not answer.
    pub silent: bool,
    /// The driver had it in this boot and has it no longer.
    pub dropped: bool,
    /// Places in the kernel log of the records that say so.
    pub events: Vec<usize>,
    /// The first of them.
    pub since: Option<Timestamp>,
}

/// One GPU with what is known about it from elsewhere.
#[derive(Clone, Debug)]
pub struct GpuPart<'a> {
    /// The GPU.
    pub gpu: &'a Gpu,
    /// The same slot as it was last seen in good order.
    pub remembered: Option<&'a RememberedPart>,
    /// Set when it is off the bus.
    pub loss: Option<Loss>,
    /// Where it sits: the platform's name, else the snapshot's.
    pub slot: Option<String>,
}

/// What the checks look at.
#[derive(Debug)]
pub struct Context<'a> {
    /// The machine.
    pub snapshot: &'a Snapshot,
    /// What it should be.
    pub platform: Option<&'a Platform>,
    /// Its GPUs, by PCI address.
    pub gpus: Vec<GpuPart<'a>>,
    /// GPUs that the kernel reported off the bus and that the snapshot no longer lists.
    pub vanished: BTreeMap<PciAddress, Loss>,
    pci: BTreeMap<PciAddress, &'a PciDevice>,
}

/// Whether the event tells that a GPU is off the bus.
pub fn tells_off_bus(event: &Event) -> bool {
    event.kind == EventKind::OffBus || (event.kind == EventKind::Xid && event.xid == Some(79))
}

impl<'a> Context<'a> {
    /// Looks over the snapshot once.
    pub fn new(snapshot: &'a Snapshot, platform: Option<&'a Platform>) -> Self {
        let mut losses: BTreeMap<PciAddress, Loss> = BTreeMap::new();
        for (at, event) in snapshot.kernel_log.iter().enumerate() {
            let Some(pci) = event.pci else { continue };
            if event.source == LogSource::User || !tells_off_bus(event) {
                continue;
            }
            let loss = losses.entry(pci.with_function(0)).or_default();
            loss.events.push(at);
            loss.since = loss.since.or(event.first).or(event.time);
        }
        let gpus = snapshot
            .gpus
            .iter()
            .map(|gpu| Self::part(snapshot, platform, gpu, &mut losses))
            .collect();
        Self {
            snapshot,
            platform,
            gpus,
            vanished: losses,
            pci: snapshot
                .pci
                .iter()
                .map(|device| (device.address, device))
                .collect(),
        }
    }

    fn part(
        snapshot: &'a Snapshot,
        platform: Option<&Platform>,
        gpu: &'a Gpu,
        losses: &mut BTreeMap<PciAddress, Loss>,
    ) -> GpuPart<'a> {
        let remembered = remembered_gpu(snapshot, gpu);
        let silent = gpu.on_bus.get() == Some(false);
        let told = gpu
            .pci
            .get()
            .and_then(|pci| losses.remove(&pci.with_function(0)));
        let dropped = !passed_through(snapshot)
            && matches!(snapshot.driver.worker, WorkerState::Answered { .. })
            && gpu.in_driver.get() == Some(false)
            && remembered.is_some_and(|part| seen_in_this_boot(snapshot, part.seen_at));
        let loss = (silent || dropped || told.is_some()).then(|| Loss {
            silent,
            dropped,
            ..told.unwrap_or_default()
        });
        // A GPU that the driver cannot read has no module id: its socket is the one it had.
        let own = slot_name(platform, gpu);
        let known = remembered
            .and_then(|part| part.slot.as_deref())
            .map(|slot| renamed(platform, slot));
        let slot = if gpu.in_driver.get() == Some(true) && loss.is_none() {
            own.or(known)
        } else {
            known.or(own)
        };
        GpuPart {
            gpu,
            remembered,
            loss,
            slot,
        }
    }

    /// The PCI function at an address.
    pub fn pci(&self, address: PciAddress) -> Option<&'a PciDevice> {
        self.pci.get(&address).copied()
    }

    /// GPUs are passed through to virtual machines, so that NVML rightly sees none.
    pub fn passed_through(&self) -> bool {
        passed_through(self.snapshot)
    }

    /// Whether this node has or should have NVIDIA GPUs.
    pub fn has_gpus(&self) -> bool {
        !self.snapshot.gpus.is_empty()
            || !self.vanished.is_empty()
            || self.expected_gpus().is_some_and(|count| count > 0)
            || self.snapshot.pci.iter().any(PciDevice::is_nvidia_gpu)
    }

    /// Whether this node has NVIDIA GPUs, or may have some on a bus that could not be read.
    pub fn may_have_gpus(&self) -> bool {
        self.has_gpus() || self.bus_unread().is_some()
    }

    /// Why the PCI bus could not be read, where it could not: that nothing is listed then says
    /// nothing.
    pub fn bus_unread(&self) -> Option<String> {
        if self.snapshot.pci.is_empty() {
            self.problem("pci")
        } else {
            None
        }
    }

    /// What went wrong with a source, or with one of its parts (`rdma/mlx5_0`).
    pub fn problem(&self, source: &str) -> Option<String> {
        let mut problems = self.snapshot.problems.iter();
        let of = |told: &str| {
            told.strip_prefix(source)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let problem = problems.find(|problem| of(&problem.source))?;
        Some(format!("{}: {}", problem.source, problem.why))
    }

    /// How many GPUs the platform has.
    pub fn expected_gpus(&self) -> Option<u32> {
        self.platform.map(|platform| platform.gpu.count.value)
    }

    /// Parts of one kind as last seen in good order.
    pub fn remembered(&self, kind: ComponentKind) -> impl Iterator<Item = &'a RememberedPart> {
        self.snapshot
            .remembered
            .iter()
            .filter(move |part| part.kind == kind)
    }

    /// The NVSwitches on the PCI bus.
    pub fn nvswitches(&self) -> &'a [Nvswitch] {
        &self.snapshot.nvswitches
    }

    /// Whether something happened in this boot, as far as the snapshot can tell.
    pub fn is_of_this_boot(&self, time: Timestamp) -> bool {
        seen_in_this_boot(self.snapshot, time)
    }

    /// A component for a part that is known only by what is remembered of it.
    pub fn component_of(&self, part: &RememberedPart) -> Component {
        Component {
            kind: part.kind,
            index: part.index,
            serial: part.serial.clone(),
            pci: part.pci,
            slot: part
                .slot
                .as_deref()
                .map(|slot| renamed(self.platform, slot)),
        }
    }
}

/// The platform's name for a slot that is given as `SXM n` or by its physical number.
fn renamed(platform: Option<&Platform>, slot: &str) -> String {
    platform
        .into_iter()
        .flat_map(|platform| &platform.slots)
        .find(|name| {
            name.pci_slot.as_deref() == Some(slot)
                || name
                    .module_id
                    .is_some_and(|module| slot.strip_prefix("SXM ") == Some(&module.to_string()))
        })
        .map_or_else(|| slot.to_owned(), |name| name.name.clone())
}

fn passed_through(snapshot: &Snapshot) -> bool {
    snapshot.tenancy == Tenancy::VmPassthrough
}

/// Whether `seen_at` lies within this boot, as far as the snapshot can tell.
fn seen_in_this_boot(snapshot: &Snapshot, seen_at: Timestamp) -> bool {
    let Some(uptime) = snapshot.node.uptime_seconds.get() else {
        return false;
    };
    snapshot.taken_at.seconds_since(seen_at) < uptime.get()
}

/// What is remembered of this GPU: the part in the same slot if its serial is not another one now,
/// else the part at the same address, unless that one sits elsewhere now: addresses shift when a
/// device vanishes.
fn remembered_gpu<'a>(snapshot: &'a Snapshot, gpu: &Gpu) -> Option<&'a RememberedPart> {
    let serial = gpu.identity.serial.value();
    let same = |part: &&RememberedPart| {
        part.kind == ComponentKind::Gpu
            && (serial.is_none() || part.serial.is_none() || part.serial.as_ref() == serial)
    };
    let elsewhere = |part: &&RememberedPart| {
        part.serial.is_some()
            && part.serial.as_ref() != serial
            && snapshot
                .gpus
                .iter()
                .any(|other| other.identity.serial.value() == part.serial.as_ref())
    };
    let slot = gpu.slot.value();
    let pci = gpu.pci.get();
    snapshot
        .remembered
        .iter()
        .filter(same)
        .find(|part| slot.is_some() && part.slot.as_ref() == slot)
        .or_else(|| {
            snapshot
                .remembered
                .iter()
                .filter(same)
                .filter(|part| !elsewhere(part))
                .find(|part| pci.is_some() && part.pci == pci)
        })
}

/// The platform's name for the slot of this GPU, else the snapshot's.
fn slot_name(platform: Option<&Platform>, gpu: &Gpu) -> Option<String> {
    let module = gpu.identity.module_id.get();
    let slot = gpu.slot.value();
    platform
        .into_iter()
        .flat_map(|platform| &platform.slots)
        .find(|name| {
            (module.is_some() && name.module_id == module)
                || (slot.is_some() && name.pci_slot.as_ref() == slot)
        })
        .map(|name| name.name.clone())
        .or_else(|| slot.cloned())
}
