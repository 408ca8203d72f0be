//! SMBIOS 3.5 tables as firmware lays them out: entry point and structures 0, 1, 2, 3, 4, 16, 17
//! and 127.

use super::Tree;
use crate::machine::{Dimm, Machine};

/// One structure: its formatted part without the header, and its strings.
struct Structure {
    kind: u8,
    handle: u16,
    body: Vec<u8>,
    strings: Vec<String>,
}

impl Structure {
    fn new(kind: u8, handle: u16) -> Self {
        Self {
            kind,
            handle,
            body: Vec::new(),
            strings: Vec::new(),
        }
    }

    fn byte(mut self, value: u8) -> Self {
        self.body.push(value);
        self
    }

    fn word(mut self, value: u16) -> Self {
        self.body.extend(value.to_le_bytes());
        self
    }

    fn double(mut self, value: u32) -> Self {
        self.body.extend(value.to_le_bytes());
        self
    }

    fn quad(mut self, value: u64) -> Self {
        self.body.extend(value.to_le_bytes());
        self
    }

    fn bytes(mut self, value: &[u8]) -> Self {
        self.body.extend(value);
        self
    }

    /// A string's number; 0 for an empty one.
    fn string(mut self, text: &str) -> Self {
        if text.is_empty() {
            return self.byte(0);
        }
        self.strings.push(text.to_owned());
        let number = u8::try_from(self.strings.len()).unwrap_or(0);
        self.byte(number)
    }

    fn write(self, table: &mut Vec<u8>) {
        table.push(self.kind);
        table.push(u8::try_from(self.body.len() + 4).unwrap_or(u8::MAX));
        table.extend(self.handle.to_le_bytes());
        table.extend(self.body);
        if self.strings.is_empty() {
            table.push(0);
        }
        for text in self.strings {
            table.extend(text.bytes());
            table.push(0);
        }
        table.push(0);
    }
}

pub(super) fn render(tree: &mut Tree, machine: &Machine) {
    let table = table(machine);
    let length = u32::try_from(table.len()).unwrap_or(u32::MAX);
    tree.bytes(
        "sys/firmware/dmi/tables/smbios_entry_point",
        entry_point(length),
    );
    tree.bytes("sys/firmware/dmi/tables/DMI", table);
    let system = &machine.system;
    for (name, value) in [
        ("sys_vendor", system.manufacturer),
        ("product_name", system.product),
        ("product_serial", &system.serial),
        ("product_sku", system.sku),
        ("board_name", system.board),
        ("board_serial", &system.board_serial),
        ("chassis_serial", &system.chassis_serial),
        ("bios_vendor", system.bios_vendor),
        ("bios_version", system.bios_version),
        ("bios_date", system.bios_date),
    ] {
        tree.text(format!("sys/devices/virtual/dmi/id/{name}"), value);
    }
    tree.link("sys/class/dmi/id", "sys/devices/virtual/dmi/id");
}

/// The 64-bit entry point.
fn entry_point(length: u32) -> Vec<u8> {
    let mut bytes = b"_SM3_\0\x18\x03\x05\x00\x01\x00".to_vec();
    bytes.extend(length.to_le_bytes());
    bytes.extend(0x6fff_0000_u64.to_le_bytes());
    let sum = bytes.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
    bytes[5] = sum.wrapping_neg();
    bytes
}

fn table(machine: &Machine) -> Vec<u8> {
    let system = &machine.system;
    let mut table = Vec::new();
    Structure::new(0, 0x0000)
        .string(system.bios_vendor)
        .string(system.bios_version)
        .word(0xf000)
        .string(system.bios_date)
        .byte(0xff)
        .quad(0x0b9a_9880)
        .word(0x0d03)
        .byte(0xff)
        .byte(0xff)
        .byte(0xff)
        .byte(0xff)
        .word(32)
        .write(&mut table);
    Structure::new(1, 0x0001)
        .string(system.manufacturer)
        .string(system.product)
        .string("")
        .string(&system.serial)
        .bytes(&mixed_endian(system.uuid))
        .byte(6)
        .string(system.sku)
        .string("DGX")
        .write(&mut table);
    Structure::new(2, 0x0002)
        .string(system.manufacturer)
        .string(system.board)
        .string("A00")
        .string(&system.board_serial)
        .string("")
        .byte(9)
        .string("")
        .word(3)
        .byte(0x0a)
        .byte(0)
        .write(&mut table);
    Structure::new(3, 0x0003)
        .string(system.manufacturer)
        .byte(0x17)
        .string("")
        .string(&system.chassis_serial)
        .string("")
        .bytes(&[3, 3, 3, 2])
        .double(0)
        .byte(8)
        .byte(6)
        .byte(0)
        .byte(0)
        .string(system.sku)
        .write(&mut table);
    for socket in 0..machine.cpu.sockets {
        processor(machine, socket).write(&mut table);
    }
    let sockets = u16::try_from(machine.dimms.len()).unwrap_or(u16::MAX);
    Structure::new(16, 0x1000)
        .byte(3)
        .byte(3)
        .byte(6)
        .double(0x8000_0000)
        .word(0xfffe)
        .word(sockets)
        .quad(8 << 40)
        .write(&mut table);
    for (number, dimm) in (0_u16..).zip(&machine.dimms) {
        memory_device(0x1100 + number, dimm).write(&mut table);
    }
    Structure::new(127, 0xfeff).write(&mut table);
    table
}

fn processor(machine: &Machine, socket: u32) -> Structure {
    let cpu = &machine.cpu;
    let cores = u16::try_from(cpu.cores).unwrap_or(u16::MAX);
    let number = u16::try_from(socket).unwrap_or(0);
    let byte = |count: u16| u8::try_from(count).unwrap_or(0xff);
    Structure::new(4, 0x0400 + number)
        .string(&format!("CPU{socket}"))
        .byte(3)
        .byte(0xb3)
        .string("Intel(R) Corporation")
        .quad(0xbfeb_fbff_000c_06f8)
        .string(cpu.model_name)
        .byte(0x90)
        .word(100)
        .word(4000)
        .word(2000)
        .byte(0x41)
        .byte(0x3f)
        .word(0xffff)
        .word(0xffff)
        .word(0xffff)
        .string("")
        .string("")
        .string("")
        .byte(byte(cores))
        .byte(byte(cores))
        .byte(byte(cores * 2))
        .word(0x00fc)
        .word(0xb3)
        .word(cores)
        .word(cores)
        .word(cores * 2)
}

fn memory_device(handle: u16, dimm: &Dimm) -> Structure {
    let populated = dimm.mib > 0;
    let only = |text: &str, empty: &str| if populated { text } else { empty }.to_owned();
    let speed = if populated { dimm.speed } else { 0 };
    let size = match dimm.mib {
        0 => 0,
        mib => u16::try_from(mib)
            .ok()
            .filter(|s| *s < 0x7fff)
            .unwrap_or(0x7fff),
    };
    Structure::new(17, handle)
        .word(0x1000)
        .word(0xfffe)
        .word(if populated { 80 } else { 0xffff })
        .word(if populated { 64 } else { 0xffff })
        .word(size)
        .byte(9)
        .byte(0)
        .string(&dimm.locator)
        .string(&dimm.bank)
        .byte(if populated { 0x22 } else { 0x02 })
        .word(if populated { 0x2080 } else { 0x0004 })
        .word(speed)
        .string(&only(dimm.manufacturer, "NO DIMM"))
        .string(&only(&dimm.serial, "NO DIMM"))
        .string("")
        .string(&only(dimm.part, "NO DIMM"))
        .byte(2)
        .double(if size == 0x7fff { dimm.mib } else { 0 })
        .word(speed)
        .word(1100)
        .word(1100)
        .word(1100)
        .byte(3)
        .word(0x0008)
        .string("")
        .word(0x2c80)
        .word(0)
        .word(0)
        .word(0)
        .quad(0)
        .quad(u64::from(dimm.mib) << 20)
        .quad(0)
        .quad(0)
        .double(0)
        .double(0)
}

/// The first three fields of a UUID are little-endian in SMBIOS.
fn mixed_endian(uuid: [u8; 16]) -> [u8; 16] {
    let mut mixed = uuid;
    mixed[0..4].reverse();
    mixed[4..6].reverse();
    mixed[6..8].reverse();
    mixed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_have_the_lengths_of_the_specification() {
        let machine = Machine::healthy("dgx-h100", 7).expect("platform");
        let table = table(&machine);
        let mut at = 0;
        let mut seen = Vec::new();
        while at < table.len() {
            let (kind, length) = (table[at], usize::from(table[at + 1]));
            seen.push((kind, length));
            let strings = at + length;
            let end = table[strings..].windows(2).position(|w| w == [0, 0]);
            at = strings + end.expect("a structure ends with two zeros") + 2;
        }
        seen.dedup();
        let want = [
            (0, 26),
            (1, 27),
            (2, 15),
            (3, 22),
            (4, 48),
            (16, 23),
            (17, 92),
            (127, 4),
        ];
        assert_eq!(seen, want);
        let sum = entry_point(7)
            .iter()
            .fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
        assert_eq!(sum, 0);
    }
}
