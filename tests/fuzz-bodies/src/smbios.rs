//! SMBIOS: whatever the tables, nothing panics, no text is invented and no size overflows.

use cupel_hardware::smbios::{dimm_names, is_placeholder, parse, valid_uuid};

/// A length, an entry point of that many bytes, and the table.
pub fn smbios(data: &[u8]) {
    let (first, rest) = data.split_first().unwrap_or((&0, &[]));
    let (entry_point, table) = rest.split_at(usize::from(*first).min(rest.len()));
    let Ok(mut tables) = parse(entry_point, table) else {
        return;
    };
    dimm_names(&mut tables.dimms);
    // A structure has four bytes and two zeros at least.
    let structures = table.len() / 6;
    assert!(tables.dimms.len() + tables.processors.len() <= structures);
    let texts = [
        &tables.bios_version,
        &tables.manufacturer,
        &tables.product,
        &tables.serial,
        &tables.board_serial,
        &tables.chassis_serial,
    ];
    for text in texts.into_iter().filter_map(|text| text.value()) {
        assert!(!text.is_empty() && !is_placeholder(text), "{text:?}");
        assert_eq!(text.trim(), text);
    }
    if let Some(uuid) = tables.uuid.value().map(ToString::to_string)
        && let Some(valid) = valid_uuid(&uuid)
    {
        assert_eq!(valid, uuid);
    }
}
