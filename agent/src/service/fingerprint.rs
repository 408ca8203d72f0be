//! What of a machine matters: the hash that tells whether a full report is news.
//!
//! # Invariants
//! - Measurements (temperatures, counters, free space, times) are left out; what a person would have
//!   to know (parts, firmware, links, states, findings) is in.
//! - The same machine in the same state has the same hash over restarts and versions of nothing
//!   else than this file.

use std::io;

use cupel_model::snapshot::{
    Gpu, NetworkInterface, NvmeController, PciDevice, RdmaDevice, WorkerState,
};
use cupel_model::wire::Tracked;
use cupel_model::{CheckReport, Coverage, NotRun, Reading, Snapshot};
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// Why a check that needs a rate is skipped until there are two samples: a word of the contract.
const ONE_SAMPLE: &str = "one-sample";

/// Feeds a hash with what is written.
struct Hashing(Sha256);

impl io::Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Hashing {
    fn add(&mut self, what: &impl Serialize) {
        // Only a map with keys that are no text could fail, and there is none.
        let mut what = serde_json::to_value(what).unwrap_or_default();
        without_reasons(&mut what);
        let _ = serde_json::to_writer(&mut *self, &what);
    }
}

/// Leaves of a reading without a value only its state: reasons count seconds.
fn without_reasons(json: &mut Value) {
    match json {
        Value::Array(list) => list.iter_mut().for_each(without_reasons),
        Value::Object(map) => {
            if map.len() == 2
                && map.contains_key("why")
                && let Some(state) = map.remove("state")
            {
                *json = state;
                return;
            }
            map.values_mut().for_each(without_reasons);
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The hash, in lower-case hexadecimal digits.
pub fn fingerprint(snapshot: &Snapshot, report: &CheckReport, findings: &[Tracked]) -> String {
    let mut hash = Hashing(Sha256::new());
    host(&mut hash, snapshot);
    for gpu in &snapshot.gpus {
        one_gpu(&mut hash, gpu);
    }
    hash.add(&snapshot.nvswitches);
    for device in &snapshot.rdma {
        one_adapter(&mut hash, device);
    }
    for drive in &snapshot.nvme {
        one_drive(&mut hash, drive);
    }
    for device in &snapshot.pci {
        one_function(&mut hash, device);
    }
    for interface in &snapshot.network {
        one_interface(&mut hash, interface);
    }
    hash.add(&(report.verdict, &report.platform));
    let Coverage {
        ran,
        skipped,
        unknown,
    } = &report.coverage;
    // A check of rates that has one sample so far will run: that is no news.
    let (soon, skipped): (Vec<_>, Vec<_>) = skipped
        .iter()
        .partition(|not_run| not_run.reason == ONE_SAMPLE);
    let mut ran: Vec<&str> = ran.iter().map(String::as_str).collect();
    ran.extend(names(soon));
    ran.sort_unstable();
    hash.add(&(ran, names(skipped), names(unknown)));
    for tracked in findings {
        let finding = &tracked.finding;
        hash.add(&(
            &tracked.id,
            finding.since,
            finding.severity,
            finding.impact,
            finding.confidence,
            finding.mode,
            &finding.component,
            tracked.observed,
            tracked.flaps,
        ));
    }
    hex(&hash.0.finalize())
}

fn names<'a>(list: impl IntoIterator<Item = &'a NotRun>) -> Vec<&'a str> {
    let names = list.into_iter().map(|not_run| not_run.check.as_str());
    names.collect()
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn host(hash: &mut Hashing, snapshot: &Snapshot) {
    let node = &snapshot.node;
    hash.add(&(&node.id, &node.hostname, &node.manufacturer, &node.product));
    hash.add(&(
        &node.serial,
        &node.chassis_serial,
        &node.board_serial,
        &node.boot_id,
    ));
    hash.add(&(snapshot.tenancy, &snapshot.cupel_version));
    let memory = &snapshot.memory;
    hash.add(&(&memory.total_bytes, &memory.dimms));
    hash.add(&snapshot.cpus);
    for filesystem in &snapshot.filesystems {
        hash.add(&(
            &filesystem.name,
            &filesystem.device,
            &filesystem.kind,
            filesystem.read_only,
        ));
    }
    hash.add(&state(&snapshot.bmc));
    if let Reading::Value(bmc) = &snapshot.bmc {
        hash.add(&bmc.firmware);
    }
    hash.add(&snapshot.kernel);
    let driver = &snapshot.driver;
    hash.add(&(
        &driver.kernel_version,
        &driver.flavour,
        &driver.library_version,
        &driver.cuda_version,
        match driver.worker {
            WorkerState::Answered { .. } => "answered",
            WorkerState::NotStarted { .. } => "not-started",
            WorkerState::Failed { .. } => "failed",
        },
    ));
    hash.add(&snapshot.services);
    hash.add(&snapshot.firmware);
}

fn one_gpu(hash: &mut Hashing, gpu: &Gpu) {
    hash.add(&(&gpu.index, &gpu.pci, &gpu.slot, &gpu.identity));
    hash.add(&(&gpu.on_bus, &gpu.in_driver, &gpu.memory.total_bytes));
    hash.add(&(
        &gpu.remapped_rows,
        &gpu.retired_pages,
        &gpu.ecc.enabled,
        &gpu.ecc.sram_threshold_exceeded,
    ));
    hash.add(&(
        &gpu.pcie.current_width,
        &gpu.thermal.power_limit_watts,
        &gpu.fabric,
        &gpu.processes.recovery_action,
    ));
    hash.add(&state(&gpu.nvlink));
    for link in gpu
        .nvlink
        .value()
        .into_iter()
        .flat_map(|nvlink| &nvlink.links)
    {
        hash.add(&(link.index, &link.active, &link.remote_pci));
    }
    hash.add(&gpu.hung.as_ref().map(|hung| (&hung.call, hung.wedged)));
}

fn one_adapter(hash: &mut Hashing, device: &RdmaDevice) {
    hash.add(&(
        &device.name,
        &device.pci,
        &device.slot,
        &device.serial,
        &device.firmware,
        &device.node_guid,
    ));
    for port in &device.ports {
        hash.add(&(
            port.number,
            &port.state,
            &port.physical_state,
            &port.rate_gbps,
            &port.link_layer,
            &port.lid,
        ));
    }
}

fn one_drive(hash: &mut Hashing, drive: &NvmeController) {
    hash.add(&(
        &drive.name,
        &drive.pci,
        &drive.slot,
        &drive.model,
        &drive.serial,
        &drive.firmware,
        &drive.state,
        &drive.capacity_bytes,
    ));
    hash.add(&state(&drive.health));
    if let Reading::Value(health) = &drive.health {
        hash.add(&health.critical_warnings);
    }
}

fn one_function(hash: &mut Hashing, device: &PciDevice) {
    hash.add(&(
        device.address,
        &device.vendor,
        &device.device,
        &device.driver,
        &device.current_width,
        &device.max_width,
        &device.slot,
        &device.serial,
    ));
}

fn one_interface(hash: &mut Hashing, interface: &NetworkInterface) {
    hash.add(&(
        &interface.name,
        &interface.pci,
        &interface.mac,
        &interface.state,
        &interface.rate_gbps,
    ));
}

/// Which kind of reading it is.
fn state<T>(reading: &Reading<T>) -> &'static str {
    match reading {
        Reading::Value(_) => "value",
        Reading::Absent(_) => "absent",
        Reading::Unsupported(_) => "unsupported",
        Reading::Failed(_) => "failed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cupel_health::testing::Node;
    use cupel_health::{Modes, evaluate};
    use cupel_model::units::{Bytes, Celsius};

    fn of(node: &Node) -> String {
        let report = evaluate(&node.snapshot, node.platform.as_ref(), &Modes::default());
        fingerprint(&node.snapshot, &report, &[])
    }

    #[test]
    fn measurements_are_no_news_and_parts_and_states_are() {
        let node = Node::good();
        let before = of(&node);
        assert_eq!(before.len(), 64);
        let mut warm = Node::good();
        warm.snapshot.taken_at = cupel_model::Timestamp::EPOCH;
        warm.snapshot.memory.available_bytes = Bytes(1 << 40).into();
        for gpu in &mut warm.snapshot.gpus {
            gpu.thermal.temperature_celsius = Celsius::new(44.0).expect("finite").into();
            gpu.thermal.power_watts = Reading::failed("late");
            gpu.memory.used_bytes = Bytes(1).into();
        }
        assert_eq!(of(&warm), before);
        let hung = |seconds: u32| {
            let mut node = Node::good();
            node.snapshot.nvme[0].model = Reading::failed(format!("hung for {seconds} s"));
            of(&node)
        };
        assert_ne!(hung(5), before);
        assert_eq!(hung(5), hung(6));

        let changes: [fn(&mut Snapshot); 6] = [
            |s| s.gpus[0].on_bus = false.into(),
            |s| s.gpus[1].identity.vbios_version = "96.00".to_owned().into(),
            |s| s.rdma[0].ports[0].state = "DOWN".to_owned().into(),
            |s| s.nvme[0].firmware = "2".to_owned().into(),
            |s| s.tenancy = cupel_model::snapshot::Tenancy::Vgpu,
            |s| {
                s.services.pop();
            },
        ];
        for (number, change) in changes.into_iter().enumerate() {
            let mut node = Node::good();
            change(&mut node.snapshot);
            assert_ne!(of(&node), before, "change {number}");
        }
    }
}
