//! Families: what is declared once of each metric.

use super::parts::Parts;
use super::text::Sink;

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
