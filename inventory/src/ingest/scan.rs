//! A look over JSON before it is parsed: how deep it nests, how many values it has.
//!
//! # Invariants
//! - One pass, no memory. What is no JSON passes: the parser finds that.

/// Deepest nesting.
const DEEPEST: usize = 128;

/// Most values (array items, object members) in one report. A node with eight GPUs has about
/// 20,000; parsing costs up to 100 bytes of memory for each.
pub const MOST_VALUES: usize = 1_000_000;

/// Why JSON is not parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScanError {
    /// Too deep.
    #[error("nests deeper than {DEEPEST} levels")]
    TooDeep,
    /// Too much.
    #[error("has more than {MOST_VALUES} values")]
    TooMany,
}

/// Whether the JSON is flat and small enough to parse.
///
/// # Errors
/// [`ScanError`].
pub fn scan(json: &[u8]) -> Result<(), ScanError> {
    let mut depth = 0_usize;
    let mut values = 0_usize;
    let mut bytes = json.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => {
                while let Some(byte) = bytes.next() {
                    match byte {
                        b'"' => break,
                        b'\\' => {
                            bytes.next();
                        }
                        _ => {}
                    }
                }
            }
            b'[' | b'{' => {
                depth += 1;
                values += 1;
                if depth > DEEPEST {
                    return Err(ScanError::TooDeep);
                }
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            b',' => values += 1,
            _ => {}
        }
        if values > MOST_VALUES {
            return Err(ScanError::TooMany);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_is_counted_outside_of_texts() {
        assert_eq!(scan(&b"[".repeat(128)), Ok(()));
        assert_eq!(scan(&b"[".repeat(129)), Err(ScanError::TooDeep));
        assert_eq!(scan(&b"[]".repeat(1000)), Ok(()));
        let text = format!("{{\"a\":\"{}\\\"[[[\"}}", "[".repeat(500));
        assert_eq!(scan(text.as_bytes()), Ok(()));
    }

    #[test]
    fn values_are_counted() {
        let mut many = b"[".to_vec();
        many.extend(b"0,".repeat(MOST_VALUES + 1));
        assert_eq!(scan(&many), Err(ScanError::TooMany));
    }
}
