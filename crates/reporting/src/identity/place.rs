//! Where in a file something is wrong.

/// Why a file is not what it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {what}")]
pub struct ParseError {
    /// The file.
    pub file: String,
    /// Line, 1-based.
    pub line: usize,
    /// The key, what is wrong with its value, and what would be right.
    pub what: String,
}

/// The line of a byte, 1-based.
pub(super) fn line_of(text: &[u8], byte: usize) -> usize {
    let before = &text[..byte.min(text.len())];
    before.iter().filter(|byte| **byte == b'\n').count() + 1
}
