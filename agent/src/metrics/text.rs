//! Families, numbers, labels, and the text that they become.
//!
//! # Invariants
//! - HELP and TYPE come once, before the first sample of their family; a family without samples is
//!   left out.
//! - A label without a value is left out: for Prometheus both are the same.
//! - A label's value is cut to [`LABEL_CHARS`]; backslash, quote and line feed are escaped, and NUL,
//!   at which Prometheus stops reading, becomes U+FFFD.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::ops::Range;

use cupel_model::snapshot::NamedCounter;
use cupel_model::units::{
    Bytes, Celsius, GigabitsPerSecond, GigatransfersPerSecond, Hours, Joules, Megahertz, Percent,
    Seconds, Watts,
};
use cupel_model::{Counter, Reading, Timestamp};

use super::parts::Parts;

/// Longest value of a label, in characters.
pub(super) const LABEL_CHARS: usize = 256;

/// What a number of a family is measured in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    /// A count, a flag, or a state.
    None,
    Amperes,
    Bytes,
    BytesPerSecond,
    Celsius,
    Hertz,
    Joules,
    /// A share, 0 to 1.
    Ratio,
    RevolutionsPerMinute,
    Seconds,
    /// Seconds since 1970-01-01T00:00:00Z.
    Time,
    TransfersPerSecond,
    Volts,
    Watts,
}

impl Unit {
    /// How the family's name ends, before `_total`; and the unit in words.
    pub(super) fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::None => ("", ""),
            Self::Amperes => ("_amperes", "amperes"),
            Self::Bytes => ("_bytes", "bytes"),
            Self::BytesPerSecond => ("_bytes_per_second", "bytes per second"),
            Self::Celsius => ("_celsius", "degrees Celsius"),
            Self::Hertz => ("_hertz", "hertz"),
            Self::Joules => ("_joules", "joules"),
            Self::Ratio => ("_ratio", "ratio from 0 to 1"),
            Self::RevolutionsPerMinute => ("_rpm", "revolutions per minute"),
            Self::Seconds => ("_seconds", "seconds"),
            Self::Time => ("_timestamp_seconds", "seconds since 1970-01-01 UTC"),
            Self::TransfersPerSecond => ("_transfers_per_second", "transfers per second"),
            Self::Volts => ("_volts", "volts"),
            Self::Watts => ("_watts", "watts"),
        }
    }
}

/// Type of a family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Goes up and down.
    Gauge,
    /// Only grows, or begins anew.
    Counter,
}

impl Kind {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Gauge => "gauge",
            Self::Counter => "counter",
        }
    }
}

/// The code that gives a family's samples.
pub(super) type Samples = for<'p, 'v, 's> fn(&'p Parts<'v>, &'s mut Sink);

/// One metric: its samples differ by their labels.
pub(super) struct Family {
    pub name: &'static str,
    pub kind: Kind,
    pub unit: Unit,
    /// Labels that a sample may have.
    pub labels: &'static [&'static str],
    /// One sentence; it names the unit.
    pub help: &'static str,
    pub samples: Samples,
}

impl Family {
    pub(super) const fn gauge(
        name: &'static str,
        unit: Unit,
        labels: &'static [&'static str],
        help: &'static str,
        samples: Samples,
    ) -> Self {
        Self {
            name,
            kind: Kind::Gauge,
            unit,
            labels,
            help,
            samples,
        }
    }

    pub(super) const fn counter(
        name: &'static str,
        unit: Unit,
        labels: &'static [&'static str],
        help: &'static str,
        samples: Samples,
    ) -> Self {
        Self {
            kind: Kind::Counter,
            ..Self::gauge(name, unit, labels, help, samples)
        }
    }

    /// Always 1; what it says is in its labels.
    pub(super) const fn info(
        name: &'static str,
        labels: &'static [&'static str],
        help: &'static str,
        samples: Samples,
    ) -> Self {
        Self::gauge(name, Unit::None, labels, help, samples)
    }
}

/// Families of one subject.
pub(super) struct Group {
    pub title: &'static str,
    /// Label `source` of readings of this group that have no value.
    pub source: &'static str,
    pub families: &'static [Family],
}

/// A sample's value, in the base unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Number {
    Whole(u64),
    Real(f64),
    /// A count of nanoseconds, written in seconds to the last digit.
    Nanoseconds(u64),
    /// Microseconds since 1970, written in seconds to the last digit.
    Microseconds(i64),
}

impl Number {
    fn is_finite(self) -> bool {
        match self {
            Self::Real(value) => value.is_finite(),
            Self::Whole(_) | Self::Nanoseconds(_) | Self::Microseconds(_) => true,
        }
    }

    fn push_to(self, out: &mut String) {
        // Writing to a string does not fail.
        let _ = match self {
            Self::Whole(value) => write!(out, "{value}"),
            Self::Real(value) => write!(out, "{value}"),
            Self::Nanoseconds(count) => {
                let (whole, rest) = (count / 1_000_000_000, count % 1_000_000_000);
                write!(out, "{whole}.{rest:09}")
            }
            Self::Microseconds(count) => {
                let sign = if count < 0 { "-" } else { "" };
                let count = count.unsigned_abs();
                write!(out, "{sign}{}.{:06}", count / 1_000_000, count % 1_000_000)
            }
        };
    }
}

macro_rules! numbers {
    ($($from:ty => |$value:ident| $number:expr;)*) => {
        $(impl From<$from> for Number {
            fn from($value: $from) -> Self { $number }
        })*
    };
}

numbers! {
    u64 => |value| Self::Whole(value);
    u32 => |value| Self::Whole(u64::from(value));
    usize => |value| Self::Whole(u64::try_from(value).unwrap_or(u64::MAX));
    bool => |value| Self::Whole(u64::from(value));
    f64 => |value| Self::Real(value);
    Timestamp => |time| Self::Microseconds(time.microseconds());
    Bytes => |bytes| Self::Whole(bytes.get());
    Celsius => |celsius| Self::Real(celsius.get());
    Watts => |watts| Self::Real(watts.get());
    Joules => |joules| Self::Real(joules.get());
    Seconds => |seconds| Self::Real(seconds.get());
    Hours => |hours| Self::Whole(hours.get().saturating_mul(3600));
    Megahertz => |clock| Self::Whole(u64::from(clock.get()) * 1_000_000);
    Percent => |percent| Self::Real(percent.get() / 100.0);
    GigabitsPerSecond => |rate| Self::Real(rate.get() * 1e9 / 8.0);
    GigatransfersPerSecond => |speed| Self::Real(speed.get() * 1e9);
}

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
    const ROOM: usize = 512 * 1024;

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
