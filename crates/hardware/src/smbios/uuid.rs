//! The system UUID, and whether it tells machines apart.

/// Sixteen bytes in the order in which they are written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uuid([u8; 16]);

/// UUIDs that boards ship with when nobody set one.
const PLACEHOLDERS: [&str; 4] = [
    // American Megatrends' default.
    "03000200-0400-0500-0006-000700080009",
    // The same bytes, read without swapping.
    "00020003-0004-0005-0006-000700080009",
    // Counting up.
    "00010203-0405-0607-0809-0a0b0c0d0e0f",
    "12345678-1234-5678-90ab-cddeefaabbcc",
];

impl Uuid {
    /// From the sixteen bytes of the table. Since SMBIOS 2.6 the first three fields are
    /// little-endian; before, they were not.
    pub fn from_table(bytes: [u8; 16], little_endian: bool) -> Self {
        let mut ordered = bytes;
        if little_endian {
            ordered[0..4].reverse();
            ordered[4..6].reverse();
            ordered[6..8].reverse();
        }
        Self(ordered)
    }
}

impl std::fmt::Display for Uuid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            if matches!(index, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

/// The UUID in lower case if `text` is one that tells machines apart: not all zeros, not all ones,
/// no known placeholder.
pub fn valid(text: &str) -> Option<String> {
    let text = text.trim().to_ascii_lowercase();
    let lengths: Vec<usize> = text.split('-').map(str::len).collect();
    let digits: Vec<u8> = text.bytes().filter(|b| *b != b'-').collect();
    let known = lengths == [8, 4, 4, 4, 12]
        && digits.iter().all(u8::is_ascii_hexdigit)
        && digits.iter().any(|digit| *digit != digits[0])
        && !PLACEHOLDERS.contains(&text.as_str());
    known.then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn byte_order_changed_with_2_6() {
        let bytes: [u8; 16] = std::array::from_fn(|i| u8::try_from(i * 16).expect("small"));
        assert_eq!(
            Uuid::from_table(bytes, true).to_string(),
            "30201000-5040-7060-8090-a0b0c0d0e0f0"
        );
        assert_eq!(
            Uuid::from_table(bytes, false).to_string(),
            "00102030-4050-6070-8090-a0b0c0d0e0f0"
        );
    }

    #[test]
    fn what_cannot_tell_machines_apart_is_refused() {
        for text in [
            "00000000-0000-0000-0000-000000000000",
            "ffffffff-ffff-ffff-ffff-ffffffffffff",
            "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF",
            "03000200-0400-0500-0006-000700080009",
            "Not Settable",
            "",
            "83340ca8cb4944748c29d2088ca84dd9",
        ] {
            assert_eq!(valid(text), None, "{text}");
        }
        assert_eq!(
            valid("83340CA8-cb49-4474-8c29-d2088ca84dd9\n").as_deref(),
            Some("83340ca8-cb49-4474-8c29-d2088ca84dd9")
        );
    }
}
