//! Recognising a server.

use cupel_model::snapshot::PciDevice;
use cupel_model::{Platform, Reading, Snapshot};

/// Why no platform was chosen.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unmatched {
    /// SMBIOS did not say who made it or what it is.
    #[error("{what} of this machine is not known: {why}")]
    Unidentified {
        /// Which of the two.
        what: &'static str,
        /// Why.
        why: String,
    },
    /// No file fits.
    #[error("no platform file matches {manufacturer:?} {product:?} with its GPUs")]
    NoneFits {
        /// SMBIOS manufacturer.
        manufacturer: String,
        /// SMBIOS product name.
        product: String,
    },
    /// More than one fits.
    #[error("several platform files match: {}", names.join(", "))]
    Ambiguous {
        /// Their names.
        names: Vec<String>,
    },
}

/// The one platform that fits: manufacturer and product are exactly one of its own, and every
/// NVIDIA GPU on the bus is one of its GPUs (a node that lost all of them still matches).
///
/// # Errors
/// [`Unmatched`] when none fits, or more than one.
pub fn matching<'p>(
    snapshot: &Snapshot,
    platforms: &'p [Platform],
) -> Result<&'p Platform, Unmatched> {
    let manufacturer = known("the manufacturer", &snapshot.node.manufacturer)?;
    let product = known("the product name", &snapshot.node.product)?;
    let fits: Vec<&Platform> = platforms
        .iter()
        .filter(|platform| {
            platform.matches.manufacturer.contains(manufacturer)
                && platform.matches.product.contains(product)
                && gpus_fit(snapshot, &platform.matches.gpu_pci_ids)
        })
        .collect();
    match fits[..] {
        [one] => Ok(one),
        [] => Err(Unmatched::NoneFits {
            manufacturer: manufacturer.clone(),
            product: product.clone(),
        }),
        [..] => Err(Unmatched::Ambiguous {
            names: fits.iter().map(|platform| platform.name.clone()).collect(),
        }),
    }
}

fn known<'a>(what: &'static str, reading: &'a Reading<String>) -> Result<&'a String, Unmatched> {
    reading.value().ok_or_else(|| Unmatched::Unidentified {
        what,
        why: reading.why().unwrap_or_default().to_owned(),
    })
}

/// A GPU that no longer answers reads as all ones: it fits any list.
fn gpus_fit(snapshot: &Snapshot, ids: &[String]) -> bool {
    ids.is_empty()
        || snapshot
            .pci
            .iter()
            .filter(|device| device.is_nvidia_gpu())
            .filter_map(PciDevice::id)
            .all(|id| ids.contains(&id) || id == "10de:ffff")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{good, platform};

    #[test]
    fn a_match_is_exact() {
        let (mut node, known) = (good(), [platform()]);
        assert_eq!(matching(&node, &known).expect("match").name, "crucible-8");
        node.node.product = "Crucible 80".to_owned().into();
        let error = matching(&node, &known).expect_err("another product");
        assert!(error.to_string().contains("Crucible 80"), "{error}");
    }

    #[test]
    fn a_foreign_gpu_fits_no_platform_and_no_gpu_fits() {
        let (mut node, known) = (good(), [platform()]);
        node.pci.retain(|device| !device.is_nvidia_gpu());
        assert!(matching(&node, &known).is_ok());
        node = good();
        let gpu = node
            .pci
            .iter_mut()
            .find(|d| d.is_nvidia_gpu())
            .expect("GPU");
        gpu.device = "2330".to_owned().into();
        assert!(matches!(
            matching(&node, &known),
            Err(Unmatched::NoneFits { .. })
        ));
    }

    #[test]
    fn two_that_fit_are_none() {
        let mut other = platform();
        other.name = "crucible-8b".to_owned();
        let error = matching(&good(), &[platform(), other]).expect_err("two fit");
        assert_eq!(
            error.to_string(),
            "several platform files match: crucible-8, crucible-8b"
        );
    }

    #[test]
    fn an_unidentified_machine_says_why() {
        let mut node = good();
        node.node.product = Reading::absent("no SMBIOS");
        let error = matching(&node, &[platform()]).expect_err("unidentified");
        assert_eq!(
            error.to_string(),
            "the product name of this machine is not known: no SMBIOS"
        );
    }
}
