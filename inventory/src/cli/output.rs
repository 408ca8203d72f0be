//! The one module that prints.

use std::io::{self, Write as _};

use clap::ValueEnum;
use serde::Serialize;

/// How results are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON document.
    Json,
}

/// A line of data to standard output. A reader that went away is no error.
pub fn line(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// A value as JSON to standard output.
pub fn json(value: &impl Serialize) -> anyhow::Result<()> {
    line(&serde_json::to_string_pretty(value)?)?;
    Ok(())
}

/// A note to standard error; errors there have nowhere to be told.
pub fn note(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}
