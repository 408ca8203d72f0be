//! A platform file from a node that is known to be good.
//!
//! # Invariants
//! - Every number says which node it was read from, and when.
//! - What could not be read is left out, never guessed.

use std::collections::BTreeMap;

use cupel_model::platform::{
    CpuExpectation, GpuExpectation, Match, MemoryExpectation, NvmeExpectation, NvswitchExpectation,
    Platform, RdmaExpectation, SlotName, Sourced,
};
use cupel_model::snapshot::PciDevice;
use cupel_model::units::Bytes;
use cupel_model::{Reading, Snapshot};

use super::SCHEMA;
use crate::context::Context;
use crate::rdma_groups;

/// Why no platform can be made of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeriveError {
    /// SMBIOS does not say what the machine is.
    #[error("{what} of this machine is not known: {why}")]
    Unidentified {
        /// Which value.
        what: &'static str,
        /// Why.
        why: String,
    },
    /// There is no GPU, or its name could not be read.
    #[error("no GPU of this machine tells its name: derive from a node whose driver is loaded")]
    NoGpu,
    /// GPUs of more than one kind.
    #[error("this machine has GPUs of several kinds ({}): a platform has one", names.join(", "))]
    MixedGpus {
        /// Their names.
        names: Vec<String>,
    },
    /// The name makes no file name.
    #[error("{name:?} is no platform name (want lower-case letters, digits and dashes)")]
    BadName {
        /// The name that was given.
        name: String,
    },
}

/// The platform that this node is, called `name`, as of the snapshot's day.
///
/// # Errors
/// [`DeriveError`] when the machine cannot be identified or has no single kind of GPU.
pub fn derive(snapshot: &Snapshot, name: &str) -> Result<Platform, DeriveError> {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if name.is_empty() || name.starts_with('-') || !name.bytes().all(allowed) {
        return Err(DeriveError::BadName {
            name: name.to_owned(),
        });
    }
    let manufacturer = known("the manufacturer", &snapshot.node.manufacturer)?;
    let product = known("the product name", &snapshot.node.product)?;
    let day: String = snapshot.taken_at.to_string().chars().take(10).collect();
    let serial = snapshot
        .node
        .serial
        .value()
        .map_or("without a serial", String::as_str);
    let from = From(format!("derived from {product} {serial} on {day}"));
    let context = Context::new(snapshot, None);
    let mut ids: Vec<String> = snapshot
        .pci
        .iter()
        .filter(|device| device.is_nvidia_gpu())
        .filter_map(PciDevice::id)
        .collect();
    ids.sort();
    ids.dedup();
    Ok(Platform {
        schema: SCHEMA,
        name: name.to_owned(),
        title: format!("{manufacturer} {product}"),
        matches: Match {
            manufacturer: vec![manufacturer.clone()],
            product: vec![product.clone()],
            gpu_pci_ids: ids,
        },
        gpu: gpu(&context, &from)?,
        nvswitch: Some(NvswitchExpectation {
            count: from.count(snapshot.nvswitches.len()),
        }),
        rdma: rdma(&context, &from),
        nvme: Some(NvmeExpectation {
            count: from.count(drives(snapshot)),
        }),
        memory: memory(snapshot, &from),
        cpu: cpu(snapshot, &from),
        slots: slots(snapshot),
        floors: Vec::new(),
    })
}

/// NVMe controllers on PCI.
fn drives(snapshot: &Snapshot) -> usize {
    let drives = snapshot.nvme.iter();
    drives.filter(|drive| drive.pci.get().is_some()).count()
}

/// Where every number comes from.
struct From(String);

impl From {
    fn value<T>(&self, value: T) -> Sourced<T> {
        Sourced {
            value,
            source: self.0.clone(),
        }
    }

    fn count(&self, count: usize) -> Sourced<u32> {
        self.value(u32::try_from(count).unwrap_or(u32::MAX))
    }
}

fn known<'a>(what: &'static str, reading: &'a Reading<String>) -> Result<&'a String, DeriveError> {
    reading.value().ok_or_else(|| DeriveError::Unidentified {
        what,
        why: reading.why().unwrap_or_default().to_owned(),
    })
}

fn gpu(context: &Context<'_>, from: &From) -> Result<GpuExpectation, DeriveError> {
    let gpus = || context.gpus.iter().map(|part| part.gpu);
    let mut names: Vec<String> = gpus()
        .filter_map(|gpu| gpu.identity.name.value().cloned())
        .collect();
    names.sort();
    names.dedup();
    let name = match &names[..] {
        [] => return Err(DeriveError::NoGpu),
        [name] => name.clone(),
        [..] => return Err(DeriveError::MixedGpus { names }),
    };
    let functions = || {
        gpus()
            .filter_map(|gpu| gpu.pci.get())
            .filter_map(|pci| context.pci(pci))
    };
    let active = gpus().filter_map(|gpu| {
        let links = gpu.nvlink.value()?;
        let active = links
            .links
            .iter()
            .filter(|link| link.active.get() == Some(true));
        Some(active.count())
    });
    let fabric = gpus().filter_map(|gpu| {
        let state = gpu.fabric.value()?.state.value()?;
        Some(state == "completed")
    });
    Ok(GpuExpectation {
        name: from.value(name),
        count: from.count(context.gpus.len()),
        memory_bytes: gpus()
            .filter_map(|gpu| gpu.memory.total_bytes.get())
            .min()
            .map(|least| from.value(least)),
        // The most that device and slot offer: a link at rest is slower.
        pcie_speed_gts: functions()
            .filter_map(|function| {
                let own = function.max_speed_gts.get()?;
                let above = function.upstream.get().and_then(|above| context.pci(above));
                let above = above.and_then(|above| above.max_speed_gts.get());
                Some(above.map_or(own, |above| if above < own { above } else { own }))
            })
            .reduce(|a, b| if b < a { b } else { a })
            .map(|speed| from.value(speed)),
        pcie_width: functions()
            .filter_map(|function| function.current_width.get())
            .min()
            .map(|width| from.value(width)),
        nvlinks: active.min().map(|links| from.count(links)),
        fabric: fabric.reduce(|a, b| a && b).map(|all| from.value(all)),
        power_limit_watts: gpus()
            .filter_map(|gpu| gpu.thermal.power_default_limit_watts.get())
            .reduce(|a, b| if b < a { b } else { a })
            .map(|limit| from.value(limit)),
    })
}

/// Ports that are up, by hardware type, link layer and rate.
fn rdma(context: &Context<'_>, from: &From) -> Vec<RdmaExpectation> {
    let mut groups: BTreeMap<String, RdmaExpectation> = BTreeMap::new();
    for port in rdma_groups::ports(context) {
        let (Some(kind), Some(layer), Some(rate)) = (
            port.device.hca_type.value(),
            port.port.link_layer.value(),
            port.port.rate_gbps.get(),
        ) else {
            continue;
        };
        if port
            .port
            .state
            .value()
            .is_none_or(|state| state != "ACTIVE")
        {
            continue;
        }
        let name = format!("{kind}-{layer}-{}", rate.get()).to_lowercase();
        groups
            .entry(name.clone())
            .or_insert_with(|| RdmaExpectation {
                name,
                hca_types: vec![kind.clone()],
                ports: from.value(0),
                rate_gbps: from.value(rate),
                link_layer: Some(from.value(layer.clone())),
            })
            .ports
            .value += 1;
    }
    groups.into_values().collect()
}

fn memory(snapshot: &Snapshot, from: &From) -> Option<MemoryExpectation> {
    let sizes = || {
        snapshot
            .memory
            .dimms
            .iter()
            .filter_map(|dimm| dimm.size_bytes.get())
    };
    let total = sizes().map(Bytes::get).fold(0, u64::saturating_add);
    (total > 0).then(|| MemoryExpectation {
        dimms: from.count(sizes().count()),
        total_bytes: from.value(Bytes(total)),
    })
}

fn cpu(snapshot: &Snapshot, from: &From) -> Option<CpuExpectation> {
    let sockets = snapshot.cpus.sockets.iter();
    let populated = sockets
        .filter(|socket| socket.populated.get() == Some(true))
        .count();
    (populated > 0).then(|| CpuExpectation {
        sockets: from.count(populated),
    })
}

fn slots(snapshot: &Snapshot) -> Vec<SlotName> {
    snapshot
        .gpus
        .iter()
        .filter_map(|gpu| {
            let module_id = gpu.identity.module_id.get();
            let name = gpu.slot.value()?.clone();
            Some(SlotName {
                pci_slot: module_id.is_none().then(|| name.clone()),
                name,
                module_id,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::{matching, parse, to_toml};
    use crate::testing::good;
    use crate::{Modes, evaluate};
    use cupel_model::Verdict;

    #[test]
    fn a_derived_file_is_read_back_and_fits_its_own_node() {
        let node = good();
        let platform = derive(&node, "own").expect("derive");
        let text = to_toml(&platform).expect("toml");
        let back = parse(&text, "own.toml").expect("parse");
        assert_eq!(back, platform);
        assert_eq!(
            platform.gpu.count.source,
            "derived from Crucible 8 CRU0001 on 2026-01-02"
        );
        let known = [back];
        let platform = matching(&node, &known).expect("match");
        let report = evaluate(&node, Some(platform), &Modes::default());
        assert_eq!(report.verdict, Verdict::Healthy, "{report:#?}");
    }

    #[test]
    fn what_cannot_be_named_is_refused() {
        let mut node = good();
        assert!(matches!(
            derive(&node, "../own"),
            Err(DeriveError::BadName { .. })
        ));
        node.gpus.clear();
        assert_eq!(derive(&node, "own"), Err(DeriveError::NoGpu));
        node.node.product = Reading::failed("EACCES");
        let error = derive(&node, "own").expect_err("no product");
        assert!(error.to_string().ends_with("EACCES"), "{error}");
    }
}
