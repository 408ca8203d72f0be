//! PCI addresses as one type, however a source spells them.
//!
//! # Invariants
//! - The text form is lower case `dddd:bb:dd.f`; a domain above `ffff` keeps eight digits.
//! - Reading fills a missing domain with `0000` and a missing function with `0`; nothing else is
//!   guessed: what is no address is refused.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Domain, bus, device and function of a PCI device. Sorts in that order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PciAddress {
    /// PCI segment, 0 on most servers.
    pub domain: u32,
    /// Bus number. It shifts when a device vanishes: never use it to name a slot.
    pub bus: u8,
    /// Device. 0..=31 on real hardware; a log may write more, and what it wrote is kept.
    pub device: u8,
    /// Function, 0..=7.
    pub function: u8,
}

/// A text that is no PCI address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a PCI address (want dddd:bb:dd.f)")]
pub struct PciAddressError {
    /// The offending text, at most 64 bytes of it.
    pub text: String,
}

impl PciAddress {
    /// The same slot with another function.
    #[must_use]
    pub fn with_function(self, function: u8) -> Self {
        Self {
            function: function & 7,
            ..self
        }
    }

    /// Whether both are functions of one device.
    pub fn same_device(self, other: Self) -> bool {
        self.with_function(0) == other.with_function(0)
    }
}

impl fmt::Display for PciAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.domain > 0xffff {
            write!(f, "{:08x}", self.domain)?;
        } else {
            write!(f, "{:04x}", self.domain)?;
        }
        write!(
            f,
            ":{:02x}:{:02x}.{:x}",
            self.bus, self.device, self.function
        )
    }
}

/// Reads `digits` as hexadecimal if it has `min..=max` digits and nothing else.
fn hex(digits: &str, min: usize, max: usize) -> Option<u32> {
    let fits = (min..=max).contains(&digits.len());
    (fits && digits.bytes().all(|b| b.is_ascii_hexdigit()))
        .then(|| u32::from_str_radix(digits, 16).ok())
        .flatten()
}

fn parse(text: &str) -> Option<PciAddress> {
    let (rest, function) = match text.split_once('.') {
        Some((rest, function)) => (rest, hex(function, 1, 1).filter(|f| *f < 8)?),
        None => (text, 0),
    };
    let (rest, device) = rest.rsplit_once(':')?;
    let (domain, bus) = match rest.split_once(':') {
        Some((domain, bus)) => (hex(domain, 4, 8)?, bus),
        None => (0, rest),
    };
    Some(PciAddress {
        domain,
        bus: u8::try_from(hex(bus, 2, 2)?).ok()?,
        device: u8::try_from(hex(device, 2, 2)?).ok()?,
        function: u8::try_from(function).ok()?,
    })
}

impl FromStr for PciAddress {
    type Err = PciAddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text).ok_or_else(|| PciAddressError {
            text: text.chars().take(64).collect(),
        })
    }
}

impl Serialize for PciAddress {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PciAddress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for PciAddress {
    fn schema_name() -> Cow<'static, str> {
        "PciAddress".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^([0-9a-f]{4}|[0-9a-f]{8}):[0-9a-f]{2}:[0-9a-f]{2}\\.[0-7]$"
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_spelling_becomes_one() {
        for (text, want) in [
            ("0000:9b:00.0", "0000:9b:00.0"),
            ("9B:00", "0000:9b:00.0"),
            ("9b:00.1", "0000:9b:00.1"),
            ("0000:9b:00", "0000:9b:00.0"),
            ("00000000:9B:00.0", "0000:9b:00.0"),
            ("00010000:01:00.0", "00010000:01:00.0"),
            ("0001:ab:cd", "0001:ab:cd.0"),
        ] {
            assert_eq!(text.parse::<PciAddress>().expect(text).to_string(), want);
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "",
            "9b",
            "0000:9b",
            "0000:9b:200.0",
            "0000:9b:00.8",
            "000:9b:00.0",
            "g0:00",
            "0000:9b:00.0 ",
        ] {
            assert!(text.parse::<PciAddress>().is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn text_form_round_trips(domain in any::<u32>(), bus in any::<u8>(), device in any::<u8>(), function in 0_u8..8) {
            let address = PciAddress { domain, bus, device, function };
            prop_assert_eq!(address.to_string().parse::<PciAddress>(), Ok(address));
        }

        #[test]
        fn nothing_panics(text in ".{0,40}") {
            let _ = text.parse::<PciAddress>();
        }
    }
}
