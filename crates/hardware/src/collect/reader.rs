//! One source, read again and again.
//!
//! # Invariants
//! - Reading ends by the source's deadline, whatever the source does; what was late says so, and is
//!   not started a second time while it still hangs.
//! - What cannot change, or is expensive and changes seldom, is kept from one reading to the next.

use std::time::Duration;

use cupel_model::Reading;
use cupel_model::Timestamp;
use cupel_model::snapshot::PciDevice;
use cupel_model::worker::Watched;

use super::fragment::{Data, Fragment, Problems};
use super::machine::Machine;
use super::source::Source;
use super::{devices, firmware, late};
use crate::deadline::{self, Late};
use crate::gpu::{Client, KernelDriver};
use crate::root::Root;
use crate::{
    clock, cpus, filesystems, ipmi, kernel, memory, network, node, nvswitch, pci, services,
};

/// Reads one source.
pub struct Reader {
    machine: Machine,
    source: Source,
    /// Of GPUs alone: it keeps its worker between two readings, which is what makes them cheap.
    client: Option<Box<Client>>,
}

impl Reader {
    pub(super) fn new(machine: &Machine, source: Source) -> Self {
        let gpu = source == Source::Gpu;
        Self {
            machine: machine.clone(),
            source,
            client: gpu.then(|| Box::new(Client::new(machine.options().gpu()))),
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
        if let Some(client) = &mut self.client {
            client.release();
        }
    }

    /// Watches for events of GPUs for `time`, which blocks. Only [`Source::Gpu`] has any, and only
    /// after a reading in which the driver answered.
    pub fn watch(&mut self, time: Duration) -> Watched {
        match &mut self.client {
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
        match self.source {
            Source::Node => self.node(problems),
            Source::Pci => self.pci(problems),
            Source::Gpu => self.gpu(problems, taken_at),
            Source::Rdma => Data::Rdma(devices::rdma(root, limits.device, problems)),
            Source::Nvme => Data::Nvme(devices::nvme(root, limits.device, problems)),
            Source::Sensors => Data::Sensors(devices::sensors(root, limits.device, problems)),
            Source::Memory => {
                let board = self.machine.board(problems);
                let read = within(root, "memory", limits.source, move |root| {
                    memory::collect(root, &board)
                });
                Data::Memory(problems.take_with("memory", read, late::memory))
            }
            Source::Cpus => {
                let board = self.machine.board(problems);
                let read = within(root, "cpus", limits.source, move |root| {
                    let sockets = board.as_ref().as_ref().map_or(&[][..], |b| &b.processors);
                    cpus::collect(root, sockets)
                });
                Data::Cpus(problems.take("cpus", read, late::cpus))
            }
            Source::Network => {
                let read = within(root, "network", limits.source, network::collect);
                Data::Network(problems.take_with("network", read, |_| Vec::new()))
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

    fn pci(&self, problems: &mut Problems) -> Data {
        let options = self.machine.options();
        let limits = options.deadlines;
        let vpd = options.with_vpd.then_some(limits.device);
        // VPD is read within this source, and has its own limit.
        let limit = limits.source + limits.device;
        let read = within(&options.root, "pci", limit, move |root| {
            pci::collect(root, vpd)
        });
        let functions: Vec<PciDevice> = problems.take_with("pci", read, |_| Vec::new());
        let of_switches: Vec<PciDevice> = functions
            .iter()
            .filter(|function| nvswitch::is_switch(function))
            .cloned()
            .collect();
        let read = within(&options.root, "nvswitch", limits.device, move |root| {
            nvswitch::collect(root, &of_switches)
        });
        let switches = problems.take("nvswitch", read, |_| Vec::new());
        Data::Pci {
            functions,
            switches,
        }
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
        let Some(client) = &mut self.client else {
            return Data::Gpu(crate::gpu::GpuSurvey::unread("not read"));
        };
        let survey = client.survey(&KernelDriver { version, flavour }, on_bus, taken_at);
        problems.0.extend_from_slice(&survey.problems);
        Data::Gpu(survey)
    }
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
