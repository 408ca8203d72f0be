//! Times on the command line: a number and a unit.

use std::time::Duration;

/// Longest time that can be meant: a hundred years.
const LONGEST: u64 = 100 * 366 * 86_400;

/// `90s`, `30m`, `24h`, `90d`: more than nothing, at most a hundred years.
///
/// # Errors
/// What is wanted.
pub fn parse(text: &str) -> Result<Duration, String> {
    let wanted = || format!("{text:?} is no time: want a number and s, m, h or d, such as 24h");
    let (digits, unit) = text
        .char_indices()
        .last()
        .and_then(|(at, _)| text.split_at_checked(at))
        .ok_or_else(wanted)?;
    let number: u64 = digits.parse().map_err(|_| wanted())?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err(wanted()),
    };
    let all = number.checked_mul(seconds).ok_or_else(wanted)?;
    if !(1..=LONGEST).contains(&all) {
        return Err(format!("{text} is not between 1s and 36600d"));
    }
    Ok(Duration::from_secs(all))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_a_number_and_a_unit() {
        assert_eq!(parse("45s"), Ok(Duration::from_secs(45)));
        assert_eq!(parse("30m"), Ok(Duration::from_secs(1800)));
        assert_eq!(parse("2d"), Ok(Duration::from_secs(172_800)));
        for bad in [
            "",
            "d",
            "1",
            "1w",
            "-1d",
            "0s",
            "99999999999999999999d",
            "36601d",
            "1é",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
