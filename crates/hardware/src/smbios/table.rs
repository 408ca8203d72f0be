//! Entry point and structures of SMBIOS (DMTF DSP0134 3.7), as far as Cupel needs them.

use cupel_model::Reading;
use cupel_model::snapshot::Dimm;
use smbioslib::{UndefinedStruct, UndefinedStructTable};

use super::parts::{self, Processor};
use super::uuid::Uuid;

/// Bytes that are no SMBIOS.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SmbiosError {
    /// The entry point has no known anchor.
    #[error("no SMBIOS entry point (want _SM_ or _SM3_ and a version)")]
    EntryPoint,
    /// The table holds not one whole structure.
    #[error("no whole structure in {size} bytes")]
    NoStructure {
        /// Size of the table.
        size: usize,
    },
}

/// What the tables say.
#[derive(Clone, Debug, PartialEq)]
pub struct Smbios {
    /// Version of the specification, major and minor.
    pub version: (u8, u8),
    /// BIOS version.
    pub bios_version: Reading<String>,
    /// BIOS release date, as written.
    pub bios_date: Reading<String>,
    /// System manufacturer.
    pub manufacturer: Reading<String>,
    /// System product name.
    pub product: Reading<String>,
    /// System serial number.
    pub serial: Reading<String>,
    /// System UUID; whether it is valid is for [`super::valid_uuid`] to say.
    pub uuid: Reading<Uuid>,
    /// Baseboard serial number.
    pub board_serial: Reading<String>,
    /// Chassis serial number.
    pub chassis_serial: Reading<String>,
    /// Processor sockets, in the order of the table.
    pub processors: Vec<Processor>,
    /// Memory sockets of system memory, in the order of the table.
    pub dimms: Vec<Dimm>,
    /// Whether the table ends with an end-of-table structure; otherwise it may be cut short.
    pub complete: bool,
}

/// Structure types.
const BIOS: u8 = 0;
const SYSTEM: u8 = 1;
const BASEBOARD: u8 = 2;
const CHASSIS: u8 = 3;
const PROCESSOR: u8 = 4;
const MEMORY_DEVICE: u8 = 17;
const END_OF_TABLE: u8 = 127;

/// Parses entry point and table.
///
/// # Errors
/// [`SmbiosError`]. A table that is cut short gives what is whole, and is not `complete`.
pub fn parse(entry_point: &[u8], table: &[u8]) -> Result<Smbios, SmbiosError> {
    let version = version(entry_point).ok_or(SmbiosError::EntryPoint)?;
    let structures = UndefinedStructTable::from(table.to_vec());
    let all: Vec<&UndefinedStruct> = structures
        .iter()
        .take_while(|structure| structure.header.struct_type() != END_OF_TABLE)
        .collect();
    let complete = structures
        .iter()
        .any(|structure| structure.header.struct_type() == END_OF_TABLE);
    if all.is_empty() && !complete {
        return Err(SmbiosError::NoStructure { size: table.len() });
    }
    let first = |kind| all.iter().find(|s| s.header.struct_type() == kind).copied();
    let (bios, system) = (first(BIOS), first(SYSTEM));
    let (board, chassis) = (first(BASEBOARD), first(CHASSIS));
    let uuid = match system.and_then(|system| system.get_field_data(0x08, 0x18)) {
        Some(bytes) => <[u8; 16]>::try_from(bytes)
            .map(|bytes| Uuid::from_table(bytes, version >= (2, 6)))
            .map_or_else(
                |_| Reading::failed("SMBIOS type 1: UUID cut short"),
                Reading::Value,
            ),
        None => Reading::absent("SMBIOS type 1 has no UUID"),
    };
    let of_kind = |kind| all.iter().filter(move |s| s.header.struct_type() == kind);
    Ok(Smbios {
        version,
        bios_version: parts::optional_text(bios, 0x05, "BIOS version"),
        bios_date: parts::optional_text(bios, 0x08, "BIOS release date"),
        manufacturer: parts::optional_text(system, 0x04, "system manufacturer"),
        product: parts::optional_text(system, 0x05, "product name"),
        serial: parts::optional_text(system, 0x07, "system serial number"),
        uuid,
        board_serial: parts::optional_text(board, 0x07, "baseboard serial number"),
        chassis_serial: parts::optional_text(chassis, 0x07, "chassis serial number"),
        processors: of_kind(PROCESSOR)
            .filter_map(|s| parts::processor(s))
            .collect(),
        dimms: of_kind(MEMORY_DEVICE)
            .filter(|s| parts::is_system_memory(s, &all))
            .map(|s| parts::dimm(s))
            .collect(),
        complete,
    })
}

/// Major and minor version, from a 32-bit or 64-bit entry point.
fn version(entry_point: &[u8]) -> Option<(u8, u8)> {
    let at = if entry_point.starts_with(b"_SM3_") {
        7
    } else if entry_point.starts_with(b"_SM_") {
        6
    } else {
        return None;
    };
    Some((*entry_point.get(at)?, *entry_point.get(at + 1)?))
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A structure of `kind` with `fields` after the header, and its strings.
    pub(crate) fn structure(kind: u8, handle: u16, fields: &[u8], strings: &[&str]) -> Vec<u8> {
        let length = u8::try_from(fields.len() + 4).expect("short");
        let mut bytes = vec![kind, length];
        bytes.extend_from_slice(&handle.to_le_bytes());
        bytes.extend_from_slice(fields);
        for string in strings {
            bytes.extend_from_slice(string.as_bytes());
            bytes.push(0);
        }
        bytes.extend_from_slice(if strings.is_empty() { &[0, 0] } else { &[0] });
        bytes
    }

    const ENTRY: &[u8] = b"_SM3_\x00\x18\x03\x03\x00\x01\x00";

    fn sample() -> Vec<u8> {
        let mut system = vec![1, 2, 0, 3];
        system.extend((0..16).map(|i| i * 7 + 1));
        let mut table = structure(
            BIOS,
            0,
            &[1, 2, 0, 0, 3, 0],
            &["AMI", "2.8.2", "06/15/2024"],
        );
        table.extend(structure(
            SYSTEM,
            1,
            &system,
            &["Dell Inc.", "PowerEdge XE9680", "7N62AI2 "],
        ));
        table.extend(structure(
            BASEBOARD,
            2,
            &[1, 1, 1, 2],
            &["Dell", "To Be Filled By O.E.M."],
        ));
        table.extend(structure(CHASSIS, 3, &[1, 23, 0, 0], &["Dell"]));
        table.extend(structure(END_OF_TABLE, 9, &[], &[]));
        table
    }

    #[test]
    fn who_the_machine_is() {
        let smbios = parse(ENTRY, &sample()).expect("tables");
        assert_eq!(smbios.version, (3, 3));
        assert_eq!(smbios.bios_version, Reading::Value("2.8.2".to_owned()));
        assert_eq!(
            smbios.product,
            Reading::Value("PowerEdge XE9680".to_owned())
        );
        assert_eq!(smbios.serial, Reading::Value("7N62AI2".to_owned()));
        assert_eq!(
            smbios.uuid.value().map(ToString::to_string).as_deref(),
            Some("160f0801-241d-322b-3940-474e555c636a")
        );
        assert!(
            matches!(smbios.board_serial, Reading::Absent(_)),
            "a placeholder"
        );
        assert!(matches!(smbios.chassis_serial, Reading::Absent(_)));
        assert!(smbios.complete);
    }

    #[test]
    fn what_is_cut_short_gives_what_is_whole() {
        let table = sample();
        let smbios = parse(ENTRY, &table[..table.len() - 20]).expect("tables");
        assert!(!smbios.complete);
        assert_eq!(
            smbios.product,
            Reading::Value("PowerEdge XE9680".to_owned())
        );
    }

    #[test]
    fn what_is_no_smbios_is_refused() {
        assert_eq!(parse(b"_DMI_", &sample()), Err(SmbiosError::EntryPoint));
        assert_eq!(parse(b"_SM3_", &sample()), Err(SmbiosError::EntryPoint));
        assert_eq!(
            parse(ENTRY, &[0xff; 64]),
            Err(SmbiosError::NoStructure { size: 64 })
        );
        assert_eq!(parse(ENTRY, &[]), Err(SmbiosError::NoStructure { size: 0 }));
    }

    proptest! {
        #[test]
        fn nothing_panics(table in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = parse(ENTRY, &table);
        }

        #[test]
        fn nor_does_a_damaged_table(
            damage in proptest::collection::vec((0_usize..200, any::<u8>()), 0..8),
        ) {
            let mut table = sample();
            for (at, value) in damage {
                if let Some(byte) = table.get_mut(at) { *byte = value; }
            }
            let _ = parse(ENTRY, &table);
        }
    }
}
