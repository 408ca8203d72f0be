//! What is wrong with a platform file, and where.

use std::fmt;

/// A platform file that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct PlatformError {
    /// File name, as given.
    pub file: String,
    /// Line, from 1; none when the fault is in no line.
    pub line: Option<usize>,
    /// Key, where one is at fault.
    pub key: Option<String>,
    /// The value as it stands there, at most 80 characters of it.
    pub value: Option<String>,
    /// What is wrong with it.
    pub why: String,
}

impl fmt::Display for PlatformError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if let Some(key) = &self.key {
            write!(f, ": {key}")?;
        }
        if let Some(value) = &self.value {
            write!(f, " = {value}")?;
        }
        write!(f, ": {}", self.why)
    }
}

/// At most 80 characters of `text`.
pub(super) fn shortened(text: &str) -> String {
    let text = text.trim();
    if text.chars().count() <= 80 {
        return text.to_owned();
    }
    text.chars().take(79).chain(['…']).collect()
}
