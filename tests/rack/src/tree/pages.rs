//! Binary pages that NVMe drives answer with: Identify Controller, SMART / health, firmware slots.
//! Offsets are those of the NVMe base specification 2.0.

use crate::machine::Nvme;

/// Identify Controller, 4096 bytes.
pub(super) fn identify(drive: &Nvme, vendor: u16) -> Vec<u8> {
    let mut page = vec![0; 4096];
    page[0..2].copy_from_slice(&vendor.to_le_bytes());
    page[2..4].copy_from_slice(&vendor.to_le_bytes());
    padded(&mut page[4..24], &drive.serial);
    padded(&mut page[24..64], drive.model);
    padded(&mut page[64..72], drive.firmware);
    page[78..80].copy_from_slice(&1_u16.to_le_bytes());
    page[80..84].copy_from_slice(&0x0001_0400_u32.to_le_bytes());
    // Warning and critical composite temperature, kelvin.
    page[266..268].copy_from_slice(&350_u16.to_le_bytes());
    page[268..270].copy_from_slice(&358_u16.to_le_bytes());
    page[280..296].copy_from_slice(&u128::from(drive.bytes).to_le_bytes());
    page[516..520].copy_from_slice(&32_u32.to_le_bytes());
    page
}

/// Log page 02h, 512 bytes.
pub(super) fn smart(drive: &Nvme) -> Vec<u8> {
    let mut page = vec![0; 512];
    page[0] = drive.critical_warning;
    page[1..3].copy_from_slice(&311_u16.to_le_bytes());
    page[3] = drive.spare;
    page[4] = 10;
    page[5] = drive.percentage_used;
    let mut put = |at: usize, value: u64| {
        page[at..at + 16].copy_from_slice(&u128::from(value).to_le_bytes());
    };
    put(32, 41_233_812);
    put(48, 60_112_903);
    put(112, 44);
    put(128, 7_310);
    put(144, 3);
    put(160, drive.media_errors);
    put(176, drive.media_errors);
    page
}

/// Log page 03h, 512 bytes: one slot, active.
pub(super) fn firmware_slots(drive: &Nvme) -> Vec<u8> {
    let mut page = vec![0; 512];
    page[0] = 1;
    padded(&mut page[8..16], drive.firmware);
    page
}

/// ASCII, filled up with blanks.
fn padded(field: &mut [u8], text: &str) {
    field.fill(b' ');
    for (byte, value) in field.iter_mut().zip(text.bytes()) {
        *byte = value;
    }
}
