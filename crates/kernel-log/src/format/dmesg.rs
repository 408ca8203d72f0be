//! What `dmesg` writes before a message.
//!
//! `[   12.345678]`, `[Fri Aug 30 11:43:09 2024]` (`-T`), `2025-01-21T04:41:44,283302+00:00`
//! (iso), each perhaps behind `kern  :warn  :` (`-x`) or `<4>` (`-r`), or before `[  T123]` or
//! `[  C4]` (the caller).

use cupel_model::{LogSource, Timestamp};
use jiff::civil::Date;

use super::{Layer, by_priority, time};
use crate::Options;

pub(super) fn layer<'a>(line: &'a str, options: &Options) -> Option<Layer<'a>> {
    match line.as_bytes().first()? {
        b'[' => bracket(line, options),
        b'<' => priority(line),
        b'0'..=b'9' => iso(line, options),
        b'a'..=b'z' => decoded(line),
        _ => None,
    }
}

/// `[ seconds.microseconds]`, `[date]`, `[ T123]`.
fn bracket<'a>(line: &'a str, options: &Options) -> Option<Layer<'a>> {
    let (inside, rest) = line.strip_prefix('[')?.split_once(']')?;
    let inside = inside.trim();
    let said = if let Some(since) = time::microseconds(inside) {
        options.boot_time.and_then(|boot| {
            Timestamp::from_microseconds(boot.microseconds().checked_add(since)?).ok()
        })
    } else if relative(inside) || caller(inside) {
        None
    } else {
        Some(date(inside, options)?)
    };
    let rest = rest.strip_prefix(' ').unwrap_or(rest);
    Some(Layer {
        time: said,
        source: LogSource::Unknown,
        rest,
    })
}

/// `+0.000012` and `Aug30 11:43`, of `--time-format=reltime`: no moment by themselves.
fn relative(inside: &str) -> bool {
    if let Some(delta) = inside.strip_prefix('+') {
        return time::microseconds(delta.trim()).is_some();
    }
    let Some((day, clock)) = inside.split_once(' ') else {
        return false;
    };
    day.get(..3).and_then(time::month).is_some()
        && day
            .get(3..)
            .is_some_and(|d| !d.is_empty() && d.bytes().all(|b| b.is_ascii_digit()))
        && clock.len() == 5
        && clock.split_once(':').is_some()
}

/// `T123` or `C4`.
fn caller(inside: &str) -> bool {
    inside
        .strip_prefix(['T', 'C'])
        .is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()))
}

/// `Fri Aug 30 11:43:09 2024`.
fn date(inside: &str, options: &Options) -> Option<Timestamp> {
    let mut parts = inside.split_ascii_whitespace();
    let weekday = parts.next()?;
    let month = time::month(parts.next()?)?;
    let day = parts.next()?.parse().ok()?;
    let clock = time::clock(parts.next()?)?;
    let year = parts.next()?.parse().ok()?;
    if weekday.len() != 3 || parts.next().is_some() {
        return None;
    }
    time::local(Date::new(year, month, day).ok()?, clock, options)
}

/// `<4>`.
fn priority(line: &str) -> Option<Layer<'_>> {
    let (digits, rest) = line.strip_prefix('<')?.split_once('>')?;
    if digits.is_empty() || digits.len() > 4 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some(Layer {
        time: None,
        source: by_priority(digits.parse().ok()?),
        rest,
    })
}

/// dmesg's iso time, known by its comma; with a full stop it is a journal's or a syslog's.
fn iso<'a>(line: &'a str, options: &Options) -> Option<Layer<'a>> {
    let (token, rest) = line.split_once(' ')?;
    if !token.contains(',') {
        return None;
    }
    Some(Layer {
        time: Some(time::iso(token, options)?),
        source: LogSource::Unknown,
        rest,
    })
}

/// `kern  :warn  : `.
fn decoded(line: &str) -> Option<Layer<'_>> {
    const FACILITIES: [&str; 13] = [
        "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron",
        "authpriv", "ftp", "local",
    ];
    const LEVELS: [&str; 8] = [
        "emerg", "alert", "crit", "err", "warn", "notice", "info", "debug",
    ];
    let (facility, rest) = line.split_once(':')?;
    let (level, rest) = rest.split_once(':')?;
    let facility = facility.trim_end();
    let named = facility.trim_end_matches(|c: char| c.is_ascii_digit());
    if !FACILITIES.contains(&named) || !LEVELS.contains(&level.trim()) {
        return None;
    }
    Some(Layer {
        time: None,
        source: if facility == "kern" {
            LogSource::Kernel
        } else {
            LogSource::User
        },
        rest: rest.trim_start(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers() {
        let options = Options::default();
        for (line, time, rest) in [
            ("[   12.345678] x", None, "x"),
            (
                "[Fri Aug 30 11:43:09 2024] x",
                Some("2024-08-30T11:43:09.000000Z"),
                "x",
            ),
            (
                "[Sun Sep  1 01:02:03 2024] x",
                Some("2024-09-01T01:02:03.000000Z"),
                "x",
            ),
            ("[  T123] x", None, "x"),
            ("[  +0.000012] x", None, "x"),
            ("[Aug30 11:43] x", None, "x"),
            (
                "2025-01-21T04:41:44,283302+00:00 x",
                Some("2025-01-21T04:41:44.283302Z"),
                "x",
            ),
            ("kern  :warn  : x", None, "x"),
            ("<4>x", None, "x"),
        ] {
            let layer = layer(line, &options).expect(line);
            assert_eq!(layer.time.map(|t| t.to_string()).as_deref(), time, "{line}");
            assert_eq!(layer.rest, rest, "{line}");
        }
        for line in [
            "[Hardware Error]: x",
            "[14] CmpltTO",
            "[ 0] RxErr",
            "nvme nvme0: x",
            "<x>",
            "[12.3",
            "kern:x",
        ] {
            assert!(layer(line, &options).is_none(), "{line}");
        }
    }

    #[test]
    fn sources() {
        let options = Options::default();
        for (line, source) in [
            ("kern  :warn  : x", LogSource::Kernel),
            ("user  :notice: x", LogSource::User),
            ("daemon:info  : x", LogSource::User),
            ("local0:info  : x", LogSource::User),
            ("<6>x", LogSource::Kernel),
            ("<12>x", LogSource::User),
            ("[    1.000000] x", LogSource::Unknown),
        ] {
            assert_eq!(layer(line, &options).expect(line).source, source, "{line}");
        }
    }
}
