//! One source, read again and again.
//!
//! # Invariants
//! - Reading ends by the source's deadline, whatever the source does; what was late says so, and is
//!   not started a second time while it still hangs.
//! - What cannot change, or is expensive and changes seldom, is kept from one reading to the next.

use std::collections::BTreeMap;
use std::time::Duration;

use cupel_model::snapshot::{Nvswitch, PciDevice};
use cupel_model::worker::Watched;
use cupel_model::{PciAddress, Reading, Timestamp};

use super::devices::Class;
use super::fragment::{Data, Fragment, Problems};
use super::machine::Machine;
use super::source::Source;
use super::{devices, firmware, late};
use crate::deadline::{self, Late};
use crate::gpu::{Client, KernelDriver};
use crate::root::Root;
use crate::{
    clock, cpus, filesystems, hwmon, ipmi, kernel, memory, network, node, nvswitch, pci, rdma,
    services,
};

/// Reads one source.
pub struct Reader {
    machine: Machine,
    source: Source,
    kept: Kept,
}

/// What is kept from one reading to the next; of each reader, what its own source needs.
#[derive(Default)]
struct Kept {
    /// Of GPUs alone: it keeps its worker between two readings, which is what makes them cheap.
    client: Option<Box<Client>>,
    bus: pci::Bus,
    /// Firmware of NVSwitches, by their addresses.
    switches: BTreeMap<PciAddress, Reading<String>>,
    adapters: Class<rdma::Adapter>,
    drives: Class<()>,
    chips: Class<hwmon::Chip>,
    packages: cpus::Packages,
}

impl Reader {
    pub(super) fn new(machine: &Machine, source: Source) -> Self {
        let gpu = source == Source::Gpu;
        Self {
            machine: machine.clone(),
            source,
            kept: Kept {
                client: gpu.then(|| Box::new(Client::new(machine.options().gpu()))),
                ..Kept::default()
            },
        }
    }

    /// The source that it reads.
    pub fn source(&self) -> Source {
        self.source
    }

    /// Reads the source now. This blocks, at most until the source's deadline.
    pub fn read(&mut self) -> Fragment {
        let (taken_at, since_boot) = (clock::now(), clock::since_boot());
        let mut problems = Problems::default();
        let data = self.data(&mut problems, taken_at);
        Fragment {
            source: self.source,
            taken_at,
            since_boot,
            problems: problems.0,
            data,
        }
    }

    /// Lets go of the GPU driver, so that a GPU can be reset; the next reading takes hold of it
    /// again. Other sources hold nothing.
    pub fn release(&mut self) {
        if let Some(client) = &mut self.kept.client {
            client.release();
        }
    }

    /// Asks everything of GPUs the next time, also what is believed for a minute: something happened.
    /// What other sources keep does not change with events.
    pub fn expire(&mut self) {
        if let Some(client) = &mut self.kept.client {
            client.expire();
        }
    }

    /// Watches for events of GPUs for `time`, which blocks. Only [`Source::Gpu`] has any, and only
    /// after a reading in which the driver answered.
    pub fn watch(&mut self, time: Duration) -> Watched {
        match &mut self.kept.client {
            Some(client) => client.watch(time),
            None => Watched {
                events: Reading::absent("only GPUs tell events"),
                problems: Vec::new(),
            },
        }
    }

    fn data(&mut self, problems: &mut Problems, taken_at: Timestamp) -> Data {
        let options = self.machine.options();
        let limits = options.deadlines;
        let root = &options.root;
        let kept = &mut self.kept;
        match self.source {
            Source::Node => self.node(problems),
            Source::Pci => self.pci(problems),
            Source::Gpu => self.gpu(problems, taken_at),
            Source::Rdma => {
                let class = &mut kept.adapters;
                Data::Rdma(devices::rdma(class, root, limits.device, problems))
            }
            Source::Nvme => {
                let class = &mut kept.drives;
                Data::Nvme(devices::nvme(class, root, limits.device, problems))
            }
            Source::Sensors => {
                let class = &mut kept.chips;
                Data::Sensors(devices::sensors(class, root, limits.device, problems))
            }
            Source::Memory => {
                let board = self.machine.board(problems);
                let read = within(root, "memory", limits.source, move |root| {
                    memory::collect(root, &board)
                });
                Data::Memory(problems.take_with("memory", read, late::memory))
            }
            Source::Cpus => {
                let board = self.machine.board(problems);
                let read = keeping(root, "cpus", limits.source, &mut kept.packages, {
                    move |root, packages| {
                        let sockets = board.as_ref().as_ref().map_or(&[][..], |b| &b.processors);
                        packages.read(root, sockets)
                    }
                });
                Data::Cpus(problems.take("cpus", read, late::cpus))
            }
            Source::Network => {
                let read = within(root, "network", limits.source, network::collect);
                let interfaces = problems.take_with("network", read, |_| Vec::new());
                Data::Network(interfaces.into())
            }
            Source::Filesystems => {
                let sizes = limits.device;
                let read = within(root, "filesystems", limits.source, move |root| {
                    filesystems::collect(root, sizes)
                });
                Data::Filesystems(problems.take_with("filesystems", read, |_| Vec::new()))
            }
            Source::Bmc | Source::BmcDetails => {
                let details = self.source == Source::BmcDetails;
                // The controller's own limit comes first, so that what was read by then is kept.
                let own = limits.bmc;
                let read = within(root, "bmc", own + limits.device, move |root| {
                    ipmi::collect(root, details, own)
                });
                Data::Bmc(problems.take_with("bmc", read, |why| Reading::failed(why)))
            }
            Source::Kernel => {
                let read = within(root, "kernel", limits.source, kernel::collect);
                Data::Kernel(problems.take("kernel", read, late::kernel))
            }
            Source::Services => {
                let (units, own) = (options.units.clone(), limits.services);
                let read = within(root, "services", own + limits.source, move |root| {
                    services::collect(root, &units, own)
                });
                Data::Services(problems.take("services", read, |_| Vec::new()))
            }
        }
    }

    fn node(&self, problems: &mut Problems) -> Data {
        let options = self.machine.options();
        let board = self.machine.board(problems);
        let read = within(
            &options.root,
            "node",
            options.deadlines.source,
            move |root| (node::collect(root, &board), firmware::bios(root, &board)),
        );
        let (node, bios) = problems.take("node", read, |why| {
            (late::node(why), firmware::no_bios(why))
        });
        Data::Node { node, bios }
    }

    fn pci(&mut self, problems: &mut Problems) -> Data {
        let options = self.machine.options();
        let limits = options.deadlines;
        let vpd = options.with_vpd.then_some(limits.device);
        // VPD is read within this source, and has its own limit.
        let limit = limits.source + limits.device;
        let read = keeping(&options.root, "pci", limit, &mut self.kept.bus, {
            move |root, bus| bus.read(root, vpd)
        });
        let functions: Vec<PciDevice> = problems.take_with("pci", read, |_| Vec::new());
        let switches = self.switches(&functions, problems);
        Data::Pci {
            functions: functions.into(),
            switches,
        }
    }

    /// Their firmware stays what it is as long as they stay where they are.
    fn switches(&mut self, functions: &[PciDevice], problems: &mut Problems) -> Vec<Nvswitch> {
        let there: Vec<PciAddress> = functions
            .iter()
            .filter(|function| nvswitch::is_switch(function))
            .map(|function| function.address)
            .collect();
        let known = &mut self.kept.switches;
        known.retain(|address, firmware| there.contains(address) && firmware.value().is_some());
        if there.iter().any(|address| !known.contains_key(address)) {
            let options = self.machine.options();
            let limit = options.deadlines.device;
            let read = within(&options.root, "nvswitch", limit, move |root| {
                let firmware = |address: &PciAddress| nvswitch::firmware_of(root, *address);
                there
                    .iter()
                    .map(|address| (*address, firmware(address)))
                    .collect()
            });
            *known = problems.take("nvswitch", read, |_| BTreeMap::new());
        }
        nvswitch::list(functions, |address| {
            let firmware = known.get(&address).cloned();
            firmware.unwrap_or_else(|| Reading::failed("the driver did not tell in time"))
        })
    }

    /// GPU workers have deadlines of their own.
    fn gpu(&mut self, problems: &mut Problems, taken_at: Timestamp) -> Data {
        let options = self.machine.options();
        let limit = options.deadlines.source;
        let root = &options.root;
        let read = within(root, "nvidia-driver", limit, kernel::nvidia_driver);
        let (version, flavour) = problems.take("nvidia-driver", read, |why| {
            (Reading::failed(why), Reading::failed(why))
        });
        let on_bus = || within(root, "pci/gpus", limit, pci::has_nvidia_gpu).unwrap_or(false);
        let Some(client) = &mut self.kept.client else {
            return Data::Gpu(crate::gpu::GpuSurvey::unread("not read"));
        };
        let survey = client.survey(&KernelDriver { version, flavour }, on_bus, taken_at);
        problems.0.extend_from_slice(&survey.problems);
        Data::Gpu(survey)
    }
}

/// As [`within`], with what is kept: it goes to the thread that reads, and comes back with what was
/// read. Work that hangs keeps it.
fn keeping<K, T>(
    root: &Root,
    name: &str,
    limit: Duration,
    kept: &mut K,
    work: impl FnOnce(&Root, &mut K) -> T + Send + 'static,
) -> Result<T, Late>
where
    K: Default + Send + 'static,
    T: Send + 'static,
{
    let mut own = std::mem::take(kept);
    let read = within(root, name, limit, move |root| {
        let value = work(root, &mut own);
        (own, value)
    });
    read.map(|(own, value)| {
        *kept = own;
        value
    })
}

fn within<T: Send + 'static>(
    root: &Root,
    name: &str,
    limit: Duration,
    work: impl FnOnce(&Root) -> T + Send + 'static,
) -> Result<T, Late> {
    let own = root.clone();
    deadline::within(root, name, limit, move || work(&own))
}
