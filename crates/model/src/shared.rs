//! A value that its clones share until one of them is changed.
//!
//! # Invariants
//! - Whoever has one sees no change that is made through another.
//! - In JSON it is the value.

use std::borrow::Cow;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A value that its clones share. The service keeps several snapshots of one machine, most of which
/// does not change from one to the next.
#[derive(Default)]
pub struct Shared<T>(Arc<T>);

impl<T> Shared<T> {
    /// Whether these are one: what is one is equal.
    pub fn is_one_with(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl<T: PartialEq> Shared<T> {
    /// Becomes one with `other` if they are equal: there is one copy less.
    pub fn join(&mut self, other: &Self) {
        if self == other {
            self.0 = Arc::clone(&other.0);
        }
    }
}

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: PartialEq> PartialEq for Shared<T> {
    fn eq(&self, other: &Self) -> bool {
        self.is_one_with(other) || self.0 == other.0
    }
}

impl<T: fmt::Debug> fmt::Debug for Shared<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<T> Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

/// What is shared is copied first.
impl<T: Clone> DerefMut for Shared<T> {
    fn deref_mut(&mut self) -> &mut T {
        Arc::make_mut(&mut self.0)
    }
}

impl<T> From<T> for Shared<T> {
    fn from(value: T) -> Self {
        Self(Arc::new(value))
    }
}

impl<T> FromIterator<T> for Shared<Vec<T>> {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        Vec::from_iter(items).into()
    }
}

impl<'a, T> IntoIterator for &'a Shared<Vec<T>> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<'a, T: Clone> IntoIterator for &'a mut Shared<Vec<T>> {
    type Item = &'a mut T;
    type IntoIter = std::slice::IterMut<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter_mut()
    }
}

impl<T: Serialize> Serialize for Shared<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Shared<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(deserializer).map(Into::into)
    }
}

impl<T: JsonSchema> JsonSchema for Shared<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn schema_id() -> Cow<'static, str> {
        T::schema_id()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_seen_by_who_made_it() {
        let one: Shared<Vec<u32>> = vec![1, 2].into();
        let mut two = one.clone();
        assert!(one.is_one_with(&two));
        two.push(3);
        assert_eq!((one.len(), two.len()), (2, 3));
        assert!(!one.is_one_with(&two));
    }

    #[test]
    fn what_is_equal_becomes_one() {
        let one: Shared<Vec<u32>> = vec![1].into();
        let mut same: Shared<Vec<u32>> = vec![1].into();
        let mut other: Shared<Vec<u32>> = vec![2].into();
        same.join(&one);
        other.join(&one);
        assert!(same.is_one_with(&one));
        assert_eq!(*other, [2]);
    }

    #[test]
    fn in_json_it_is_the_value() {
        let one: Shared<Vec<u32>> = serde_json::from_str("[1]").expect("JSON");
        assert_eq!(serde_json::to_string(&one).expect("JSON"), "[1]");
        let schema = |schema: Schema| schema.to_value();
        assert_eq!(
            schema(schemars::schema_for!(Shared<Vec<u32>>)),
            schema(schemars::schema_for!(Vec<u32>))
        );
    }
}
