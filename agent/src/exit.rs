//! How a command ends: exit codes and the one printer of error chains.
//!
//! # Invariants
//! - Exit codes mean the same for every command.
//! - An error is told as a chain, outermost first: what was being done, then why it failed.

use std::fmt::{self, Write as _};
use std::process::ExitCode;

use crate::output::printable;

/// The exit codes of every command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exit {
    /// Nothing blocks allocation.
    Fine = 0,
    /// Something blocks allocation (`--strict`: any enforced finding of warning or above).
    Blocked = 1,
    /// Wrong usage, unusable input, or the tool failed.
    Error = 2,
    /// A check that is required here could not be determined.
    Unknown = 3,
    /// Refused: the machine was left as it is.
    Refused = 4,
}

impl Exit {
    /// From the code that a check report gives.
    pub fn from_report(code: u8) -> Self {
        match code {
            0 => Self::Fine,
            1 => Self::Blocked,
            3 => Self::Unknown,
            4 => Self::Refused,
            _ => Self::Error,
        }
    }

    /// The number.
    pub fn code(self) -> u8 {
        self as u8
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// The exit codes, for the help text.
pub const EXIT_CODES: &str = "\
Exit codes:
  0  nothing blocks allocation
  1  something does (with --strict: any enforced finding of warning or above)
  2  wrong usage, unusable input, or the tool failed
  3  a check that is required here could not be determined
  4  refused; the machine was left as it is";

/// An action that Cupel will not take. As an error it ends the command with exit code 4.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused(pub String);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "refused: {}", self.0)
    }
}

impl std::error::Error for Refused {}

/// The exit code that an error ends a command with.
pub fn of_error(error: &anyhow::Error) -> Exit {
    if error.chain().any(|cause| cause.is::<Refused>()) {
        Exit::Refused
    } else {
        Exit::Error
    }
}

/// An error and its causes as text: `error: …`, then one `because: …` a cause.
pub fn chain(error: &anyhow::Error) -> String {
    let mut text = String::new();
    let mut last = String::new();
    for (depth, cause) in error.chain().enumerate() {
        let told = cause.to_string();
        // A wrapper that only repeats its cause adds nothing.
        if depth > 0 && told == last {
            continue;
        }
        let lead = if depth == 0 { "error" } else { "  because" };
        let _ = write!(text, "{lead}: {}", printable(&told).replace('\n', "\n    "));
        text.push('\n');
        last = told;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context as _;

    #[test]
    fn chain_tells_what_then_why_once() {
        let cause = std::io::Error::new(std::io::ErrorKind::NotFound, "no such file");
        let error = Err::<(), _>(cause)
            .context("no such file")
            .context("cannot load \x1b[31mx.toml")
            .expect_err("error");
        assert_eq!(
            chain(&error),
            "error: cannot load \u{fffd}[31mx.toml\n  because: no such file\n"
        );
        assert_eq!(of_error(&error), Exit::Error);
    }

    #[test]
    fn a_refusal_is_found_under_its_context() {
        let error = anyhow::Error::new(Refused("a job runs on this node".to_owned()))
            .context("cannot start burn-in");
        assert_eq!(of_error(&error), Exit::Refused);
    }
}
