//! Pages that an NVMe controller gives about itself (NVM Express Base Specification 2.0), from
//! bytes.

use cupel_model::Reading;
use cupel_model::snapshot::{NvmeFirmwareSlot, NvmeHealth};
use cupel_model::units::{Celsius, Hours, Percent};

/// Size of the Identify Controller data structure.
pub const IDENTIFY_BYTES: usize = 4096;
/// Size of the SMART / Health Information log page (02h).
pub const HEALTH_BYTES: usize = 512;
/// Size of the Firmware Slot Information log page (03h).
pub const FIRMWARE_SLOTS_BYTES: usize = 512;

/// Bytes that are no such page.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PageError {
    /// Too short or too long.
    #[error("{page} has {size} bytes, not {want}")]
    Size {
        /// Which page.
        page: &'static str,
        /// How long it is.
        size: usize,
        /// How long it should be.
        want: usize,
    },
    /// Nothing but zeros or ones: the controller did not fill it.
    #[error("{page} is blank: the controller did not fill it")]
    Blank {
        /// Which page.
        page: &'static str,
    },
    /// A value that the specification does not allow.
    #[error("{page} offset {offset}: {value:#04x} is not {wanted}")]
    Value {
        /// Which page.
        page: &'static str,
        /// Where.
        offset: usize,
        /// What is there.
        value: u8,
        /// What belongs there.
        wanted: &'static str,
    },
}

/// What Identify Controller says, as far as Cupel needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identify {
    /// Serial number.
    pub serial: Option<String>,
    /// Model number.
    pub model: Option<String>,
    /// Firmware revision.
    pub firmware: Option<String>,
    /// Whether the controller can test itself (OACS bit 4).
    pub self_test: bool,
    /// How long its extended test takes, in minutes (EDSTT).
    pub extended_self_test_minutes: u16,
}

fn check(page: &'static str, bytes: &[u8], want: usize) -> Result<(), PageError> {
    if bytes.len() != want {
        return Err(PageError::Size {
            page,
            size: bytes.len(),
            want,
        });
    }
    if bytes.iter().all(|b| *b == 0) || bytes.iter().all(|b| *b == 0xff) {
        return Err(PageError::Blank { page });
    }
    Ok(())
}

/// Printable ASCII without padding; `None` when nothing is left.
fn text(bytes: &[u8]) -> Option<String> {
    let text: String = bytes
        .iter()
        .take_while(|b| **b != 0)
        .map(|&b| {
            if b.is_ascii_graphic() || b == b' ' {
                char::from(b)
            } else {
                '?'
            }
        })
        .collect();
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

/// A little-endian count of 16 bytes.
fn count(bytes: &[u8], offset: usize) -> Reading<u64> {
    let wide = bytes
        .get(offset..offset + 16)
        .and_then(|bytes| <[u8; 16]>::try_from(bytes).ok())
        .map(u128::from_le_bytes);
    match wide.map(u64::try_from) {
        Some(Ok(count)) => Reading::Value(count),
        Some(Err(_)) | None => {
            Reading::failed(format!("SMART offset {offset}: beyond 64 bits, no count"))
        }
    }
}

/// Parses Identify Controller.
///
/// # Errors
/// [`PageError`].
pub fn parse_identify(bytes: &[u8]) -> Result<Identify, PageError> {
    check("Identify Controller", bytes, IDENTIFY_BYTES)?;
    Ok(Identify {
        serial: text(&bytes[4..24]),
        model: text(&bytes[24..64]),
        firmware: text(&bytes[64..72]),
        self_test: bytes[256] & 1 << 4 != 0,
        extended_self_test_minutes: u16::from_le_bytes([bytes[316], bytes[317]]),
    })
}

/// Parses log page 02h.
///
/// # Errors
/// [`PageError`].
pub fn parse_health(bytes: &[u8]) -> Result<NvmeHealth, PageError> {
    /// Names of the critical warning bits, from bit 0.
    const WARNINGS: [&str; 6] = [
        "available-spare",
        "temperature",
        "reliability",
        "read-only",
        "volatile-backup",
        "persistent-memory",
    ];
    check("SMART / health log", bytes, HEALTH_BYTES)?;
    let critical_warnings = (0..8)
        .filter(|bit| bytes[0] & (1 << bit) != 0)
        .map(|bit| {
            WARNINGS
                .get(bit)
                .map_or_else(|| format!("bit-{bit}"), |n| (*n).to_owned())
        })
        .collect();
    let percent = |byte: u8| {
        Percent::new(f64::from(byte))
            .map_or_else(|error| Reading::failed(error.to_string()), Reading::Value)
    };
    Ok(NvmeHealth {
        critical_warnings,
        temperature_celsius: match u16::from_le_bytes([bytes[1], bytes[2]]) {
            0 => Reading::absent("the controller gives no temperature"),
            kelvin => Celsius::new(f64::from(kelvin) - 273.0)
                .map_or_else(|error| Reading::failed(error.to_string()), Reading::Value),
        },
        available_spare_percent: percent(bytes[3]),
        available_spare_threshold_percent: percent(bytes[4]),
        percentage_used: percent(bytes[5]),
        power_on_hours: count(bytes, 128).map(Hours),
        unsafe_shutdowns: count(bytes, 144),
        media_errors: count(bytes, 160),
        error_log_entries: count(bytes, 176),
    })
}

/// Parses log page 03h: the slots that hold firmware, by number.
///
/// # Errors
/// [`PageError`].
pub fn parse_firmware_slots(bytes: &[u8]) -> Result<Vec<NvmeFirmwareSlot>, PageError> {
    const PAGE: &str = "firmware slot log";
    check(PAGE, bytes, FIRMWARE_SLOTS_BYTES)?;
    let active = u32::from(bytes[0] & 0x07);
    if active == 0 {
        let wanted = "active firmware info with a slot 1 to 7";
        return Err(PageError::Value {
            page: PAGE,
            offset: 0,
            value: bytes[0],
            wanted,
        });
    }
    // Zero in the next slot's place means that a reset changes nothing.
    let next = match u32::from((bytes[0] >> 4) & 0x07) {
        0 => active,
        next => next,
    };
    Ok((1..=7_u32)
        .zip(bytes[8..64].chunks_exact(8))
        .filter_map(|(index, revision)| {
            Some(NvmeFirmwareSlot {
                index,
                revision: text(revision)?,
                active: index == active,
                next: index == next,
            })
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn identify_controller() {
        let mut bytes = vec![0_u8; IDENTIFY_BYTES];
        bytes[4..24].copy_from_slice(b"S6CKNT0T500001      ");
        bytes[24..64].copy_from_slice(b"SAMSUNG MZQL23T8HCLS-00A07              ");
        bytes[64..72].copy_from_slice(b"GDC5602Q");
        let identify = parse_identify(&bytes).expect("page");
        assert_eq!(identify.serial.as_deref(), Some("S6CKNT0T500001"));
        assert_eq!(
            identify.model.as_deref(),
            Some("SAMSUNG MZQL23T8HCLS-00A07")
        );
        assert_eq!(identify.firmware.as_deref(), Some("GDC5602Q"));
    }

    #[test]
    fn health() {
        let mut bytes = vec![0_u8; HEALTH_BYTES];
        bytes[0] = 0b1000_1001;
        bytes[1..3].copy_from_slice(&314_u16.to_le_bytes());
        bytes[3..6].copy_from_slice(&[97, 10, 104]);
        bytes[128] = 200;
        bytes[160] = 3;
        bytes[176..192].fill(0xff);
        let health = parse_health(&bytes).expect("page");
        assert_eq!(
            health.critical_warnings,
            ["available-spare", "read-only", "bit-7"]
        );
        assert_eq!(health.temperature_celsius.get().map(f64::from), Some(41.0));
        assert_eq!(health.percentage_used.get().map(f64::from), Some(104.0));
        assert_eq!(health.power_on_hours, Reading::Value(Hours(200)));
        assert_eq!(health.media_errors, Reading::Value(3));
        assert!(health.error_log_entries.is_failed());
    }

    #[test]
    fn firmware_slots() {
        let mut bytes = vec![0_u8; FIRMWARE_SLOTS_BYTES];
        bytes[0] = 0x21;
        bytes[8..16].copy_from_slice(b"GDC5602Q");
        bytes[16..24].copy_from_slice(b"GDC5902Q");
        let slots = parse_firmware_slots(&bytes).expect("page");
        let told: Vec<_> = slots
            .iter()
            .map(|s| (s.index, s.revision.as_str(), s.active, s.next))
            .collect();
        assert_eq!(
            told,
            [(1, "GDC5602Q", true, false), (2, "GDC5902Q", false, true)]
        );
    }

    #[test]
    fn what_is_no_page_is_refused() {
        assert_eq!(
            parse_health(&[0; 100]).map_err(|e| e.to_string()),
            Err("SMART / health log has 100 bytes, not 512".to_owned())
        );
        assert_eq!(
            parse_health(&[0; HEALTH_BYTES]),
            Err(PageError::Blank {
                page: "SMART / health log"
            })
        );
        assert!(parse_identify(&[0xff; IDENTIFY_BYTES]).is_err());
        let mut slots = [0x20_u8; FIRMWARE_SLOTS_BYTES];
        slots[0] = 0x10;
        assert!(matches!(
            parse_firmware_slots(&slots),
            Err(PageError::Value { value: 0x10, .. })
        ));
    }

    proptest! {
        #[test]
        fn nothing_panics(bytes in proptest::collection::vec(any::<u8>(), 512)) {
            let _ = (parse_health(&bytes), parse_firmware_slots(&bytes), parse_identify(&bytes));
        }
    }
}
