//! Pages of lists.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Most items on a page.
pub const MOST_ITEMS: u32 = 500;

/// Items on a page when nobody says how many.
pub const USUAL_ITEMS: u32 = 100;

/// A place in a list: what the last item of a page was sorted by. Opaque to readers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// What the list is sorted by first.
    pub first: i64,
    /// What tells items apart that have this in common.
    pub then: i64,
}

/// A text that is no cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not a cursor: take it from `next` of the page before, as it is")]
pub struct NoCursor;

/// Sortable as text, too: the sign bit is turned.
fn digits(value: i64) -> String {
    format!("{:016x}", value.cast_unsigned() ^ (1 << 63))
}

fn value(digits: &str) -> Option<i64> {
    let plain = digits.len() == 16
        && digits
            .bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    plain
        .then(|| u64::from_str_radix(digits, 16).ok())
        .flatten()
        .map(|bits| (bits ^ (1 << 63)).cast_signed())
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", digits(self.first), digits(self.then))
    }
}

impl FromStr for Cursor {
    type Err = NoCursor;

    fn from_str(text: &str) -> Result<Self, NoCursor> {
        let (first, then) = text.split_at_checked(16).ok_or(NoCursor)?;
        Ok(Self {
            first: value(first).ok_or(NoCursor)?,
            then: value(then).ok_or(NoCursor)?,
        })
    }
}

impl Serialize for Cursor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Cursor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Cursor {
    fn schema_name() -> Cow<'static, str> {
        "Cursor".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[0-9a-f]{32}$" })
    }
}

/// One page of a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Page<T> {
    /// In the list's order.
    pub items: Vec<T>,
    /// Cursor of the next page; null on the last.
    pub next: Option<Cursor>,
}

impl<T> Page<T> {
    /// A page from one item more than fits, if there are that many.
    pub fn cut(mut items: Vec<T>, limit: u32, place: impl Fn(&T) -> Cursor) -> Self {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let more = items.len() > limit;
        items.truncate(limit);
        let next = more.then(|| items.last().map(place)).flatten();
        Self { items, next }
    }

    /// The same page of other items.
    pub fn map<U>(self, change: impl FnMut(T) -> U) -> Page<U> {
        Page {
            items: self.items.into_iter().map(change).collect(),
            next: self.next,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_page_has_a_next_one_only_if_there_is_more() {
        let place = |item: &i64| Cursor {
            first: *item,
            then: 0,
        };
        assert_eq!(Page::cut(vec![1, 2], 2, place).next, None);
        let page = Page::cut(vec![1, 2, 3], 2, place);
        assert_eq!((page.items, page.next), (vec![1, 2], Some(place(&2))));
    }

    proptest! {
        #[test]
        fn cursors_round_trip_and_sort(a in any::<(i64, i64)>(), b in any::<(i64, i64)>()) {
            let cursor = |(first, then)| Cursor { first, then };
            let text = cursor(a).to_string();
            prop_assert_eq!(text.parse::<Cursor>(), Ok(cursor(a)));
            prop_assert_eq!(text.cmp(&cursor(b).to_string()), a.cmp(&b));
        }

        #[test]
        fn whatever_has_the_form_is_a_cursor(text in "[0-9a-f]{32}", other in ".{0,40}") {
            prop_assert!(text.parse::<Cursor>().is_ok());
            let _ = other.parse::<Cursor>();
        }
    }
}
