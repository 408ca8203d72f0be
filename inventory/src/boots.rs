//! Which of two boots of a node is the newer one.
//!
//! A node runs one boot at a time, and boots do not come back. Reports of an older boot may come
//! late, and the node's clock may be wrong: neither the order of arrival nor the clock alone tells.
//!
//! # Invariants
//! - Pure.
//! - One machine is never taken for two, whatever comes late and however often it boots.
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

/// What was heard of a boot.
#[derive(Clone, Copy, Debug)]
pub struct Heard {
    /// When its first report was received, by the server's clock.
    pub first_received: i64,
    /// Its newest report.
    pub newest: Witness,
}

impl Heard {
    /// Whether this report was made after this boot was first heard, by more than a clock that
    /// counts as right can be wrong.
    fn precedes(self, report: Witness) -> bool {
        report.is_fresh() && report.made_at > self.first_received.saturating_add(FRESH)
    }
}

/// Whether a report shows that two boots run at the same time, which no single machine does: those
/// of two machines that call themselves the same. `report` is of a boot that is not the node's
/// current one, `before` what was heard of that boot earlier, `current` what was heard of the
/// current one.
///
/// Three reports show it: one of this boot, one of the other, one of this boot again. Each was made
/// after the other boot was first heard, and those of this boot came as far apart as they were made.
/// A machine whose clock is right made what waited before the next boot was heard, whichever of the
/// two was taken for the newer. Where its clock is wrong, what waited would have to look fresh by
/// that and come at the pace of the node's uptime, between reports of the next boot, which nodes
/// send only when nothing waits.
pub fn both_run(report: Witness, before: Heard, current: Heard) -> bool {
    let between = before.newest.received_at < current.newest.received_at
        && current.newest.received_at <= report.received_at;
    between
        && current.precedes(before.newest)
        && current.precedes(report)
        && before.precedes(current.newest)
        && report.keeps_pace_with(before.newest)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

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

    #[test]
    fn two_machines_that_call_themselves_the_same_are_told_after_two_minutes() {
        let at = |seconds: i64| NOW + seconds * SECOND;
        let one = |seconds: i64| witness(at(seconds), at(seconds), HOUR + seconds * SECOND);
        let other = |seconds: i64| witness(at(seconds), at(seconds), (30 + seconds) * SECOND);
        let heard = |newest, first| Heard {
            first_received: at(first),
            newest,
        };
        // The one since long ago, the other since 10 s.
        let shown = |report, before, between, first| {
            both_run(report, heard(before, -3000), heard(between, first))
        };
        assert!(shown(one(200), one(140), other(170), 10));
        assert!(!shown(one(200), one(140), other(110), 10), "none between");
        assert!(!shown(one(140), one(80), other(110), 10), "too early");
        let at_once = Witness {
            received_at: at(175),
            ..one(200)
        };
        assert!(!shown(at_once, one(140), other(170), 10), "no pace");
        let late = |one: Witness| Witness {
            received_at: one.received_at + 2 * FRESH,
            ..one
        };
        assert!(
            !shown(late(one(200)), late(one(140)), late(other(170)), 10),
            "late"
        );
        let stale = Witness {
            made_at: NOW - HOUR,
            ..other(170)
        };
        assert!(
            !shown(one(200), one(140), stale, 10),
            "what waited is no machine"
        );
        // The other way round: what waited of the older is taken for the current one.
        let newer = |seconds| heard(other(seconds), 10);
        assert!(both_run(other(200), newer(140), heard(one(170), -3000)));
        assert!(!both_run(other(120), newer(60), heard(one(90), -3000)));
    }

    /// A report of a machine on its way: which boot, its number in the life of the machine, and the
    /// times of [`Witness`].
    type Told = (usize, Witness);

    /// One machine: boots one after the other, each with a clock that is wrong by so much, its
    /// reports a minute apart, each on its way for some time.
    fn life(boots: &[(i64, u8)], delays: &[i64], paced: bool) -> Vec<Told> {
        let mut told = Vec::new();
        let mut now = NOW;
        for (boot, (wrong, reports)) in boots.iter().enumerate() {
            now += SECOND;
            for number in 0..i64::from(*reports) {
                let uptime = 5 * SECOND + number * 60 * SECOND;
                let made = now + uptime;
                // Each on its own way, or all of a boot one after the other as they were made.
                let at = if paced { boot } else { told.len() };
                let delay = delays[at % delays.len()];
                told.push((boot, witness(made + wrong, made + delay, uptime)));
            }
            now += 6 * SECOND + (i64::from(*reports) - 1) * 60 * SECOND;
        }
        told
    }

    /// What the server makes of reports, as it receives them: whether it ever saw two boots run.
    fn ever(told: &[Told]) -> bool {
        let mut known: HashMap<usize, Heard> = HashMap::new();
        let mut current: Option<usize> = None;
        for (boot, report) in told {
            let before = known.get(boot).copied();
            if before.is_some_and(|before| report.uptime <= before.newest.uptime) {
                continue;
            }
            let entry = known.entry(*boot).or_insert(Heard {
                first_received: report.received_at,
                newest: *report,
            });
            entry.newest = *report;
            let Some(running) = current else {
                current = Some(*boot);
                continue;
            };
            if running == *boot {
                continue;
            }
            let runs = known[&running];
            if before.is_some_and(|before| both_run(*report, before, runs)) {
                return true;
            }
            let before = before.map(|before| before.newest);
            if supersedes(*report, before, runs.newest) {
                current = Some(*boot);
            }
        }
        false
    }

    fn received(mut told: Vec<Told>) -> Vec<Told> {
        told.sort_by_key(|(_, report)| report.received_at);
        told
    }

    fn boots(wrong: std::ops::Range<i64>) -> impl Strategy<Value = Vec<(i64, u8)>> {
        prop::collection::vec((wrong.prop_map(|seconds| seconds * SECOND), 1_u8..40), 1..5)
    }

    fn delays(longest: i64) -> impl Strategy<Value = Vec<i64>> {
        let shorter = prop_oneof![Just(1), Just(10), Just(100)];
        let longest = shorter.prop_map(move |by| longest / by);
        let way = longest.prop_flat_map(|longest| 0..longest);
        prop::collection::vec(way.prop_map(|seconds| seconds * SECOND), 1..20)
    }

    #[test]
    fn what_waited_long_may_take_the_place_of_the_newer_boot_and_is_still_one_machine() {
        // The second boot's reports come a quarter of an hour late and at their pace: the server
        // takes it for the running one, then the third, whose last report comes half a minute late.
        let boots = [(0, 1), (0, 10), (31 * SECOND, 16), (0, 3)];
        let delays = [0, 940 * SECOND, 33 * SECOND, 0];
        assert!(!ever(&received(life(&boots, &delays, true))));
    }

    proptest! {
        /// Clocks count as right, boots follow each other at once, anything comes late and in any
        /// order.
        #[test]
        fn one_machine_with_a_right_clock_is_never_two(
            boots in boots(-119..120),
            delays in delays(20_000),
            paced: bool,
        ) {
            prop_assert!(!ever(&received(life(&boots, &delays, paced))));
        }

        /// Clocks are wrong by anything; reports come one after the other, as nodes send them,
        /// however late.
        #[test]
        fn one_machine_that_sends_in_order_is_never_two(
            boots in boots(-20_000..20_000),
            delays in delays(20_000),
            paced: bool,
        ) {
            let mut told = life(&boots, &delays, paced);
            let mut latest = 0;
            for (_, report) in &mut told {
                report.received_at = report.received_at.max(latest + SECOND / 10);
                latest = report.received_at;
            }
            prop_assert!(!ever(&told));
        }

        /// Clocks are wrong by anything; what waited comes at once, between reports of the boot
        /// that runs.
        #[test]
        fn a_spool_that_is_emptied_between_reports_is_no_machine(
            wrong in -20_000_i64..20_000,
            waited in 1_u8..30,
            since in 0_i64..20_000,
            apart in 10_i64..2_000,
        ) {
            let mut told = life(&[(wrong * SECOND, waited), (0, 0)], &[0], false);
            let made = told.last().expect("reports").1;
            let boot_at = made.received_at + 90 * SECOND;
            let emptied = boot_at + since * SECOND;
            for (at, (_, report)) in told.iter_mut().enumerate() {
                let at = i64::try_from(at).expect("small");
                report.received_at = emptied + at * apart * 1000;
            }
            let running = (0..600).map(|number| {
                let uptime = 30 * SECOND + number * 10 * SECOND;
                (1, witness(boot_at + uptime, boot_at + uptime, uptime))
            });
            told.extend(running);
            prop_assert!(!ever(&received(told)));
        }
    }
}
