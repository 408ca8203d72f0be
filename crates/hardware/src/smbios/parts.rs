//! Processors and memory modules as SMBIOS has them.

use cupel_model::Reading;
use cupel_model::snapshot::Dimm;
use cupel_model::units::{Bytes, MegatransfersPerSecond};
use smbioslib::UndefinedStruct;

/// One processor socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Processor {
    /// Socket designation.
    pub socket: Reading<String>,
    /// Version: the model's name.
    pub version: Reading<String>,
    /// Cores.
    pub cores: Reading<u32>,
    /// Threads.
    pub threads: Reading<u32>,
    /// Whether a processor sits in it.
    pub populated: bool,
}

/// Texts that firmware holds where nobody wrote anything. Compared without case.
const PLACEHOLDERS: [&str; 17] = [
    "0123456789",
    "123456789",
    "chassis serial number",
    "default string",
    "empty",
    "n/a",
    "na",
    "no dimm",
    "no module installed",
    "none",
    "not available",
    "not provided",
    "not specified",
    "system serial number",
    "to be filled by o.e.m.",
    "undefined",
    "unknown",
];

const PROCESSOR_IS_CPU: u8 = 3;
const ARRAY: u8 = 16;
const USE_IS_SYSTEM_MEMORY: u8 = 3;

/// The string that the byte at `offset` numbers; `what` names it.
pub(super) fn text(structure: &UndefinedStruct, offset: usize, what: &str) -> Reading<String> {
    let kind = structure.header.struct_type();
    let text = structure
        .get_field_string(offset)
        .to_utf8_lossy()
        .unwrap_or_default();
    let text: String = text.chars().filter(|c| !c.is_control()).collect();
    let text = text.trim();
    if text.is_empty() {
        return Reading::absent(format!("SMBIOS type {kind} has no {what}"));
    }
    if is_placeholder(text) {
        return Reading::absent(format!(
            "SMBIOS type {kind} has only a placeholder for it: {text:?}"
        ));
    }
    Reading::Value(text.to_owned())
}

/// Whether a text is only what firmware holds where nobody wrote anything.
pub fn is_placeholder(text: &str) -> bool {
    PLACEHOLDERS
        .iter()
        .any(|known| text.eq_ignore_ascii_case(known))
        || text.chars().all(|c| matches!(c, '0' | '.' | '-' | ' '))
        || text.chars().all(|c| matches!(c, 'x' | 'X'))
}

/// [`text`] of a structure that may not be there.
pub(super) fn optional_text(
    structure: Option<&UndefinedStruct>,
    offset: usize,
    what: &str,
) -> Reading<String> {
    structure.map_or_else(
        || Reading::absent(format!("SMBIOS has no structure with the {what}")),
        |structure| text(structure, offset, what),
    )
}

/// A processor socket; `None` for what is no central processor.
pub(super) fn processor(structure: &UndefinedStruct) -> Option<Processor> {
    if structure.get_field_byte(0x05)? != PROCESSOR_IS_CPU {
        return None;
    }
    let count = |byte_at: usize, word_at: usize, what: &str| {
        match (
            structure.get_field_byte(byte_at),
            structure.get_field_word(word_at),
        ) {
            (None | Some(0), _) => {
                Reading::absent(format!("SMBIOS type 4 does not say how many {what}"))
            }
            // 255 means "more than that: see the word".
            (Some(0xff), Some(count)) if count != 0 && count != 0xffff => {
                Reading::Value(u32::from(count))
            }
            (Some(count), _) => Reading::Value(u32::from(count)),
        }
    };
    Some(Processor {
        socket: text(structure, 0x04, "socket designation"),
        version: text(structure, 0x10, "processor version"),
        cores: count(0x23, 0x2a, "cores"),
        threads: count(0x25, 0x2e, "threads"),
        populated: structure
            .get_field_byte(0x18)
            .is_some_and(|status| status & 0x40 != 0),
    })
}

/// Whether a memory device belongs to an array of system memory, or to none that is known.
pub(super) fn is_system_memory(device: &UndefinedStruct, all: &[&UndefinedStruct]) -> bool {
    let Some(handle) = device.get_field_handle(0x04) else {
        return true;
    };
    all.iter()
        .find(|s| s.header.struct_type() == ARRAY && s.header.handle() == handle)
        .and_then(|array| array.get_field_byte(0x05))
        .is_none_or(|purpose| purpose == USE_IS_SYSTEM_MEMORY)
}

/// A memory socket. In an empty one everything but its place is absent.
pub(super) fn dimm(structure: &UndefinedStruct) -> Dimm {
    let size = size(structure);
    let name = match text(structure, 0x10, "device locator") {
        Reading::Value(name) => name,
        Reading::Absent(_) | Reading::Unsupported(_) | Reading::Failed(_) => {
            format!("handle {:#06x}", *structure.header.handle())
        }
    };
    let bank = text(structure, 0x11, "bank locator");
    if let Reading::Absent(why) = &size {
        let empty = || Reading::absent(why.clone());
        return Dimm {
            name,
            bank,
            kind: empty(),
            speed_mts: Reading::absent(why.clone()),
            manufacturer: empty(),
            part_number: empty(),
            serial: empty(),
            size_bytes: size,
        };
    }
    Dimm {
        name,
        bank,
        size_bytes: size,
        kind: kind(structure),
        speed_mts: speed(structure),
        manufacturer: text(structure, 0x17, "manufacturer"),
        part_number: text(structure, 0x1a, "part number"),
        serial: text(structure, 0x18, "serial number"),
    }
}

fn size(structure: &UndefinedStruct) -> Reading<Bytes> {
    const KIB: u64 = 1 << 10;
    const MIB: u64 = 1 << 20;
    match structure.get_field_word(0x0c) {
        None => Reading::failed("SMBIOS type 17: size cut short"),
        Some(0) => Reading::absent("empty socket"),
        Some(0xffff) => Reading::failed("SMBIOS type 17: the firmware does not know the size"),
        Some(0x7fff) => match structure.get_field_dword(0x1c) {
            Some(mebibytes) => Reading::Value(Bytes(u64::from(mebibytes & 0x7fff_ffff) * MIB)),
            None => Reading::failed("SMBIOS type 17: extended size cut short"),
        },
        Some(size) if size & 0x8000 != 0 => Reading::Value(Bytes(u64::from(size & 0x7fff) * KIB)),
        Some(size) => Reading::Value(Bytes(u64::from(size) * MIB)),
    }
}

/// Configured speed, where it is given, else the module's own.
fn speed(structure: &UndefinedStruct) -> Reading<MegatransfersPerSecond> {
    let at = |word_at: usize, dword_at: usize| match structure.get_field_word(word_at) {
        None | Some(0) => None,
        Some(0xffff) => structure
            .get_field_dword(dword_at)
            .map(|speed| speed & 0x7fff_ffff),
        Some(speed) => Some(u32::from(speed)),
    };
    at(0x20, 0x58)
        .or_else(|| at(0x15, 0x54))
        .filter(|speed| *speed != 0)
        .map_or_else(
            || Reading::absent("SMBIOS type 17 does not say the speed"),
            |speed| Reading::Value(MegatransfersPerSecond(speed)),
        )
}

fn kind(structure: &UndefinedStruct) -> Reading<String> {
    let name = match structure.get_field_byte(0x12) {
        None | Some(0..=2) => {
            return Reading::absent("SMBIOS type 17 does not say the kind");
        }
        Some(0x0f) => "SDRAM",
        Some(0x12) => "DDR",
        Some(0x13) => "DDR2",
        Some(0x14) => "DDR2 FB-DIMM",
        Some(0x18) => "DDR3",
        Some(0x1a) => "DDR4",
        Some(0x1b) => "LPDDR",
        Some(0x1c) => "LPDDR2",
        Some(0x1d) => "LPDDR3",
        Some(0x1e) => "LPDDR4",
        Some(0x1f) => "logical non-volatile",
        Some(0x20) => "HBM",
        Some(0x21) => "HBM2",
        Some(0x22) => "DDR5",
        Some(0x23) => "LPDDR5",
        Some(0x24) => "HBM3",
        Some(0x07) => "RAM",
        Some(other) => return Reading::Value(format!("SMBIOS kind {other:#04x}")),
    };
    Reading::Value(name.to_owned())
}

/// Makes the names unique: where a locator repeats, its bank goes before it.
pub fn dimm_names(dimms: &mut [Dimm]) {
    let names: Vec<String> = dimms.iter().map(|dimm| dimm.name.clone()).collect();
    for (index, dimm) in dimms.iter_mut().enumerate() {
        let repeats = names.iter().filter(|name| **name == dimm.name).count() > 1;
        if repeats {
            dimm.name = match dimm.bank.value() {
                Some(bank) => format!("{bank}/{}", dimm.name),
                None => format!("{} #{index}", dimm.name),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::table::{parse, tests::structure};
    use super::*;

    const ENTRY: &[u8] = b"_SM3_\x00\x18\x03\x03\x00\x01\x00";

    fn memory_device(size: u16, extended: u32, array: u16, strings: &[&str]) -> Vec<u8> {
        let mut fields = vec![0_u8; 0x5c - 4];
        let mut put = |offset: usize, bytes: &[u8]| {
            fields[offset - 4..offset - 4 + bytes.len()].copy_from_slice(bytes);
        };
        put(0x04, &array.to_le_bytes());
        put(0x0c, &size.to_le_bytes());
        put(0x10, &[1, 2, 0x22]);
        put(0x15, &5600_u16.to_le_bytes());
        put(0x17, &[3, 4, 0, 5]);
        put(0x1c, &extended.to_le_bytes());
        put(0x20, &4800_u16.to_le_bytes());
        structure(17, 0x1100, &fields, strings)
    }

    #[test]
    fn memory_modules() {
        let mut table = structure(16, 0x1000, &[3, USE_IS_SYSTEM_MEMORY, 6], &[]);
        table.extend(structure(16, 0x1001, &[3, 4, 3], &[]));
        let texts = ["A1", "P0", "Hynix", "4A2B11F0", "HMCG94AGBRA181N "];
        table.extend(memory_device(0x7fff, 65536, 0x1000, &texts));
        table.extend(memory_device(
            0,
            0,
            0x1000,
            &["A2", "P0", "NO DIMM", "NO DIMM", "NO DIMM"],
        ));
        table.extend(memory_device(16, 0, 0x1001, &["flash", "x", "y", "z", "w"]));
        table.extend(structure(127, 2, &[], &[]));
        let dimms = parse(ENTRY, &table).expect("tables").dimms;
        assert_eq!(dimms.len(), 2, "flash is no system memory");
        let dimm = &dimms[0];
        assert_eq!(dimm.name, "A1");
        assert_eq!(dimm.size_bytes, Reading::Value(Bytes(64 << 30)));
        assert_eq!(dimm.kind, Reading::Value("DDR5".to_owned()));
        assert_eq!(dimm.speed_mts, Reading::Value(MegatransfersPerSecond(4800)));
        assert_eq!(dimm.serial, Reading::Value("4A2B11F0".to_owned()));
        assert_eq!(
            dimm.part_number,
            Reading::Value("HMCG94AGBRA181N".to_owned())
        );
        assert!(matches!(dimms[1].size_bytes, Reading::Absent(_)));
        assert!(matches!(dimms[1].serial, Reading::Absent(_)));
    }

    #[test]
    fn repeated_locators_get_their_bank() {
        let mut table = Vec::new();
        for bank in ["P0 CHANNEL A", "P0 CHANNEL B"] {
            table.extend(memory_device(
                16384,
                0,
                0xfffe,
                &["DIMM 0", bank, "Micron", "1", "2"],
            ));
        }
        let mut dimms = parse(ENTRY, &table).expect("tables").dimms;
        dimm_names(&mut dimms);
        let names: Vec<_> = dimms.iter().map(|dimm| dimm.name.as_str()).collect();
        assert_eq!(names, ["P0 CHANNEL A/DIMM 0", "P0 CHANNEL B/DIMM 0"]);
    }

    #[test]
    fn processors() {
        let mut fields = vec![0_u8; 0x30 - 4];
        fields[0x04 - 4] = 1;
        fields[0x05 - 4] = PROCESSOR_IS_CPU;
        fields[0x10 - 4] = 2;
        fields[0x18 - 4] = 0x41;
        fields[0x23 - 4] = 56;
        fields[0x25 - 4] = 112;
        let mut table = structure(4, 4, &fields, &["CPU0", "Intel(R) Xeon(R) Platinum 8480C"]);
        fields[0x18 - 4] = 0;
        fields[0x23 - 4] = 0xff;
        fields[0x2a - 4] = 0x40;
        fields[0x2a - 3] = 0x01;
        table.extend(structure(4, 5, &fields, &["CPU1", "Not Specified"]));
        let processors = parse(ENTRY, &table).expect("tables").processors;
        assert_eq!(processors.len(), 2);
        assert_eq!(processors[0].cores, Reading::Value(56));
        assert_eq!(processors[0].threads, Reading::Value(112));
        assert!(processors[0].populated);
        assert!(!processors[1].populated);
        assert_eq!(processors[1].cores, Reading::Value(320));
        assert!(matches!(processors[1].version, Reading::Absent(_)));
    }
}
