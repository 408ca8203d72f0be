//! Documents as JSON, in one way: written on one line into memory, and worked on as plain values
//! from there.
//!
//! Each way of writing or reading is a copy of itself for every type that goes through it; for a
//! snapshot, a copy is hundreds of kilobytes of the program.

use serde::Serialize;
use serde_json::Value;

/// The document as a plain value.
///
/// # Errors
/// Only for what has no JSON, such as a map whose keys are no text.
pub fn value(document: &impl Serialize) -> serde_json::Result<Value> {
    serde_json::from_slice(&serde_json::to_vec(document)?)
}

/// The document, indented.
///
/// # Errors
/// As [`value`].
pub fn pretty(document: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    serde_json::to_vec_pretty(&value(document)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Document {
        z: f32,
        a: f64,
        large: u64,
        none: Option<u8>,
    }

    #[test]
    fn numbers_and_the_order_of_fields_survive() {
        let document = Document {
            z: 0.1,
            a: 2.0,
            large: u64::MAX,
            none: None,
        };
        assert_eq!(
            pretty(&document).expect("JSON"),
            serde_json::to_vec_pretty(&document).expect("JSON")
        );
    }
}
