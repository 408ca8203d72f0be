//! The machine around the GPUs.

use cupel_model::snapshot::{Dimm, IdSource};
use cupel_model::{Reading, Severity, Snapshot};

use super::{Detail, Section, tally, tally_line};
use crate::output::printable;
use crate::render::table::Grid;
use crate::render::words::{NONE, cell, count, span, told, word};

pub(super) fn machine(snapshot: &Snapshot) -> Section {
    let node = &snapshot.node;
    let name = node.hostname.value().map_or_else(
        || "This machine".to_owned(),
        |name| printable(name).into_owned(),
    );
    let mut section = Section::new(name);
    section.fact(
        "product",
        match (node.manufacturer.value(), node.product.value()) {
            (Some(manufacturer), Some(product)) => {
                printable(&format!("{manufacturer} {product}")).into_owned()
            }
            _ => told(&node.product),
        },
    );
    section.fact("serial", told(&node.serial));
    if node.chassis_serial.value().is_some() && node.chassis_serial != node.serial {
        section.fact("chassis", cell(&node.chassis_serial));
    }
    if node.board_serial.value().is_some() && node.board_serial != node.serial {
        section.fact("board", cell(&node.board_serial));
    }
    let source = match node.id_source.value() {
        Some(IdSource::SmbiosUuid) => " (SMBIOS)",
        Some(IdSource::MachineId) => " (machine-id: changes with reinstallation)",
        None => "",
    };
    section.fact("id", format!("{}{source}", told(&node.id)));
    section.fact("tenancy", word(&snapshot.tenancy));
    let kernel = &snapshot.kernel;
    let uptime = node
        .uptime_seconds
        .get()
        .map(|seconds| format!(", up {}", span(seconds.get())))
        .unwrap_or_default();
    section.fact("kernel", format!("{}{uptime}", told(&kernel.release)));
    section.fact("taken", snapshot.taken_at.to_string());
    section
}

pub(super) fn processors(snapshot: &Snapshot, detail: Detail) -> Section {
    let cpus = &snapshot.cpus;
    let mut section = Section::new("Processors");
    let (populated, empty): (Vec<_>, Vec<_>) = cpus
        .sockets
        .iter()
        .partition(|socket| socket.populated.get() != Some(false));
    if populated.is_empty() {
        section.note("no processor socket could be read");
    } else {
        section.fact(
            "model",
            tally_line(populated.iter().map(|socket| cell(&socket.model))),
        );
    }
    if !empty.is_empty() {
        let names: Vec<_> = empty.iter().map(|socket| socket.name.as_str()).collect();
        section.fact("empty", printable(&names.join(", ")));
    }
    let online = match (cpus.online_count.get(), cpus.possible_count.get()) {
        (Some(online), Some(possible)) if online == possible => format!("all {online}"),
        (Some(online), Some(possible)) => {
            format!("{online} of {possible} ({})", cell(&cpus.online))
        }
        _ => told(&cpus.online),
    };
    section.fact(
        "CPUs online",
        format!("{online}, NUMA nodes: {}", cell(&cpus.numa_nodes)),
    );
    if detail == Detail::Full || populated.len() > 1 {
        let mut grid = Grid::new(&["Socket", "Model", "Cores", "Threads", "Microcode"]);
        for socket in populated {
            grid.row([
                printable(&socket.name).into_owned(),
                cell(&socket.model),
                cell(&socket.cores),
                cell(&socket.threads),
                cell(&socket.microcode),
            ]);
        }
        section.grid = grid;
    }
    section
}

fn dimm_kind(dimm: &Dimm) -> String {
    let size = dimm.size_bytes.get().map(|bytes| bytes.human());
    let parts = [
        size,
        dimm.kind.value().cloned(),
        dimm.speed_mts.get().map(|speed| speed.to_string()),
        dimm.manufacturer.value().cloned(),
        dimm.part_number.value().cloned(),
    ];
    let text = parts.into_iter().flatten().collect::<Vec<_>>().join(" ");
    printable(text.trim()).into_owned()
}

fn is_empty(dimm: &Dimm) -> bool {
    matches!(dimm.size_bytes, Reading::Absent(_))
}

pub(super) fn memory(snapshot: &Snapshot, detail: Detail) -> Section {
    let memory = &snapshot.memory;
    let mut section = Section::new("Memory");
    let human = |reading: &Reading<cupel_model::units::Bytes>| {
        told(&reading.clone().map(cupel_model::units::Bytes::human))
    };
    section.fact(
        "usable",
        format!(
            "{}, {} available now",
            human(&memory.total_bytes),
            human(&memory.available_bytes)
        ),
    );
    let (empty, present): (Vec<_>, Vec<_>) = memory.dimms.iter().partition(|dimm| is_empty(dimm));
    if memory.dimms.is_empty() {
        section.fact("DIMMs", told(&memory.dimms_source));
    } else {
        let sum: u64 = present
            .iter()
            .filter_map(|dimm| dimm.size_bytes.get())
            .fold(0, |sum, bytes| sum.saturating_add(bytes.get()));
        section.fact(
            "DIMMs",
            format!(
                "{} in {}, {} in all",
                present.len(),
                count(memory.dimms.len(), "socket"),
                cupel_model::units::Bytes(sum).human()
            ),
        );
    }
    if !empty.is_empty() {
        let names: Vec<_> = empty.iter().map(|dimm| dimm.name.as_str()).collect();
        section.fact("empty", printable(&names.join(", ")));
    }
    match detail {
        Detail::Brief => {
            for (number, kind) in tally(present.iter().map(|dimm| dimm_kind(dimm))) {
                section.fact("", format!("{number} x {kind}"));
            }
        }
        Detail::Full => {
            let mut grid = Grid::new(&["Slot", "Module", "Serial"]);
            for dimm in present {
                grid.row([
                    printable(&dimm.name).into_owned(),
                    dimm_kind(dimm),
                    cell(&dimm.serial),
                ]);
            }
            section.grid = grid;
        }
    }
    if memory.edac.is_empty() {
        section.fact("errors", "not visible: no EDAC driver is loaded");
    } else {
        let sum = |pick: fn(
            &cupel_model::snapshot::EdacCounter,
        ) -> &Reading<cupel_model::reading::Counter>| {
            memory
                .edac
                .iter()
                .filter_map(|counter| pick(counter).get())
                .fold(0_u64, |sum, counter| sum.saturating_add(counter.value))
        };
        section.fact(
            "errors",
            format!(
                "{} corrected, {} uncorrected since boot (EDAC)",
                sum(|counter| &counter.corrected),
                sum(|counter| &counter.uncorrected)
            ),
        );
    }
    section
}

pub(super) fn filesystems(snapshot: &Snapshot) -> Section {
    let mut section = Section::new("File systems");
    let mut grid = Grid::new(&["Mounted on", "Device", "Type", "Size", "Free", "Mode"]);
    for filesystem in &snapshot.filesystems {
        grid.row([
            printable(&filesystem.name).into_owned(),
            printable(&filesystem.device).into_owned(),
            filesystem.kind.clone(),
            cell(&filesystem.total_bytes.clone().map(|bytes| bytes.human())),
            cell(&filesystem.free_bytes.clone().map(|bytes| bytes.human())),
            if filesystem.read_only {
                "read-only"
            } else {
                "read-write"
            }
            .to_owned(),
        ]);
    }
    if grid.rows.is_empty() {
        section.note("none was seen");
    }
    section.grid = grid;
    section
}

pub(super) fn bmc(snapshot: &Snapshot, detail: Detail) -> Section {
    let mut section = Section::new("Management controller (BMC)");
    let bmc = match &snapshot.bmc {
        Reading::Value(bmc) => bmc,
        other @ (Reading::Absent(_) | Reading::Unsupported(_) | Reading::Failed(_)) => {
            section.note(told(&other.as_ref().map(|_| "")));
            return section;
        }
    };
    section.fact("firmware", told(&bmc.firmware));
    section.fact("IPMI", told(&bmc.ipmi_version));
    match bmc.sensors.value() {
        Some(sensors) => section.fact("sensors", sensors.len().to_string()),
        None => section.fact("sensors", told(&bmc.sensors.as_ref().map(Vec::len))),
    }
    match bmc.sel.value() {
        Some(sel) => {
            let lost = if bmc.sel_overflow.get() == Some(true) {
                "; it has overflowed: older records are lost"
            } else {
                ""
            };
            section.fact("event log", format!("{}{lost}", count(sel.len(), "record")));
            let shown = match detail {
                Detail::Brief => 5,
                Detail::Full => 50,
            };
            let mut grid = Grid::new(&["Time", "Sensor", "Event", "State"]);
            for record in sel.iter().rev().take(shown) {
                grid.row([
                    record
                        .time
                        .map_or_else(|| NONE.to_owned(), |time| time.to_string()[..19].to_owned()),
                    printable(&record.sensor).into_owned(),
                    printable(&record.event).into_owned(),
                    if record.asserted {
                        "asserted"
                    } else {
                        "cleared"
                    }
                    .to_owned(),
                ]);
            }
            section.grid = grid;
        }
        None => section.fact("event log", told(&bmc.sel.as_ref().map(Vec::len))),
    }
    section
}

pub(super) fn services(snapshot: &Snapshot) -> Section {
    let mut section = Section::new("Services");
    let mut grid = Grid::new(&["Unit", "State", "Detail"]);
    let mut others: Vec<(String, Vec<String>)> = Vec::new();
    for service in &snapshot.services {
        let name = printable(&service.name).into_owned();
        if service.active_state.value().is_some() {
            grid.row([name, cell(&service.active_state), cell(&service.sub_state)]);
            continue;
        }
        let why = told(&service.active_state);
        match others.iter_mut().find(|(known, _)| *known == why) {
            Some((_, names)) => names.push(name),
            None => others.push((why, vec![name])),
        }
    }
    section.grid = grid;
    for (why, names) in others {
        section.note(format!("{why}: {}", names.join(", ")));
    }
    if snapshot.services.is_empty() {
        section.note("none was asked about");
    }
    section
}

pub(super) fn kernel_log(snapshot: &Snapshot) -> Section {
    let mut section = Section::new("Kernel log of this boot");
    section.fact("records", told(&snapshot.kernel_log_records));
    let number = |severity| {
        snapshot
            .kernel_log
            .iter()
            .filter(|event| event.severity == severity)
            .fold(0_u64, |sum, event| sum.saturating_add(event.repeats))
    };
    section.fact(
        "messages",
        format!(
            "{} critical, {} warning, {} info",
            number(Severity::Critical),
            number(Severity::Warning),
            number(Severity::Info)
        ),
    );
    section.grid = crate::render::check::event_grid(&snapshot.kernel_log);
    section
}
