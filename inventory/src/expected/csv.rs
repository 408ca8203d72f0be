//! A list as CSV (RFC 4180): a header line with the names of its columns, in any order.

use super::{COLUMNS, ListMistake, MOST_ENTRIES, bounded, check, check_twice, shown};
use crate::record::ExpectedEntry;

/// What separates the switches of a path.
const SWITCH: char = ';';

struct Columns(Vec<&'static str>);

fn header(record: &csv::StringRecord) -> Result<Columns, Vec<ListMistake>> {
    let mut columns = Vec::new();
    let mut mistakes = Vec::new();
    let mut wrong = |name: &str, detail: String| {
        mistakes.push(ListMistake {
            line: Some(1),
            column: Some(name.to_owned()),
            value: None,
            detail,
        });
    };
    for name in record {
        let name = name.trim().trim_start_matches('\u{feff}');
        match COLUMNS.iter().find(|known| **known == name) {
            Some(known) if columns.contains(known) => {
                wrong(name, "stands there twice".to_owned());
            }
            Some(known) => columns.push(*known),
            None => wrong(
                name,
                format!("is no column; there are {}", COLUMNS.join(", ")),
            ),
        }
    }
    if !columns.contains(&"chassis_serial") {
        wrong("chassis_serial", "this column is missing".to_owned());
    }
    if mistakes.is_empty() {
        Ok(Columns(columns))
    } else {
        Err(mistakes)
    }
}

fn entry(
    columns: &Columns,
    record: &csv::StringRecord,
    line: u64,
    mistakes: &mut Vec<ListMistake>,
) -> ExpectedEntry {
    let mut entry = ExpectedEntry::default();
    for (column, value) in columns.0.iter().zip(record) {
        let value = value.trim();
        if value.is_empty() {
            continue;
        }
        let text = Some(value.to_owned());
        let mut number = || match value.parse::<u32>() {
            Ok(number) => Some(number),
            Err(_) => {
                mistakes.push(ListMistake {
                    line: Some(line),
                    column: Some((*column).to_owned()),
                    value: shown(value),
                    detail: "is no number".to_owned(),
                });
                None
            }
        };
        match *column {
            "chassis_serial" => value.clone_into(&mut entry.chassis_serial),
            "platform" => entry.platform = text,
            "hostname" => entry.hostname = text,
            "region" => entry.region = text,
            "site" => entry.site = text,
            "row" => entry.row = text,
            "rack" => entry.rack = text,
            "unit" => entry.unit = number(),
            "height_units" => entry.height_units = number(),
            "nvlink_domain" => entry.nvlink_domain = text,
            "switch_path" => {
                let path = value.split(SWITCH).map(|id| id.trim().to_owned());
                entry.switch_path = Some(path.collect());
            }
            _ => {}
        }
    }
    entry
}

/// The entries, or every mistake.
pub fn parse(bytes: &[u8]) -> Result<Vec<ExpectedEntry>, Vec<ListMistake>> {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .from_reader(bytes);
    let mut columns = None;
    let mut entries = Vec::new();
    let mut mistakes = Vec::new();
    for record in reader.records() {
        let record = match record {
            Ok(record) => record,
            Err(error) => {
                mistakes.push(broken(&error));
                break;
            }
        };
        let line = record.position().map_or(0, csv::Position::line);
        let columns = match &columns {
            Some(columns) => columns,
            None => {
                columns = Some(header(&record)?);
                continue;
            }
        };
        if record.len() != columns.0.len() {
            mistakes.push(ListMistake {
                line: Some(line),
                column: None,
                value: None,
                detail: format!(
                    "has {} values, the header line has {} columns",
                    record.len(),
                    columns.0.len()
                ),
            });
            continue;
        }
        if entries.len() >= MOST_ENTRIES {
            mistakes.push(ListMistake {
                line: Some(line),
                column: None,
                value: None,
                detail: format!("there are more than {MOST_ENTRIES} entries"),
            });
            break;
        }
        let entry = entry(columns, &record, line, &mut mistakes);
        let at = |column: &str| (Some(line), Some(column.to_owned()));
        check(&entry, &at, &mut mistakes);
        entries.push((entry, line));
        if mistakes.len() >= 1000 {
            break;
        }
    }
    if columns.is_none() && mistakes.is_empty() {
        mistakes.push(ListMistake {
            line: Some(1),
            column: None,
            value: None,
            detail: "there is no header line".to_owned(),
        });
    }
    let places = entries
        .iter()
        .map(|(entry, line)| (entry, Some(*line), None));
    check_twice(places, &mut mistakes);
    if mistakes.is_empty() {
        Ok(entries.into_iter().map(|(entry, _)| entry).collect())
    } else {
        Err(bounded(mistakes))
    }
}

fn broken(error: &csv::Error) -> ListMistake {
    let line = error.position().map(csv::Position::line);
    let detail = if matches!(error.kind(), csv::ErrorKind::Utf8 { .. }) {
        "is not UTF-8".to_owned()
    } else {
        error.to_string()
    };
    ListMistake {
        line,
        column: None,
        value: None,
        detail,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mistakes(text: &str) -> Vec<String> {
        parse(text.as_bytes())
            .expect_err("mistakes")
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn columns_stand_in_any_order_and_what_is_empty_is_not_set() {
        let list = parse(
            b"\xef\xbb\xbfrack,chassis_serial,unit,switch_path\r\n\
              r1,C1,7,leaf-1; spine-2;core-3\r\n\"r,2\",C2,,\r\n",
        )
        .expect("list");
        assert_eq!(list.len(), 2);
        assert_eq!(list[0].unit, Some(7));
        assert_eq!(
            list[0].switch_path.as_deref(),
            Some(&["leaf-1", "spine-2", "core-3"].map(str::to_owned)[..])
        );
        assert_eq!(list[1].rack.as_deref(), Some("r,2"));
        assert_eq!((list[1].unit, &list[1].switch_path), (None, &None));
    }

    #[test]
    fn every_mistake_names_line_column_and_value() {
        assert_eq!(
            mistakes("chassis_serial,unit\nC1,seven\nC2,100\n,3\nC1,4\n"),
            [
                "line 2, unit, \"seven\": is no number",
                "line 3, unit, \"100\": must be 1 to 99",
                "line 4, chassis_serial, \"\": is no serial number: 1 to 128 characters, and not a \
                 maker's placeholder",
                "line 5, chassis_serial, \"C1\": stands there already: line 2",
            ]
        );
        assert_eq!(
            mistakes("chassis_serial,colour\nC1,red\n").len(),
            1,
            "the header line alone"
        );
        assert_eq!(mistakes("platform\nx\n").len(), 1);
        assert_eq!(
            mistakes("chassis_serial,unit\nC1\n"),
            ["line 2: has 1 values, the header line has 2 columns"]
        );
        assert_eq!(mistakes(""), ["line 1: there is no header line"]);
        assert_eq!(
            parse(b"chassis_serial\n\xff\xfe\n").expect_err("bytes")[0].line,
            Some(2)
        );
    }
}
