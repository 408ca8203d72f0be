//! For how long what is kept, on the command line.

use std::time::Duration;

use clap::Args;

use crate::store::Retention;

/// For how long what is kept.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "What is kept for how long (30m, 24h, 90d)")]
pub struct RetentionArgs {
    /// Names of heartbeats, by which a second delivery is known
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = duration)]
    keep_heartbeats: Duration,
    /// Names of all other reports
    #[arg(long, value_name = "TIME", default_value = "90d", value_parser = duration)]
    keep_reports: Duration,
    /// Measurements for plots
    #[arg(long, value_name = "TIME", default_value = "14d", value_parser = duration)]
    keep_samples: Duration,
    /// Closed findings, events, verdicts, bring-ups, places of parts
    #[arg(long, value_name = "TIME", default_value = "400d", value_parser = duration)]
    keep_history: Duration,
    /// The stream of changes
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = duration)]
    keep_changes: Duration,
    /// Newest snapshots of each node
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
    keep_snapshots: u32,
    /// Days with one snapshot of each node, beside the newest
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u32).range(0..=3660))]
    keep_daily_snapshots: u32,
}

impl RetentionArgs {
    /// As the store takes it.
    pub fn retention(&self) -> Retention {
        Retention {
            heartbeats: self.keep_heartbeats,
            reports: self.keep_reports,
            samples: self.keep_samples,
            history: self.keep_history,
            changes: self.keep_changes,
            snapshots: self.keep_snapshots,
            daily_snapshots: self.keep_daily_snapshots,
        }
    }
}

/// `30m`, `24h`, `90d`: at least ten minutes, at most a hundred years.
fn duration(text: &str) -> Result<Duration, String> {
    let wanted = || format!("{text:?} is no time: want a number and m, h or d, such as 24h");
    let (digits, unit) = text
        .char_indices()
        .last()
        .and_then(|(at, _)| text.split_at_checked(at))
        .ok_or_else(wanted)?;
    let number: u64 = digits.parse().map_err(|_| wanted())?;
    let seconds = match unit {
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err(wanted()),
    };
    let all = number.checked_mul(seconds).ok_or_else(wanted)?;
    if !(600..=100 * 366 * 86_400).contains(&all) {
        return Err(format!("{text} is not between 10m and 36600d"));
    }
    Ok(Duration::from_secs(all))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Alone {
        #[command(flatten)]
        retention: RetentionArgs,
    }

    #[test]
    fn the_defaults_are_those_of_the_store() {
        let alone = Alone::parse_from(["x"]);
        assert_eq!(alone.retention.retention(), Retention::default());
    }

    #[test]
    fn times_are_a_number_and_a_unit() {
        assert_eq!(duration("30m"), Ok(Duration::from_secs(1800)));
        assert_eq!(duration("2d"), Ok(Duration::from_secs(172_800)));
        for bad in [
            "",
            "d",
            "1",
            "1w",
            "-1d",
            "9m",
            "99999999999999999999d",
            "1é",
        ] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
