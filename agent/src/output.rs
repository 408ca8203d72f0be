//! The one module that prints. Data goes to standard output, buffered; notes go to standard error.
//!
//! # Invariants
//! - A reader that went away is no error: what comes after is dropped without a word, and
//!   [`Output::is_closed`] tells long-running writers to stop. The exit code stays the command's.
//! - Text from the machine passes through [`printable`] before it reaches a terminal: whoever can
//!   write into the kernel log must not be able to steer the technician's screen.
//! - Colour only on a terminal, and never against `NO_COLOR`.

use std::borrow::Cow;
use std::io::{self, BufRead as _, BufWriter, IsTerminal, Write};

use anstyle::Style;
use clap::ValueEnum;
use serde::Serialize;

use crate::exit::Refused;
use crate::json;

/// How results are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON document.
    Json,
    /// One JSON object a line.
    Jsonl,
}

/// Standard output.
pub struct Output {
    to: BufWriter<Box<dyn Write + Send>>,
    colour: bool,
    closed: bool,
}

impl std::fmt::Debug for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Output")
            .field("colour", &self.colour)
            .field("closed", &self.closed)
            .finish_non_exhaustive()
    }
}

impl Output {
    /// The process's standard output.
    pub fn stdout() -> Self {
        let stdout = io::stdout();
        let colour = match anstream::AutoStream::choice(&stdout) {
            anstream::ColorChoice::Always | anstream::ColorChoice::AlwaysAnsi => true,
            anstream::ColorChoice::Never | anstream::ColorChoice::Auto => false,
        };
        Self::to(Box::new(stdout), colour)
    }

    /// Any writer, for tests and reports.
    pub fn to(writer: Box<dyn Write + Send>, colour: bool) -> Self {
        Self {
            to: BufWriter::with_capacity(64 * 1024, writer),
            colour,
            closed: false,
        }
    }

    /// Whether colour may be used.
    pub fn colour(&self) -> bool {
        self.colour
    }

    /// Whether the reader has gone away.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    fn settle(&mut self, result: io::Result<()>) -> io::Result<()> {
        match result {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.closed = true;
                Ok(())
            }
            other => other,
        }
    }

    /// Writes text as it is.
    ///
    /// # Errors
    /// The system's, except that the reader went away.
    pub fn text(&mut self, text: &str) -> io::Result<()> {
        if self.closed {
            return Ok(());
        }
        let result = self.to.write_all(text.as_bytes());
        self.settle(result)
    }

    /// Writes text and a line's end.
    ///
    /// # Errors
    /// As [`Output::text`].
    pub fn line(&mut self, text: &str) -> io::Result<()> {
        self.text(text)?;
        self.text("\n")
    }

    /// Writes one JSON document: indented for `json`, on one line for `jsonl`.
    ///
    /// # Errors
    /// As [`Output::text`].
    pub fn json(&mut self, value: &impl Serialize, format: Format) -> io::Result<()> {
        if self.closed {
            return Ok(());
        }
        let json = match format {
            Format::Json | Format::Text => json::pretty(value),
            Format::Jsonl => serde_json::to_vec(value),
        };
        let result = json
            .map_err(io::Error::from)
            .and_then(|json| self.to.write_all(&json));
        self.settle(result)?;
        self.text("\n")
    }

    /// Sends what is buffered.
    ///
    /// # Errors
    /// As [`Output::text`].
    pub fn flush(&mut self) -> io::Result<()> {
        if self.closed {
            return Ok(());
        }
        let result = self.to.flush();
        self.settle(result)
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        let _ = self.flush();
    }
}

/// Writes a note to standard error, with its line's end. Errors there have nowhere to be told.
pub fn note(text: &str) {
    let _ = writeln!(anstream::stderr().lock(), "{text}");
}

/// Whether standard error is a terminal: whether progress may be shown.
pub fn stderr_is_terminal() -> bool {
    io::stderr().is_terminal()
}

/// Whether standard input is a terminal: whether a person can be asked.
pub fn stdin_is_terminal() -> bool {
    io::stdin().is_terminal()
}

/// Asks the person at the terminal whether to go on.
///
/// # Errors
/// [`Refused`] unless the answer is yes.
pub fn ask() -> anyhow::Result<()> {
    let mut terminal = anstream::stderr();
    let _ = write!(terminal, "Go on? [y/N] ");
    let _ = terminal.flush();
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    if matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes") {
        Ok(())
    } else {
        Err(Refused("the operator did not agree".to_owned()).into())
    }
}

/// The text with every control character but line ends and tabs replaced.
pub fn printable(text: &str) -> Cow<'_, str> {
    let bad = |c: char| (c.is_control() && c != '\n' && c != '\t') || is_bidi(c);
    if text.chars().any(bad) {
        Cow::Owned(
            text.chars()
                .map(|c| if bad(c) { '\u{fffd}' } else { c })
                .collect(),
        )
    } else {
        Cow::Borrowed(text)
    }
}

/// Characters that reorder or hide the text around them.
fn is_bidi(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The text in a style, when colour may be used.
pub fn paint(text: &str, style: Style, colour: bool) -> String {
    if colour {
        format!("{style}{text}{style:#}")
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Gone;

    impl Write for Gone {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct Full;

    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_went_away_is_no_error() {
        let mut out = Output::to(Box::new(Gone), false);
        out.line("a").expect("buffered");
        out.flush().expect("broken pipe is quiet");
        assert!(out.is_closed());
        out.json(&[1, 2, 3], Format::Json).expect("dropped");
    }

    #[test]
    fn a_full_disk_is_an_error() {
        let mut out = Output::to(Box::new(Full), false);
        out.line("a").expect("buffered");
        assert!(out.flush().is_err());
    }

    #[test]
    fn nothing_can_steer_the_terminal() {
        assert_eq!(
            printable("a\x1b[2Jb\u{202e}c\td"),
            "a\u{fffd}[2Jb\u{fffd}c\td"
        );
        assert!(matches!(printable("plain"), Cow::Borrowed(_)));
    }
}
