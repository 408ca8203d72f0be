//! Vital product data of a PCI function: part number and serial number.
//!
//! Layout (PCI Local Bus Specification 3.0, appendix I): resources one after the other. A large one
//! has bit 7 of its tag set and a length of two bytes; a small one has its length in bits 2:0. The
//! read-only resource (tag 90h) holds keywords of two letters, each with a length byte.
//!
//! # Invariants
//! - Only RDMA adapters of Mellanox are asked: reading VPD is slow, and on some devices it hangs.

use std::time::Duration;

use cupel_model::snapshot::PciDevice;

use crate::deadline::{self, Pending};
use crate::error::ReadError;
use crate::root::Root;

/// Most bytes of VPD: its address has 15 bits.
const CAP: usize = 32 * 1024;

/// What VPD says about a part.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Vpd {
    /// Identifier string: the product's name.
    pub name: Option<String>,
    /// Keyword PN.
    pub part_number: Option<String>,
    /// Keyword SN.
    pub serial: Option<String>,
    /// Every read-only keyword with its text, in their order.
    pub keywords: Vec<(String, String)>,
}

impl Vpd {
    /// Whether the function is there for a fabric manager to reach NVSwitches (`SMDL=SW_MNG`).
    pub fn manages_switches(&self) -> bool {
        let mut texts = self.keywords.iter().map(|(_, text)| text);
        texts.any(|text| text.split(':').any(|part| part.trim() == "SMDL=SW_MNG"))
    }
}

/// Bytes that are no VPD.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VpdError {
    /// A resource or keyword reaches beyond the end.
    #[error("VPD offset {offset}: length {length} reaches beyond its {size} bytes")]
    TooShort {
        /// Where.
        offset: usize,
        /// How long it claims to be.
        length: usize,
        /// How much there is.
        size: usize,
    },
    /// A tag that does not belong there.
    #[error("VPD offset {offset}: unknown tag {tag:#04x}")]
    Tag {
        /// Where.
        offset: usize,
        /// The tag.
        tag: u8,
    },
}

/// Whether VPD of this function may be asked for: an InfiniBand or Ethernet function of Mellanox.
pub(super) fn wanted(device: &PciDevice) -> bool {
    let class = device.class.value().map(String::as_str).unwrap_or_default();
    let vendor = device
        .vendor
        .value()
        .map(String::as_str)
        .unwrap_or_default();
    vendor == "15b3" && (class.starts_with("0207") || class.starts_with("0200"))
}

/// VPD that is being read.
pub(super) struct PendingVpd {
    path: String,
    pending: Pending<Result<Vec<u8>, ReadError>>,
}

/// Starts reading VPD of the function at `directory`, on its own thread.
pub(super) fn start(root: &Root, directory: &str, limit: Duration) -> PendingVpd {
    let path = format!("{directory}/vpd");
    let (own, file) = (root.clone(), path.clone());
    let pending = deadline::start(root, &path, limit, move || own.read(&file, CAP));
    PendingVpd { path, pending }
}

impl PendingVpd {
    /// What it says, once it was read.
    pub(super) fn wait(self) -> Result<Vpd, ReadError> {
        let path = self.path;
        let failed = |detail: String| ReadError::Binary { path, detail };
        match self.pending.wait() {
            Ok(Ok(bytes)) => parse(&bytes).map_err(|error| failed(error.to_string())),
            Ok(Err(error)) => Err(error),
            Err(late) => Err(failed(late.to_string())),
        }
    }
}

/// Parses VPD.
///
/// # Errors
/// [`VpdError`]. Trailing bytes after the end tag mean nothing.
pub fn parse(bytes: &[u8]) -> Result<Vpd, VpdError> {
    const IDENTIFIER: u8 = 0x82;
    const READ_ONLY: u8 = 0x90;
    const READ_WRITE: u8 = 0x91;
    const END: u8 = 0x78;
    let mut vpd = Vpd::default();
    let mut offset = 0;
    while let Some(&tag) = bytes.get(offset) {
        let (header, length) = if tag & 0x80 != 0 {
            let length = match (bytes.get(offset + 1), bytes.get(offset + 2)) {
                (Some(&low), Some(&high)) => usize::from(u16::from_le_bytes([low, high])),
                (_, _) => {
                    return Err(VpdError::TooShort {
                        offset,
                        length: 3,
                        size: bytes.len(),
                    });
                }
            };
            (3, length)
        } else {
            (1, usize::from(tag & 0x07))
        };
        if tag & 0xf8 == END {
            break;
        }
        let start = offset + header;
        let data = bytes.get(start..start + length).ok_or(VpdError::TooShort {
            offset,
            length,
            size: bytes.len(),
        })?;
        match tag {
            IDENTIFIER => vpd.name = text(data),
            READ_ONLY => keywords(data, start, &mut vpd)?,
            READ_WRITE => {}
            _ => return Err(VpdError::Tag { offset, tag }),
        }
        offset = start + length;
    }
    Ok(vpd)
}

fn keywords(data: &[u8], start: usize, vpd: &mut Vpd) -> Result<(), VpdError> {
    let mut offset = 0;
    while let (Some(&first), Some(&second), Some(&length)) =
        (data.get(offset), data.get(offset + 1), data.get(offset + 2))
    {
        let length = usize::from(length);
        let from = offset + 3;
        let value = data.get(from..from + length).ok_or(VpdError::TooShort {
            offset: start + offset,
            length,
            size: start + data.len(),
        })?;
        let keyword = format!("{}{}", char::from(first), char::from(second));
        // RV is the checksum and the padding after it.
        if keyword != "RV"
            && let Some(value) = text(value)
        {
            match keyword.as_str() {
                "PN" => vpd.part_number = Some(value.clone()),
                "SN" => vpd.serial = Some(value.clone()),
                _ => {}
            }
            vpd.keywords.push((keyword, value));
        }
        offset = from + length;
    }
    Ok(())
}

/// Printable text without the blanks around it; `None` when nothing is left.
fn text(bytes: &[u8]) -> Option<String> {
    let text: String = bytes
        .iter()
        .map(|&b| {
            if b.is_ascii_graphic() || b == b' ' {
                char::from(b)
            } else {
                ' '
            }
        })
        .collect();
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sample() -> Vec<u8> {
        let mut fields = Vec::new();
        for (keyword, value) in [
            ("PN", "MCX75310AAS-NEAT"),
            ("SN", "MT2244XZ00AB  "),
            ("V2", "x"),
        ] {
            fields.extend_from_slice(keyword.as_bytes());
            fields.push(u8::try_from(value.len()).expect("short"));
            fields.extend_from_slice(value.as_bytes());
        }
        fields.extend_from_slice(b"RV\x02\x5a\x00");
        let mut vpd = vec![0x82, 10, 0];
        vpd.extend_from_slice(b"ConnectX-7");
        vpd.extend_from_slice(&[0x90, u8::try_from(fields.len()).expect("short"), 0]);
        vpd.extend_from_slice(&fields);
        vpd.push(0x78);
        vpd.extend_from_slice(&[0xff; 40]);
        vpd
    }

    #[test]
    fn part_and_serial_number() {
        let vpd = parse(&sample()).expect("well formed");
        assert_eq!(vpd.name.as_deref(), Some("ConnectX-7"));
        assert_eq!(vpd.part_number.as_deref(), Some("MCX75310AAS-NEAT"));
        assert_eq!(vpd.serial.as_deref(), Some("MT2244XZ00AB"));
        assert_eq!(vpd.keywords.len(), 3);
    }

    #[test]
    fn what_reaches_beyond_the_end_is_refused() {
        let whole = sample();
        let error = parse(&whole[..20]).expect_err("cut short");
        assert!(
            matches!(error, VpdError::TooShort { offset: 13, .. }),
            "{error}"
        );
        assert_eq!(
            parse(&[0xff; 4096]),
            Err(VpdError::TooShort {
                offset: 0,
                length: 65535,
                size: 4096
            })
        );
        assert_eq!(parse(&[]), Ok(Vpd::default()));
    }

    proptest! {
        #[test]
        fn nothing_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse(&bytes);
        }

        #[test]
        fn nor_does_a_damaged_one(at in 0_usize..40, value in any::<u8>()) {
            let mut bytes = sample();
            if let Some(byte) = bytes.get_mut(at) { *byte = value; }
            let _ = parse(&bytes);
        }
    }
}
