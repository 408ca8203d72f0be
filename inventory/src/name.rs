//! What names must look like before they reach the store.

/// Longest free text of an operator: account, rack, token name, …
pub const LONGEST_WORD: usize = 128;

/// The pattern of node and boot ids, for schemas.
pub const ID_PATTERN: &str = "^[0-9a-z][0-9a-z-]{7,63}$";

/// Whether this can be a node's or a boot's id: 8 to 64 lower-case letters, digits and hyphens, as
/// SMBIOS UUIDs, machine-ids and the kernel's boot ids are.
pub fn is_id(text: &str) -> bool {
    (8..=64).contains(&text.len())
        && !text.starts_with('-')
        && text
            .bytes()
            .all(|b| b.is_ascii_digit() || b.is_ascii_lowercase() || b == b'-')
}

/// Whether an operator may write this as a name: 1 to [`LONGEST_WORD`] characters, none of them a
/// control character.
pub fn is_word(text: &str) -> bool {
    let length = text.chars().count();
    (1..=LONGEST_WORD).contains(&length) && !text.chars().any(char::is_control)
}

/// Texts that makers leave in the place of a serial number. They name no part.
const PLACEHOLDERS: &[&str] = &[
    "default string",
    "empty",
    "n/a",
    "na",
    "no dimm",
    "none",
    "not applicable",
    "not available",
    "not specified",
    "not provided",
    "null",
    "o.e.m.",
    "oem",
    "system serial number",
    "base board serial number",
    "chassis serial number",
    "serial number",
    "to be filled by o.e.m.",
    "unknown",
    "unspecified",
    "xxxxxxxx",
    "0123456789",
    "1234567890",
    "123456789",
    "12345678",
];

/// The serial number without the blanks around it; `None` when it names no single part.
pub fn serial(text: &str) -> Option<&str> {
    let text = text.trim();
    let mut characters = text.chars();
    let first = characters.next()?;
    let all_alike = text.len() > 1 && characters.all(|c| c == first);
    let fits = text.chars().count() <= LONGEST_WORD && !text.chars().any(char::is_control);
    let placeholder = PLACEHOLDERS.contains(&text.to_lowercase().as_str()) || text == "0";
    (fits && !all_alike && !placeholder).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_those_that_nodes_have() {
        for fine in [
            "b11dd4f2-bfde-1000-82bc-5cff35fbe611",
            "0123456789abcdef0123456789abcdef",
            "node-0001",
        ] {
            assert!(is_id(fine), "{fine}");
        }
        for bad in [
            "",
            "short",
            "-leading-hyphen",
            "UPPER-CASE-1",
            "with space 1",
            "a/../../b",
            "é2345678",
            &"a".repeat(65),
        ] {
            assert!(!is_id(bad), "{bad}");
        }
    }

    #[test]
    fn placeholders_name_no_part() {
        for bad in [
            "",
            "  ",
            "0",
            "00000000",
            "Default string",
            " To Be Filled By O.E.M. ",
            "N/A",
            "ffff",
            "a\u{7}b",
        ] {
            assert_eq!(serial(bad), None, "{bad:?}");
        }
        assert_eq!(serial(" 1650123000003 "), Some("1650123000003"));
        assert_eq!(serial("7"), Some("7"));
    }

    #[test]
    fn words_are_bounded_and_printable() {
        assert!(is_word("Rack 12 ✓"));
        assert!(!is_word("") && !is_word("a\nb") && !is_word(&"a".repeat(129)));
    }
}
