//! A snapshot without the names of its parts: serials, UUIDs, GUIDs, MAC addresses and the host
//! name become pseudonyms of the same shape.
//!
//! # Invariants
//! - The same name gives the same pseudonym everywhere in one capture, however it is written
//!   (`b8:3f:d2…` and `b83fd2…`, upper or lower case); two names never share one. In another
//!   capture it gives another: the key is random and is not kept.
//! - Nothing but names changes: values, codes, slots and PCI addresses stay, and so do findings.
//! - All zeros and all ones are no names; they stay, for they mean "none".
//!
//! # What is absent
//! IP addresses and names of processes in kernel messages: they are not hidden.

mod pattern;
mod pseudonym;

use cupel_model::Snapshot;
use serde_json::Value;

use pattern::{Pattern, find};
use pseudonym::Pseudonyms;

/// Keys whose whole text is a name of one part.
const IDENTITY_KEYS: [&str; 11] = [
    "serial",
    "chassis_serial",
    "board_serial",
    "uuid",
    "cluster_uuid",
    "node_guid",
    "system_guid",
    "mac",
    "boot_id",
    "hostname",
    "id",
];

/// Keys with text for people, in which the host name may stand.
const PROSE_KEYS: [&str; 7] = [
    "raw",
    "why",
    "source",
    "command_line",
    "event",
    "device",
    "process",
];

/// What a name may follow without a gap: `enxb83fd2010203`, `0xb83fd20300010203`.
const PREFIXES: [&str; 2] = ["enx", "0x"];

/// Shortest serial that is looked for inside other text: a shorter one may be there by chance.
const SHORTEST_INSIDE: usize = 6;

/// The snapshot with pseudonyms for names.
///
/// # Errors
/// Only when a snapshot does not survive its own JSON, which would be a defect of Cupel.
pub fn scrub(snapshot: &Snapshot) -> serde_json::Result<Snapshot> {
    let mut json = crate::json::value(snapshot)?;
    let mut names = Names::default();
    names.collect(&json, None);
    let mut pseudonyms = Pseudonyms::new();
    names.replace(&mut json, None, &mut pseudonyms);
    // As a file is read: one copy of what reads a snapshot in this program.
    let json = serde_json::to_vec(&json)?;
    let mut json = serde_json::Deserializer::from_slice(&json);
    serde_path_to_error::deserialize(&mut json).map_err(serde_path_to_error::Error::into_inner)
}

/// Names that stand in fields of their own.
#[derive(Default)]
struct Names {
    /// Serials and the like, longest first once collected.
    known: Vec<String>,
    hostname: Option<String>,
}

/// Whether a text in an identity field is a name, and not a maker's "Not Specified".
fn is_name(text: &str) -> bool {
    let has_digit = text.bytes().any(|b| b.is_ascii_digit());
    !text.trim().is_empty() && (has_digit || !text.contains(' ')) && !is_blank(text)
}

/// All zeros or all ones: "none".
fn is_blank(text: &str) -> bool {
    let mut digits = text.chars().filter(char::is_ascii_alphanumeric);
    let Some(first) = digits.next() else {
        return true;
    };
    matches!(first, '0' | 'f' | 'F') && digits.all(|c| c == first)
}

/// `id` means other things elsewhere.
fn is_identity(key: &str, parent: Option<&str>) -> bool {
    match key {
        "id" => parent == Some("node"),
        _ => IDENTITY_KEYS.contains(&key),
    }
}

impl Names {
    fn know(&mut self, name: String) {
        if name.len() >= SHORTEST_INSIDE
            && name.bytes().any(|b| b.is_ascii_digit())
            && !self.known.contains(&name)
        {
            self.known.push(name);
        }
    }

    fn collect(&mut self, value: &Value, parent: Option<&str>) {
        match value {
            Value::Object(map) => {
                for (key, inner) in map {
                    match inner {
                        Value::String(text) if key == "hostname" => {
                            self.hostname = Some(text.clone());
                        }
                        Value::String(text) if is_identity(key, parent) && is_name(text) => {
                            self.know(text.clone());
                            self.know(text.replace([':', '-'], ""));
                        }
                        Value::Null
                        | Value::Bool(_)
                        | Value::Number(_)
                        | Value::String(_)
                        | Value::Array(_)
                        | Value::Object(_) => self.collect(inner, Some(key)),
                    }
                }
                self.known.sort_by_key(|name| std::cmp::Reverse(name.len()));
            }
            Value::Array(list) => {
                for inner in list {
                    self.collect(inner, parent);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    fn replace(&self, value: &mut Value, at: Option<(&str, Option<&str>)>, to: &mut Pseudonyms) {
        match value {
            Value::Object(map) => {
                let parent = at.map(|(key, _)| key);
                for (key, inner) in map {
                    self.replace(inner, Some((key, parent)), to);
                }
            }
            Value::Array(list) => {
                for inner in list {
                    self.replace(inner, at, to);
                }
            }
            Value::String(text) => {
                let Some((key, parent)) = at else { return };
                *text = if is_identity(key, parent) {
                    identity(text, to)
                } else {
                    self.inside(text, PROSE_KEYS.contains(&key), to)
                };
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// Text with the names in it replaced.
    fn inside(&self, text: &str, prose: bool, to: &mut Pseudonyms) -> String {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while !rest.is_empty() {
            let begins = !out.ends_with(|c: char| c.is_ascii_alphanumeric())
                || PREFIXES.iter().any(|prefix| out.ends_with(prefix));
            let found = begins.then(|| self.name_at(rest, prose)).flatten();
            if let Some(length) = found {
                let (name, after) = rest.split_at(length);
                out.push_str(&to.of(name));
                rest = after;
                continue;
            }
            let mut characters = rest.chars();
            out.extend(characters.next());
            rest = characters.as_str();
        }
        out
    }

    /// Length of the name that `text` begins with, if it ends at a word's end.
    fn name_at(&self, text: &str, prose: bool) -> Option<usize> {
        let ends = |length: usize| !text[length..].starts_with(|c: char| c.is_ascii_alphanumeric());
        let known = self
            .known
            .iter()
            .filter(|name| {
                text.is_char_boundary(name.len())
                    && text
                        .get(..name.len())
                        .is_some_and(|head| head.eq_ignore_ascii_case(name))
            })
            .map(String::len)
            .find(|length| ends(*length));
        let host = self
            .hostname
            .as_ref()
            .filter(|host| prose && !host.is_empty() && text.starts_with(host.as_str()))
            .map(String::len)
            .filter(|length| ends(*length));
        known.or(host).or_else(|| find(text))
    }
}

/// The pseudonym of a field that is a name as a whole; a UUID in it keeps its prefix (`GPU-`).
fn identity(text: &str, to: &mut Pseudonyms) -> String {
    if !is_name(text) {
        return text.to_owned();
    }
    for (at, _) in text.char_indices() {
        if let Some(length) = Pattern::Uuid.length(&text[at..]) {
            let (name, after) = text[at..].split_at(length);
            return format!("{}{}{after}", &text[..at], to.of(name));
        }
    }
    to.of(text)
}
