//! Labels, and the text as it grows.
//!
//! # Invariants
//! - HELP and TYPE come once, before the first sample of their family; a family without samples is
//!   left out.
//! - A label without a value is left out: for Prometheus both are the same.
//! - A label's value is cut to [`LABEL_CHARS`]; backslash, quote and line feed are escaped, and NUL,
//!   at which Prometheus stops reading, becomes U+FFFD.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::ops::Range;

use cupel_model::snapshot::NamedCounter;
use cupel_model::{Counter, Reading};

use super::family::Family;
use super::number::Number;

/// Longest value of a label, in characters.
pub(super) const LABEL_CHARS: usize = 256;

/// Writes `name="value"` behind what is there; nothing when the value is empty.
pub(super) fn label(out: &mut String, name: &str, value: &str) {
    if value.is_empty() {
        return;
    }
    if !out.is_empty() && !out.ends_with('{') {
        out.push(',');
    }
    out.push_str(name);
    out.push_str("=\"");
    escape(out, value);
    out.push('"');
}

/// Labels from pairs.
pub(super) fn labels(pairs: &[(&str, &str)]) -> String {
    let mut text = String::new();
    for (name, value) in pairs {
        label(&mut text, name, value);
    }
    text
}

fn escape(out: &mut String, value: &str) {
    let plain = |byte: u8| !matches!(byte, b'"' | b'\\' | b'\n' | 0);
    if value.len() <= LABEL_CHARS && value.bytes().all(plain) {
        out.push_str(value);
        return;
    }
    for (number, character) in value.chars().enumerate() {
        if number == LABEL_CHARS {
            break;
        }
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\0' => out.push('\u{fffd}'),
            other => out.push(other),
        }
    }
}

/// Why a reading has no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Unread {
    Absent,
    Failed,
    Unsupported,
}

impl Unread {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::Failed => "failed",
            Self::Unsupported => "unsupported",
        }
    }
}

/// A sample of a counter at its register's maximum.
pub(super) struct Saturated {
    pub metric: &'static str,
    pub labels: String,
}

/// The text as it grows.
pub(super) struct Sink {
    out: String,
    family: Option<&'static Family>,
    source: &'static str,
    /// The group that was asked for a reading last.
    asked: &'static str,
    headed: bool,
    /// Hashes of this family's labels.
    seen: HashSet<u64>,
    /// Samples left out because an earlier one has the same labels.
    pub duplicates: u64,
    /// Readings without a value, by group and reason; failed ones also where there are none.
    pub unread: Vec<(&'static str, Unread, u64)>,
    pub saturated: Vec<Saturated>,
}

impl Sink {
    /// Room for a node with eight GPUs, so that the text seldom moves.
    const ROOM: usize = 320 * 1024;

    pub(super) fn new() -> Self {
        Self {
            out: String::with_capacity(Self::ROOM),
            family: None,
            source: "",
            asked: "",
            headed: false,
            seen: HashSet::new(),
            duplicates: 0,
            unread: Vec::new(),
            saturated: Vec::new(),
        }
    }

    /// What follows are samples of this family.
    pub(super) fn family(&mut self, family: &'static Family, source: &'static str) {
        self.family = Some(family);
        self.source = source;
        self.headed = false;
        self.seen.clear();
    }

    pub(super) fn finish(self) -> String {
        self.out
    }

    /// One sample; `labels` as [`labels`] writes them, `more` behind them.
    pub(super) fn put(&mut self, labels: &str, more: &[(&str, &str)], value: impl Into<Number>) {
        self.write(labels, more, value.into());
    }

    /// One sample with the value 1.
    pub(super) fn one(&mut self, labels: &str, more: &[(&str, &str)]) {
        self.write(labels, more, Number::Whole(1));
    }

    /// A sample where there is a value.
    pub(super) fn some<T: Into<Number>>(&mut self, labels: &str, value: Option<T>) {
        if let Some(value) = value {
            self.write(labels, &[], value.into());
        }
    }

    /// A reading's value; none is counted as unread.
    pub(super) fn reading<T: Copy + Into<Number>>(
        &mut self,
        labels: &str,
        more: &[(&str, &str)],
        reading: &Reading<T>,
    ) {
        if let Some(value) = self.value(reading) {
            self.write(labels, more, (*value).into());
        }
    }

    /// A device's counter, in what `number` makes of it.
    pub(super) fn counted(
        &mut self,
        labels: &str,
        more: &[(&str, &str)],
        reading: &Reading<Counter>,
        number: fn(u64) -> Number,
    ) {
        let Some(counter) = self.value(reading).copied() else {
            return;
        };
        let written = self.write(labels, more, number(counter.value));
        if let (true, Some(labels), Some(family)) = (counter.saturated, written, self.family) {
            self.saturated.push(Saturated {
                metric: family.name,
                labels: self.out.get(labels).unwrap_or_default().to_owned(),
            });
        }
    }

    /// A device's counter.
    pub(super) fn counter(
        &mut self,
        labels: &str,
        more: &[(&str, &str)],
        reading: &Reading<Counter>,
    ) {
        self.counted(labels, more, reading, Number::Whole);
    }

    /// Each of these counters whose name is wanted, told apart by the label `counter`.
    pub(super) fn counters(
        &mut self,
        labels: &str,
        counters: &[NamedCounter],
        wanted: impl Fn(&str) -> bool,
    ) {
        for counter in counters.iter().filter(|counter| wanted(&counter.name)) {
            self.counter(labels, &[("counter", &counter.name)], &counter.value);
        }
    }

    /// 1 for the words that hold and 0 for the other known ones; a word that is not known is added.
    pub(super) fn words<'w>(
        &mut self,
        labels: &str,
        label: &str,
        known: &[&str],
        hold: impl IntoIterator<Item = &'w str> + Clone,
    ) {
        for word in known {
            let holds = hold.clone().into_iter().any(|held| held == *word);
            self.put(labels, &[(label, word)], holds);
        }
        for word in hold {
            if !known.contains(&word) {
                self.one(labels, &[(label, word)]);
            }
        }
    }

    /// As [`Self::words`], of a reading that holds one.
    pub(super) fn state(
        &mut self,
        labels: &str,
        label: &str,
        known: &[&str],
        reading: &Reading<String>,
    ) {
        if let Some(word) = self.value(reading) {
            self.words(labels, label, known, [word.as_str()]);
        }
    }

    /// The value; none is counted as unread.
    pub(super) fn value<'r, T>(&mut self, reading: &'r Reading<T>) -> Option<&'r T> {
        if self.asked != self.source {
            self.asked = self.source;
            self.unread.push((self.source, Unread::Failed, 0));
        }
        let why = match reading {
            Reading::Value(value) => return Some(value),
            Reading::Absent(_) => Unread::Absent,
            Reading::Unsupported(_) => Unread::Unsupported,
            Reading::Failed(_) => Unread::Failed,
        };
        self.missed(why);
        None
    }

    fn missed(&mut self, why: Unread) {
        let source = self.source;
        let known = self
            .unread
            .iter_mut()
            .find(|(group, reason, _)| *group == source && *reason == why);
        match known {
            Some((_, _, count)) => *count += 1,
            None => self.unread.push((source, why, 1)),
        }
    }

    /// Writes a line; gives where its labels stand, without their braces.
    fn write(
        &mut self,
        labels: &str,
        more: &[(&str, &str)],
        value: Number,
    ) -> Option<Range<usize>> {
        let family = self.family?;
        if !value.is_finite() {
            self.missed(Unread::Failed);
            return None;
        }
        if !self.headed {
            self.headed = true;
            let kind = family.kind.word();
            for part in ["# HELP ", family.name, " ", family.help, "\n"] {
                self.out.push_str(part);
            }
            for part in ["# TYPE ", family.name, " ", kind, "\n"] {
                self.out.push_str(part);
            }
        }
        let start = self.out.len();
        self.out.push_str(family.name);
        let brace = self.out.len();
        self.out.push('{');
        self.out.push_str(labels);
        for (name, value) in more {
            label(&mut self.out, name, value);
        }
        let written = if self.out.len() == brace + 1 {
            self.out.pop();
            brace..brace
        } else {
            self.out.push('}');
            brace + 1..self.out.len() - 1
        };
        let mut hasher = DefaultHasher::new();
        self.out.get(brace..).hash(&mut hasher);
        if !self.seen.insert(hasher.finish()) {
            self.out.truncate(start);
            self.duplicates += 1;
            return None;
        }
        self.out.push(' ');
        value.push_to(&mut self.out);
        self.out.push('\n');
        Some(written)
    }
}
