//! The clocks that collection reads, and when the machine was booted.
//!
//! # Invariants
//! - Intervals come from `CLOCK_BOOTTIME`, which never jumps and counts suspension.

use std::time::Duration;

use cupel_model::Timestamp;
use nix::time::{ClockId, clock_gettime};

use crate::error::ReadError;
use crate::root::Root;

/// The time now, by the wall clock; the epoch where that clock is out of all bounds.
pub fn now() -> Timestamp {
    let since_epoch = clock_gettime(ClockId::CLOCK_REALTIME)
        .map(Duration::from)
        .unwrap_or_default();
    let microseconds = i64::try_from(since_epoch.as_micros()).unwrap_or_default();
    Timestamp::from_microseconds(microseconds)
        .unwrap_or_else(|_| jiff::Timestamp::UNIX_EPOCH.into())
}

/// Time since boot, by a clock that never jumps.
pub fn since_boot() -> Duration {
    clock_gettime(ClockId::CLOCK_BOOTTIME)
        .map(Duration::from)
        .unwrap_or_default()
}

/// When the machine was booted. Under a root other than `/`: `btime` of `/proc/stat`.
///
/// # Errors
/// As [`Root::text`]; and when `btime` is not there or no time.
pub fn boot_time(root: &Root) -> Result<Timestamp, ReadError> {
    const PATH: &str = "/proc/stat";
    if root.is_live() {
        let up = i64::try_from(since_boot().as_micros()).unwrap_or(i64::MAX);
        return Timestamp::from_microseconds(now().microseconds().saturating_sub(up))
            .map_err(|error| ReadError::malformed("CLOCK_BOOTTIME", 1, &error.text, "a time"));
    }
    parse_boot_time(PATH, &root.text(PATH)?)
}

/// `btime` of the text of `/proc/stat`.
///
/// # Errors
/// It is not there, or no time.
pub fn parse_boot_time(path: &str, text: &str) -> Result<Timestamp, ReadError> {
    let (number, value) = text
        .lines()
        .enumerate()
        .find_map(|(number, line)| Some((number, line.strip_prefix("btime ")?)))
        .ok_or_else(|| ReadError::malformed(path, 1, "", "a table with a line btime"))?;
    value
        .trim()
        .parse::<i64>()
        .ok()
        .and_then(|seconds| Timestamp::from_microseconds(seconds.checked_mul(1_000_000)?).ok())
        .ok_or_else(|| ReadError::malformed(path, number + 1, value, "a time in seconds"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boot_time_of_proc_stat() {
        let time = parse_boot_time("/proc/stat", "cpu 1 2\nbtime 1418183276\n").expect("btime");
        assert_eq!(time.to_string(), "2014-12-10T03:47:56.000000Z");
        let error = parse_boot_time("/proc/stat", "cpu 1\nbtime soon\n").expect_err("no time");
        assert_eq!(
            error.to_string(),
            "/proc/stat: line 2: \"soon\" is not a time in seconds"
        );
        assert!(parse_boot_time("/proc/stat", "cpu 1\n").is_err());
    }
}
