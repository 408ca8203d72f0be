//! The sources that a snapshot is joined from.

use std::fmt;

/// What is read in one go, by one reader, at a cadence of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// Which machine this is, and its BIOS.
    Node,
    /// PCI functions with VPD, and NVSwitches among them.
    Pci,
    /// What the driver tells of GPUs.
    Gpu,
    /// RDMA devices and their ports.
    Rdma,
    /// NVMe controllers.
    Nvme,
    /// Memory, its modules and EDAC.
    Memory,
    /// Processors.
    Cpus,
    /// Network interfaces.
    Network,
    /// Mounted file systems.
    Filesystems,
    /// Sensors of hwmon.
    Sensors,
    /// Who the management controller is: one request.
    Bmc,
    /// The management controller with its sensors and event log: seconds.
    BmcDetails,
    /// The kernel and its modules.
    Kernel,
    /// Units of systemd.
    Services,
}

impl Source {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::Node,
        Self::Pci,
        Self::Gpu,
        Self::Rdma,
        Self::Nvme,
        Self::Memory,
        Self::Cpus,
        Self::Network,
        Self::Filesystems,
        Self::Sensors,
        Self::Bmc,
        Self::BmcDetails,
        Self::Kernel,
        Self::Services,
    ];

    /// Its name, for configuration, status and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Pci => "pci",
            Self::Gpu => "gpu",
            Self::Rdma => "rdma",
            Self::Nvme => "nvme",
            Self::Memory => "memory",
            Self::Cpus => "cpus",
            Self::Network => "network",
            Self::Filesystems => "filesystems",
            Self::Sensors => "sensors",
            Self::Bmc => "bmc",
            Self::BmcDetails => "bmc-details",
            Self::Kernel => "kernel",
            Self::Services => "services",
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_is_listed_once_under_a_name_of_its_own() {
        let names: BTreeSet<_> = Source::ALL.iter().map(|source| source.name()).collect();
        let sources: BTreeSet<_> = Source::ALL.into_iter().collect();
        assert_eq!(
            (names.len(), sources.len()),
            (Source::ALL.len(), Source::ALL.len())
        );
    }
}
