//! An upgrade that the inventory wishes: what is to be done about it, from what is known.
//!
//! ```text
//! wish -> service: decide() -> cupel-wish.service: fetched, verified, tests itself
//!                      ^                '-> cupel-upgrade.service: exchanged, watched
//!                      '---- the installer's journal: what came of it ----'
//! ```
//!
//! # Invariants
//! - Pure: [`decide`] starts nothing and reads nothing.
//! - What came of a wish stands in the journal; a wish that failed is not tried again.
//! - That its file could not be fetched for now is no such failure: it is fetched again, after a
//!   pause, for as long as it is wished.

use std::time::Duration;

use cupel_model::Timestamp;
use cupel_model::wire::{UpgradeOutcome, UpgradeState, UpgradeWish};
use serde::{Deserialize, Serialize};

use crate::error::InstallError;
use crate::facts::Package;
use crate::journal::{Ended, INTERRUPTIONS, Journal, Outcome, State};
use crate::system::SystemError;
use crate::version::Version;

/// The shortest pause before a file is fetched again. Assumed: a link or a server that restarts.
pub const SHORTEST_PAUSE: Duration = Duration::from_secs(60);

/// The longest pause before a file is fetched again. Assumed: a fleet does not hold up a server.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(3600);

/// What is told of the rest of a pause, in minutes: few, as each is told to the inventory.
const TOLD_MINUTES: [u32; 7] = [1, 2, 4, 8, 15, 30, 60];

/// What the journal says of the newest wish.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wished {
    /// What is wished.
    pub wish: UpgradeWish,
    /// How often it was begun; attempts to fetch that failed for now are not counted.
    pub begun: u32,
    /// The version that its file turned out to be; null until it has passed its self-test.
    pub to: Option<Version>,
    /// What came of it; null until something did.
    pub came: Option<Came>,
    /// Its file could not be fetched, and is to be fetched again; null where it never failed so.
    #[serde(default)]
    pub unfetched: Option<Unfetched>,
}

/// Attempts to fetch a file that failed in a way that another may mend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unfetched {
    /// How many failed, without one that went well.
    pub attempts: u32,
    /// Why the last one did.
    pub why: String,
    /// It is not fetched again before this, by the node's clock.
    pub not_before: Timestamp,
}

impl Unfetched {
    /// Seconds until it is fetched again; `None` when that is due. A clock that was set back makes
    /// no pause longer than [`LONGEST_PAUSE`].
    fn left(&self, at: Timestamp) -> Option<f64> {
        let left = self.not_before.seconds_since(at);
        (left > 0.0 && left <= LONGEST_PAUSE.as_secs_f64()).then_some(left)
    }
}

/// What came of a wish, for good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Came {
    /// `done`, `refused` or `reverted`.
    pub outcome: UpgradeOutcome,
    /// Why; null where there is nothing to say.
    pub why: Option<String>,
    /// When.
    pub at: Timestamp,
}

impl Wished {
    /// It is begun, for the first time or after it was cut short.
    pub fn begin(before: Option<Self>, wish: UpgradeWish) -> Self {
        let before = before.filter(|before| before.wish == wish);
        Self {
            wish,
            begun: before
                .as_ref()
                .map_or(0, |before| before.begun)
                .saturating_add(1),
            to: None,
            came: None,
            unfetched: before.and_then(|before| before.unfetched),
        }
    }

    /// How many attempts to fetch it failed.
    pub fn failed_attempts(&self) -> u32 {
        self.unfetched.as_ref().map_or(0, |failed| failed.attempts)
    }

    /// The attempt that was begun could not fetch it: another is made after this pause.
    pub fn later(&mut self, why: String, at: Timestamp, pause: Duration) {
        // It ended by itself: it was not cut short.
        self.begun = self.begun.saturating_sub(1);
        let pause = i64::try_from(pause.min(LONGEST_PAUSE).as_micros()).unwrap_or(i64::MAX);
        let not_before = at.microseconds().saturating_add(pause);
        self.unfetched = Some(Unfetched {
            attempts: self.failed_attempts().saturating_add(1),
            why,
            not_before: Timestamp::from_microseconds(not_before).unwrap_or(at),
        });
    }

    /// An exchange of versions has ended: if it was for this, this has come to an end.
    pub fn exchanged(&mut self, outcome: &Outcome) {
        if self.came.is_some() || self.to.as_ref() != Some(&outcome.to) {
            return;
        }
        self.came = Some(Came {
            outcome: match outcome.result {
                Ended::Installed | Ended::Accepted => UpgradeOutcome::Done,
                Ended::Reverted => UpgradeOutcome::Reverted,
                Ended::NotBegun => UpgradeOutcome::Refused,
            },
            why: outcome.why.clone(),
            at: outcome.at,
        });
    }
}

/// What is known when it is decided.
#[derive(Debug)]
pub struct Known<'a> {
    /// The journal.
    pub journal: Result<Option<&'a Journal>, &'a InstallError>,
    /// The package that owns the program.
    pub package: Option<&'a Package>,
    /// Units at work that must not be disturbed.
    pub busy: Result<&'a [String], &'a SystemError>,
    /// The unit that fetches runs.
    pub fetching: bool,
    /// Now.
    pub at: Timestamp,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing more: this came of it.
    Over(UpgradeState),
    /// Nothing yet: it stands so.
    Wait(UpgradeState),
    /// It is to be begun.
    Begin,
}

/// Decides.
pub fn decide(wish: &UpgradeWish, known: &Known<'_>) -> Next {
    let state = |outcome, why: Option<String>, at| UpgradeState {
        version: wish.version.clone(),
        outcome,
        why,
        at,
    };
    let refused = |why: String| Next::Over(state(UpgradeOutcome::Refused, Some(why), known.at));
    let waits = |why: String| Next::Wait(state(UpgradeOutcome::Waits, Some(why), known.at));
    if let Some(package) = known.package {
        return refused(format!(
            "the package {} owns the program: {}",
            package.name,
            package.instead()
        ));
    }
    let journal = match known.journal {
        Ok(Some(journal)) => journal,
        Ok(None) => return refused("nothing was installed by 'cupel install' here".to_owned()),
        Err(error) => return waits(error.to_string()),
    };
    let own = journal.wish.as_ref().filter(|own| own.wish == *wish);
    if let Some(came) = own.and_then(|own| own.came.as_ref()) {
        return Next::Over(state(came.outcome, came.why.clone(), came.at));
    }
    let under_way = Next::Wait(state(UpgradeOutcome::UnderWay, None, known.at));
    match &journal.state {
        State::Settled { .. } if known.fetching => return under_way,
        State::Settled { version } if version.is_called(&wish.version) => {
            return Next::Over(state(UpgradeOutcome::Done, None, known.at));
        }
        State::Settled { .. } => {}
        State::Switching { to, .. } | State::Probation { to, .. } | State::Reverting { to, .. }
            if own.is_some_and(|own| own.to.as_ref() == Some(to)) =>
        {
            return under_way;
        }
        State::Switching { .. }
        | State::Probation { .. }
        | State::Reverting { .. }
        | State::Installing { .. }
        | State::Removing { .. } => {
            return waits("another installation, upgrade or removal is under way".to_owned());
        }
    }
    if let Some(own) = own
        && own.begun >= INTERRUPTIONS
    {
        return refused(format!(
            "it was begun {} times and cut short: 'journalctl -u cupel-wish.service' says more",
            own.begun
        ));
    }
    if let Some(failed) = own.and_then(|own| own.unfetched.as_ref())
        && let Some(left) = failed.left(known.at)
    {
        return waits(format!(
            "fetching failed {} ({}); tried again in about {} min",
            times(failed.attempts),
            failed.why,
            minutes(left)
        ));
    }
    match known.busy {
        Ok([]) => Next::Begin,
        Ok(units) => waits(format!("{} is at work", units.join(", "))),
        Err(error) => waits(format!("systemd cannot be asked: {error}")),
    }
}

fn times(number: u32) -> String {
    match number {
        0 | 1 => "once".to_owned(),
        number => format!("{number} times"),
    }
}

/// The rest of a pause in minutes, the next of [`TOLD_MINUTES`].
fn minutes(seconds: f64) -> u32 {
    let fits = |minutes: &u32| seconds <= f64::from(*minutes) * 60.0;
    TOLD_MINUTES.into_iter().find(fits).unwrap_or(60)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::PackageManager;

    fn version(name: &str) -> Version {
        name.parse().expect("a version")
    }

    fn wish() -> UpgradeWish {
        UpgradeWish {
            version: "0.2.0".to_owned(),
            url: "https://releases.example/cupel-x86_64".to_owned(),
            downgrade: false,
        }
    }

    fn settled() -> Journal {
        Journal::new(State::Settled {
            version: version("0.1.0-aaaaaaaaaaaa"),
        })
    }

    fn next<'a>(journal: &'a Journal, change: impl FnOnce(&mut Known<'a>)) -> Next {
        let mut known = Known {
            journal: Ok(Some(journal)),
            package: None,
            busy: Ok(&[]),
            fetching: false,
            at: Timestamp::EPOCH,
        };
        change(&mut known);
        decide(&wish(), &known)
    }

    fn outcome(next: Next) -> (UpgradeOutcome, String) {
        match next {
            Next::Over(state) | Next::Wait(state) => (state.outcome, state.why.unwrap_or_default()),
            Next::Begin => panic!("it is begun"),
        }
    }

    #[test]
    fn it_is_begun_where_nothing_speaks_against_it() {
        let journal = settled();
        assert_eq!(next(&journal, |_| {}), Next::Begin);
        let busy = ["cupel-burn-in-7.service".to_owned()];
        let (waits, why) = outcome(next(&journal, |known| known.busy = Ok(&busy)));
        assert_eq!(waits, UpgradeOutcome::Waits);
        assert!(why.contains("cupel-burn-in-7"), "{why}");
        let package = Package {
            name: "cupel".to_owned(),
            manager: PackageManager::Dpkg,
        };
        let (refused, why) = outcome(next(&journal, |known| known.package = Some(&package)));
        assert_eq!(refused, UpgradeOutcome::Refused);
        assert!(why.contains("apt-get"), "{why}");
        let (refused, _) = outcome(next(&journal, |known| known.journal = Ok(None)));
        assert_eq!(refused, UpgradeOutcome::Refused);
        let (under_way, _) = outcome(next(&journal, |known| known.fetching = true));
        assert_eq!(under_way, UpgradeOutcome::UnderWay);
    }

    #[test]
    fn what_runs_already_is_done() {
        for name in ["0.2.0-bbbbbbbbbbbb", "0.2.0"] {
            let journal = Journal::new(State::Settled {
                version: version(name),
            });
            assert_eq!(outcome(next(&journal, |_| {})).0, UpgradeOutcome::Done);
        }
    }

    #[test]
    fn it_is_not_tried_again_once_something_came_of_it() {
        let mut journal = settled();
        let to = version("0.2.0-bbbbbbbbbbbb");
        let mut wished = Wished::begin(None, wish());
        wished.to = Some(to.clone());
        journal.wish = Some(wished);
        journal.state = State::Switching {
            from: version("0.1.0-aaaaaaaaaaaa"),
            to: to.clone(),
            since: Timestamp::EPOCH,
            probation_seconds: 60,
        };
        assert_eq!(outcome(next(&journal, |_| {})).0, UpgradeOutcome::UnderWay);
        journal.state = settled().state;
        let ended = Outcome {
            at: Timestamp::EPOCH,
            from: None,
            to,
            result: Ended::Reverted,
            why: Some("it crashed".to_owned()),
        };
        journal.wish.as_mut().expect("it").exchanged(&ended);
        let (reverted, why) = outcome(next(&journal, |_| {}));
        assert_eq!(
            (reverted, why.as_str()),
            (UpgradeOutcome::Reverted, "it crashed")
        );
        // Another wish is another matter.
        let other = journal.wish.as_mut().expect("it");
        other.wish.url.push('2');
        assert_eq!(next(&journal, |_| {}), Next::Begin);
    }

    #[test]
    fn one_that_is_cut_short_again_and_again_is_given_up() {
        let mut journal = settled();
        for _ in 0..INTERRUPTIONS {
            assert_eq!(next(&journal, |_| {}), Next::Begin);
            journal.wish = Some(Wished::begin(journal.wish.take(), wish()));
        }
        assert_eq!(outcome(next(&journal, |_| {})).0, UpgradeOutcome::Refused);
    }

    fn seconds(seconds: i64) -> Timestamp {
        Timestamp::from_microseconds(seconds * 1_000_000).expect("time")
    }

    fn unfetched(attempts: u32, pause: Duration) -> Journal {
        let mut journal = settled();
        let mut wished = Wished::begin(None, wish());
        for _ in 1..attempts {
            wished.later("no route".to_owned(), Timestamp::EPOCH, SHORTEST_PAUSE);
            wished = Wished::begin(Some(wished), wish());
        }
        let why = "cannot connect to releases.example";
        wished.later(why.to_owned(), Timestamp::EPOCH, pause);
        journal.wish = Some(wished);
        journal
    }

    #[test]
    fn a_file_that_could_not_be_fetched_is_fetched_again_after_a_pause() {
        let journal = unfetched(3, Duration::from_secs(230));
        let told = |at: i64| outcome(next(&journal, |known| known.at = seconds(at)));
        for (at, left) in [(0, 4), (100, 4), (115, 2), (229, 1)] {
            assert_eq!(
                told(at),
                (
                    UpgradeOutcome::Waits,
                    format!(
                        "fetching failed 3 times (cannot connect to releases.example); \
                         tried again in about {left} min"
                    )
                )
            );
        }
        for at in [230, 4_000_000] {
            assert_eq!(next(&journal, |known| known.at = seconds(at)), Next::Begin);
        }
        // What is at work then is waited for as well.
        let busy = ["cupel-burn-in-7.service".to_owned()];
        let (waits, why) = outcome(next(&journal, |known| {
            known.at = seconds(230);
            known.busy = Ok(&busy);
        }));
        assert_eq!(waits, UpgradeOutcome::Waits);
        assert!(why.contains("cupel-burn-in-7"), "{why}");
        let (under_way, _) = outcome(next(&journal, |known| known.fetching = true));
        assert_eq!(under_way, UpgradeOutcome::UnderWay);
    }

    #[test]
    fn the_longest_pause_is_kept_and_no_longer_one_after_a_clock_was_set_back() {
        let journal = unfetched(1, Duration::from_secs(86_400));
        let (waits, why) = outcome(next(&journal, |_| {}));
        assert_eq!(waits, UpgradeOutcome::Waits);
        assert!(why.contains("failed once"), "{why}");
        assert!(why.ends_with("about 60 min"), "{why}");
        assert_eq!(next(&journal, |known| known.at = seconds(-1)), Next::Begin);
    }

    #[test]
    fn what_could_not_be_fetched_is_never_given_up_and_what_is_cut_short_is() {
        let mut journal = unfetched(1000, SHORTEST_PAUSE);
        let due = |journal: &Journal| next(journal, |known| known.at = seconds(60));
        for _ in 0..INTERRUPTIONS {
            assert_eq!(due(&journal), Next::Begin);
            journal.wish = Some(Wished::begin(journal.wish.take(), wish()));
        }
        assert_eq!(outcome(due(&journal)).0, UpgradeOutcome::Refused);
        // Another wish begins anew.
        let mut other = wish();
        other.url.push('2');
        let anew = Wished::begin(journal.wish.take(), other);
        assert_eq!((anew.begun, anew.failed_attempts()), (1, 0));
    }

    #[test]
    fn a_journal_is_read_by_the_release_before_and_from_it() {
        /// As it was before files were fetched again.
        #[derive(Serialize, Deserialize)]
        struct Before {
            wish: UpgradeWish,
            begun: u32,
            to: Option<Version>,
            came: Option<Came>,
        }
        let new = unfetched(2, SHORTEST_PAUSE).wish.expect("a wish");
        let text = serde_json::to_string(&new).expect("json");
        assert_eq!(serde_json::from_str::<Wished>(&text).expect("itself"), new);
        let old: Before = serde_json::from_str(&text).expect("the release before reads it");
        assert_eq!((old.begun, &old.wish), (0, &new.wish));
        assert!(old.to.is_none() && old.came.is_none());
        let text = serde_json::to_string(&old).expect("json");
        let back: Wished = serde_json::from_str(&text).expect("and writes it");
        assert_eq!(back.unfetched, None);
    }

    #[test]
    fn an_exchange_that_a_person_asked_for_is_not_the_wish() {
        let mut journal = settled();
        journal.wish = Some(Wished::begin(None, wish()));
        journal.state = State::Probation {
            from: version("0.1.0-aaaaaaaaaaaa"),
            to: version("0.3.0-cccccccccccc"),
            since: Timestamp::EPOCH,
            probation_seconds: 60,
            interruptions: 0,
            counted: false,
        };
        assert_eq!(outcome(next(&journal, |_| {})).0, UpgradeOutcome::Waits);
    }
}
