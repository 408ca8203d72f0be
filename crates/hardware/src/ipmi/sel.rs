//! The system event log (IPMI 2.0, chapters 31 and 32).

use cupel_model::Timestamp;
use cupel_model::snapshot::SelRecord;

use super::transport::hexadecimal;
use super::words;

/// What Get SEL Info says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SelInfo {
    /// Records in the log.
    pub entries: u16,
    /// Whether records were lost because the log was full.
    pub overflow: bool,
}

/// Parses the data of Get SEL Info; `None` when it is too short.
pub fn parse_sel_info(data: &[u8]) -> Option<SelInfo> {
    Some(SelInfo {
        entries: u16::from_le_bytes([*data.get(1)?, *data.get(2)?]),
        overflow: data.get(13)? & 0x80 != 0,
    })
}

/// Parses a record of sixteen bytes. `name_of` gives the name of a sensor by owner and number.
/// `None` when there are fewer bytes.
pub fn parse_record(bytes: &[u8], name_of: impl Fn(u8, u8) -> Option<String>) -> Option<SelRecord> {
    const SYSTEM_EVENT: u8 = 0x02;
    /// From here up, records of a vendor have no time.
    const VENDOR_WITHOUT_TIME: u8 = 0xe0;
    let record: &[u8; 16] = bytes.get(..16)?.try_into().ok()?;
    let id = u16::from_le_bytes([record[0], record[1]]);
    let raw = hexadecimal(record);
    let kind = record[2];
    let seconds = u32::from_le_bytes([record[3], record[4], record[5], record[6]]);
    let time = (kind < VENDOR_WITHOUT_TIME)
        .then(|| time(seconds))
        .flatten();
    if kind != SYSTEM_EVENT {
        return Some(SelRecord {
            id,
            time,
            sensor: format!("record type {kind:#04x}"),
            event: "a record of the vendor's own kind".to_owned(),
            asserted: true,
            raw,
        });
    }
    let (owner, sensor_type, number) = (record[7], record[10], record[11]);
    let (direction, event_type) = (record[12] & 0x80, record[12] & 0x7f);
    let offset = record[13] & 0x0f;
    Some(SelRecord {
        id,
        time,
        sensor: name_of(owner, number)
            .unwrap_or_else(|| format!("{}/{number:#04x}", words::sensor_type(sensor_type))),
        event: words::event(event_type, sensor_type, offset),
        asserted: direction == 0,
        raw,
    })
}

/// Seconds since 1970. Below 0x20000000 they count since the controller started, and all ones
/// are "unspecified".
fn time(seconds: u32) -> Option<Timestamp> {
    const COUNTED_FROM_START: u32 = 0x2000_0000;
    if seconds <= COUNTED_FROM_START || seconds == u32::MAX {
        return None;
    }
    Timestamp::from_microseconds(i64::from(seconds) * 1_000_000).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RECORD: [u8; 16] = [
        0x2a, 0x00, 0x02, 0x00, 0xf1, 0x53, 0x65, 0x20, 0x00, 0x04, 0x0c, 0x45, 0x6f, 0xa1, 0x00,
        0x03,
    ];

    #[test]
    fn a_system_event() {
        let record = parse_record(&RECORD, |_, _| None).expect("whole");
        assert_eq!(record.id, 42);
        assert_eq!(
            record.time.map(|t| t.to_string()).as_deref(),
            Some("2023-11-14T22:13:20.000000Z")
        );
        assert_eq!(record.sensor, "memory/0x45");
        assert_eq!(
            record.event,
            "uncorrectable ECC or other uncorrectable memory error"
        );
        assert!(record.asserted);
        assert_eq!(
            record.raw,
            "2a000200f1536520000 40c456fa10003".replace(' ', "")
        );
        let named = parse_record(&RECORD, |owner, number| {
            Some(format!("{owner:x} {number:x}"))
        });
        assert_eq!(named.expect("whole").sensor, "20 45");
    }

    #[test]
    fn a_threshold_is_named_whichever_way_it_was_crossed() {
        let mut record = RECORD;
        (record[10], record[12]) = (0x01, 0x01);
        for (offset, event) in [
            (0x52, "at or below lower critical threshold"),
            (0x57, "at or above upper non-critical threshold"),
            (0x59, "at or above upper critical threshold"),
            (0x5b, "at or above upper non-recoverable threshold"),
        ] {
            record[13] = offset;
            let read = parse_record(&record, |_, _| None).expect("whole");
            assert_eq!(read.event, event, "{offset:#x}");
        }
    }

    #[test]
    fn times_that_are_none() {
        let mut record = RECORD;
        record[3..7].copy_from_slice(&[0x10, 0, 0, 0]);
        assert_eq!(
            parse_record(&record, |_, _| None).expect("whole").time,
            None
        );
        record[3..7].copy_from_slice(&[0xff; 4]);
        record[12] = 0xef;
        let record = parse_record(&record, |_, _| None).expect("whole");
        assert_eq!((record.time, record.asserted), (None, false));
        assert!(parse_record(&RECORD[..15], |_, _| None).is_none());
    }

    #[test]
    fn info() {
        let data = [0x51, 0x2a, 0x01, 0, 0x40, 0, 0, 0, 0, 0, 0, 0, 0, 0x82];
        assert_eq!(
            parse_sel_info(&data),
            Some(SelInfo {
                entries: 298,
                overflow: true
            })
        );
        assert_eq!(parse_sel_info(&data[..13]), None);
    }

    proptest! {
        #[test]
        fn nothing_panics(bytes in proptest::collection::vec(any::<u8>(), 0..20)) {
            let _ = parse_record(&bytes, |_, _| None);
            let _ = parse_sel_info(&bytes);
        }
    }
}
