//! Which of two boots of a node is the newer one.
//!
//! A node runs one boot at a time, and boots do not come back. Reports of an older boot may come
//! late, and the node's clock may be wrong: neither the order of arrival nor the clock alone tells.
//!
//! # Invariants
//! - Pure.
//! - Whatever was judged wrongly is put right by a boot that goes on reporting: reports that come at
//!   the pace of the node's own uptime come from the boot that runs.

use crate::clock::SECOND;

/// Largest difference between the node's clock and the server's with which a report counts as fresh.
pub const FRESH: i64 = 120 * SECOND;

/// Least time between two reports from which a pace can be told.
const PACE: i64 = 20 * SECOND;

/// A report as a witness of its boot. Times in microseconds.
#[derive(Clone, Copy, Debug)]
pub struct Witness {
    /// When it was made, by the node's clock.
    pub made_at: i64,
    /// When it was received, by the server's clock.
    pub received_at: i64,
    /// Time since boot when it was made.
    pub uptime: i64,
}

impl Witness {
    /// When the node booted, by its own clock.
    fn booted_at(self) -> i64 {
        self.made_at.saturating_sub(self.uptime)
    }

    /// Whether both clocks agree: the report was made just now, and the node's clock is right.
    fn is_fresh(self) -> bool {
        self.received_at.abs_diff(self.made_at) <= FRESH.unsigned_abs()
    }

    /// Whether this report came after `before`, of the same boot, as much later as the node's
    /// uptime says: not drained from a spool.
    fn keeps_pace_with(self, before: Self) -> bool {
        let by_uptime = self.uptime.saturating_sub(before.uptime);
        let by_server = self.received_at.saturating_sub(before.received_at);
        let slack = (by_uptime / 4).max(10 * SECOND);
        by_uptime >= PACE && by_server.abs_diff(by_uptime) <= slack.unsigned_abs()
    }
}

/// Whether the boot of `report` takes the place of the node's current boot, whose newest report is
/// `current`. `before` is the newest report of the same boot that came earlier, if one did.
pub fn supersedes(report: Witness, before: Option<Witness>, current: Witness) -> bool {
    let newer_by_clock = report.booted_at() > current.booted_at();
    match (report.is_fresh(), current.is_fresh()) {
        (true, true) => newer_by_clock,
        (true, false) => true,
        (false, _) => newer_by_clock || before.is_some_and(|before| report.keeps_pace_with(before)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3600 * SECOND;
    const NOW: i64 = 500_000 * HOUR;

    fn witness(made_at: i64, received_at: i64, uptime: i64) -> Witness {
        Witness {
            made_at,
            received_at,
            uptime,
        }
    }

    #[test]
    fn with_right_clocks_the_later_boot_is_the_newer() {
        let old = witness(NOW - 60 * SECOND, NOW - 60 * SECOND, 10 * HOUR);
        let new = witness(NOW, NOW, 30 * SECOND);
        assert!(supersedes(new, None, old));
        assert!(!supersedes(old, None, new));
    }

    #[test]
    fn a_late_report_of_an_older_boot_changes_nothing() {
        let current = witness(NOW, NOW, HOUR);
        let late = witness(NOW - 5 * HOUR, NOW + SECOND, 3 * HOUR);
        assert!(!supersedes(late, None, current));
        // The rest of its spool, drained at once.
        let next = witness(
            NOW - 5 * HOUR + 60 * SECOND,
            NOW + 2 * SECOND,
            3 * HOUR + 60 * SECOND,
        );
        assert!(!supersedes(next, Some(late), current));
    }

    #[test]
    fn a_clock_set_back_at_boot_costs_one_report() {
        let current = witness(NOW, NOW, HOUR);
        let first = witness(NOW - 9000 * HOUR, NOW + HOUR, 60 * SECOND);
        assert!(!supersedes(first, None, current));
        let second = witness(
            NOW - 9000 * HOUR + 60 * SECOND,
            NOW + HOUR + 60 * SECOND,
            120 * SECOND,
        );
        assert!(supersedes(second, Some(first), current));
    }

    #[test]
    fn a_right_clock_goes_before_a_wrong_one() {
        let future = witness(NOW + 90_000 * HOUR, NOW, HOUR);
        let right = witness(NOW + 60 * SECOND, NOW + 60 * SECOND, 20 * SECOND);
        assert!(supersedes(right, None, future));
    }
}
