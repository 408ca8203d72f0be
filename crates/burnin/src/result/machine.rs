//! Which machine it was: enough to find the parts again, and to know what may be compared.

use cupel_model::{PciAddress, Reading, Snapshot};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A GPU as a technician finds it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MachineGpu {
    /// NVML index; absent when NVML does not list it.
    pub index: Reading<u32>,
    /// Product name.
    pub name: Reading<String>,
    /// Serial.
    pub serial: Reading<String>,
    /// `GPU-…`.
    pub uuid: Reading<String>,
    /// PCI address.
    pub pci: Reading<PciAddress>,
    /// Where it sits.
    pub slot: Reading<String>,
}

/// The machine that was burned in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Machine {
    /// Version of the cupel that ran it.
    pub cupel_version: String,
    /// Host name.
    pub hostname: Reading<String>,
    /// Stable id of the node.
    pub node_id: Reading<String>,
    /// Make.
    pub manufacturer: Reading<String>,
    /// Product.
    pub product: Reading<String>,
    /// Serial.
    pub serial: Reading<String>,
    /// Name of the matching platform; null when none matches: then most values are uncalibrated.
    pub platform: Option<String>,
    /// Kernel.
    pub kernel: Reading<String>,
    /// NVIDIA driver.
    pub driver: Reading<String>,
    /// Processors, one entry a socket.
    pub processors: Vec<String>,
    /// GPUs, in the order of the Snapshot.
    pub gpus: Vec<MachineGpu>,
}

impl Machine {
    /// The machine of a Snapshot.
    pub fn of(snapshot: &Snapshot, platform: Option<&str>) -> Self {
        let node = &snapshot.node;
        Self {
            cupel_version: snapshot.cupel_version.clone(),
            hostname: node.hostname.clone(),
            node_id: node.id.clone(),
            manufacturer: node.manufacturer.clone(),
            product: node.product.clone(),
            serial: node.serial.clone(),
            platform: platform.map(str::to_owned),
            kernel: snapshot.kernel.release.clone(),
            driver: snapshot.driver.kernel_version.clone(),
            processors: snapshot
                .cpus
                .sockets
                .iter()
                .filter_map(|socket| socket.model.value().cloned())
                .collect(),
            gpus: snapshot
                .gpus
                .iter()
                .map(|gpu| MachineGpu {
                    index: gpu.index.clone(),
                    name: gpu.identity.name.clone(),
                    serial: gpu.identity.serial.clone(),
                    uuid: gpu.identity.uuid.clone(),
                    pci: gpu.pci.clone(),
                    slot: gpu.slot.clone(),
                })
                .collect(),
        }
    }
}
