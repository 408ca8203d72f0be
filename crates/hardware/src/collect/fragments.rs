//! The newest fragment of each source, and how they are joined.
//!
//! # Invariants
//! - What belongs together is joined by PCI address, of the newest reading of either: an adapter's
//!   slot and serial are those of its function, a GPU's is where the bus has it.
//! - What was not read yet says so.

use std::collections::BTreeMap;

use cupel_model::snapshot::{Bmc, PciDevice, Problem, Snapshot, Tenancy, no_interval};
use cupel_model::{PciAddress, Reading, SCHEMA_VERSION, Timestamp};

use super::fragment::{Data, Fragment, Problems};
use super::source::Source;
use super::{firmware, late};
use crate::gpu::GpuSurvey;

/// Why there is nothing of a source yet.
const UNREAD: &str = "not read yet";

/// The newest fragment of each source.
#[derive(Clone, Debug, Default)]
pub struct Fragments(BTreeMap<Source, Fragment>);

impl Fragments {
    /// With nothing read yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts a fragment in the place of the one before it, which it gives back. Functions that are as
    /// they were stay one with those of before, and with those of every snapshot.
    pub fn insert(&mut self, mut fragment: Fragment) -> Option<Fragment> {
        if let Data::Pci { functions, .. } = &mut fragment.data
            && let Some(Data::Pci { functions: old, .. }) = self.data(fragment.source)
        {
            functions.join(old);
        }
        self.0.insert(fragment.source, fragment)
    }

    /// The newest fragment of a source.
    pub fn get(&self, source: Source) -> Option<&Fragment> {
        self.0.get(&source)
    }

    /// What a snapshot still lacks: until this is empty, judging it makes little sense. The
    /// management controller's sensors and events are not waited for.
    pub fn missing(&self) -> Vec<Source> {
        let read = |source: Source| self.0.contains_key(&source);
        let there = |source: Source| {
            let by_details = source == Source::Bmc && read(Source::BmcDetails);
            read(source) || by_details || source == Source::BmcDetails
        };
        Source::ALL
            .into_iter()
            .filter(|source| !there(*source))
            .collect()
    }

    /// The machine as far as it was read, once it is known which machine it is. The kernel log, the
    /// events of GPUs, remembered parts and the sample before are the caller's to add.
    pub fn assemble(&self, taken_at: Timestamp, tenancy: Tenancy) -> Option<Snapshot> {
        let known = self.0.contains_key(&Source::Node);
        known.then(|| self.joined(taken_at, tenancy))
    }

    /// As [`Self::assemble`], even where it is not known which machine it is.
    pub(super) fn joined(&self, taken_at: Timestamp, tenancy: Tenancy) -> Snapshot {
        let mut problems = Problems::default();
        for fragment in self.0.values() {
            problems.0.extend_from_slice(&fragment.problems);
        }
        let (node, bios) = match self.data(Source::Node) {
            Some(Data::Node { node, bios }) => (node.clone(), bios.clone()),
            _ => (late::node(UNREAD), firmware::no_bios(UNREAD)),
        };
        let (pci, nvswitches) = match self.data(Source::Pci) {
            Some(Data::Pci {
                functions,
                switches,
            }) => (functions.clone(), switches.clone()),
            _ => unread("pci", &mut problems),
        };
        let unasked;
        let survey = match self.data(Source::Gpu) {
            Some(Data::Gpu(survey)) => survey,
            _ => {
                unasked = GpuSurvey::unread(UNREAD);
                &unasked
            }
        };
        let mut snapshot = Snapshot {
            schema_version: SCHEMA_VERSION,
            cupel_version: env!("CARGO_PKG_VERSION").to_owned(),
            taken_at,
            node,
            tenancy,
            gpus: survey.gpus(&pci).into(),
            nvswitches,
            rdma: match self.data(Source::Rdma) {
                Some(Data::Rdma(devices)) => devices.clone().into(),
                _ => unread("rdma", &mut problems),
            },
            nvme: match self.data(Source::Nvme) {
                Some(Data::Nvme(drives)) => drives.clone(),
                _ => unread("nvme", &mut problems),
            },
            memory: match self.data(Source::Memory) {
                Some(Data::Memory(memory)) => memory.clone(),
                _ => late::memory(UNREAD),
            },
            cpus: match self.data(Source::Cpus) {
                Some(Data::Cpus(cpus)) => cpus.clone(),
                _ => late::cpus(UNREAD),
            },
            network: match self.data(Source::Network) {
                Some(Data::Network(interfaces)) => interfaces.clone(),
                _ => unread("network", &mut problems),
            },
            filesystems: match self.data(Source::Filesystems) {
                Some(Data::Filesystems(filesystems)) => filesystems.clone(),
                _ => unread("filesystems", &mut problems),
            },
            sensors: match self.data(Source::Sensors) {
                Some(Data::Sensors(sensors)) => sensors.clone(),
                _ => unread("hwmon", &mut problems),
            },
            bmc: self.bmc(),
            kernel: match self.data(Source::Kernel) {
                Some(Data::Kernel(kernel)) => kernel.clone(),
                _ => late::kernel(UNREAD),
            },
            driver: survey.driver.clone(),
            services: match self.data(Source::Services) {
                Some(Data::Services(services)) => services.clone(),
                _ => unread("services", &mut problems),
            },
            firmware: Vec::new(),
            kernel_log: Vec::new(),
            kernel_log_records: Reading::default(),
            gpu_events: no_interval(),
            remembered: Vec::new(),
            previous: None,
            problems: Vec::new(),
            pci,
        };
        place(&mut snapshot);
        snapshot.firmware = firmware::list(&snapshot, bios);
        snapshot.problems = problems.0;
        sort_problems(&mut snapshot.problems);
        snapshot
    }

    fn data(&self, source: Source) -> Option<&Data> {
        self.0.get(&source).map(|fragment| &fragment.data)
    }

    /// The controller as it was asked last, with the sensors and events that were read last.
    fn bmc(&self) -> Reading<Bmc> {
        let read = |source: Source| {
            let fragment = self.0.get(&source)?;
            let Data::Bmc(bmc) = &fragment.data else {
                return None;
            };
            Some((fragment.since_boot, bmc))
        };
        match (read(Source::Bmc), read(Source::BmcDetails)) {
            (None, None) => Reading::failed(UNREAD),
            (Some((_, bmc)), None) | (None, Some((_, bmc))) => bmc.clone(),
            (Some((at, _)), Some((later, details))) if later >= at => details.clone(),
            (Some((_, bmc)), Some((_, details))) => {
                let mut bmc = bmc.clone();
                if let (Reading::Value(bmc), Reading::Value(details)) = (&mut bmc, details) {
                    bmc.sensors.clone_from(&details.sensors);
                    bmc.sel.clone_from(&details.sel);
                    bmc.sel_overflow.clone_from(&details.sel_overflow);
                }
                bmc
            }
        }
    }
}

/// A list that has no place of its own for why it is empty.
fn unread<T: Default>(source: &str, problems: &mut Problems) -> T {
    problems.add(source, UNREAD);
    T::default()
}

/// Problems in order, each once.
pub(super) fn sort_problems(problems: &mut Vec<Problem>) {
    problems.sort();
    problems.dedup();
}

/// Gives RDMA devices and drives the slot of their PCI function, and adapters its serial.
fn place(snapshot: &mut Snapshot) {
    let functions: BTreeMap<PciAddress, &PciDevice> = snapshot
        .pci
        .iter()
        .map(|function| (function.address, function))
        .collect();
    let of = |address: &Reading<PciAddress>, value: fn(&PciDevice) -> &Reading<String>| {
        address.as_ref().and_then(|address| {
            functions.get(address).map_or_else(
                || Reading::failed(format!("{address} is not on the PCI bus")),
                |function| value(function).clone(),
            )
        })
    };
    for device in &mut snapshot.rdma {
        device.slot = of(&device.pci, |function| &function.slot);
        device.serial = of(&device.pci, |function| &function.serial);
    }
    for drive in &mut snapshot.nvme {
        drive.slot = of(&drive.pci, |function| &function.slot);
    }
}
