//! For how long what is kept, on the command line.

use std::time::Duration;

use clap::Args;

use super::duration;
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
    let all = duration::parse(text)?;
    if all < Duration::from_secs(600) {
        return Err(format!("{text} is not between 10m and 36600d"));
    }
    Ok(all)
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
        for bad in ["", "9m", "30s", "1w"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
