//! What a released program must be, read from the file itself.

use anyhow::{Context as _, bail};
use object::Endianness;
use object::elf::{
    EM_AARCH64, EM_X86_64, ET_DYN, ET_EXEC, FileHeader64, PT_INTERP, PT_LOAD, SHT_SYMTAB,
};
use object::read::elf::{FileHeader as _, ProgramHeader as _, SectionHeader as _};

use super::build::Architecture;

/// Refuses a program that is not static, not stripped, for another machine, or whose segments do
/// not keep to that machine's largest pages.
pub fn check(bytes: &[u8], architecture: Architecture) -> anyhow::Result<()> {
    let header = FileHeader64::<Endianness>::parse(bytes).context("not a 64-bit ELF file")?;
    let endian = header.endian().context("its byte order")?;
    let machine = match architecture {
        Architecture::X86_64 => EM_X86_64,
        Architecture::Aarch64 => EM_AARCH64,
    };
    if header.e_machine(endian) != machine {
        bail!("not a program for {}", architecture.name());
    }
    if ![ET_EXEC, ET_DYN].contains(&header.e_type(endian)) {
        bail!("not a program");
    }
    let page = architecture.largest_page();
    let mut loaded = 0;
    for segment in header
        .program_headers(endian, bytes)
        .context("its segments")?
    {
        let kind = segment.p_type(endian);
        if kind == PT_INTERP {
            bail!("not static: it asks for a dynamic linker");
        }
        if kind != PT_LOAD {
            continue;
        }
        loaded += 1;
        let (align, at, offset) = (
            segment.p_align(endian),
            segment.p_vaddr(endian),
            segment.p_offset(endian),
        );
        if align < page || at % page != offset % page {
            bail!(
                "segment {loaded} to load is aligned to {align} bytes (address {at:#x}, offset \
                 {offset:#x}): {} may have pages of {page}",
                architecture.name()
            );
        }
    }
    if loaded == 0 {
        bail!("nothing of it is loaded");
    }
    let sections = header.sections(endian, bytes).context("its sections")?;
    if sections.iter().any(|one| one.sh_type(endian) == SHT_SYMTAB) {
        bail!("not stripped: it has a table of symbols");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header and two segments to load.
    fn program(machine: u16, align: u64, first: u32) -> Vec<u8> {
        let mut bytes = vec![0; 64 + 2 * 56];
        bytes[..8].copy_from_slice(b"\x7fELF\x02\x01\x01\x00");
        let mut put = |at: usize, value: &[u8]| {
            bytes[at..at + value.len()].copy_from_slice(value);
        };
        put(16, &ET_DYN.0.to_le_bytes());
        put(18, &machine.to_le_bytes());
        put(20, &1u32.to_le_bytes());
        put(32, &64u64.to_le_bytes());
        put(52, &64u16.to_le_bytes());
        put(54, &56u16.to_le_bytes());
        put(56, &2u16.to_le_bytes());
        for (at, kind) in [(64, first), (64 + 56, PT_LOAD.0)] {
            put(at, &kind.to_le_bytes());
            put(at + 48, &align.to_le_bytes());
        }
        bytes
    }

    fn refused(bytes: &[u8], architecture: Architecture) -> String {
        format!("{:#}", check(bytes, architecture).expect_err("refused"))
    }

    #[test]
    fn a_static_program_with_wide_segments_passes() {
        let good = program(EM_AARCH64.0, 64 << 10, PT_LOAD.0);
        check(&good, Architecture::Aarch64).expect("fine");
        let good = program(EM_X86_64.0, 4 << 10, PT_LOAD.0);
        check(&good, Architecture::X86_64).expect("fine");
    }

    #[test]
    fn what_a_server_could_not_run_is_refused() {
        let narrow = program(EM_AARCH64.0, 4 << 10, PT_LOAD.0);
        assert!(refused(&narrow, Architecture::Aarch64).contains("aligned to 4096"));
        let mut skewed = program(EM_AARCH64.0, 64 << 10, PT_LOAD.0);
        skewed[64 + 8..64 + 16].copy_from_slice(&0x1000u64.to_le_bytes());
        assert!(refused(&skewed, Architecture::Aarch64).contains("offset 0x1000"));
        let foreign = program(EM_X86_64.0, 64 << 10, PT_LOAD.0);
        assert!(refused(&foreign, Architecture::Aarch64).contains("aarch64"));
        let dynamic = program(EM_X86_64.0, 4 << 10, PT_INTERP.0);
        assert!(refused(&dynamic, Architecture::X86_64).contains("dynamic"));
        assert!(refused(b"#!/bin/sh\n", Architecture::X86_64).contains("ELF"));
        let cut = &narrow[..80];
        assert!(refused(cut, Architecture::Aarch64).contains("segments"));
    }
}
