//! A list as JSON: an array of objects, or an object with the array as `entries`.

use serde::Deserialize;

use super::{ListMistake, MOST_ENTRIES, bounded, check, check_twice};
use crate::record::ExpectedEntry;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wrapped {
    entries: Vec<ExpectedEntry>,
}

fn read<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Result<T, ListMistake> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let path = error.path().to_string();
        ListMistake {
            line: u64::try_from(error.inner().line()).ok(),
            column: Some(path).filter(|path| path != "."),
            value: None,
            detail: error.inner().to_string(),
        }
    })?;
    reader.end().map_err(|error| ListMistake {
        line: u64::try_from(error.line()).ok(),
        column: None,
        value: None,
        detail: error.to_string(),
    })?;
    Ok(value)
}

/// The entries, or every mistake; what is no list at all is one mistake.
pub fn parse(bytes: &[u8]) -> Result<Vec<ExpectedEntry>, Vec<ListMistake>> {
    let too_much = |detail: String| {
        vec![ListMistake {
            line: None,
            column: None,
            value: None,
            detail,
        }]
    };
    let object = bytes
        .iter()
        .find(|byte| !byte.is_ascii_whitespace())
        .is_some_and(|byte| *byte == b'{');
    let entries = if object {
        read::<Wrapped>(bytes).map(|wrapped| wrapped.entries)
    } else {
        read::<Vec<ExpectedEntry>>(bytes)
    }
    .map_err(|mistake| vec![mistake])?;
    if entries.len() > MOST_ENTRIES {
        return Err(too_much(format!(
            "there are more than {MOST_ENTRIES} entries"
        )));
    }
    let mut mistakes = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        let at = |column: &str| (None, Some(format!("[{index}].{column}")));
        check(entry, &at, &mut mistakes);
    }
    let places = entries
        .iter()
        .enumerate()
        .map(|(index, entry)| (entry, None, Some(format!("[{index}].chassis_serial"))));
    check_twice(places, &mut mistakes);
    if mistakes.is_empty() {
        Ok(entries)
    } else {
        Err(bounded(mistakes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_array_and_a_wrapped_one_are_the_same() {
        let bare = br#"[{"chassis_serial":"C1","unit":7}]"#;
        let wrapped = br#" {"entries":[{"chassis_serial":"C1","unit":7,"rack":null}]}"#;
        assert_eq!(parse(bare), parse(wrapped));
    }

    #[test]
    fn mistakes_say_where() {
        let wrong = |text: &str| parse(text.as_bytes()).expect_err("mistake")[0].clone();
        assert_eq!(
            wrong(r#"[{"chassis_serial":"C1","unit":"seven"}]"#)
                .column
                .as_deref(),
            Some("[0].unit")
        );
        assert_eq!(
            wrong(r#"[{"chassis_serial":"C1"},{"chassis_serial":"C1"}]"#)
                .column
                .as_deref(),
            Some("[1].chassis_serial")
        );
        assert!(
            wrong(r#"[{"chassis_serial":"C1","colour":1}]"#)
                .detail
                .contains("colour")
        );
        assert!(!wrong(&"[".repeat(1000)).detail.is_empty());
        assert!(wrong("[").detail.contains("EOF"));
    }
}
