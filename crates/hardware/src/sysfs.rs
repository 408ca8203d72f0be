//! The attributes of one directory of sysfs, and the forms their values have.
//!
//! # Invariants
//! - A function that reads a form returns `None` for everything else; nothing is guessed.

use cupel_model::units::{GigabitsPerSecond, GigatransfersPerSecond};
use cupel_model::{Counter, PciAddress, Reading};

use crate::error::{ReadError, reading};
use crate::root::{Directory, Identity, Root};

/// One directory of sysfs.
#[derive(Debug)]
pub struct Attributes(Directory);

impl Attributes {
    /// The attributes in `directory`.
    pub fn new(root: &Root, directory: impl Into<String>) -> Self {
        Self(Directory::new(root, directory))
    }

    /// The attributes in the directory `name` of this one.
    pub fn below(&self, name: &str) -> Self {
        Self(self.0.below(name))
    }

    /// [`Directory::is_still`].
    pub fn is_still(&mut self, earlier: Option<Identity>) -> bool {
        self.0.is_still(earlier)
    }

    /// The directory.
    pub fn directory(&self) -> &Directory {
        &self.0
    }

    /// Path of the attribute `name`.
    pub fn path(&self, name: &str) -> String {
        self.0.path_of(name)
    }

    /// The text of an attribute.
    pub fn value(&self, name: &str) -> Reading<String> {
        self.0.value_reading(name)
    }

    /// The text of an attribute that may be empty: then it is absent, because of `why`.
    pub fn value_or_empty(&self, name: &str, why: &str) -> Reading<String> {
        match self.0.value(name) {
            Err(ReadError::Empty { .. }) => Reading::absent(why),
            other => reading(other),
        }
    }

    /// An attribute as `parse` reads it; `wanted` names it with its article.
    pub fn parsed<T>(
        &self,
        name: &str,
        wanted: &'static str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Reading<T> {
        reading(self.0.parsed(name, wanted, parse))
    }

    /// A whole number.
    pub fn number<T: std::str::FromStr>(&self, name: &str) -> Reading<T> {
        self.parsed(name, "a whole number", |text| text.parse().ok())
    }

    /// `0x` and hexadecimal digits, as `digits` lower-case digits without the prefix.
    pub fn hexadecimal(&self, name: &str, digits: usize) -> Reading<String> {
        self.parsed(name, "a hexadecimal number", |text| {
            hexadecimal(text, digits)
        })
    }

    /// The last part of a symbolic link: absent when there is no such link.
    pub fn link_name(&self, name: &str) -> Reading<String> {
        reading(self.0.link_name(name))
    }

    /// PCI address of the device that the link `device` points at, or of the nearest PCI function
    /// above it. What does not hang on PCI is absent.
    pub fn pci_address(&self) -> Reading<PciAddress> {
        let path = self.path("device");
        match self.0.link_name("device") {
            Ok(name) => match full_pci_address(&name).or_else(|| self.pci_above(&path)) {
                Some(address) => Reading::Value(address),
                None => Reading::absent(format!("{path}: {name:?} is not on PCI")),
            },
            Err(ReadError::NotOffered { .. }) => {
                Reading::absent(format!("{path}: not a link to a PCI function"))
            }
            Err(error) => error.into_reading(),
        }
    }

    /// The last PCI address in the path that `path` leads to.
    fn pci_above(&self, path: &str) -> Option<PciAddress> {
        let resolved = self.0.root().resolve(path).ok()?;
        resolved.split('/').rev().find_map(full_pci_address)
    }
}

/// A PCI address with domain and function, as sysfs spells it.
pub fn full_pci_address(text: &str) -> Option<PciAddress> {
    let whole = text.matches(':').count() == 2 && text.matches('.').count() == 1;
    whole.then(|| text.parse().ok()).flatten()
}

/// `0x` and at most `digits` hexadecimal digits, as exactly `digits` lower-case ones.
pub fn hexadecimal(text: &str, digits: usize) -> Option<String> {
    let bare = text.strip_prefix("0x").unwrap_or(text);
    let fits = (1..=digits).contains(&bare.len()) && bare.bytes().all(|b| b.is_ascii_hexdigit());
    fits.then(|| format!("{:0>digits$}", bare.to_ascii_lowercase()))
}

/// PCIe speed, `16.0 GT/s PCIe` or `16 GT/s`.
pub fn pci_speed(text: &str) -> Option<GigatransfersPerSecond> {
    let (number, rest) = text.split_once(' ')?;
    let known = matches!(rest, "GT/s" | "GT/s PCIe");
    let speed = known.then(|| decimal(number)).flatten()?;
    GigatransfersPerSecond::new(speed).ok()
}

/// RDMA rate, `100 Gb/sec (4X EDR)` or `2.5 Gb/sec (1X SDR)`.
pub fn rdma_rate(text: &str) -> Option<GigabitsPerSecond> {
    let (number, rest) = text.split_once(' ')?;
    let known = rest == "Gb/sec" || rest.starts_with("Gb/sec (");
    let rate = known.then(|| decimal(number)).flatten()?;
    GigabitsPerSecond::new(rate).ok()
}

/// RDMA state, `4: ACTIVE`: the kernel's word.
pub fn rdma_state(text: &str) -> Option<String> {
    let (number, word) = text.split_once(':')?;
    let word = word.trim();
    let known = number.bytes().all(|b| b.is_ascii_digit()) && !number.is_empty();
    let plain = word.bytes().all(|b| b.is_ascii_graphic() || b == b' ');
    (known && plain && !word.is_empty()).then(|| word.to_owned())
}

/// A GUID, `0a7f:bc12:45ef:d23b`.
pub fn guid(text: &str) -> Option<String> {
    let groups: Vec<&str> = text.split(':').collect();
    let known = groups.len() == 4
        && groups
            .iter()
            .all(|g| g.len() == 4 && g.bytes().all(|b| b.is_ascii_hexdigit()));
    known.then(|| text.to_ascii_lowercase())
}

/// A number that is zero or more, with or without decimals; no sign, no exponent.
pub fn decimal(text: &str) -> Option<f64> {
    let plain = text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    (plain && text.starts_with(|c: char| c.is_ascii_digit()))
        .then(|| text.parse().ok())
        .flatten()
}

/// `0` or `1`.
pub fn flag(text: &str) -> Option<bool> {
    match text {
        "0" => Some(false),
        "1" => Some(true),
        _ => None,
    }
}

/// A count that cannot saturate in practice.
pub fn count(text: &str) -> Option<Counter> {
    text.parse().ok().map(Counter::exact)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn forms_of_values() {
        assert_eq!(hexadecimal("0x10DE", 4).as_deref(), Some("10de"));
        assert_eq!(hexadecimal("0xa1", 2).as_deref(), Some("a1"));
        assert_eq!(hexadecimal("0x030200", 6).as_deref(), Some("030200"));
        assert_eq!(hexadecimal("0x1", 4).as_deref(), Some("0001"));
        assert_eq!(hexadecimal("0x", 4), None);
        assert_eq!(hexadecimal("0x12345", 4), None);
        assert_eq!(pci_speed("32.0 GT/s PCIe").map(f64::from), Some(32.0));
        assert_eq!(pci_speed("2.5 GT/s").map(f64::from), Some(2.5));
        assert_eq!(pci_speed("Unknown"), None);
        assert_eq!(rdma_rate("400 Gb/sec (4X NDR)").map(f64::from), Some(400.0));
        assert_eq!(rdma_rate("2.5 Gb/sec (1X SDR)").map(f64::from), Some(2.5));
        assert_eq!(rdma_rate("fast"), None);
        assert_eq!(rdma_state("4: ACTIVE").as_deref(), Some("ACTIVE"));
        assert_eq!(rdma_state("5: LinkUp").as_deref(), Some("LinkUp"));
        assert_eq!(
            rdma_state("6: LinkErrorRecovery").as_deref(),
            Some("LinkErrorRecovery")
        );
        assert_eq!(rdma_state("ACTIVE"), None);
        assert_eq!(
            guid("0A7f:bc12:45ef:d23b").as_deref(),
            Some("0a7f:bc12:45ef:d23b")
        );
        assert_eq!(guid("0a7f:bc12:45ef"), None);
        assert_eq!(decimal("-1"), None);
        assert_eq!(decimal("1e9"), None);
        assert_eq!(full_pci_address("0000:9b:00.0").map(|a| a.bus), Some(0x9b));
        assert_eq!(full_pci_address("9b:00.0"), None);
    }

    proptest! {
        #[test]
        fn nothing_panics_or_invents(text in ".{0,40}") {
            let _ = (hexadecimal(&text, 4), guid(&text), flag(&text), count(&text));
            if let Some(speed) = pci_speed(&text) { prop_assert!(f64::from(speed) >= 0.0); }
            if let Some(rate) = rdma_rate(&text) { prop_assert!(f64::from(rate) >= 0.0); }
            if let Some(word) = rdma_state(&text) { prop_assert!(text.contains(&word)); }
        }
    }
}
