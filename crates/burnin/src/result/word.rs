//! Sixty-four bits of tested data.
//!
//! # Invariants
//! - In JSON they are hexadecimal text: JSON numbers lose bits above 2^53.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Sixty-four bits of data. JSON: `"0x00c0ffee00000000"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Word(pub u64);

impl Word {
    /// Numbers of the bits that are set, lowest first.
    pub fn bits(self) -> Vec<u32> {
        (0..64).filter(|bit| self.0 >> bit & 1 == 1).collect()
    }
}

impl std::fmt::Display for Word {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:#018x}", self.0)
    }
}

impl Serialize for Word {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Word {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        text.strip_prefix("0x")
            .and_then(|digits| u64::from_str_radix(digits, 16).ok())
            .map(Self)
            .ok_or_else(|| serde::de::Error::custom(format!("{text:?} is not a word (want 0x…)")))
    }
}

impl JsonSchema for Word {
    fn schema_name() -> Cow<'static, str> {
        "Word".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^0x[0-9a-f]{16}$" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_keep_all_their_bits_through_json() {
        let word = Word(0xffff_0000_0000_0001);
        let json = serde_json::to_string(&word).expect("json");
        assert_eq!(json, "\"0xffff000000000001\"");
        assert_eq!(serde_json::from_str::<Word>(&json).expect("word"), word);
        assert!(serde_json::from_str::<Word>("\"12\"").is_err());
        assert_eq!(Word(0x8000_0000_0000_0005).bits(), [0, 2, 63]);
    }
}
