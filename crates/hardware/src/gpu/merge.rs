//! NVML's list and the PCI bus as one list of GPUs. Pure.
//!
//! # Invariants
//! - Each GPU of either list has one entry. Entries are sorted by PCI address; those without one
//!   come last.
//! - A GPU that NVML cannot locate is one of the PCI functions that no other has claimed, where
//!   there are exactly as many of either.

use std::collections::BTreeSet;

use cupel_model::snapshot::{Gpu, NvlinkRemote, PciDevice, WorkerState};
use cupel_model::{PciAddress, Reading};

use super::survey::{Lack, Listed, unknown};

/// Merges what NVML lists with what is on the bus.
pub fn merge(listed: Vec<Listed>, pci: &[PciDevice], worker: &WorkerState) -> Vec<Gpu> {
    let mut gpus: Vec<Gpu> = listed.into_iter().map(|listed| listed.gpu).collect();
    let claimed: BTreeSet<PciAddress> = gpus.iter().filter_map(|gpu| gpu.pci.get()).collect();
    let unclaimed: Vec<&PciDevice> = pci
        .iter()
        .filter(|device| device.is_nvidia_gpu() && !claimed.contains(&device.address))
        .collect();
    let lost = gpus
        .iter_mut()
        .filter(|gpu| gpu.pci.value().is_none())
        .count();
    if lost == unclaimed.len() {
        let without = gpus.iter_mut().filter(|gpu| gpu.pci.value().is_none());
        for (gpu, device) in without.zip(&unclaimed) {
            gpu.pci = Reading::Value(device.address);
            if lost > 1 {
                gpu.index = Reading::failed(format!(
                    "the driver lists {lost} GPUs that it cannot locate: which is which is unknown"
                ));
            }
        }
    } else {
        // Each of those on the bus may be one that the driver does list, and cannot say where.
        let unsure = gpus
            .iter()
            .find(|gpu| gpu.pci.value().is_none() && gpu.in_driver.value().is_none())
            .map(|gpu| gpu.in_driver.clone());
        gpus.extend(unclaimed.iter().map(|device| {
            let mut gpu = on_bus_only(device, worker);
            if let Some(unsure) = &unsure {
                gpu.in_driver = unsure.clone();
            }
            gpu
        }));
    }
    for gpu in &mut gpus {
        let device = gpu
            .pci
            .get()
            .and_then(|address| pci.iter().find(|device| device.address == address));
        gpu.on_bus = on_bus(gpu, device, pci);
        gpu.slot = slot(gpu, device);
    }
    gpus.sort_by_key(|gpu| {
        let address = gpu.pci.get();
        (address.is_none(), address, gpu.index.get())
    });
    gpus
}

/// A GPU on the bus that NVML does not list.
fn on_bus_only(device: &PciDevice, worker: &WorkerState) -> Gpu {
    let (lack, why, in_driver) = match worker {
        WorkerState::Answered { .. } => (
            Lack::Absent,
            "the driver does not list this GPU".to_owned(),
            Reading::Value(false),
        ),
        WorkerState::NotStarted { why } => (Lack::Absent, why.clone(), Reading::absent(why)),
        WorkerState::Failed { why, .. } => (Lack::Failed, why.clone(), Reading::failed(why)),
    };
    let mut gpu = unknown(lack, &why);
    gpu.pci = Reading::Value(device.address);
    gpu.in_driver = in_driver;
    gpu
}

/// Whether the PCI function answers. A function that has gone reads all ones: the kernel says
/// `Unknown` for its speed and 255 for its width, and both readings have failed.
fn on_bus(gpu: &Gpu, device: Option<&PciDevice>, pci: &[PciDevice]) -> Reading<bool> {
    if let Some(why) = gpu.pci.why() {
        return Reading::failed(format!("where the GPU is is unknown: {why}"));
    }
    let Some(device) = device else {
        return if pci.is_empty() {
            Reading::failed("no PCI function could be read")
        } else {
            Reading::Value(false)
        };
    };
    if device.vendor.value().is_some_and(|vendor| vendor == "ffff") {
        return Reading::Value(false);
    }
    match (&device.current_width, &device.current_speed_gts) {
        (Reading::Failed(_), Reading::Failed(_)) => Reading::Value(false),
        (Reading::Failed(why), _) => Reading::failed(why),
        (Reading::Value(_) | Reading::Absent(_) | Reading::Unsupported(_), _) => {
            Reading::Value(true)
        }
    }
}

/// Where a technician finds it.
fn slot(gpu: &Gpu, device: Option<&PciDevice>) -> Reading<String> {
    if let Some(module) = gpu.identity.module_id.get()
        && is_sxm(gpu)
    {
        return Reading::Value(format!("SXM {module}"));
    }
    let Some(device) = device else {
        return Reading::failed("neither module id nor PCI function is known");
    };
    match (&device.slot, &device.upstream) {
        (Reading::Value(slot), _) => Reading::Value(slot.clone()),
        (_, Reading::Value(port)) => Reading::Value(format!("port {port}")),
        (_, Reading::Absent(why) | Reading::Unsupported(why)) => Reading::absent(why),
        (_, Reading::Failed(why)) => Reading::failed(why),
    }
}

/// Whether the part sits in an SXM socket: its name says so, or its NVLinks lead to a switch, or it
/// is registered with a fabric. PCIe cards have a module id too, which names no socket.
fn is_sxm(gpu: &Gpu) -> bool {
    let name = gpu.identity.name.value().map_or("", String::as_str);
    let words: Vec<&str> = name.split_whitespace().collect();
    if words.iter().any(|word| matches!(*word, "PCIe" | "NVL")) {
        return false;
    }
    let by_name = words
        .iter()
        .any(|word| word.starts_with("SXM") || word.contains("-SXM") || word.starts_with("HBM"));
    let by_links = gpu.nvlink.value().is_some_and(|nvlinks| {
        nvlinks
            .links
            .iter()
            .any(|link| link.remote.get() == Some(NvlinkRemote::Switch))
    });
    let by_fabric = gpu.fabric.value().is_some_and(|fabric| {
        fabric
            .state
            .value()
            .is_some_and(|state| state != "not-supported")
    });
    // Parts whose name is the bare product: exact, for "GH200" contains "H200".
    let bare = matches!(
        words.as_slice(),
        [
            "NVIDIA",
            "H200" | "H800" | "H20" | "B200" | "B300" | "GB200" | "GB300"
        ]
    );
    by_name || by_links || by_fabric || bare
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::survey::list;
    use cupel_model::units::GigatransfersPerSecond;
    use cupel_model::worker::Opened;

    fn address(text: &str) -> PciAddress {
        text.parse().expect("address")
    }

    fn function(at: &str) -> PciDevice {
        let absent = || Reading::absent("not here");
        PciDevice {
            address: address(at),
            vendor: Reading::Value("10de".to_owned()),
            device: Reading::Value("2335".to_owned()),
            subsystem: absent(),
            class: Reading::Value("030200".to_owned()),
            revision: absent(),
            current_speed_gts: Reading::Value(GigatransfersPerSecond::new(32.0).expect("finite")),
            current_width: Reading::Value(16),
            max_speed_gts: Reading::absent(""),
            max_width: Reading::Value(16),
            aer: Reading::absent(""),
            driver: Reading::Value("nvidia".to_owned()),
            numa_node: Reading::Value(0),
            slot: Reading::absent("no slot"),
            upstream: Reading::Value(address("0000:15:01.0")),
            serial: absent(),
            part_number: absent(),
            manages_switches: Reading::absent(""),
        }
    }

    fn listed(addresses: &[Reading<PciAddress>]) -> Vec<Listed> {
        list(&Opened {
            driver_version: Reading::default(),
            nvml_version: Reading::default(),
            cuda_version: Reading::default(),
            library_path: Reading::default(),
            gpus: addresses.to_vec(),
        })
    }

    const ANSWERED: WorkerState = WorkerState::Answered { replaced: 0 };

    #[test]
    fn both_lists_become_one_by_address() {
        let pci = [function("0000:1b:00.0"), function("0000:0a:00.0")];
        let gpus = merge(
            listed(&[Reading::Value(address("0000:1b:00.0"))]),
            &pci,
            &ANSWERED,
        );
        let seen: Vec<_> = gpus
            .iter()
            .map(|gpu| (gpu.pci.get(), gpu.in_driver.get(), gpu.index.get()))
            .collect();
        assert_eq!(
            seen,
            [
                (Some(address("0000:0a:00.0")), Some(false), None),
                (Some(address("0000:1b:00.0")), Some(true), Some(0)),
            ]
        );
        assert_eq!(
            gpus[0].slot.value().map(String::as_str),
            Some("port 0000:15:01.0")
        );
    }

    #[test]
    fn the_one_that_nvml_cannot_locate_is_the_one_that_nobody_claims() {
        let pci = [function("0000:0a:00.0"), function("0000:1b:00.0")];
        let gpus = merge(
            listed(&[
                Reading::failed("GPU is lost"),
                Reading::Value(address("0000:1b:00.0")),
            ]),
            &pci,
            &ANSWERED,
        );
        assert_eq!(gpus.len(), 2);
        assert_eq!(gpus[0].pci.get(), Some(address("0000:0a:00.0")));
        assert_eq!(gpus[0].index.get(), Some(0));
        assert_eq!(gpus[0].in_driver.get(), Some(false));
    }

    #[test]
    fn off_the_bus_is_both_readings_failed() {
        let mut gone = function("0000:0a:00.0");
        gone.current_width = Reading::failed("255");
        gone.current_speed_gts = Reading::failed("Unknown");
        let of = |pci: &[PciDevice]| {
            let one = listed(&[Reading::Value(address("0000:0a:00.0"))]);
            merge(one, pci, &ANSWERED)[0].on_bus.clone()
        };
        assert_eq!(of(&[gone]), Reading::Value(false));
        assert_eq!(of(&[function("0000:0a:00.0")]), Reading::Value(true));
        assert_eq!(of(&[function("0000:0b:00.0")]), Reading::Value(false));
        assert!(of(&[]).is_failed());
    }

    #[test]
    fn a_socket_is_named_by_its_module_and_a_card_by_its_slot() {
        let of = |name: &str| {
            let mut one = listed(&[Reading::Value(address("0000:0a:00.0"))]);
            one[0].gpu.identity.name = Reading::Value(name.to_owned());
            one[0].gpu.identity.module_id = Reading::Value(3);
            let mut device = function("0000:0a:00.0");
            device.slot = Reading::Value("7".to_owned());
            merge(one, &[device], &ANSWERED)[0].slot.clone()
        };
        for name in [
            "NVIDIA H100 80GB HBM3",
            "NVIDIA H200",
            "NVIDIA A100-SXM4-80GB",
        ] {
            assert_eq!(of(name), Reading::Value("SXM 3".to_owned()), "{name}");
        }
        for name in [
            "NVIDIA L40S",
            "NVIDIA H100 NVL",
            "NVIDIA H200 NVL",
            "NVIDIA GH200",
        ] {
            assert_eq!(of(name), Reading::Value("7".to_owned()), "{name}");
        }
    }

    #[test]
    fn without_a_worker_every_reading_says_why() {
        let pci = [function("0000:0a:00.0")];
        let worker = WorkerState::Failed {
            why: "nvmlInit_v2: hung".to_owned(),
            hung: None,
        };
        let gpus = merge(Vec::new(), &pci, &worker);
        assert_eq!(
            gpus[0].identity.serial,
            Reading::failed("nvmlInit_v2: hung")
        );
        assert_eq!(gpus[0].on_bus, Reading::Value(true));
        assert!(gpus[0].in_driver.is_failed());
    }
}
