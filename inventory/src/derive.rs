//! What follows from what is known of a node: whether it is heard, its verdict, its state.
//!
//! # Invariants
//! - Pure: time is an argument.
//! - A node that is not heard is never healthy: its verdict is at best unknown.
//!
//! # State (CNP04), first line that fits
//! | Lifecycle | What else | State |
//! |---|---|---|
//! | retired | reports | terminating |
//! | retired | does not | terminated |
//! | any | said less than 15 minutes ago that it stops | stopping |
//! | any | said so before that, and nothing since | stopped |
//! | provisioning | | provisioning |
//! | maintenance, quarantined | | maintenance-required |
//! | in-service, hold | verdict unhealthy, an open finding blocks allocation, or lost | maintenance-required |
//! | in-service, hold | verdict degraded or unknown | degraded |
//! | in-service, hold | verdict healthy | running |

use cupel_model::wire::Lifecycle;
use cupel_model::{Severity, Verdict};

use crate::clock::SECOND;
use crate::record::{Presence, State};

/// For how long after a farewell silence is expected, and the node counts as stopping.
pub const FAREWELL: i64 = 15 * 60 * SECOND;

/// Shortest time without a report after which a node is late.
pub const SHORTEST_LATE: i64 = 120 * SECOND;

/// Shortest time without a report after which a node is lost.
pub const SHORTEST_LOST: i64 = 15 * 60 * SECOND;

/// What is known of a node when its silence is judged. Times in microseconds, by the server's clock.
#[derive(Clone, Copy, Debug)]
pub struct Silence {
    /// When it last reported.
    pub received_at: i64,
    /// Within what time it meant to report again.
    pub next_within: i64,
    /// When it said that it stops, if that was the last it said.
    pub stopping_at: Option<i64>,
    /// Until when an operator expects silence.
    pub silence_until: Option<i64>,
    /// What it is for.
    pub lifecycle: Lifecycle,
}

impl Silence {
    /// When it is late: three times what it named, at least two minutes, from its last report or
    /// from when the server began to listen.
    pub fn late_at(&self, listening_since: i64) -> i64 {
        let heard = self.received_at.max(listening_since);
        let allowed = self.next_within.saturating_mul(3).max(SHORTEST_LATE);
        let late = heard.saturating_add(allowed);
        match self.stopping_at {
            Some(at) => late.max(at.saturating_add(FAREWELL)),
            None => late,
        }
    }

    /// When it is lost: ten times what it named, at least fifteen minutes, and later than late.
    pub fn lost_at(&self, listening_since: i64) -> i64 {
        let heard = self.received_at.max(listening_since);
        let allowed = self.next_within.saturating_mul(10).max(SHORTEST_LOST);
        heard
            .saturating_add(allowed)
            .max(self.late_at(listening_since))
    }

    /// Why silence is expected now, if it is.
    pub fn expected(&self, now: i64) -> Option<&'static str> {
        match self.lifecycle {
            Lifecycle::Maintenance => return Some("its lifecycle is maintenance"),
            Lifecycle::Retired => return Some("it is retired"),
            Lifecycle::Provisioning
            | Lifecycle::InService
            | Lifecycle::Hold
            | Lifecycle::Quarantined => {}
        }
        if self.silence_until.is_some_and(|until| until > now) {
            return Some("an operator expects it to be silent");
        }
        let stopping = self
            .stopping_at
            .is_some_and(|at| now < at.saturating_add(FAREWELL));
        stopping.then_some("it said that it stops")
    }

    /// Whether the node is heard.
    pub fn presence(&self, now: i64, listening_since: i64) -> Presence {
        if self.stopping_at.is_none() && now < self.late_at(listening_since) {
            Presence::Reporting
        } else if self.expected(now).is_some() || now < self.late_at(listening_since) {
            Presence::Quiet
        } else if now < self.lost_at(listening_since) {
            Presence::Late
        } else {
            Presence::Lost
        }
    }
}

/// The verdict with the inventory's own findings counted in: silence, and the worst of the others.
pub fn verdict(reported: Option<Verdict>, presence: Presence, own: Option<Severity>) -> Verdict {
    let own = match own {
        Some(Severity::Critical) => Verdict::Unhealthy,
        Some(Severity::Warning) => Verdict::Degraded,
        Some(Severity::Info) | None => Verdict::Healthy,
    };
    let told = reported.unwrap_or(Verdict::Unknown).max(own);
    match presence {
        Presence::Reporting => told,
        Presence::Quiet | Presence::Late => told.max(Verdict::Unknown),
        Presence::Lost => Verdict::Unhealthy,
    }
}

/// How a node stands in lists: 0 is worst. Nodes that are expected and were never seen stand
/// between silent and unknown, at [`MISSING`].
pub fn standing(verdict: Verdict, presence: Presence) -> i64 {
    match presence {
        Presence::Late | Presence::Lost => 1,
        Presence::Quiet => 5,
        Presence::Reporting => match verdict {
            Verdict::Unhealthy => 0,
            Verdict::Unknown => 3,
            Verdict::Degraded => 4,
            Verdict::Healthy => 6,
        },
    }
}

/// Where nodes stand that are expected and were never seen.
pub const MISSING: i64 = 2;

/// What a node is to whoever gives it work; the table is in the module's documentation.
pub fn state(
    lifecycle: Lifecycle,
    presence: Presence,
    verdict: Verdict,
    blocked: bool,
    stopping_for: Option<i64>,
) -> State {
    let heard = presence == Presence::Reporting;
    match lifecycle {
        Lifecycle::Retired if heard => return State::Terminating,
        Lifecycle::Retired => return State::Terminated,
        Lifecycle::Provisioning
        | Lifecycle::InService
        | Lifecycle::Maintenance
        | Lifecycle::Hold
        | Lifecycle::Quarantined => {}
    }
    match stopping_for {
        Some(time) if time < FAREWELL => return State::Stopping,
        Some(_) => return State::Stopped,
        None => {}
    }
    match lifecycle {
        Lifecycle::Provisioning => State::Provisioning,
        Lifecycle::Maintenance | Lifecycle::Quarantined => State::MaintenanceRequired,
        Lifecycle::Retired => State::Terminated,
        Lifecycle::InService | Lifecycle::Hold => match verdict {
            Verdict::Unhealthy => State::MaintenanceRequired,
            Verdict::Degraded | Verdict::Unknown | Verdict::Healthy if blocked => {
                State::MaintenanceRequired
            }
            Verdict::Degraded | Verdict::Unknown => State::Degraded,
            Verdict::Healthy => State::Running,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60 * SECOND;

    fn silence() -> Silence {
        Silence {
            received_at: 1000 * MINUTE,
            next_within: MINUTE,
            stopping_at: None,
            silence_until: None,
            lifecycle: Lifecycle::InService,
        }
    }

    #[test]
    fn late_then_lost_by_what_the_node_named() {
        let node = silence();
        let at = |minutes: i64| node.presence((1000 + minutes) * MINUTE, 0);
        assert_eq!(at(2), Presence::Reporting);
        assert_eq!(at(3), Presence::Late);
        assert_eq!(at(14), Presence::Late);
        assert_eq!(at(15), Presence::Lost);
        let quick = Silence {
            next_within: SECOND,
            ..node
        };
        assert_eq!(
            quick.presence(1001 * MINUTE, 0),
            Presence::Reporting,
            "two minutes at least"
        );
        let slow = Silence {
            next_within: 60 * MINUTE,
            ..node
        };
        assert_eq!(slow.presence(1179 * MINUTE, 0), Presence::Reporting);
        assert_eq!(slow.presence(1180 * MINUTE, 0), Presence::Late);
        assert_eq!(slow.presence(1600 * MINUTE, 0), Presence::Lost);
    }

    #[test]
    fn a_server_that_just_began_to_listen_waits() {
        let node = silence();
        assert_eq!(
            node.presence(2000 * MINUTE, 1999 * MINUTE),
            Presence::Reporting
        );
        assert_eq!(node.presence(2002 * MINUTE, 1999 * MINUTE), Presence::Late);
    }

    #[test]
    fn expected_silence_is_quiet() {
        let now = 1030 * MINUTE;
        for lifecycle in [Lifecycle::Maintenance, Lifecycle::Retired] {
            let node = Silence {
                lifecycle,
                ..silence()
            };
            assert_eq!(node.presence(now, 0), Presence::Quiet, "{lifecycle:?}");
        }
        for lifecycle in [
            Lifecycle::Hold,
            Lifecycle::Quarantined,
            Lifecycle::Provisioning,
        ] {
            let node = Silence {
                lifecycle,
                ..silence()
            };
            assert_eq!(node.presence(now, 0), Presence::Lost, "{lifecycle:?}");
        }
        let mut node = silence();
        node.silence_until = Some(now + 1);
        assert_eq!(node.presence(now, 0), Presence::Quiet);
        node.silence_until = Some(now);
        assert_eq!(node.presence(now, 0), Presence::Lost);
    }

    #[test]
    fn a_farewell_is_believed_for_fifteen_minutes() {
        let node = Silence {
            stopping_at: Some(1000 * MINUTE),
            ..silence()
        };
        assert_eq!(node.presence(1000 * MINUTE, 0), Presence::Quiet);
        assert_eq!(node.presence(1014 * MINUTE, 0), Presence::Quiet);
        assert_eq!(node.presence(1015 * MINUTE, 0), Presence::Lost);
    }

    #[test]
    fn what_is_not_heard_is_not_healthy() {
        assert_eq!(
            verdict(Some(Verdict::Healthy), Presence::Late, None),
            Verdict::Unknown
        );
        assert_eq!(
            verdict(Some(Verdict::Healthy), Presence::Lost, None),
            Verdict::Unhealthy
        );
        assert_eq!(
            verdict(Some(Verdict::Unhealthy), Presence::Quiet, None),
            Verdict::Unhealthy
        );
        assert_eq!(verdict(None, Presence::Reporting, None), Verdict::Unknown);
        let heard = |own| verdict(Some(Verdict::Healthy), Presence::Reporting, own);
        assert_eq!(heard(Some(Severity::Critical)), Verdict::Unhealthy);
        assert_eq!(heard(Some(Severity::Warning)), Verdict::Degraded);
        assert_eq!(heard(Some(Severity::Info)), Verdict::Healthy);
        assert_eq!(standing(Verdict::Unhealthy, Presence::Lost), 1);
        assert_eq!(standing(Verdict::Healthy, Presence::Reporting), 6);
    }

    #[test]
    fn states_are_those_of_the_table() {
        use Lifecycle as L;
        use Presence::{Late, Lost, Quiet, Reporting};
        use Verdict as V;
        for (lifecycle, presence, verdict, blocked, stopping, want) in [
            (
                L::Retired,
                Reporting,
                V::Healthy,
                false,
                None,
                State::Terminating,
            ),
            (
                L::Retired,
                Quiet,
                V::Unknown,
                false,
                None,
                State::Terminated,
            ),
            (
                L::InService,
                Quiet,
                V::Unknown,
                false,
                Some(MINUTE),
                State::Stopping,
            ),
            (
                L::InService,
                Lost,
                V::Unhealthy,
                false,
                Some(FAREWELL),
                State::Stopped,
            ),
            (
                L::Provisioning,
                Reporting,
                V::Unhealthy,
                true,
                None,
                State::Provisioning,
            ),
            (
                L::Maintenance,
                Quiet,
                V::Unknown,
                false,
                None,
                State::MaintenanceRequired,
            ),
            (
                L::Quarantined,
                Reporting,
                V::Healthy,
                false,
                None,
                State::MaintenanceRequired,
            ),
            (
                L::InService,
                Reporting,
                V::Unhealthy,
                false,
                None,
                State::MaintenanceRequired,
            ),
            (
                L::InService,
                Reporting,
                V::Degraded,
                true,
                None,
                State::MaintenanceRequired,
            ),
            (
                L::InService,
                Reporting,
                V::Degraded,
                false,
                None,
                State::Degraded,
            ),
            (L::Hold, Late, V::Unknown, false, None, State::Degraded),
            (
                L::InService,
                Reporting,
                V::Healthy,
                false,
                None,
                State::Running,
            ),
        ] {
            assert_eq!(
                state(lifecycle, presence, verdict, blocked, stopping),
                want,
                "{lifecycle:?} {presence:?} {verdict:?}"
            );
        }
    }
}
