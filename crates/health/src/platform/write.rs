//! A platform as the text of its file.

use std::fmt::Write as _;

use cupel_model::Platform;
use toml::{Table, Value};

use super::PlatformError;

/// The file's text: what is read back from it is the same platform.
///
/// # Errors
/// [`PlatformError`] when a number does not fit the format.
pub fn to_toml(platform: &Platform) -> Result<String, PlatformError> {
    let table = Table::try_from(platform).map_err(|error| PlatformError {
        file: format!("{}.toml", platform.name),
        line: None,
        key: None,
        value: None,
        why: error.to_string(),
    })?;
    let mut text = String::new();
    let (plain, nested): (Vec<_>, Vec<_>) = order(&table)
        .into_iter()
        .partition(|(_, value)| one_line(value).is_some());
    for (key, value) in plain {
        line(&mut text, key, value);
    }
    for (key, value) in nested {
        if let Some(table) = value.as_table() {
            section(&mut text, &format!("[{key}]"), table);
        }
        for table in value
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_table)
        {
            section(&mut text, &format!("[[{key}]]"), table);
        }
    }
    Ok(text)
}

/// The keys in the order in which people read them.
fn order(table: &Table) -> Vec<(&str, &Value)> {
    const FIRST: [&str; 12] = [
        "schema", "name", "title", "matches", "gpu", "nvswitch", "rdma", "nvme", "memory", "cpu",
        "slots", "floors",
    ];
    let mut keys: Vec<(&str, &Value)> = table.iter().map(|(k, v)| (k.as_str(), v)).collect();
    keys.sort_by_key(|(key, _)| FIRST.iter().position(|first| first == key));
    keys
}

fn section(text: &mut String, title: &str, table: &Table) {
    let _ = write!(text, "\n{title}\n");
    for (key, value) in order(table) {
        line(text, key, value);
    }
}

fn line(text: &mut String, key: &str, value: &Value) {
    if let Some(value) = one_line(value) {
        let _ = writeln!(text, "{key} = {value}");
    }
}

/// A value that fits a line: anything but a list of tables and a table that is no sourced value.
fn one_line(value: &Value) -> Option<String> {
    match value {
        Value::Table(table) => {
            let (value, source) = (table.get("value")?, table.get("source")?);
            Some(format!("{{ value = {value}, source = {source} }}"))
        }
        Value::Array(list) if list.iter().any(Value::is_table) => None,
        Value::Array(_)
        | Value::String(_)
        | Value::Integer(_)
        | Value::Float(_)
        | Value::Boolean(_)
        | Value::Datetime(_) => Some(value.to_string()),
    }
}
