//! The node's counters before and after, from two Snapshots.
//!
//! # Invariants
//! - Pure: whoever runs the burn-in takes the Snapshots.
//! - A counter that could not be read has no rise; it is not taken for one that stood still.
//! - Counters of errors and of throttling are always kept; of the many others those that moved or
//!   could not be read.

use std::collections::BTreeMap;

use cupel_model::event::{Event, LogSource};
use cupel_model::finding::Severity;
use cupel_model::snapshot::{
    EccCounts, EdacCounter, Gpu, NamedCounter, NvmeController, RdmaDevice,
};
use cupel_model::{Counter, Reading, Snapshot};

use crate::resource::Resource;
use crate::result::{CounterChange, CounterMeaning};

/// How the names of what the kernel said begin.
const LOG: &str = "kernel log: ";

/// A counter at one moment.
struct Tally {
    name: String,
    on: Option<Resource>,
    place: Option<String>,
    meaning: CounterMeaning,
    unit: &'static str,
    value: Reading<f64>,
}

type Key = (String, Option<Resource>, Option<String>);

impl Tally {
    fn key(&self) -> Key {
        (self.name.clone(), self.on.clone(), self.place.clone())
    }
}

/// What moved between two Snapshots of a node, and what of importance did not.
pub fn changes(before: &Snapshot, after: &Snapshot) -> Vec<CounterChange> {
    join(tallies(before), tallies(after))
}

/// The same of memory controllers alone.
pub(crate) fn memory_changes(before: &[EdacCounter], after: &[EdacCounter]) -> Vec<CounterChange> {
    join(of_memory(before), of_memory(after))
}

/// The same of an adapter alone.
pub(crate) fn adapter_changes(before: &RdmaDevice, after: &RdmaDevice) -> Vec<CounterChange> {
    let tallies = |device: &RdmaDevice| {
        let mut all = Vec::new();
        of_adapter(device, &mut all);
        all
    };
    join(tallies(before), tallies(after))
}

/// The same of a drive alone.
pub(crate) fn drive_changes(before: &NvmeController, after: &NvmeController) -> Vec<CounterChange> {
    let tallies = |drive: &NvmeController| {
        let mut all = Vec::new();
        of_drive(drive, &mut all);
        all
    };
    join(tallies(before), tallies(after))
}

fn join(before: Vec<Tally>, after: Vec<Tally>) -> Vec<CounterChange> {
    let mut old: BTreeMap<Key, Reading<f64>> = before
        .into_iter()
        .map(|tally| (tally.key(), tally.value))
        .collect();
    after
        .into_iter()
        .map(|tally| {
            let before = old.remove(&tally.key()).unwrap_or_else(|| {
                // What was said for the first time was said no time before.
                if tally.name.starts_with(LOG) {
                    Reading::Value(0.0)
                } else {
                    Reading::absent("it was not there before")
                }
            });
            CounterChange {
                name: tally.name,
                on: tally.on,
                place: tally.place,
                meaning: tally.meaning,
                unit: tally.unit.to_owned(),
                before,
                after: tally.value,
            }
        })
        .filter(worth_keeping)
        .collect()
}

fn worth_keeping(change: &CounterChange) -> bool {
    match change.meaning {
        CounterMeaning::EccCorrected
        | CounterMeaning::EccUncorrected
        | CounterMeaning::Remapped
        | CounterMeaning::Throttled => {
            change.before.value().is_some() || change.after.value().is_some()
        }
        CounterMeaning::Other => change.after.value().is_some() && change.on.is_some(),
        CounterMeaning::LinkError | CounterMeaning::Reported => match change.rise() {
            Some(rise) => rise != 0.0,
            None => change.before.is_failed() || change.after.is_failed(),
        },
    }
}

fn tallies(snapshot: &Snapshot) -> Vec<Tally> {
    let mut all = Vec::new();
    for gpu in &snapshot.gpus {
        of_gpu(gpu, &mut all);
    }
    all.extend(of_memory(&snapshot.memory.edac));
    for drive in &snapshot.nvme {
        of_drive(drive, &mut all);
    }
    for device in &snapshot.rdma {
        of_adapter(device, &mut all);
    }
    for device in &snapshot.pci {
        let Some(counters) = device.aer.value() else {
            continue;
        };
        for counter in counters {
            all.push(link_error(
                format!("PCIe AER {}", counter.name),
                None,
                Some(device.address.to_string()),
                counter,
            ));
        }
    }
    all.extend(reports(&snapshot.kernel_log));
    all
}

fn of_memory(counters: &[EdacCounter]) -> Vec<Tally> {
    let mut all = Vec::new();
    for counter in counters {
        let place = counter.label.value().cloned();
        for (kind, meaning, value) in [
            (
                "corrected",
                CounterMeaning::EccCorrected,
                &counter.corrected,
            ),
            (
                "uncorrected",
                CounterMeaning::EccUncorrected,
                &counter.uncorrected,
            ),
        ] {
            all.push(Tally {
                name: format!("memory {} {kind}", counter.name),
                on: None,
                place: place.clone(),
                meaning,
                unit: "",
                value: counted(value),
            });
        }
    }
    all
}

fn counted(value: &Reading<Counter>) -> Reading<f64> {
    value.as_ref().map(|counter| counter.value as f64)
}

fn link_error(
    name: String,
    on: Option<Resource>,
    place: Option<String>,
    counter: &NamedCounter,
) -> Tally {
    Tally {
        name,
        on,
        place,
        meaning: CounterMeaning::LinkError,
        unit: "",
        value: counted(&counter.value),
    }
}

fn of_gpu(gpu: &Gpu, all: &mut Vec<Tally>) {
    let on = gpu.index.get().map(|index| Resource::Gpu { index });
    let place = gpu.slot.value().cloned();
    let mut add = |name: &str, meaning, unit, value: Reading<f64>| {
        all.push(Tally {
            name: name.to_owned(),
            on: on.clone(),
            place: place.clone(),
            meaning,
            unit,
            value,
        });
    };
    let EccCounts {
        sram_corrected,
        sram_uncorrected,
        dram_corrected,
        dram_uncorrected,
        ..
    } = &gpu.ecc.volatile;
    use CounterMeaning::{EccCorrected, EccUncorrected, LinkError, Other, Remapped, Throttled};
    add("sram corrected", EccCorrected, "", counted(sram_corrected));
    add(
        "sram uncorrected",
        EccUncorrected,
        "",
        counted(sram_uncorrected),
    );
    add("dram corrected", EccCorrected, "", counted(dram_corrected));
    add(
        "dram uncorrected",
        EccUncorrected,
        "",
        counted(dram_uncorrected),
    );
    if let Some(rows) = gpu.remapped_rows.value() {
        let count = |value: &Reading<u64>| value.as_ref().map(|n| *n as f64);
        add(
            "rows remapped after corrected errors",
            Remapped,
            "",
            count(&rows.correctable),
        );
        add(
            "rows remapped after uncorrectable errors",
            Remapped,
            "",
            count(&rows.uncorrectable),
        );
    }
    add(
        "PCIe replays",
        LinkError,
        "",
        counted(&gpu.pcie.replay_count),
    );
    let seconds = |value: &Reading<Counter>| counted(value).map(|ns| ns / 1e9);
    let clocks = &gpu.clocks;
    for (name, value) in [
        ("held down by power", &clocks.power_violation_ns),
        ("held down by heat", &clocks.thermal_violation_ns),
        (
            "held down by reliability limits",
            &clocks.reliability_violation_ns,
        ),
        ("held down by the board", &clocks.board_violation_ns),
    ] {
        add(name, Throttled, "s", seconds(value));
    }
    let thermal = &gpu.thermal;
    let celsius = |value: &Reading<_>| {
        value
            .as_ref()
            .map(|celsius: &cupel_model::units::Celsius| celsius.get())
    };
    add(
        "temperature",
        Other,
        "°C",
        celsius(&thermal.temperature_celsius),
    );
    add(
        "memory temperature",
        Other,
        "°C",
        celsius(&thermal.memory_temperature_celsius),
    );
    add(
        "energy",
        Other,
        "J",
        thermal.energy_joules.as_ref().map(|joules| joules.get()),
    );
    let Some(nvlink) = gpu.nvlink.value() else {
        return;
    };
    for link in &nvlink.links {
        for counter in &link.counters {
            all.push(link_error(
                format!("NVLink {}", counter.name),
                on.clone(),
                Some(format!("link {}", link.index)),
                counter,
            ));
        }
    }
}

fn of_drive(drive: &NvmeController, all: &mut Vec<Tally>) {
    let Some(health) = drive.health.value() else {
        return;
    };
    let mut add = |name: &str, meaning, unit, value: Reading<f64>| {
        all.push(Tally {
            name: name.to_owned(),
            on: Some(Resource::Drive {
                name: drive.name.clone(),
            }),
            place: drive
                .serial
                .value()
                .map(|serial| format!("serial {serial}")),
            meaning,
            unit,
            value,
        });
    };
    let count = |value: &Reading<u64>| value.as_ref().map(|n| *n as f64);
    add(
        "media errors",
        CounterMeaning::Reported,
        "",
        count(&health.media_errors),
    );
    add(
        "error log entries",
        CounterMeaning::LinkError,
        "",
        count(&health.error_log_entries),
    );
    add(
        "temperature",
        CounterMeaning::Other,
        "°C",
        health.temperature_celsius.as_ref().map(|c| c.get()),
    );
    add(
        "spare left",
        CounterMeaning::Other,
        "%",
        health.available_spare_percent.as_ref().map(|p| p.get()),
    );
}

fn of_adapter(device: &RdmaDevice, all: &mut Vec<Tally>) {
    /// Parts of names of counters that tell trouble; the rest counts traffic.
    const TROUBLE: [&str; 8] = [
        "error", "discard", "downed", "out_of", "timeout", "retry", "overrun", "corrupt",
    ];
    for port in &device.ports {
        for counter in &port.counters {
            if TROUBLE.iter().any(|word| counter.name.contains(word)) {
                all.push(link_error(
                    counter.name.to_string(),
                    Some(Resource::Adapter {
                        name: device.name.clone(),
                    }),
                    Some(format!("port {}", port.number)),
                    counter,
                ));
            }
        }
    }
}

/// How often the kernel said each thing of importance.
fn reports(log: &[Event]) -> Vec<Tally> {
    let mut said: BTreeMap<(String, Option<String>, bool), f64> = BTreeMap::new();
    let by_kernel = |event: &&Event| event.source != LogSource::User;
    for event in log.iter().filter(by_kernel) {
        let critical = match event.severity {
            Severity::Critical => true,
            // While the burn-in runs, the only application on the GPUs is our own.
            Severity::Warning => event.xid.is_some() || event.sxid.is_some(),
            Severity::Info => continue,
        };
        let name = match (event.xid, event.sxid) {
            (Some(xid), _) => format!("{LOG}XID {xid}"),
            (None, Some(sxid)) => format!("{LOG}SXid {sxid}"),
            (None, None) => format!("{LOG}{}", event.code),
        };
        let place = event.pci.map(|pci| pci.to_string());
        *said.entry((name, place, critical)).or_default() += event.repeats as f64;
    }
    said.into_iter()
        .map(|((name, place, critical), count)| Tally {
            name,
            on: None,
            place,
            meaning: if critical {
                CounterMeaning::Reported
            } else {
                CounterMeaning::LinkError
            },
            unit: "",
            value: Reading::Value(count),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use cupel_health::testing::{Node, xid};

    #[test]
    fn what_moved_is_told_with_its_place_and_what_stood_still_is_kept_where_it_matters() {
        let before = Node::good().snapshot;
        let mut after = Node::good();
        after.gpu(3).ecc.volatile.dram_uncorrected = Counter::exact(2).into();
        after.gpu(5).pcie.replay_count = Counter::exact(9).into();
        let mut event = xid(3, 48, "RESET_GPU", None);
        event.severity = Severity::Critical;
        after.log(event);
        let changes = changes(&before, &after.snapshot);
        let of = |name: &str, index| {
            let on = Some(Resource::Gpu { index });
            changes.iter().find(|c| c.name == name && c.on == on)
        };
        let uncorrected = of("dram uncorrected", 3).expect("kept");
        assert_eq!(uncorrected.rise(), Some(2.0));
        assert_eq!(uncorrected.meaning, CounterMeaning::EccUncorrected);
        assert_eq!(
            of("dram uncorrected", 2).and_then(CounterChange::rise),
            Some(0.0)
        );
        assert!(of("PCIe replays", 5).is_some());
        assert!(of("PCIe replays", 4).is_none());
        let report = changes.iter().find(|c| c.name == "kernel log: XID 48");
        let report = report.expect("a report");
        assert_eq!(
            (report.meaning, report.rise()),
            (CounterMeaning::Reported, Some(1.0))
        );
    }

    #[test]
    fn errors_of_memory_carry_the_label_of_their_module() {
        let counter = |corrected| EdacCounter {
            name: "mc1/dimm3".to_owned(),
            label: Reading::Value("CPU1_DIMM_C2".to_owned()),
            corrected: Counter::exact(corrected).into(),
            uncorrected: Counter::exact(0).into(),
        };
        let changes = memory_changes(&[counter(4)], &[counter(9)]);
        let corrected = &changes[0];
        assert_eq!(corrected.rise(), Some(5.0));
        assert_eq!(corrected.meaning, CounterMeaning::EccCorrected);
        assert_eq!(corrected.place.as_deref(), Some("CPU1_DIMM_C2"));
        assert_eq!(changes[1].rise(), Some(0.0));
    }

    #[test]
    fn what_a_program_wrote_into_the_log_counts_nothing() {
        let before = Node::good().snapshot;
        let mut after = Node::good();
        let mut forged = xid(3, 48, "RESET_GPU", None);
        forged.source = LogSource::User;
        forged.severity = Severity::Critical;
        after.log(forged);
        let changes = changes(&before, &after.snapshot);
        assert!(changes.iter().all(|change| !change.name.starts_with(LOG)));
    }

    #[test]
    fn a_counter_that_cannot_be_read_has_no_rise() {
        let before = Node::good().snapshot;
        let mut after = Node::good();
        after.gpu(0).ecc.volatile.dram_uncorrected = Reading::failed("the GPU is lost");
        let changes = changes(&before, &after.snapshot);
        let gone = changes
            .iter()
            .find(|c| c.name == "dram uncorrected" && c.on == Some(Resource::Gpu { index: 0 }))
            .expect("kept");
        assert_eq!(gone.rise(), None);
        assert!(gone.after.is_failed());
    }
}
