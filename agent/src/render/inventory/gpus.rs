//! GPUs, their driver, NVLinks and NVSwitches.

use cupel_model::snapshot::{Gpu, NvlinkRemote, RememberedPart, WorkerState};
use cupel_model::{Component, ComponentKind, Reading, Snapshot};

use super::{Section, tally_line};
use crate::output::printable;
use crate::render::table::Grid;
use crate::render::words::{cell, place, told};

pub(super) fn driver(snapshot: &Snapshot) -> Section {
    let driver = &snapshot.driver;
    let mut section = Section::new("NVIDIA driver");
    let flavour = driver
        .flavour
        .value()
        .map(|flavour| format!(" ({})", printable(flavour)))
        .unwrap_or_default();
    section.fact(
        "kernel module",
        format!("{}{flavour}", told(&driver.kernel_version)),
    );
    match &driver.worker {
        WorkerState::Answered { replaced } => {
            section.fact("library", told(&driver.library_version));
            section.fact(
                "NVML, CUDA",
                format!(
                    "{}, {}",
                    cell(&driver.nvml_version),
                    cell(&driver.cuda_version)
                ),
            );
            section.fact("loaded from", told(&driver.library_path));
            if *replaced > 0 {
                section.fact("worker", format!("answered; replaced {replaced} times"));
            }
        }
        WorkerState::NotStarted { why } => {
            section.fact("library", format!("not asked ({})", printable(why)));
        }
        WorkerState::Failed { why, hung } => {
            let hung = hung
                .as_ref()
                .map(|hung| format!("; {} hangs since {}", hung.call, hung.since))
                .unwrap_or_default();
            section.fact("library", format!("failed ({}{hung})", printable(why)));
        }
    }
    section
}

/// `H200` and its memory: what makes two GPUs alike.
fn kind(gpu: &Gpu) -> String {
    let memory = gpu
        .memory
        .total_bytes
        .get()
        .map(|bytes| format!(", {}", bytes.human()))
        .unwrap_or_default();
    let name = match gpu.identity.name.value() {
        Some(name) => printable(name).into_owned(),
        None => "GPU of unreadable name".to_owned(),
    };
    format!("{name}{memory}")
}

fn state(gpu: &Gpu) -> String {
    if let Some(hung) = &gpu.hung {
        let how = if hung.wedged { "wedged" } else { "hung" };
        return format!("driver {how} in {}", hung.call);
    }
    match (gpu.on_bus.get(), gpu.in_driver.get()) {
        (Some(false), _) => "off the bus".to_owned(),
        (_, Some(false)) => "not in the driver".to_owned(),
        (Some(true), Some(true)) => "ok".to_owned(),
        (Some(true), None) => format!("on the bus; driver: {}", cell(&gpu.in_driver)),
        (None, _) => format!("bus: {}", cell(&gpu.on_bus)),
    }
}

fn active_links(gpu: &Gpu) -> String {
    match &gpu.nvlink {
        Reading::Value(nvlinks) if nvlinks.links.is_empty() => "0".to_owned(),
        Reading::Value(nvlinks) => {
            let active = nvlinks
                .links
                .iter()
                .filter(|link| link.active.get() == Some(true))
                .count();
            format!("{active}/{}", nvlinks.links.len())
        }
        other @ (Reading::Absent(_) | Reading::Unsupported(_) | Reading::Failed(_)) => {
            cell(&other.as_ref().map(|_| ""))
        }
    }
}

fn short_uuid(gpu: &Gpu) -> String {
    match gpu.identity.uuid.value() {
        Some(uuid) => printable(uuid).chars().take("GPU-".len() + 8).collect(),
        None => cell(&gpu.identity.uuid),
    }
}

pub(super) fn gpus(snapshot: &Snapshot) -> Section {
    let mut section = Section::new(format!("GPUs ({})", snapshot.gpus.len()));
    for lost in lost(snapshot) {
        section.note(lost);
    }
    if snapshot.gpus.is_empty() {
        section.note("none: no NVIDIA GPU on the PCI bus");
        return section;
    }
    section.fact("kind", tally_line(snapshot.gpus.iter().map(kind)));
    let mut grid = Grid::new(&[
        "#", "Slot", "PCI", "Serial", "UUID", "VBIOS", "Links", "State",
    ]);
    for gpu in &snapshot.gpus {
        grid.row([
            cell(&gpu.index),
            cell(&gpu.slot),
            cell(&gpu.pci),
            cell(&gpu.identity.serial),
            short_uuid(gpu),
            cell(&gpu.identity.vbios_version),
            active_links(gpu),
            state(gpu),
        ]);
    }
    section.grid = grid;
    section
}

/// GPUs that were here in good order once and are not here now.
fn lost(snapshot: &Snapshot) -> Vec<String> {
    let here = |part: &RememberedPart| {
        snapshot.gpus.iter().any(|gpu| {
            (part.slot.is_some() && gpu.slot.value() == part.slot.as_ref())
                || (part.pci.is_some() && gpu.pci.get() == part.pci)
        })
    };
    snapshot
        .remembered
        .iter()
        .filter(|part| part.kind == ComponentKind::Gpu && !here(part))
        .map(|part| {
            let place = place(&Component {
                kind: part.kind,
                index: None,
                serial: part.serial.clone(),
                pci: part.pci,
                slot: part.slot.clone(),
            });
            format!(
                "not here any more: {place}, last seen in good order {}",
                part.seen_at
            )
        })
        .collect()
}

pub(super) fn nvlinks(snapshot: &Snapshot) -> Section {
    let mut section = Section::new("NVLink");
    let links: Vec<_> = snapshot
        .gpus
        .iter()
        .filter_map(|gpu| gpu.nvlink.value())
        .flat_map(|nvlinks| &nvlinks.links)
        .collect();
    let active = links
        .iter()
        .filter(|link| link.active.get() == Some(true))
        .count();
    if links.is_empty() {
        section.note("no NVLink was seen");
    } else {
        section.fact("links", format!("{active} of {} active", links.len()));
        let remote = links.iter().map(|link| match link.remote.get() {
            Some(NvlinkRemote::Gpu) => "GPU".to_owned(),
            Some(NvlinkRemote::Switch) => "NVSwitch".to_owned(),
            Some(NvlinkRemote::Cpu) => "CPU".to_owned(),
            Some(NvlinkRemote::Unknown) => "unknown to the driver".to_owned(),
            None => cell(&link.remote.as_ref().map(|_| "")),
        });
        section.fact("far ends", tally_line(remote));
        let mut grid = Grid::new(&["GPU", "Slot", "Links that are not active"]);
        for gpu in &snapshot.gpus {
            let down: Vec<String> = gpu
                .nvlink
                .value()
                .into_iter()
                .flat_map(|nvlinks| &nvlinks.links)
                .filter(|link| link.active.get() != Some(true))
                .map(|link| match link.active.get() {
                    Some(_) => link.index.to_string(),
                    None => format!("{} ({})", link.index, cell(&link.active)),
                })
                .collect();
            if !down.is_empty() {
                grid.row([cell(&gpu.index), cell(&gpu.slot), down.join(", ")]);
            }
        }
        section.grid = grid;
    }
    let fabric: Vec<String> = snapshot
        .gpus
        .iter()
        .filter_map(|gpu| gpu.fabric.value())
        .map(|fabric| {
            let mut text = cell(&fabric.state);
            if let Some(problems) = fabric.health_problems.value().filter(|p| !p.is_empty()) {
                text.push_str(&format!(" ({})", printable(&problems.join(", "))));
            }
            text
        })
        .collect();
    if !fabric.is_empty() {
        section.fact("fabric", tally_line(fabric));
    }
    section.fact(
        "NVSwitches",
        if snapshot.nvswitches.is_empty() {
            "none on the host's PCI bus".to_owned()
        } else {
            let switches = snapshot
                .nvswitches
                .iter()
                .map(|switch| match switch.firmware.value() {
                    Some(firmware) => format!("{} (firmware {})", switch.pci, printable(firmware)),
                    None => switch.pci.to_string(),
                });
            format!(
                "{}: {}",
                snapshot.nvswitches.len(),
                switches.collect::<Vec<_>>().join(", ")
            )
        },
    );
    section
}
