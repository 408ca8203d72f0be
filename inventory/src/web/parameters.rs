//! Query parameters: known by name, each at most once, each of its type.
//!
//! # Invariants
//! - An unknown parameter is refused: a misspelt filter must not show everything.
//! - A refusal names the parameter.

use std::borrow::Cow;
use std::str::FromStr;

use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};

use super::problem::Problem;
use crate::record::{MOST_ITEMS, USUAL_ITEMS};

/// Longest text of a filter, in characters.
const LONGEST: usize = 256;

/// What a route takes in its query.
pub trait Parameters: DeserializeOwned + JsonSchema {
    /// Names, in their order.
    const NAMES: &'static [&'static str];
}

/// Defines a struct of query parameters, all of them optional.
macro_rules! parameters {
    ($(#[$doc:meta])* pub struct $name:ident { $($(#[$meta:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, serde::Deserialize, schemars::JsonSchema)]
        #[serde(default)]
        pub struct $name {
            $($(#[$meta])* pub $field: Option<$type>,)*
        }

        impl $crate::web::parameters::Parameters for $name {
            const NAMES: &'static [&'static str] = &[$(stringify!($field)),*];
        }
    };
}
pub(super) use parameters;

/// The parameters of a request.
#[derive(Clone, Copy, Debug)]
pub struct Params<T>(pub T);

impl<S: Send + Sync, T: Parameters> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        read(parts.uri.clone()).map(Self)
    }
}

/// Name-value pairs of a query, as a form encodes them.
pub fn pairs(uri: &axum::http::Uri) -> Result<Vec<(String, String)>, Problem> {
    Query::<Vec<(String, String)>>::try_from_uri(uri)
        .map(|Query(pairs)| pairs)
        .map_err(|_| Problem::bad_request("the query cannot be read"))
}

fn read<T: Parameters>(uri: axum::http::Uri) -> Result<T, Problem> {
    let mut map = serde_json::Map::new();
    for (name, value) in pairs(&uri)? {
        if !T::NAMES.contains(&name.as_str()) {
            let known = match T::NAMES {
                [] => "it takes none".to_owned(),
                names => format!("it takes {}", names.join(", ")),
            };
            let shown: String = name.chars().take(64).collect();
            return Err(Problem::parameter(
                &name,
                format!("there is no parameter {shown:?} here; {known}"),
            ));
        }
        if map.contains_key(&name) {
            return Err(Problem::parameter(&name, format!("{name} is given twice")));
        }
        map.insert(name, serde_json::Value::String(value));
    }
    serde_path_to_error::deserialize(serde_json::Value::Object(map)).map_err(|error| {
        let name = error.path().to_string();
        let detail = format!("{name}: {}", error.inner());
        Problem::parameter(&name, detail)
    })
}

/// Reads a text as something else, and says what was wanted.
fn from_text<'de, D: Deserializer<'de>, T: FromStr>(
    deserializer: D,
    check: impl Fn(&T) -> bool,
    want: &str,
) -> Result<T, D::Error> {
    let text = Cow::<'de, str>::deserialize(deserializer)?;
    let plain = !text.starts_with('+');
    match text.parse::<T>() {
        Ok(value) if plain && check(&value) => Ok(value),
        Ok(_) | Err(_) => {
            let shown: String = text.chars().take(64).collect();
            Err(serde::de::Error::custom(format!("{shown:?} is not {want}")))
        }
    }
}

/// How many items a page may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit(pub u32);

impl Default for Limit {
    fn default() -> Self {
        Self(USUAL_ITEMS)
    }
}

impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let fits = |number: &u32| (1..=MOST_ITEMS).contains(number);
        from_text(deserializer, fits, "a number from 1 to 500").map(Self)
    }
}

impl JsonSchema for Limit {
    fn schema_name() -> Cow<'static, str> {
        "Limit".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "integer", "minimum": 1, "maximum": MOST_ITEMS, "default": USUAL_ITEMS })
    }
}

/// How many items to leave out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offset(pub u64);

/// Largest offset.
const FARTHEST: u64 = 1 << 40;

impl<'de> Deserialize<'de> for Offset {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let fits = |number: &u64| *number <= FARTHEST;
        from_text(deserializer, fits, "a number from 0 to 1099511627776").map(Self)
    }
}

impl JsonSchema for Offset {
    fn schema_name() -> Cow<'static, str> {
        "Offset".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "integer", "minimum": 0, "maximum": FARTHEST, "default": 0 })
    }
}

/// A text to filter by: 1 to 256 characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word(pub String);

impl<'de> Deserialize<'de> for Word {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let fits = |text: &String| (1..=LONGEST).contains(&text.chars().count());
        let text = Cow::<'de, str>::deserialize(deserializer)?.into_owned();
        if fits(&text) {
            Ok(Self(text))
        } else {
            Err(serde::de::Error::custom(
                "wants a text of 1 to 256 characters",
            ))
        }
    }
}

impl JsonSchema for Word {
    fn schema_name() -> Cow<'static, str> {
        "Word".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "minLength": 1, "maxLength": LONGEST })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cupel_model::Verdict;

    parameters! {
        /// For the tests.
        pub struct Some_ {
            /// A verdict.
            verdict: Verdict,
            /// A limit.
            limit: Limit,
            /// A text.
            q: Word,
        }
    }

    fn of(query: &str) -> Result<Some_, Problem> {
        read(format!("/?{query}").parse().expect("uri"))
    }

    #[test]
    fn known_parameters_are_read() {
        let read = of("verdict=unhealthy&limit=7&q=a%20b%2B+c").expect("parameters");
        assert_eq!(read.verdict, Some(Verdict::Unhealthy));
        assert_eq!(read.limit, Some(Limit(7)));
        assert_eq!(read.q, Some(Word("a b+ c".to_owned())));
        assert!(of("").expect("none").verdict.is_none());
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (query, name) in [
            ("colour=red", "colour"),
            ("verdict=fine", "verdict"),
            ("limit=0", "limit"),
            ("limit=501", "limit"),
            ("limit=+5", "limit"),
            ("limit=%2B5", "limit"),
            ("q=", "q"),
            ("q=a&q=b", "q"),
        ] {
            let problem = of(query).expect_err(query);
            let json = serde_json::to_value(problem.body()).expect("json");
            assert_eq!(json["parameter"], name, "{query}");
        }
    }
}
