//! A value that was read from a machine, or the reason why there is none.
//!
//! # Invariants
//! - Unknown is never zero, `""` or `null`: a reading is a value or says why it is not one.
//! - The JSON form is the bare value, or `{"state": "absent" | "unsupported" | "failed", "why": "…"}`.
//!
//! # What is absent
//! No default of `T` anywhere: a reading that nobody filled in is `Failed("not read")`.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{DeserializeOwned, Error as _};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// One value from a machine: what was read, or why nothing was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reading<T> {
    /// The value, as the source gave it.
    Value(T),
    /// The thing is not there: no such device, no such file, an empty slot.
    Absent(String),
    /// The thing is there and does not offer this value (a generation, a mode, a driver).
    Unsupported(String),
    /// The value should be there and could not be read.
    Failed(String),
}

impl<T> Reading<T> {
    /// A reading of something that is not there.
    pub fn absent(why: impl Into<String>) -> Self {
        Self::Absent(why.into())
    }

    /// A reading that this device or driver does not offer.
    pub fn unsupported(why: impl Into<String>) -> Self {
        Self::Unsupported(why.into())
    }

    /// A reading that went wrong.
    pub fn failed(why: impl Into<String>) -> Self {
        Self::Failed(why.into())
    }

    /// The value, if there is one.
    pub fn value(&self) -> Option<&T> {
        match self {
            Self::Value(value) => Some(value),
            Self::Absent(_) | Self::Unsupported(_) | Self::Failed(_) => None,
        }
    }

    /// The value by copy, if there is one.
    pub fn get(&self) -> Option<T>
    where
        T: Copy,
    {
        self.value().copied()
    }

    /// Why there is no value; `None` when there is one.
    pub fn why(&self) -> Option<&str> {
        match self {
            Self::Value(_) => None,
            Self::Absent(why) | Self::Unsupported(why) | Self::Failed(why) => Some(why),
        }
    }

    /// Whether reading went wrong (as opposed to: not there, not offered).
    pub fn is_failed(&self) -> bool {
        matches!(self, Self::Failed(_))
    }

    /// The same reading with its value changed.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Reading<U> {
        match self {
            Self::Value(value) => Reading::Value(change(value)),
            Self::Absent(why) => Reading::Absent(why),
            Self::Unsupported(why) => Reading::Unsupported(why),
            Self::Failed(why) => Reading::Failed(why),
        }
    }

    /// The same reading with a value that may turn out unusable.
    pub fn and_then<U>(self, change: impl FnOnce(T) -> Reading<U>) -> Reading<U> {
        match self {
            Self::Value(value) => change(value),
            Self::Absent(why) => Reading::Absent(why),
            Self::Unsupported(why) => Reading::Unsupported(why),
            Self::Failed(why) => Reading::Failed(why),
        }
    }

    /// A reading of a reference.
    pub fn as_ref(&self) -> Reading<&T> {
        match self {
            Self::Value(value) => Reading::Value(value),
            Self::Absent(why) => Reading::Absent(why.clone()),
            Self::Unsupported(why) => Reading::Unsupported(why.clone()),
            Self::Failed(why) => Reading::Failed(why.clone()),
        }
    }

    /// This reading if it has a value, else the other one.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        if self.value().is_some() { self } else { other }
    }
}

impl<T> From<T> for Reading<T> {
    fn from(value: T) -> Self {
        Self::Value(value)
    }
}

/// Nobody has read it yet: `Failed("not read")`, so that a forgotten field is never taken for zero.
impl<T> Default for Reading<T> {
    fn default() -> Self {
        Self::Failed("not read".to_owned())
    }
}

impl<T: Serialize> Serialize for Reading<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (state, why) = match self {
            Self::Value(value) => return value.serialize(serializer),
            Self::Absent(why) => ("absent", why),
            Self::Unsupported(why) => ("unsupported", why),
            Self::Failed(why) => ("failed", why),
        };
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("state", state)?;
        map.serialize_entry("why", why)?;
        map.end()
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Reading<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = serde_json::Value::deserialize(deserializer)?;
        if let Some(object) = json.as_object()
            && object.len() == 2
            && let (Some(state), Some(why)) = (
                object.get("state").and_then(serde_json::Value::as_str),
                object.get("why").and_then(serde_json::Value::as_str),
            )
        {
            let why = why.to_owned();
            return match state {
                "absent" => Ok(Self::Absent(why)),
                "unsupported" => Ok(Self::Unsupported(why)),
                "failed" => Ok(Self::Failed(why)),
                other => Err(D::Error::custom(format!(
                    "unknown reading state {other:?}, expected absent, unsupported or failed"
                ))),
            };
        }
        if json.is_null() {
            return Err(D::Error::custom(
                "null is no reading: give a value, or a state and why",
            ));
        }
        T::deserialize(json)
            .map(Self::Value)
            .map_err(D::Error::custom)
    }
}

impl<T: JsonSchema> JsonSchema for Reading<T> {
    fn schema_name() -> Cow<'static, str> {
        format!("Reading_of_{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let value = generator.subschema_for::<T>();
        json_schema!({
            "anyOf": [
                value,
                {
                    "type": "object",
                    "properties": {
                        "state": { "enum": ["absent", "unsupported", "failed"] },
                        "why": { "type": "string" }
                    },
                    "required": ["state", "why"],
                    "additionalProperties": false
                }
            ]
        })
    }
}

/// A counter of a device. A counter at its register's maximum has saturated: it says "at least".
///
/// JSON: the bare number, or `{"value": 255, "saturated": true}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Counter {
    /// What the register says.
    pub value: u64,
    /// Whether the register stands at its maximum.
    pub saturated: bool,
}

impl Counter {
    /// A counter whose register has `bits` bits (1..=64).
    pub fn with_width(value: u64, bits: u32) -> Self {
        let max = if bits >= 64 {
            u64::MAX
        } else {
            (1_u64 << bits) - 1
        };
        Self {
            value,
            saturated: value >= max,
        }
    }

    /// A counter that cannot saturate in practice.
    pub fn exact(value: u64) -> Self {
        Self {
            value,
            saturated: false,
        }
    }

    /// How much was counted since `earlier`; `None` when the counter went backwards (it was reset)
    /// or either end has saturated, so that no rate can be told.
    pub fn since(self, earlier: Self) -> Option<u64> {
        if self.saturated || earlier.saturated {
            return None;
        }
        self.value.checked_sub(earlier.value)
    }
}

impl std::fmt::Display for Counter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.saturated {
            write!(f, ">={}", self.value)
        } else {
            write!(f, "{}", self.value)
        }
    }
}

impl Serialize for Counter {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if !self.saturated {
            return serializer.serialize_u64(self.value);
        }
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("value", &self.value)?;
        map.serialize_entry("saturated", &true)?;
        map.end()
    }
}

impl<'de> Deserialize<'de> for Counter {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Full {
            value: u64,
            saturated: bool,
        }
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "a count, or {\"value\": …, \"saturated\": …}")]
        enum Form {
            Bare(u64),
            Full(Full),
        }
        Ok(match Form::deserialize(deserializer)? {
            Form::Bare(value) => Self::exact(value),
            Form::Full(full) => Self {
                value: full.value,
                saturated: full.saturated,
            },
        })
    }
}

impl JsonSchema for Counter {
    fn schema_name() -> Cow<'static, str> {
        "Counter".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "anyOf": [
                { "type": "integer", "minimum": 0 },
                {
                    "type": "object",
                    "properties": {
                        "value": { "type": "integer", "minimum": 0 },
                        "saturated": { "const": true }
                    },
                    "required": ["value", "saturated"],
                    "additionalProperties": false
                }
            ]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_keeps_value_and_reason_through_json() {
        let all: Vec<Reading<u64>> = vec![
            Reading::Value(7),
            Reading::absent("no such file"),
            Reading::unsupported("GA100 has none"),
            Reading::failed("EIO"),
        ];
        let json = serde_json::to_string(&all).expect("serialise");
        assert_eq!(
            json,
            r#"[7,{"state":"absent","why":"no such file"},{"state":"unsupported","why":"GA100 has none"},{"state":"failed","why":"EIO"}]"#
        );
        let back: Vec<Reading<u64>> = serde_json::from_str(&json).expect("deserialise");
        assert_eq!(back, all);
    }

    #[test]
    fn a_value_that_is_an_object_stays_a_value() {
        #[derive(Debug, PartialEq, Serialize, Deserialize)]
        struct Unit {
            state: String,
            name: String,
        }
        let json = r#"{"state":"active","name":"nvidia-persistenced.service"}"#;
        let reading: Reading<Unit> = serde_json::from_str(json).expect("deserialise");
        assert_eq!(
            reading.value().map(|unit| unit.state.as_str()),
            Some("active")
        );
    }

    #[test]
    fn null_is_refused() {
        let error = serde_json::from_str::<Reading<Option<u64>>>("null").expect_err("null");
        assert!(
            error.to_string().starts_with("null is no reading"),
            "{error}"
        );
    }

    #[test]
    fn counters_saturate_at_their_width_and_never_go_backwards() {
        assert!(Counter::with_width(255, 8).saturated);
        assert!(!Counter::with_width(254, 8).saturated);
        assert!(Counter::with_width(u64::MAX, 64).saturated);
        assert_eq!(Counter::exact(5).since(Counter::exact(9)), None);
        assert_eq!(Counter::exact(9).since(Counter::exact(5)), Some(4));
        let json = serde_json::to_string(&Counter::with_width(255, 8)).expect("serialise");
        assert_eq!(json, r#"{"value":255,"saturated":true}"#);
    }
}
