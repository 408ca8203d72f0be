//! How a command ends.

use std::fmt::{self, Write as _};
use std::process::ExitCode;

/// How a command ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It did what it was asked for.
    Fine,
    /// Wrong usage, unusable input, or it failed.
    Error,
    /// It will not do this.
    Refused,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Fine => 0,
            Exit::Error => 2,
            Exit::Refused => 4,
        })
    }
}

/// The exit codes, for the help text.
pub const EXIT_CODES: &str = "\
Exit codes:
  0  done
  2  wrong usage, unusable input, or it failed
  4  refused; nothing was changed";

/// Something that will not be done. As an error it ends the command with exit code 4.
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
        if depth > 0 && told == last {
            continue;
        }
        let lead = if depth == 0 { "error" } else { "  because" };
        let _ = writeln!(text, "{lead}: {}", told.replace('\n', "\n    "));
        last = told;
    }
    text
}
