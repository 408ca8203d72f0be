//! What a snapshot proves about the part of a finding: whether its GPU was reset, and whether
//! another part sits in its place.
//!
//! A driver that takes a GPU anew, after a reset or when it is loaded, counts its energy and its
//! volatile ECC errors from nothing: one of them that went backwards proves it. There is no proof
//! that it did *not* happen; what cannot be proved waits for the next boot.

use cupel_model::snapshot::{EccCounts, Gpu, RdmaDevice};
use cupel_model::{Component, ComponentKind, Counter, PciAddress, Reading, Snapshot};
use serde::{Deserialize, Serialize};

/// Counters of a GPU that its driver begins anew after a reset.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Mark {
    energy_joules: Option<f64>,
    errors: Vec<Option<u64>>,
}

impl Mark {
    fn of(gpu: &Gpu) -> Self {
        let EccCounts {
            sram_corrected,
            sram_uncorrected,
            dram_corrected,
            dram_uncorrected,
            total_corrected,
            total_uncorrected,
        } = &gpu.ecc.volatile;
        let count = |reading: &Reading<Counter>| reading.get().map(|counter| counter.value);
        Self {
            energy_joules: gpu.thermal.energy_joules.get().map(|energy| energy.get()),
            errors: [
                sram_corrected,
                sram_uncorrected,
                dram_corrected,
                dram_uncorrected,
                total_corrected,
                total_uncorrected,
            ]
            .map(count)
            .into(),
        }
    }

    /// What is known now, completed by what was known; whether anything went backwards.
    fn advance(&mut self, now: Self) -> bool {
        fn step<T: Copy + PartialOrd>(kept: &mut Option<T>, now: Option<T>) -> bool {
            let back = matches!((*kept, now), (Some(kept), Some(now)) if now < kept);
            *kept = now.or(*kept);
            back
        }
        let mut back = step(&mut self.energy_joules, now.energy_joules);
        self.errors.resize(now.errors.len(), None);
        for (kept, now) in self.errors.iter_mut().zip(now.errors) {
            back |= step(kept, now);
        }
        back
    }
}

/// Looks at the GPU of `component`, and whether it was reset since `mark` was last brought up to
/// date.
pub(super) fn was_reset(mark: &mut Mark, snapshot: &Snapshot, component: &Component) -> bool {
    gpu(snapshot, component).is_some_and(|gpu| mark.advance(Mark::of(gpu)))
}

/// Whether the snapshot lists the part; of a part without a name that cannot be told.
pub(super) fn lists(snapshot: &Snapshot, component: &Component) -> bool {
    let nameless = component.serial.is_none() && component.pci.is_none();
    nameless || gpu(snapshot, component).is_some()
}

fn gpu<'a>(snapshot: &'a Snapshot, component: &Component) -> Option<&'a Gpu> {
    if !matches!(component.kind, ComponentKind::Gpu | ComponentKind::Nvlink) {
        return None;
    }
    snapshot.gpus.iter().find(
        |gpu| match (gpu.identity.serial.value(), &component.serial) {
            (Some(now), Some(known)) => now == known,
            (Some(_), None) | (None, Some(_)) | (None, None) => {
                gpu.pci.get().is_some() && gpu.pci.get() == component.pci
            }
        },
    )
}

/// One part as the snapshot has it: serial, slot, address.
type Part<'a> = (Option<&'a String>, Option<&'a String>, Option<PciAddress>);

fn parts(snapshot: &Snapshot, kind: ComponentKind) -> Vec<Part<'_>> {
    match kind {
        ComponentKind::Gpu | ComponentKind::Nvlink => snapshot
            .gpus
            .iter()
            .map(|gpu| (gpu.identity.serial.value(), gpu.slot.value(), gpu.pci.get()))
            .collect(),
        ComponentKind::Rdma => snapshot
            .rdma
            .iter()
            .map(|device: &RdmaDevice| {
                (device.serial.value(), device.slot.value(), device.pci.get())
            })
            .collect(),
        ComponentKind::Nvme => snapshot
            .nvme
            .iter()
            .map(|drive| (drive.serial.value(), drive.slot.value(), drive.pci.get()))
            .collect(),
        ComponentKind::Dimm => {
            let here = |dimm: &&cupel_model::snapshot::Dimm| dimm.size_bytes.value().is_some();
            let dimms = snapshot.memory.dimms.iter().filter(here);
            dimms
                .map(|dimm| (dimm.serial.value(), Some(&dimm.name), None))
                .collect()
        }
        ComponentKind::Node
        | ComponentKind::Nvswitch
        | ComponentKind::Nic
        | ComponentKind::Optic
        | ComponentKind::Pcie
        | ComponentKind::Cpu
        | ComponentKind::Psu
        | ComponentKind::Fan
        | ComponentKind::Bmc
        | ComponentKind::Service
        | ComponentKind::Filesystem => Vec::new(),
    }
}

/// Where a part sits, in the snapshot's own words: its slot, else its address. A GPU's address
/// shifts when another vanishes: it names no place.
pub(super) fn place(snapshot: &Snapshot, component: &Component) -> Option<String> {
    let serial = component.serial.as_ref()?;
    let (_, slot, pci) = parts(snapshot, component.kind)
        .into_iter()
        .find(|(own, _, _)| *own == Some(serial))
        .or_else(|| {
            let mut remembered = snapshot.remembered.iter();
            remembered
                .find(|part| part.kind == component.kind && part.serial.as_ref() == Some(serial))
                .map(|part| (part.serial.as_ref(), part.slot.as_ref(), part.pci))
        })?;
    spelt(component.kind, slot, pci)
}

fn spelt(kind: ComponentKind, slot: Option<&String>, pci: Option<PciAddress>) -> Option<String> {
    match slot {
        Some(slot) => Some(slot.clone()),
        None if matches!(kind, ComponentKind::Gpu | ComponentKind::Nvlink) => None,
        None => pci.map(|pci| pci.to_string()),
    }
}

/// Serial of another part of this kind that sits at `place` now.
pub(super) fn successor<'a>(
    snapshot: &'a Snapshot,
    component: &Component,
    place: Option<&str>,
) -> Option<&'a str> {
    let (place, known) = (place?, component.serial.as_ref()?);
    let all = parts(snapshot, component.kind);
    // The part itself may sit elsewhere now; then nothing was replaced.
    if all.iter().any(|(serial, _, _)| *serial == Some(known)) {
        return None;
    }
    all.into_iter()
        .find(|(serial, slot, pci)| {
            serial.is_some() && spelt(component.kind, *slot, *pci).as_deref() == Some(place)
        })
        .and_then(|(serial, _, _)| serial.map(String::as_str))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Node, good};
    use cupel_model::units::Joules;

    fn third() -> Component {
        Component {
            serial: Some("1650123000002".to_owned()),
            ..Component::of(ComponentKind::Gpu)
        }
    }

    #[test]
    fn counters_that_went_back_prove_a_reset() {
        let mut node = Node::good();
        let mut mark = Mark::default();
        let energy = |joules: f64| Reading::Value(Joules::new(joules).expect("finite"));
        let mut after = |change: &dyn Fn(&mut Gpu)| {
            change(node.gpu(2));
            was_reset(&mut mark, &node.snapshot, &third())
        };
        assert!(!after(&|gpu| gpu.thermal.energy_joules = energy(500.0)));
        assert!(!after(&|gpu| gpu.thermal.energy_joules = energy(600.0)));
        assert!(!after(
            &|gpu| gpu.thermal.energy_joules = Reading::failed("EIO")
        ));
        assert!(after(&|gpu| gpu.thermal.energy_joules = energy(3.0)));
        assert!(!after(
            &|gpu| gpu.ecc.volatile.sram_corrected = Counter::exact(4).into()
        ));
        assert!(after(
            &|gpu| gpu.ecc.volatile.sram_corrected = Counter::exact(1).into()
        ));
    }

    #[test]
    fn another_serial_in_the_slot_is_a_successor() {
        let mut node = Node::good();
        let place = place(&node.snapshot, &third());
        assert_eq!(place.as_deref(), Some("SXM 3"));
        let after = |snapshot: &Snapshot| {
            successor(snapshot, &third(), place.as_deref()).map(str::to_owned)
        };
        assert_eq!(after(&node.snapshot), None);
        node.gpu(2).identity.serial = Reading::failed("EIO");
        assert_eq!(after(&node.snapshot), None);
        node.gpu(2).identity.serial = "7".to_owned().into();
        assert_eq!(after(&node.snapshot).as_deref(), Some("7"));
        // It only moved.
        node.gpu(5).identity.serial = "1650123000002".to_owned().into();
        assert_eq!(after(&node.snapshot), None);
    }

    #[test]
    fn a_part_that_is_gone_has_the_place_that_is_remembered() {
        let mut node = Node::good();
        node.lose(2);
        assert_eq!(place(&node.snapshot, &third()).as_deref(), Some("SXM 3"));
        assert!(!lists(&node.snapshot, &third()));
        assert!(lists(&good(), &third()));
    }
}
