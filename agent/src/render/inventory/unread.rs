//! What could not be read: every failed reading of a snapshot, grouped by reason.

use cupel_model::Snapshot;
use serde_json::Value;

use super::Section;
use crate::json;
use crate::output::printable;

/// Most reasons that are listed.
const REASONS: usize = 15;

pub(super) fn section(snapshot: &Snapshot) -> Section {
    let mut section = Section::new("Could not be read");
    for problem in &snapshot.problems {
        section.note(printable(&format!("{}: {}", problem.source, problem.why)).into_owned());
    }
    let mut failed = Vec::new();
    if let Ok(Value::Object(mut json)) = json::value(snapshot) {
        json.remove("previous");
        walk(&Value::Object(json), &mut String::new(), &mut failed);
    }
    let mut reasons: Vec<(String, Vec<String>)> = Vec::new();
    for (path, why) in failed {
        match reasons.iter_mut().find(|(known, _)| *known == why) {
            Some((_, paths)) => paths.push(path),
            None => reasons.push((why, vec![path])),
        }
    }
    let more = reasons.len().saturating_sub(REASONS);
    for (why, paths) in reasons.into_iter().take(REASONS) {
        let others = match paths.len() {
            1 => String::new(),
            more => format!(" and {} more", more - 1),
        };
        section.note(printable(&format!("{}{others}: {why}", paths[0])).into_owned());
    }
    if more > 0 {
        section.note(format!(
            "and {more} more reasons (cupel inspect --output json has all)"
        ));
    }
    if section.notes.is_empty() {
        section.note("nothing: all that is there answered");
    }
    section
}

/// Collects path and reason of each failed reading.
fn walk(value: &Value, path: &mut String, failed: &mut Vec<(String, String)>) {
    match value {
        Value::Object(map) => {
            if map.len() == 2
                && map.get("state").and_then(Value::as_str) == Some("failed")
                && let Some(why) = map.get("why").and_then(Value::as_str)
            {
                failed.push((path.clone(), why.to_owned()));
                return;
            }
            for (key, inner) in map {
                let length = path.len();
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(key);
                walk(inner, path, failed);
                path.truncate(length);
            }
        }
        Value::Array(list) => {
            for (index, inner) in list.iter().enumerate() {
                let length = path.len();
                path.push_str(&format!("[{index}]"));
                walk(inner, path, failed);
                path.truncate(length);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
