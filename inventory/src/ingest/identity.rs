//! Who a node is, from its snapshot.

use std::collections::BTreeMap;

use cupel_model::snapshot::{IdSource, Tenancy};
use cupel_model::{Reading, Snapshot};

use crate::name;

/// Longest text that is kept in a column, in characters; the snapshot has all of it.
const LONGEST: usize = 256;

/// Who a node is, as it tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// Where its id comes from.
    pub id_source: Option<IdSource>,
    /// Host name.
    pub hostname: Option<String>,
    /// Maker.
    pub manufacturer: Option<String>,
    /// Product name.
    pub product: Option<String>,
    /// System serial number.
    pub serial: Option<String>,
    /// Serial number of the chassis.
    pub chassis_serial: Option<String>,
    /// Serial number of the main board.
    pub board_serial: Option<String>,
    /// Name of the matching platform.
    pub platform: Option<String>,
    /// Who owns it.
    pub tenancy: Option<Tenancy>,
    /// Product name of most of its GPUs.
    pub gpu_model: Option<String>,
    /// How many GPUs there are.
    pub gpu_count: u32,
    /// Version of the NVIDIA driver.
    pub driver_version: Option<String>,
    /// Version of the kernel.
    pub kernel_release: Option<String>,
    /// NVLink domain that the GPUs have registered with.
    pub nvlink_domain: Option<String>,
}

fn text(reading: &Reading<String>) -> Option<String> {
    let text = reading.value()?.trim();
    (!text.is_empty()).then(|| text.chars().take(LONGEST).collect())
}

fn serial(reading: &Reading<String>) -> Option<String> {
    name::serial(reading.value()?).map(str::to_owned)
}

/// What most of them are; of several, the first by name.
fn most(texts: impl Iterator<Item = String>) -> Option<String> {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for text in texts {
        *counts.entry(text).or_default() += 1;
    }
    let best = counts.values().max().copied()?;
    counts
        .into_iter()
        .find(|(_, count)| *count == best)
        .map(|(text, _)| text)
}

impl Identity {
    /// From a snapshot and the platform that it was held against.
    pub fn of(snapshot: &Snapshot, platform: Option<&str>) -> Self {
        let node = &snapshot.node;
        let domains = snapshot.gpus.iter().filter_map(|gpu| {
            let domain = text(&gpu.fabric.value()?.cluster_uuid)?;
            // All zeros: registered, and in no domain beyond this node.
            let known = domain.chars().any(|c| c != '0' && c != '-');
            known.then_some(domain)
        });
        Self {
            id_source: node.id_source.get(),
            hostname: text(&node.hostname),
            manufacturer: text(&node.manufacturer),
            product: text(&node.product),
            serial: serial(&node.serial),
            chassis_serial: serial(&node.chassis_serial),
            board_serial: serial(&node.board_serial),
            platform: platform.map(|name| name.chars().take(LONGEST).collect()),
            tenancy: Some(snapshot.tenancy),
            gpu_model: most(
                snapshot
                    .gpus
                    .iter()
                    .filter_map(|gpu| text(&gpu.identity.name)),
            ),
            gpu_count: u32::try_from(snapshot.gpus.len()).unwrap_or(u32::MAX),
            driver_version: text(&snapshot.driver.kernel_version)
                .or_else(|| text(&snapshot.driver.library_version)),
            kernel_release: text(&snapshot.kernel.release),
            nvlink_domain: most(domains),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cupel_health::testing::good;

    #[test]
    fn a_node_is_told_by_its_snapshot() {
        let mut snapshot = good();
        snapshot.node.chassis_serial = "Default string".to_owned().into();
        let identity = Identity::of(&snapshot, Some("crucible-8"));
        assert_eq!(identity.hostname.as_deref(), Some("gpu001"));
        assert_eq!(identity.serial.as_deref(), Some("CRU0001"));
        assert_eq!(identity.chassis_serial, None, "a placeholder");
        assert_eq!(identity.gpu_model.as_deref(), Some("NVIDIA H200"));
        assert_eq!(identity.gpu_count, 8);
        assert_eq!(identity.nvlink_domain, None, "all zeros is no domain");
        for gpu in &mut snapshot.gpus {
            let mut fabric = gpu.fabric.value().cloned().expect("fabric");
            fabric.cluster_uuid = "ac0f3c11-0000-4000-8000-00000000000a".to_owned().into();
            gpu.fabric = fabric.into();
        }
        let identity = Identity::of(&snapshot, None);
        assert_eq!(
            identity.nvlink_domain.as_deref(),
            Some("ac0f3c11-0000-4000-8000-00000000000a")
        );
    }
}
