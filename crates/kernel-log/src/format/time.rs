//! Points in time as log tools write them.

use cupel_model::Timestamp;
use jiff::civil::{Date, DateTime, Time};
use jiff::tz::Offset;

use crate::Options;

/// At the offset given for times without a zone.
pub(super) fn local(date: Date, time: Time, options: &Options) -> Option<Timestamp> {
    let offset = Offset::from_seconds(options.utc_offset_seconds).ok()?;
    at(date, time, offset)
}

fn at(date: Date, time: Time, offset: Offset) -> Option<Timestamp> {
    let civil = DateTime::from_parts(date, time);
    offset.to_timestamp(civil).ok().map(Timestamp::from)
}

/// `Jan` to `Dec`.
pub(super) fn month(name: &str) -> Option<i8> {
    const NAMES: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let index = NAMES.iter().position(|known| *known == name)?;
    i8::try_from(index + 1).ok()
}

fn number<T: std::str::FromStr>(text: &str) -> Option<T> {
    (!text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()))
        .then(|| text.parse().ok())
        .flatten()
}

/// `hh:mm:ss` with up to nine decimals after `.` or `,`.
pub(super) fn clock(text: &str) -> Option<Time> {
    let (whole, fraction) = text.split_once(['.', ',']).unwrap_or((text, ""));
    let mut parts = whole.split(':');
    let hour = number(parts.next()?)?;
    let minute = number(parts.next()?)?;
    let second = number(parts.next()?)?;
    if parts.next().is_some() || fraction.len() > 9 {
        return None;
    }
    let nanoseconds = if fraction.is_empty() {
        0
    } else {
        number::<i32>(&format!("{fraction:0<9}"))?
    };
    // A leap second is the last moment of its minute.
    let second: i8 = second;
    Time::new(hour, minute, second.min(59), nanoseconds).ok()
}

/// `yyyy-mm-dd`.
pub(super) fn day(text: &str) -> Option<Date> {
    let mut parts = text.split('-');
    let date = Date::new(
        number(parts.next()?)?,
        number(parts.next()?)?,
        number(parts.next()?)?,
    );
    if parts.next().is_some() {
        return None;
    }
    date.ok()
}

/// `yyyy-mm-ddThh:mm:ss[.,fraction](Z|±hh:mm|±hhmm)`, or without a zone.
pub(super) fn iso(text: &str, options: &Options) -> Option<Timestamp> {
    let (date, rest) = text.split_once('T')?;
    let date = day(date)?;
    if let Some(time) = rest.strip_suffix('Z') {
        return at(date, clock(time)?, Offset::UTC);
    }
    let Some(sign) = rest.rfind(['+', '-']) else {
        return local(date, clock(rest)?, options);
    };
    let (time, zone) = rest.split_at_checked(sign)?;
    let digits: String = zone.chars().filter(|c| *c != ':').skip(1).collect();
    let (hours, minutes) = match digits.len() {
        2 => (number::<i32>(&digits)?, 0),
        4 => (
            number::<i32>(digits.get(..2)?)?,
            number::<i32>(digits.get(2..)?)?,
        ),
        _ => return None,
    };
    let seconds = hours * 3600 + minutes * 60;
    let seconds = if zone.starts_with('-') {
        -seconds
    } else {
        seconds
    };
    at(date, clock(time)?, Offset::from_seconds(seconds).ok()?)
}

/// Month, day and clock without a year: the latest such moment that is not after the present.
pub(super) fn yearless(month: i8, day: &str, time: Time, options: &Options) -> Option<Timestamp> {
    /// Clocks differ by this much and the year still holds.
    const AHEAD_SECONDS: f64 = 86_400.0;
    let now = options.now?;
    let day = number(day)?;
    let year: i16 = now.to_string().get(..4)?.parse().ok()?;
    [year.checked_add(1)?, year, year.checked_sub(1)?]
        .into_iter()
        .filter_map(|year| local(Date::new(year, month, day).ok()?, time, options))
        .find(|candidate| candidate.seconds_since(now) < AHEAD_SECONDS)
}

/// Seconds with a fraction as microseconds.
pub(super) fn microseconds(text: &str) -> Option<i64> {
    let (seconds, fraction) = text.split_once('.')?;
    if fraction.is_empty() || fraction.len() > 9 {
        return None;
    }
    let seconds: i64 = number(seconds)?;
    let fraction: i64 = number(format!("{fraction:0<6}").get(..6)?)?;
    seconds.checked_mul(1_000_000)?.checked_add(fraction)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn iso_in_all_spellings() {
        let options = Options::default();
        for (text, want) in [
            (
                "2025-01-21T04:41:44,283302+00:00",
                Some("2025-01-21T04:41:44.283302Z"),
            ),
            (
                "2025-01-21T05:41:44+0100",
                Some("2025-01-21T04:41:44.000000Z"),
            ),
            (
                "2025-01-20T23:11:44.5-05:30",
                Some("2025-01-21T04:41:44.500000Z"),
            ),
            ("2025-01-21T04:41:44Z", Some("2025-01-21T04:41:44.000000Z")),
            ("2025-01-21T04:41:44", Some("2025-01-21T04:41:44.000000Z")),
            ("2025-13-21T04:41:44Z", None),
            ("2025-01-21T04:41Z", None),
            ("2025-01-21T04:41:44+1", None),
            ("T", None),
        ] {
            let got = iso(text, &options).map(|t| t.to_string());
            assert_eq!(got.as_deref(), want, "{text}");
        }
    }

    #[test]
    fn the_year_is_the_latest_possible() {
        let options = Options {
            now: Some("2026-01-02T00:00:00Z".parse().expect("time")),
            ..Options::default()
        };
        let time = clock("11:00:00").expect("clock");
        let of = |m, d| yearless(m, d, time, &options).map(|t| t.to_string());
        assert_eq!(of(12, "31").as_deref(), Some("2025-12-31T11:00:00.000000Z"));
        assert_eq!(of(1, "1").as_deref(), Some("2026-01-01T11:00:00.000000Z"));
        assert_eq!(of(2, "30"), None);
        assert_eq!(yearless(1, "1", time, &Options::default()), None);
    }
}
