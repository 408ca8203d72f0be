//! The list of what should arrive, as operators write it: CSV or JSON.
//!
//! # Invariants
//! - A list is taken whole or not at all; every mistake names line, column and value.
//!
//! # What is absent
//! What becomes of the entries: that is the store's.

mod csv;
mod json;

use std::collections::HashMap;

use crate::name;
use crate::record::{ExpectedEntry, SWITCHES, UNIT, WORD, is_switch_path};

/// Most entries of a list.
pub const MOST_ENTRIES: usize = 1_000_000;

/// Names of the columns, as they stand in the header line of the CSV and in the JSON.
pub const COLUMNS: [&str; 11] = [
    "chassis_serial",
    "platform",
    "hostname",
    "region",
    "site",
    "row",
    "rack",
    "unit",
    "height_units",
    "nvlink_domain",
    "switch_path",
];

/// How a list is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// With a header line.
    Csv,
    /// An array of objects.
    Json,
}

/// One mistake in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListMistake {
    /// Line of the CSV, from 1; of JSON the line where parsing ended.
    pub line: Option<u64>,
    /// Column of the CSV, path in the JSON.
    pub column: Option<String>,
    /// The value, shortened.
    pub value: Option<String>,
    /// What is wrong.
    pub detail: String,
}

impl std::fmt::Display for ListMistake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut lead = Vec::new();
        if let Some(line) = self.line {
            lead.push(format!("line {line}"));
        }
        if let Some(column) = &self.column {
            lead.push(column.clone());
        }
        if let Some(value) = &self.value {
            lead.push(format!("{value:?}"));
        }
        write!(f, "{}: {}", lead.join(", "), self.detail)
    }
}

/// The entries of a list, or its mistakes.
///
/// # Errors
/// Every mistake, at most 1000.
pub fn parse(format: Format, bytes: &[u8]) -> Result<Vec<ExpectedEntry>, Vec<ListMistake>> {
    match format {
        Format::Csv => csv::parse(bytes),
        Format::Json => json::parse(bytes),
    }
}

/// A value as it is shown in a mistake.
fn shown(value: &str) -> Option<String> {
    Some(value.chars().take(80).collect())
}

/// Where an entry stands: its line, or its path.
type At<'a> = &'a dyn Fn(&str) -> (Option<u64>, Option<String>);

/// Mistakes of one entry.
fn check(entry: &ExpectedEntry, at: At<'_>, mistakes: &mut Vec<ListMistake>) {
    let mut wrong = |column: &str, value: &str, detail: &str| {
        let (line, column) = at(column);
        mistakes.push(ListMistake {
            line,
            column,
            value: shown(value),
            detail: detail.to_owned(),
        });
    };
    if name::serial(&entry.chassis_serial) != Some(&entry.chassis_serial) {
        wrong(
            "chassis_serial",
            &entry.chassis_serial,
            "is no serial number: 1 to 128 characters, and not a maker's placeholder",
        );
    }
    let words = [
        ("platform", &entry.platform),
        ("hostname", &entry.hostname),
        ("region", &entry.region),
        ("site", &entry.site),
        ("row", &entry.row),
        ("rack", &entry.rack),
        ("nvlink_domain", &entry.nvlink_domain),
    ];
    for (column, value) in words {
        if let Some(text) = value
            && !name::is_word(text)
        {
            wrong(column, text, WORD);
        }
    }
    for (column, value) in [("unit", entry.unit), ("height_units", entry.height_units)] {
        if let Some(number) = value
            && !(1..=99).contains(&number)
        {
            wrong(column, &number.to_string(), UNIT);
        }
    }
    if let Some(path) = &entry.switch_path
        && !is_switch_path(path)
    {
        wrong("switch_path", &path.join(" "), SWITCHES);
    }
}

/// Serial numbers that stand there twice.
fn check_twice<'a>(
    entries: impl Iterator<Item = (&'a ExpectedEntry, Option<u64>, Option<String>)>,
    mistakes: &mut Vec<ListMistake>,
) {
    let mut first: HashMap<&str, String> = HashMap::new();
    for (entry, line, column) in entries {
        let here = match (line, &column) {
            (Some(line), _) => format!("line {line}"),
            (None, Some(column)) => column.clone(),
            (None, None) => "before".to_owned(),
        };
        if let Some(earlier) = first.get(entry.chassis_serial.as_str()) {
            mistakes.push(ListMistake {
                line,
                column: column.or_else(|| Some("chassis_serial".to_owned())),
                value: shown(&entry.chassis_serial),
                detail: format!("stands there already: {earlier}"),
            });
        } else {
            first.insert(&entry.chassis_serial, here);
        }
    }
}

/// No more than can be read.
fn bounded(mut mistakes: Vec<ListMistake>) -> Vec<ListMistake> {
    mistakes.truncate(1000);
    mistakes
}
