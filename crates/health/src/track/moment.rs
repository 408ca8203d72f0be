//! When something was judged: by the wall clock, and by a clock that never jumps.

use std::time::Duration;

use cupel_model::Timestamp;
use serde::{Deserialize, Serialize};

/// One point in the life of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    /// By the wall clock, which may jump: dates things, measures nothing within a boot.
    pub at: Timestamp,
    /// Time since boot, by a clock that never jumps.
    pub since_boot: Duration,
    /// The kernel's boot id.
    pub boot: String,
}

impl Moment {
    /// Time from `earlier` to this. Within a boot by the time since boot; over a reboot by the wall
    /// clock, and at least the time since this boot. Never negative.
    pub fn elapsed_since(&self, earlier: &Self) -> Duration {
        if self.boot == earlier.boot {
            return self.since_boot.saturating_sub(earlier.since_boot);
        }
        // A wall clock that was set back gives a negative span, which is none.
        let wall = Duration::try_from_secs_f64(self.at.seconds_since(earlier.at));
        wall.unwrap_or_default().max(self.since_boot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(at: i64, since_boot: u64, boot: &str) -> Moment {
        Moment {
            at: Timestamp::from_microseconds(at * 1_000_000).expect("time"),
            since_boot: Duration::from_secs(since_boot),
            boot: boot.to_owned(),
        }
    }

    #[test]
    fn the_wall_clock_measures_nothing_within_a_boot() {
        let first = moment(1_000_000, 100, "a");
        let seconds = |later: &Moment| later.elapsed_since(&first).as_secs();
        assert_eq!(seconds(&moment(5, 160, "a")), 60);
        assert_eq!(seconds(&moment(9_000_000, 160, "a")), 60);
        assert_eq!(seconds(&moment(1_000_060, 40, "a")), 0);
        // Over a reboot there is nothing else.
        assert_eq!(seconds(&moment(1_000_500, 40, "b")), 500);
        assert_eq!(seconds(&moment(5, 40, "b")), 40);
    }
}
