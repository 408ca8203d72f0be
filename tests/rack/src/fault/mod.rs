//! Faults, as they happen to a server: each changes registers, counters, log lines, return codes
//! or files, and brings with it what always comes with it.
//!
//! # Invariants
//! - A GPU is named by its index in the healthy server; `device` is `gpu3`, `mlx5_0`, `nvme1`,
//!   `eth0` or a PCI address.
//! - Nothing here knows what Cupel makes of it.

mod act;

use cupel_fake_driver::state;
use serde::Deserialize;

/// One thing that goes wrong.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Fault {
    /// A PCIe link trained with fewer lanes; both its ends and the driver say so.
    PcieWidth {
        /// At its far end.
        device: String,
        /// Lanes.
        width: u32,
    },
    /// A PCIe link trained slower.
    PcieSpeed {
        /// At its far end.
        device: String,
        /// GT/s.
        gts: f64,
    },
    /// A PCI function answers with all ones.
    PcieGone {
        /// Which.
        device: String,
    },
    /// AER counted errors; the kernel logs the last one.
    PcieAer {
        /// Which.
        device: String,
        /// `correctable`, `fatal` or `nonfatal`.
        class: String,
        /// The kernel's name of the counter, such as `BadTLP`.
        name: String,
        /// How many.
        count: u64,
    },
    /// A device is not there at all, since boot: no PCI function, unknown to drivers.
    DeviceMissing {
        /// Which.
        device: String,
    },
    /// A GPU falls off the bus while the driver runs.
    GpuOffBus {
        /// Which.
        gpu: u32,
    },
    /// The driver gives this code for a GPU's handle and every call on it; the bus is well.
    GpuHandle {
        /// Which.
        gpu: u32,
        /// NVML return code.
        code: u32,
    },
    /// Uncorrectable memory errors.
    GpuEcc {
        /// Which.
        gpu: u32,
        /// In DRAM (HBM) rather than SRAM.
        #[serde(default)]
        dram: bool,
        /// Since the driver loaded.
        #[serde(default)]
        volatile: u64,
        /// Over its life, these included.
        #[serde(default)]
        aggregate: u64,
        /// Whether the count passed the threshold for replacement.
        #[serde(default)]
        threshold_exceeded: bool,
    },
    /// Row remapping.
    GpuRowRemap {
        /// Which.
        gpu: u32,
        /// Rows remapped after uncorrectable errors.
        #[serde(default)]
        uncorrectable: u32,
        /// Rows remapped after corrected errors.
        #[serde(default)]
        correctable: u32,
        /// One waits for a reset.
        #[serde(default)]
        pending: bool,
        /// One has failed.
        #[serde(default)]
        failure: bool,
    },
    /// XID messages of the driver.
    GpuXid {
        /// Which.
        gpu: u32,
        /// Code.
        code: u32,
        /// What follows the code in the line.
        text: String,
        /// How often.
        #[serde(default = "once")]
        times: u32,
    },
    /// NVLinks are inactive.
    NvlinkInactive {
        /// Of which GPU.
        gpu: u32,
        /// Which.
        links: Vec<u32>,
    },
    /// Hardware slows a hot GPU down.
    GpuThermalSlowdown {
        /// Which.
        gpu: u32,
        /// °C.
        temperature: u32,
        /// NVML's bit mask of clock event reasons.
        reasons: u64,
        /// Nanoseconds lost to heat since the driver loaded.
        violation_ns: u64,
    },
    /// A GPU works: its link and clocks are up.
    GpuBusy {
        /// Which; all where it is left out.
        gpu: Option<u32>,
    },
    /// An idle GPU's link has fallen to its lowest generation, as many do.
    GpuIdleLink {
        /// Which.
        gpu: u32,
    },
    /// The driver asks for a recovery action.
    GpuRecovery {
        /// Which.
        gpu: u32,
        /// NVML's number of the action.
        action: u32,
    },
    /// A GPU has not registered with the fabric manager, or not well.
    Fabric {
        /// Which; all where it is left out.
        gpu: Option<u32>,
        /// NVML's state: 1 not started, 2 in progress, 3 completed.
        state: u8,
        /// NVML's code of the registration.
        #[serde(default)]
        status: u32,
        /// NVML's health mask.
        health: Option<u32>,
    },
    /// The library on disk was updated and the kernel module was not.
    DriverMismatch {
        /// Version of the library.
        library: String,
    },
    /// The library is there, and the kernel module is not loaded.
    DriverNotLoaded,
    /// Neither library nor kernel module.
    DriverAbsent,
    /// A driver function misbehaves.
    DriverCall {
        /// Its C name, or `*`.
        call: String,
        /// For which GPU; any where it is left out.
        gpu: Option<u32>,
        /// What it does.
        act: state::Act,
    },
    /// The library lacks functions.
    DriverSymbols {
        /// Their C names.
        missing: Vec<String>,
    },
    /// A unit is in another state.
    Unit {
        /// Its name.
        name: String,
        /// `inactive`, `failed`, …
        active: String,
        /// `dead`, `failed`, …
        sub: String,
    },
    /// An RDMA port has no link.
    RdmaPortDown {
        /// Which.
        device: String,
    },
    /// An RDMA port trained to another rate.
    RdmaRate {
        /// Which.
        device: String,
        /// As sysfs says it: `200 Gb/sec (2X NDR)`.
        rate: String,
    },
    /// A counter of an RDMA port.
    RdmaCounter {
        /// Which.
        device: String,
        /// Of `counters/` or `hw_counters/`.
        name: String,
        /// Its value.
        value: u64,
    },
    /// An NVMe drive warns of itself.
    NvmeWarning {
        /// Which.
        device: String,
        /// Byte 0 of its SMART / health log.
        bits: u8,
        /// Media errors.
        #[serde(default)]
        media_errors: u64,
        /// Spare left, per cent.
        #[serde(default = "full")]
        spare: u8,
    },
    /// A memory module is not detected: its socket is empty, the memory is gone.
    DimmMissing {
        /// Device locator.
        locator: String,
    },
    /// The node has booted anew: another boot id, a short uptime, an empty kernel log but for the
    /// boot.
    Reboot,
    /// A record of the kernel log.
    KernelLog {
        /// The message.
        text: String,
        /// Syslog level, 0 to 7.
        #[serde(default = "error")]
        level: u32,
        /// Written by a program (facility "user") instead of the kernel.
        #[serde(default)]
        user: bool,
    },
    /// A file has this content instead, or is gone where there is none.
    File {
        /// Path below the root.
        path: String,
        /// Content.
        content: Option<String>,
    },
}

fn once() -> u32 {
    1
}

fn full() -> u8 {
    100
}

fn error() -> u32 {
    3
}
