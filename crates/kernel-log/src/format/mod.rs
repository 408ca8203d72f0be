//! Prefixes of kernel log lines: from any tool's line to time, source and message.
//!
//! Each line is recognised by itself, so a file may mix formats: raw `/dev/kmsg` records, `dmesg`
//! (plain, `-T`, `-x`, `-r`, iso), `journalctl -k` (short in all its variants, json), syslog files.
//!
//! # Invariants
//! - What no format claims is a message by itself, of unknown source and time.
//! - A time without a year stays null unless the present is given; a time without a zone is read
//!   at the offset given, UTC by default; seconds since boot need the boot's time.
//! - The outermost prefix that says something wins.

mod dmesg;
mod journal;
mod kmsg;
mod syslog;
mod time;

use std::borrow::Cow;

use cupel_model::{LogSource, Timestamp};

use crate::Options;

/// How a record of `/dev/kmsg` stands to its neighbours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Fragment {
    /// Whole (`-`), and everything that is no raw record.
    #[default]
    Whole,
    /// A piece of a line (`c`), or a whole line that was printed as one.
    Piece,
    /// What goes on with it (`+`, before Linux 4.10).
    Further,
}

/// One line without its prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record<'a> {
    /// When, if the line tells.
    pub time: Option<Timestamp>,
    /// Who wrote it, if the line tells.
    pub source: LogSource,
    /// Whole or a piece.
    pub fragment: Fragment,
    /// The message; it may hold line breaks.
    pub text: Cow<'a, str>,
}

impl<'a> Record<'a> {
    fn of(text: impl Into<Cow<'a, str>>) -> Self {
        Self {
            time: None,
            source: LogSource::Unknown,
            fragment: Fragment::Whole,
            text: text.into(),
        }
    }
}

/// One prefix taken off: what it said, and the rest.
struct Layer<'a> {
    time: Option<Timestamp>,
    source: LogSource,
    rest: &'a str,
}

/// More prefixes than this are not taken off (rsyslog and kubectl each add one).
const LAYERS: usize = 4;

/// Takes all prefixes off a line.
pub(crate) fn parse<'a>(line: &'a str, options: &Options) -> Record<'a> {
    let line = line.trim_end_matches(['\r', '\n']);
    if line.starts_with(['{', '\u{1e}'])
        && let Some(record) = journal::parse(line)
    {
        return record;
    }
    if let Some(record) = kmsg::parse(line, options) {
        return record;
    }
    if line.contains('\u{1b}') {
        let plain = without_colours(line);
        let record = layers(&plain, options);
        return Record {
            text: Cow::Owned(record.text.into_owned()),
            ..record
        };
    }
    layers(line, options)
}

fn layers<'a>(line: &'a str, options: &Options) -> Record<'a> {
    let mut record = Record::of(line);
    let mut rest = line;
    for _ in 0..LAYERS {
        let Some(layer) = dmesg::layer(rest, options).or_else(|| syslog::layer(rest, options))
        else {
            break;
        };
        record.time = record.time.or(layer.time);
        if record.source == LogSource::Unknown {
            record.source = layer.source;
        }
        rest = layer.rest;
    }
    record.text = Cow::Borrowed(rest.trim_start());
    record
}

/// Takes terminal colours (`ESC [ … m`) out, as `dmesg` writes them when told to.
fn without_colours(line: &str) -> String {
    let mut plain = String::with_capacity(line.len());
    let mut rest = line;
    while let Some((before, after)) = rest.split_once("\u{1b}[") {
        plain.push_str(before);
        let end = after.find(|c: char| !(c.is_ascii_digit() || c == ';'));
        rest = match end.and_then(|end| after.get(end..)) {
            Some(tail) => tail.strip_prefix('m').unwrap_or(tail),
            None => "",
        };
    }
    plain.push_str(rest);
    plain
}

/// Facility 0 is the kernel's own; all others were written by programs.
fn by_priority(priority: u32) -> LogSource {
    if priority >> 3 == 0 {
        LogSource::Kernel
    } else {
        LogSource::User
    }
}
