//! Speed and width of a function's link.
//!
//! # Invariants
//! - A device that no longer answers reads all ones: `Unknown` speed, and 63 or 255 lanes by
//!   kernel version. That is failed.
//! - A function without a link of its own (integrated, or virtual) reads zeros: `Unknown` speed and
//!   0 lanes; of what it could have at most the kernel then says `Unknown` and 255. So does a port
//!   with nothing below it say 0 lanes. That is absent.

use cupel_model::Reading;
use cupel_model::units::GigatransfersPerSecond;

use crate::error::ReadError;
use crate::sysfs::{Attributes, pci_speed};

/// Lanes as all ones give them: of the register's six bits, and the kernel's own "unknown".
const ALL_ONES: [u32; 2] = [63, 255];

/// Widths that a link can have.
const WIDTHS: [u32; 7] = [1, 2, 4, 8, 12, 16, 32];

/// Why a link is absent.
const NO_LINK: &str = "no link (the kernel says 0 lanes)";

/// Speed and width, of `current_link_…` or `max_link_…`.
pub(super) fn read(
    at: &Attributes,
    which: &str,
) -> (Reading<GigatransfersPerSecond>, Reading<u32>) {
    let (speed_file, width_file) = (format!("{which}_link_speed"), format!("{which}_link_width"));
    let mut lanes = at.number::<u32>(&width_file);
    // The kernel's own "unknown", and not all ones from a device that is gone: that has those now.
    if which == "max"
        && lanes.get() == Some(255)
        && at.number::<u32>("current_link_width").get() == Some(0)
    {
        lanes = Reading::Value(0);
    }
    let gone = |file: &str, said: &str| {
        format!(
            "{}: the kernel says {said}: the device does not answer",
            at.path(file)
        )
    };
    let width = lanes.clone().and_then(|lanes| {
        if lanes == 0 {
            Reading::absent(NO_LINK)
        } else if ALL_ONES.contains(&lanes) {
            Reading::failed(gone(&width_file, &lanes.to_string()))
        } else if WIDTHS.contains(&lanes) {
            Reading::Value(lanes)
        } else {
            let text = lanes.to_string();
            ReadError::malformed(&at.path(&width_file), 1, &text, "a number of lanes")
                .into_reading()
        }
    });
    let speed = at
        .value(&speed_file)
        .and_then(|text| match pci_speed(&text) {
            Some(speed) => Reading::Value(speed),
            None if text.starts_with("Unknown") && lanes.get() == Some(0) => {
                Reading::absent(NO_LINK)
            }
            None if text.starts_with("Unknown") => Reading::failed(gone(&speed_file, &text)),
            None => ReadError::malformed(&at.path(&speed_file), 1, &text, "a speed in GT/s")
                .into_reading(),
        });
    (speed, width)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Tree;

    fn link(speed: &str, width: &str) -> (Reading<GigatransfersPerSecond>, Reading<u32>) {
        let tree = Tree::new();
        tree.file("/d/current_link_speed", speed);
        tree.file("/d/current_link_width", width);
        let root = tree.root();
        read(&Attributes::new(&root, "/d"), "current")
    }

    #[test]
    fn what_an_integrated_device_could_have_at_most_is_absent() {
        let most = |current_width: &str| {
            let tree = Tree::new();
            tree.file("/d/current_link_width", current_width);
            tree.file("/d/max_link_speed", "Unknown\n");
            tree.file("/d/max_link_width", "255\n");
            let root = tree.root();
            read(&Attributes::new(&root, "/d"), "max")
        };
        let (speed, width) = most("0\n");
        assert!(matches!(speed, Reading::Absent(_)), "{speed:?}");
        assert!(matches!(width, Reading::Absent(_)), "{width:?}");
        for gone in ["63\n", "255\n"] {
            let (speed, width) = most(gone);
            assert!(speed.is_failed() && width.is_failed(), "{gone}");
        }
    }

    #[test]
    fn a_lost_device_is_told_from_one_without_a_link() {
        for lanes in ["63", "255"] {
            let (speed, width) = link("Unknown\n", lanes);
            assert!(speed.is_failed() && width.is_failed(), "{lanes}");
        }
        let (speed, width) = link("Unknown\n", "0\n");
        assert!(matches!(speed, Reading::Absent(_)), "{speed:?}");
        assert!(matches!(width, Reading::Absent(_)), "{width:?}");
        let (speed, width) = link("2.5 GT/s PCIe\n", "0\n");
        assert!(speed.value().is_some() && matches!(width, Reading::Absent(_)));
        let (_, width) = link("2.5 GT/s PCIe\n", "7\n");
        assert_eq!(
            width.why(),
            Some("/d/current_link_width: line 1: \"7\" is not a number of lanes")
        );
    }
}
