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

/// Whether a report shows that two boots run at the same time, which no single machine does: those
/// of two machines that call themselves the same. `report` is of a boot that is not the node's
/// current one, `before` the newest earlier report of the same boot; `current` is the newest report
/// of the current boot, of which the first was received at `first_received`.
///
/// It is shown by three reports: one of this boot, then one of the other, then one of this boot, of
/// which the first and the last were made after the other boot was first heard (by a clock that
/// agrees with the server's) and came as far apart as they were made. What waited in a spool was
/// made before; a wrong clock does not make it come at the pace of the node's uptime, and a spool is
/// emptied before the boot that empties it reports.
pub fn both_run(report: Witness, before: Witness, current: Witness, first_received: i64) -> bool {
    let made_since = |one: Witness| one.is_fresh() && one.made_at > first_received;
    let between =
        before.received_at < current.received_at && current.received_at <= report.received_at;
    made_since(before) && made_since(report) && between && report.keeps_pace_with(before)
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
    fn two_machines_that_call_themselves_the_same_are_told_by_the_second_heartbeat() {
        let at = |seconds: i64| NOW + seconds * SECOND;
        let one = |seconds: i64| witness(at(seconds), at(seconds), HOUR + seconds * SECOND);
        let other =
            |seconds: i64| witness(at(seconds), at(seconds), 30 * SECOND + seconds * SECOND);
        let first = at(10);
        // The older goes on at 30 and 90 s, the newer at 40 s.
        assert!(
            !both_run(one(30), one(-30), other(10), first),
            "made before"
        );
        assert!(both_run(one(90), one(30), other(40), first));
        assert!(
            !both_run(one(90), one(30), other(20), first),
            "nothing came between"
        );
    }

    /// A report of a machine on its way: which boot, its number in the life of the machine, and the
    /// times of [`Witness`].
    type Told = (usize, Witness);

    /// One machine: boots one after the other, each with a clock that is wrong by so much, its
    /// reports a minute apart, each on its way for some time.
    fn life(boots: &[(i64, u8)], delays: &[i64]) -> Vec<Told> {
        let mut told = Vec::new();
        let mut now = NOW;
        for (boot, (wrong, reports)) in boots.iter().enumerate() {
            now += 90 * SECOND;
            for number in 0..i64::from(*reports) {
                let uptime = 30 * SECOND + number * 60 * SECOND;
                let made = now + uptime;
                let delay = delays[told.len() % delays.len()];
                told.push((boot, witness(made + wrong, made + delay, uptime)));
            }
            now += 30 * SECOND + i64::from(*reports) * 60 * SECOND;
        }
        told
    }

    /// What the server makes of reports, as it receives them: whether it ever saw two boots run.
    fn ever(told: &[Told]) -> bool {
        let mut known: HashMap<usize, (i64, Witness)> = HashMap::new();
        let mut current: Option<usize> = None;
        for (boot, report) in told {
            let before = known.get(boot).copied();
            if before.is_some_and(|(_, before)| report.uptime <= before.uptime) {
                continue;
            }
            let before = before.map(|(_, before)| before);
            let entry = known.entry(*boot).or_insert((report.received_at, *report));
            entry.1 = *report;
            let Some(running) = current else {
                current = Some(*boot);
                continue;
            };
            if running == *boot {
                continue;
            }
            let (first, newest) = known[&running];
            if before.is_some_and(|before| both_run(*report, before, newest, first)) {
                return true;
            }
            if supersedes(*report, before, newest) {
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
        prop::collection::vec((wrong.prop_map(|seconds| seconds * SECOND), 1_u8..8), 1..5)
    }

    fn delays(longest: i64) -> impl Strategy<Value = Vec<i64>> {
        prop::collection::vec((0..longest).prop_map(|seconds| seconds * SECOND), 1..20)
    }

    proptest! {
        /// Clocks are right, anything comes late and in any order.
        #[test]
        fn one_machine_with_a_right_clock_is_never_two(
            boots in boots(-30..30),
            delays in delays(20_000),
        ) {
            // What was made within the error of the clock is no older than the boot after it.
            prop_assert!(!ever(&received(life(&boots, &delays))));
        }

        /// Clocks are wrong by anything; reports come one after the other, as nodes send them,
        /// however late.
        #[test]
        fn one_machine_that_sends_in_order_is_never_two(
            boots in boots(-20_000..20_000),
            delays in delays(20_000),
        ) {
            let mut told = life(&boots, &delays);
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
            let mut told = life(&[(wrong * SECOND, waited), (0, 0)], &[0]);
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
