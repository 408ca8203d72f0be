//! What one source gave, once.

use std::time::Duration;

use cupel_model::snapshot::{
    Bmc, Cpus, Filesystem, FirmwareVersion, Kernel, Memory, NetworkInterface, Node, NvmeController,
    Nvswitch, PciDevice, Problem, RdmaDevice, Sensor, Service,
};
use cupel_model::{Reading, Shared, Timestamp};

use super::source::Source;
use crate::deadline::{Late, Pending};
use crate::gpu::GpuSurvey;

/// What one source gave, and what went wrong with it.
#[derive(Clone, Debug, PartialEq)]
pub struct Fragment {
    /// The source.
    pub source: Source,
    /// When reading began, by the wall clock.
    pub taken_at: Timestamp,
    /// When reading began, as time since boot: what rates are made with.
    pub since_boot: Duration,
    /// What could not be read and belongs to no single value.
    pub problems: Vec<Problem>,
    /// What was read.
    pub data: Data,
}

/// What a source reads.
#[derive(Clone, Debug, PartialEq)]
pub enum Data {
    /// [`Source::Node`].
    Node {
        /// Which machine.
        node: Node,
        /// Its BIOS.
        bios: FirmwareVersion,
    },
    /// [`Source::Pci`].
    Pci {
        /// All functions, by address.
        functions: Shared<Vec<PciDevice>>,
        /// The NVSwitches among them.
        switches: Vec<Nvswitch>,
    },
    /// [`Source::Gpu`]: not yet merged with the PCI bus.
    Gpu(GpuSurvey),
    /// [`Source::Rdma`]: slot and serial come from the PCI bus.
    Rdma(Vec<RdmaDevice>),
    /// [`Source::Nvme`]: the slot comes from the PCI bus.
    Nvme(Vec<NvmeController>),
    /// [`Source::Memory`].
    Memory(Memory),
    /// [`Source::Cpus`].
    Cpus(Cpus),
    /// [`Source::Network`].
    Network(Shared<Vec<NetworkInterface>>),
    /// [`Source::Filesystems`].
    Filesystems(Vec<Filesystem>),
    /// [`Source::Sensors`].
    Sensors(Vec<Sensor>),
    /// [`Source::Bmc`] and [`Source::BmcDetails`].
    Bmc(Reading<Bmc>),
    /// [`Source::Kernel`].
    Kernel(Kernel),
    /// [`Source::Services`].
    Services(Vec<Service>),
}

/// What went wrong with a source.
#[derive(Default)]
pub(super) struct Problems(pub(super) Vec<Problem>);

impl Problems {
    pub(super) fn add(&mut self, source: &str, why: impl ToString) {
        self.0.push(Problem {
            source: source.to_owned(),
            why: why.to_string(),
        });
    }

    /// A result, or `otherwise` made from why it was late.
    pub(super) fn take<T>(
        &mut self,
        source: &str,
        result: Result<T, Late>,
        otherwise: impl FnOnce(&str) -> T,
    ) -> T {
        result.unwrap_or_else(|late| {
            let why = late.to_string();
            self.add(source, &why);
            otherwise(&why)
        })
    }

    /// As [`Self::take`], of what is under way.
    pub(super) fn wait<T>(
        &mut self,
        source: &str,
        pending: Pending<T>,
        otherwise: impl FnOnce(&str) -> T,
    ) -> T {
        self.take(source, pending.wait(), otherwise)
    }

    /// As [`Self::take`], for what tells problems of its own.
    pub(super) fn take_with<T>(
        &mut self,
        source: &str,
        result: Result<(T, Vec<Problem>), Late>,
        otherwise: impl FnOnce(&str) -> T,
    ) -> T {
        let (value, problems) = self.take(source, result, |why| (otherwise(why), Vec::new()));
        self.0.extend(problems);
        value
    }
}
