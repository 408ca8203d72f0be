//! What an image says of itself.

/// ABI version of a GPU's ELF file (`e_ident[EI_ABIVERSION]`); none of what is no ELF file.
pub fn abi_version(image: &[u8]) -> Option<u8> {
    image
        .starts_with(b"\x7fELF")
        .then(|| image.get(8).copied())?
}

/// `.version` of PTX.
pub fn ptx_version(image: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(image).ok()?;
    text.lines()
        .find_map(|line| line.strip_prefix(".version "))
        .map(|version| version.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_say_what_they_are() {
        assert_eq!(abi_version(b"\x7fELF\x02\x01\x01\x33\x07rest"), Some(7));
        assert_eq!(abi_version(b"//\n.version 8.0"), None);
        assert_eq!(ptx_version(b"//\n.version 8.0\n"), Some("8.0".to_owned()));
        assert_eq!(ptx_version(b"\x7fELF\xff"), None);
    }
}
