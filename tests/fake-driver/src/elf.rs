//! Taking a symbol out of a copy of the library.

/// An ELF file that is not one, or a symbol that is not in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PatchError {
    /// Not a 64-bit little-endian ELF file with sections.
    NotElf,
    /// No dynamic string table holds the name.
    NoSymbol(String),
}

impl std::fmt::Display for PatchError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotElf => f.write_str("not a 64-bit little-endian ELF file"),
            Self::NoSymbol(name) => write!(f, "no dynamic symbol {name}"),
        }
    }
}

impl std::error::Error for PatchError {}

/// Section type of string tables, and the flag of sections that are loaded: together they mean
/// `.dynstr`.
const SHT_STRTAB: u64 = 3;
const SHF_ALLOC: u64 = 2;

/// Renames `name` in the dynamic string table, so that the loader finds no such symbol. Code and
/// everything else stay as they are.
///
/// # Errors
/// The bytes are no such ELF file, or have no such symbol.
pub fn patch_out_symbol(library: &mut [u8], name: &str) -> Result<(), PatchError> {
    let (start, end) = dynamic_strings(library).ok_or(PatchError::NotElf)?;
    let wanted: Vec<u8> = [b"\0", name.as_bytes(), b"\0"].concat();
    let table = &mut library[start..end];
    let at = table
        .windows(wanted.len())
        .position(|window| window == wanted)
        .ok_or_else(|| PatchError::NoSymbol(name.to_owned()))?;
    table[at + 1] = b'_';
    Ok(())
}

fn number(bytes: &[u8], at: usize, width: usize) -> Option<u64> {
    let mut word = [0; 8];
    word[..width].copy_from_slice(bytes.get(at..at.checked_add(width)?)?);
    Some(u64::from_le_bytes(word))
}

fn dynamic_strings(bytes: &[u8]) -> Option<(usize, usize)> {
    if bytes.get(..6)? != b"\x7fELF\x02\x01" {
        return None;
    }
    let index = |value: u64| usize::try_from(value).ok();
    let headers = index(number(bytes, 0x28, 8)?)?;
    let size = index(number(bytes, 0x3a, 2)?)?;
    let count = index(number(bytes, 0x3c, 2)?)?;
    for section in 0..count {
        let header = headers.checked_add(section.checked_mul(size)?)?;
        let kind = number(bytes, header + 4, 4)?;
        let flags = number(bytes, header + 8, 8)?;
        if kind == SHT_STRTAB && flags & SHF_ALLOC != 0 {
            let start = index(number(bytes, header + 0x18, 8)?)?;
            let end = start.checked_add(index(number(bytes, header + 0x20, 8)?)?)?;
            return (end <= bytes.len()).then_some((start, end));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_library_is_refused() {
        assert_eq!(
            patch_out_symbol(&mut [0; 100], "nvmlInit_v2"),
            Err(PatchError::NotElf)
        );
        assert_eq!(
            patch_out_symbol(&mut b"\x7fELF\x02\x01".to_vec(), "nvmlInit_v2"),
            Err(PatchError::NotElf)
        );
    }
}
