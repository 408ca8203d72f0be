//! GPUs as they are drawn: here, unreadable, or gone.

use cupel_model::snapshot::{Gpu, RememberedPart, Snapshot};
use cupel_model::{ComponentKind, Reading};

use super::io::slot;
use super::links::Links;
use super::map::Tree;
use super::marks::{Mark, Marks};
use crate::pages::text::{cut, decimal};

/// A GPU as it is drawn.
pub(super) struct DrawnGpu {
    /// `GPU 3`
    pub name: String,
    /// `SXM 6`
    pub slot: String,
    /// Measurements, or why there are none.
    pub detail: String,
    pub mark: Mark,
    pub links: Links,
}

/// What is remembered of a GPU that no longer says who it is.
pub(super) fn past<'a>(snapshot: &'a Snapshot, gpu: &Gpu) -> Option<&'a RememberedPart> {
    let pci = gpu.pci.get()?;
    let silent = gpu.identity.serial.value().is_none();
    let mut remembered = snapshot.remembered.iter().filter(|_| silent);
    remembered.find(|part| part.kind == ComponentKind::Gpu && part.pci == Some(pci))
}

/// The GPU with its mark.
pub(super) fn gpu(gpu: &Gpu, snapshot: &Snapshot, marks: &Marks<'_>, tree: &Tree<'_>) -> DrawnGpu {
    let pci = gpu.pci.get();
    let past = past(snapshot, gpu);
    let serial = gpu.identity.serial.value().cloned();
    let serial = serial.or_else(|| past.and_then(|part| part.serial.clone()));
    // A finding of a link marks its GPU too: the link alone is too small to be found.
    let kinds = [
        ComponentKind::Gpu,
        ComponentKind::Nvlink,
        ComponentKind::Pcie,
    ];
    let mut parts = Vec::new();
    let unread = gpu.thermal.temperature_celsius.is_failed();
    if unread {
        parts.push("temperature unreadable".to_owned());
    }
    if let Some(heat) = gpu.thermal.temperature_celsius.get() {
        parts.push(format!("{} °C", decimal(heat.get(), 0)));
    }
    if let Some(power) = gpu.thermal.power_watts.get() {
        parts.push(format!("{} W", decimal(power.get(), 0)));
    }
    parts.extend(tree.link(pci));
    let gone = if gpu.on_bus.get() == Some(false) {
        Some("off the PCI bus".to_owned())
    } else if let Some(hung) = &gpu.hung {
        Some(format!("{} hangs", cut(&hung.call, 34)))
    } else if gpu.in_driver.get() != Some(true) {
        Some("not in the driver".to_owned())
    } else if parts.is_empty() {
        Some("nothing could be read".to_owned())
    } else {
        None
    };
    let mark = marks.device(&kinds, pci, serial.as_deref());
    let mark = mark.unwrap_or(match &gone {
        Some(why) => Mark::Unread(why.clone()),
        None if unread => Mark::Unread("temperature".to_owned()),
        None => Mark::Well,
    });
    let past_slot = past.and_then(|part| part.slot.clone()).map(Reading::Value);
    DrawnGpu {
        name: match gpu.index.get().or_else(|| past.and_then(|part| part.index)) {
            Some(index) => format!("GPU {index}"),
            None => "GPU".to_owned(),
        },
        slot: slot(past_slot.as_ref().unwrap_or(&gpu.slot)),
        detail: gone.unwrap_or_else(|| parts.join(", ")),
        mark,
        links: Links::of(gpu, pci, &snapshot.nvswitches, marks),
    }
}

/// GPUs that were here and are no longer listed at all.
pub(super) fn lost(snapshot: &Snapshot, marks: &Marks<'_>) -> Vec<DrawnGpu> {
    let listed = |part: &RememberedPart| {
        snapshot.gpus.iter().any(|gpu| {
            let same = |a: Option<&String>, b: &Option<String>| a.is_some() && a == b.as_ref();
            same(gpu.identity.serial.value(), &part.serial)
                || same(gpu.slot.value(), &part.slot)
                || (part.pci.is_some() && gpu.pci.get() == part.pci)
        })
    };
    let gpus = snapshot.remembered.iter();
    gpus.filter(|part| part.kind == ComponentKind::Gpu && !listed(part))
        .map(|part| DrawnGpu {
            name: part
                .index
                .map_or("GPU".to_owned(), |index| format!("GPU {index}")),
            slot: slot(
                &part
                    .slot
                    .clone()
                    .map_or_else(|| Reading::absent("not known"), Reading::Value),
            ),
            detail: "not found, drawn as last seen".to_owned(),
            mark: marks
                .device(&[ComponentKind::Gpu], part.pci, part.serial.as_deref())
                .unwrap_or_else(|| Mark::Unread("gone".to_owned())),
            links: Links::Unread("gone".to_owned()),
        })
        .collect()
}
