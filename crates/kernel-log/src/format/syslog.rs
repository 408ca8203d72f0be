//! What journals and syslog files write before a message: a time, a host, a tag.
//!
//! `Aug 30 11:43:09[.fraction]`, `2024-08-30T11:43:09[.fraction]+00:00`, `Fri 2024-08-30 11:43:09
//! UTC`, `1725018189.123456`, `<4>1 2024-…` (RFC 5424), then `host kernel:` or `host name[pid]:`.
//! After `dmesg`'s bracket, `host kernel:` is journalctl's short-monotonic.
//!
//! # Invariants
//! - Only the tag `kernel` behind a time is the kernel; any other tag is a program. Without a time
//!   of the log's own, `kernel:` may be what a program wrote: the source stays unknown.

use cupel_model::{LogSource, Timestamp};

use super::{Layer, time};
use crate::Options;

pub(super) fn layer<'a>(line: &'a str, options: &Options) -> Option<Layer<'a>> {
    if let Some((time, rest)) = stamp(line, options) {
        let (source, rest) = tagged(rest).unwrap_or((LogSource::Unknown, rest));
        return Some(Layer { time, source, rest });
    }
    // Without a time, only the kernel's own tag is a prefix.
    let rest = match line.strip_prefix("kernel: ") {
        Some(rest) => rest,
        None => {
            let (_, rest) = line.split_once(' ').filter(|(host, _)| is_host(host))?;
            rest.strip_prefix("kernel: ")?
        }
    };
    Some(Layer {
        time: None,
        source: LogSource::Unknown,
        rest,
    })
}

/// The time in front, if one is there; it may be one that cannot be placed.
fn stamp<'a>(line: &'a str, options: &Options) -> Option<(Option<Timestamp>, &'a str)> {
    let (first, rest) = line.split_once(' ')?;
    if first.len() == 3
        && let Some(month) = time::month(first)
    {
        let rest = rest.trim_start_matches(' ');
        let (day, rest) = rest.split_once(' ')?;
        let (clock, rest) = rest.split_once(' ')?;
        let clock = time::clock(clock)?;
        if day.len() > 2 || !day.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        return Some((time::yearless(month, day, clock, options), rest));
    }
    if first.len() == 3 && first.starts_with(|c: char| c.is_ascii_uppercase()) {
        let (day, rest) = rest.split_once(' ')?;
        let (clock, rest) = rest.split_once(' ')?;
        let (zone, rest) = rest.split_once(' ')?;
        let (day, clock) = (time::day(day)?, time::clock(clock)?);
        // Names of zones other than UTC mean different offsets in different places.
        let universal = zone == "UTC" || zone == "GMT";
        let at = Options {
            utc_offset_seconds: 0,
            ..*options
        };
        return Some((
            universal.then(|| time::local(day, clock, &at)).flatten(),
            rest,
        ));
    }
    // RFC 5424's version stands before its time.
    if first == "1" {
        let (token, rest) = rest.split_once(' ')?;
        return Some((Some(time::iso(token, options)?), rest));
    }
    if !first.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    if first.contains('T') {
        return Some((Some(time::iso(first, options)?), rest));
    }
    // Seconds since 1970 have at least nine digits; a shorter number is something else.
    let micros = time::microseconds(first).filter(|_| first.find('.') >= Some(9))?;
    Some((Timestamp::from_microseconds(micros).ok(), rest))
}

fn is_host(word: &str) -> bool {
    !word.is_empty()
        && word
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.' || b == b'_')
}

/// Splits `host tag: text` (or `tag: text`, or RFC 5424's fields) into source and text.
fn tagged(rest: &str) -> Option<(LogSource, &str)> {
    if let Some(text) = rest.strip_prefix("kernel: ") {
        return Some((LogSource::Kernel, text));
    }
    let (host, after) = rest.split_once(' ')?;
    if !is_host(host) {
        return numbered_tag(rest);
    }
    if let Some(text) = after.strip_prefix("kernel: ") {
        return Some((LogSource::Kernel, text));
    }
    // RFC 5424: host application process message-id data text.
    if let Some(fields) = after.strip_prefix("kernel - - - ") {
        return Some((LogSource::Kernel, fields));
    }
    // The drivers' own first words look like tags and are not.
    if after.starts_with("NVRM: ") || after.starts_with("nvidia-nvswitch") {
        return Some((LogSource::Unknown, after));
    }
    let (tag, text) = after.split_once(": ")?;
    let whole = !tag.is_empty() && !tag.contains(' ');
    whole.then_some((LogSource::User, text))
}

/// `name[pid]: text` without a host.
fn numbered_tag(rest: &str) -> Option<(LogSource, &str)> {
    let (tag, text) = rest.split_once(": ")?;
    let numbered = tag.ends_with(']') && tag.contains('[') && !tag.contains(' ');
    numbered.then_some((LogSource::User, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers() {
        let options = Options {
            now: Some("2024-09-01T00:00:00Z".parse().expect("time")),
            ..Options::default()
        };
        let when = Some("2024-08-30T11:43:09.000000Z");
        for (line, time, source) in [
            ("Aug 30 11:43:09 host kernel: x", when, LogSource::Kernel),
            ("Aug 30 11:43:09 kernel: x", when, LogSource::Kernel),
            (
                "2024-08-30T11:43:09+0000 host kernel: x",
                when,
                LogSource::Kernel,
            ),
            (
                "2024-08-30T13:43:09.000000+02:00 host-1.example kernel: x",
                when,
                LogSource::Kernel,
            ),
            (
                "Fri 2024-08-30 11:43:09 UTC host kernel: x",
                when,
                LogSource::Kernel,
            ),
            (
                "Fri 2024-08-30 11:43:09 IST host kernel: x",
                None,
                LogSource::Kernel,
            ),
            ("1725018189.000000 host kernel: x", when, LogSource::Kernel),
            (
                "1 2024-08-30T11:43:09Z host kernel - - - x",
                when,
                LogSource::Kernel,
            ),
            ("Aug 30 11:43:09 host systemd[1]: x", when, LogSource::User),
            ("Aug 30 11:43:09 host gpud: x", when, LogSource::User),
            ("2024-08-30T11:43:09Z x", when, LogSource::Unknown),
            ("host kernel: x", None, LogSource::Unknown),
            ("kernel: x", None, LogSource::Unknown),
        ] {
            let layer = layer(line, &options).expect(line);
            assert_eq!(layer.time.map(|t| t.to_string()).as_deref(), time, "{line}");
            assert_eq!((layer.source, layer.rest), (source, "x"), "{line}");
        }
        for line in [
            "x",
            "usb 1-1: new",
            "12.5 x",
            "nvme nvme0: I/O",
            "Xid (PCI) x",
        ] {
            assert!(layer(line, &options).is_none(), "{line}");
        }
    }
}
