//! Points in time, in UTC, to the microsecond.
//!
//! # What is absent
//! No clock: `now` is read by the binaries and by collection, and passed in.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A point in time. JSON: RFC 3339, UTC, six decimals, `Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(jiff::Timestamp);

/// A text or number that is no point in time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a time (want RFC 3339, such as 2026-01-31T12:00:00.000000Z)")]
pub struct TimestampError {
    /// The offending text, at most 64 characters of it.
    pub text: String,
}

impl Timestamp {
    /// 1970-01-01T00:00:00Z.
    pub const EPOCH: Self = Self(jiff::Timestamp::UNIX_EPOCH);

    /// From microseconds since 1970-01-01T00:00:00Z.
    ///
    /// # Errors
    /// Outside the years -9999..=9999.
    pub fn from_microseconds(microseconds: i64) -> Result<Self, TimestampError> {
        jiff::Timestamp::from_microsecond(microseconds)
            .map(Self)
            .map_err(|_| TimestampError {
                text: format!("{microseconds} µs"),
            })
    }

    /// Microseconds since 1970-01-01T00:00:00Z.
    pub fn microseconds(self) -> i64 {
        self.0.as_microsecond()
    }

    /// Seconds from `earlier` to this; negative if this is earlier.
    pub fn seconds_since(self, earlier: Self) -> f64 {
        self.0.duration_since(earlier.0).as_secs_f64()
    }
}

impl From<jiff::Timestamp> for Timestamp {
    fn from(time: jiff::Timestamp) -> Self {
        Self(jiff::Timestamp::from_microsecond(time.as_microsecond()).unwrap_or(time))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.6}", self.0)
    }
}

impl FromStr for Timestamp {
    type Err = TimestampError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse::<jiff::Timestamp>()
            .map(Self::from)
            .map_err(|_| TimestampError {
                text: text.chars().take(64).collect(),
            })
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Timestamp {
    fn schema_name() -> Cow<'static, str> {
        "Timestamp".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^-?[0-9]{4,6}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{6}Z$"
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_has_six_decimals_and_z() {
        let time: Timestamp = "2025-01-21T05:41:44.2833+01:00".parse().expect("time");
        assert_eq!(time.to_string(), "2025-01-21T04:41:44.283300Z");
        assert_eq!(
            Timestamp::from_microseconds(0).expect("epoch").to_string(),
            "1970-01-01T00:00:00.000000Z"
        );
        let early: Timestamp = "-000001-01-02T03:04:05Z".parse().expect("time");
        assert_eq!(early.to_string().parse::<Timestamp>(), Ok(early), "{early}");
    }
}
