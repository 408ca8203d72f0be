//! What hangs on the buses: PCI, RDMA, NVMe, network.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::gpu::NamedCounter;
use crate::pci::PciAddress;
use crate::reading::Reading;
use crate::units::{Bytes, Celsius, GigabitsPerSecond, GigatransfersPerSecond, Hours, Percent};

/// One PCI function.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PciDevice {
    /// Address.
    pub address: PciAddress,
    /// Vendor id, four hexadecimal digits.
    pub vendor: Reading<String>,
    /// Device id, four hexadecimal digits.
    pub device: Reading<String>,
    /// Subsystem `vendor:device`.
    pub subsystem: Reading<String>,
    /// Class code, six hexadecimal digits.
    pub class: Reading<String>,
    /// Revision, two hexadecimal digits.
    pub revision: Reading<String>,
    /// Link speed now; failed when the kernel says `Unknown` (the device is gone).
    pub current_speed_gts: Reading<GigatransfersPerSecond>,
    /// Lanes now; failed when the kernel says 255 (the device is gone).
    pub current_width: Reading<u32>,
    /// Highest link speed of the device.
    pub max_speed_gts: Reading<GigatransfersPerSecond>,
    /// Most lanes of the device.
    pub max_width: Reading<u32>,
    /// AER counters, `correctable/…`, `fatal/…`, `nonfatal/…`, as the kernel names them; absent
    /// where the kernel does not own AER (firmware first): not visible, not zero.
    pub aer: Reading<Vec<NamedCounter>>,
    /// Bound kernel driver; absent when none is.
    pub driver: Reading<String>,
    /// NUMA node; absent when the kernel says -1.
    pub numa_node: Reading<u32>,
    /// Physical slot (`/sys/bus/pci/slots`) of this device or the nearest bridge above.
    pub slot: Reading<String>,
    /// Address of the bridge above; absent on a root bus.
    pub upstream: Reading<PciAddress>,
    /// Serial number from VPD (SN), where readable.
    pub serial: Reading<String>,
    /// Part number from VPD (PN), where readable.
    pub part_number: Reading<String>,
    /// Whether VPD says that a fabric manager reaches NVSwitches through this function
    /// (`SMDL=SW_MNG`): no port of the node.
    #[serde(default)]
    pub manages_switches: Reading<bool>,
}

impl PciDevice {
    /// Whether this is an NVIDIA GPU function: vendor 10de, class 0300 or 0302.
    pub fn is_nvidia_gpu(&self) -> bool {
        let class = self.class.value().map(String::as_str).unwrap_or_default();
        self.vendor.value().is_some_and(|vendor| vendor == "10de")
            && (class.starts_with("0300") || class.starts_with("0302"))
    }

    /// `vendor:device`, where both are known.
    pub fn id(&self) -> Option<String> {
        Some(format!("{}:{}", self.vendor.value()?, self.device.value()?))
    }
}

/// One port of an RDMA device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RdmaPort {
    /// Port number, 1-based.
    pub number: u32,
    /// The kernel's word: `ACTIVE`, `INIT`, `DOWN`, …
    pub state: Reading<String>,
    /// The kernel's word: `LinkUp`, `Polling`, `Disabled`, …
    pub physical_state: Reading<String>,
    /// Rate.
    pub rate_gbps: Reading<GigabitsPerSecond>,
    /// `InfiniBand` or `Ethernet`.
    pub link_layer: Reading<String>,
    /// Local id; 0 is "none yet".
    pub lid: Reading<u32>,
    /// Subnet manager's local id.
    pub sm_lid: Reading<u32>,
    /// Network interfaces of this port, by name.
    pub interfaces: Vec<String>,
    /// `counters/` and `hw_counters/`, by name.
    pub counters: Vec<NamedCounter>,
}

/// One RDMA device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RdmaDevice {
    /// Kernel's name, e.g. `mlx5_0`. Bonds and udev rename: identify by `pci` and `node_guid`.
    pub name: String,
    /// PCI address; absent for software devices.
    pub pci: Reading<PciAddress>,
    /// Physical slot, as of its PCI device.
    pub slot: Reading<String>,
    /// Serial number, from VPD.
    pub serial: Reading<String>,
    /// Firmware version.
    pub firmware: Reading<String>,
    /// Board id (PSID).
    pub board_id: Reading<String>,
    /// Hardware type, e.g. `MT4129`.
    pub hca_type: Reading<String>,
    /// Node GUID.
    pub node_guid: Reading<String>,
    /// System image GUID: the same on all functions of one adapter.
    pub system_guid: Reading<String>,
    /// Ports, by number.
    pub ports: Vec<RdmaPort>,
    /// Counters of the device as a whole, by name.
    pub counters: Vec<NamedCounter>,
}

/// SMART / health log of an NVMe controller. Source: log page 02h.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct NvmeHealth {
    /// Critical warning bits that are set: `available-spare`, `temperature`, `reliability`,
    /// `read-only`, `volatile-backup`, `persistent-memory`; unknown ones `bit-N`.
    pub critical_warnings: Vec<String>,
    /// Composite temperature.
    pub temperature_celsius: Reading<Celsius>,
    /// Spare left.
    pub available_spare_percent: Reading<Percent>,
    /// Threshold for spare.
    pub available_spare_threshold_percent: Reading<Percent>,
    /// Life used; may pass 100.
    pub percentage_used: Reading<Percent>,
    /// Media and data integrity errors.
    pub media_errors: Reading<u64>,
    /// Entries of the error log over life.
    pub error_log_entries: Reading<u64>,
    /// Power-on hours.
    pub power_on_hours: Reading<Hours>,
    /// Unsafe shutdowns.
    pub unsafe_shutdowns: Reading<u64>,
}

/// A firmware slot of an NVMe controller. Source: log page 03h.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NvmeFirmwareSlot {
    /// Slot, 1..=7.
    pub index: u32,
    /// Revision in it.
    pub revision: String,
    /// Whether it runs now.
    pub active: bool,
    /// Whether it runs after the next reset.
    pub next: bool,
}

/// One NVMe controller.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct NvmeController {
    /// Kernel's name, e.g. `nvme0`.
    pub name: String,
    /// PCI address; absent over fabrics.
    pub pci: Reading<PciAddress>,
    /// Physical slot.
    pub slot: Reading<String>,
    /// Model.
    pub model: Reading<String>,
    /// Serial.
    pub serial: Reading<String>,
    /// Firmware revision that runs.
    pub firmware: Reading<String>,
    /// The kernel's word: `live`, `resetting`, `dead`, …
    pub state: Reading<String>,
    /// Size of all namespaces.
    pub capacity_bytes: Reading<Bytes>,
    /// SMART / health.
    pub health: Reading<NvmeHealth>,
    /// Firmware slots.
    pub firmware_slots: Reading<Vec<NvmeFirmwareSlot>>,
}

/// One network interface that is backed by a device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct NetworkInterface {
    /// Kernel's name.
    pub name: String,
    /// PCI address; absent for what is not on PCI.
    pub pci: Reading<PciAddress>,
    /// Hardware address.
    pub mac: Reading<String>,
    /// `up`, `down`, `dormant`, … (`operstate`).
    pub state: Reading<String>,
    /// Whether there is a carrier; failed when the interface is down.
    pub carrier: Reading<bool>,
    /// Rate; absent when there is no link.
    pub rate_gbps: Reading<GigabitsPerSecond>,
    /// MTU, bytes.
    pub mtu: Reading<u32>,
    /// How often the carrier was lost since boot.
    pub carrier_down_count: Reading<u64>,
    /// Kernel driver.
    pub driver: Reading<String>,
    /// Statistics that tell trouble, by name.
    pub counters: Vec<NamedCounter>,
}
