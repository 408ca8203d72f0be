//! The version that the inventory wishes: looked after by a thread of its own, which asks the
//! installer's journal and systemd, and starts the unit that fetches it.
//!
//! # Invariants
//! - Nothing is fetched, verified or written here: that is `cupel-wish.service`'s.
//! - What came of a wish is in the installer's journal, so that a restart changes nothing: also that
//!   its file could not be fetched, and when it is tried again.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use cupel_hardware::systemd::Job;
use cupel_installer::facts::{self, Package};
use cupel_installer::layout::WISH;
use cupel_installer::wish::{Known, Next, Wished, decide};
use cupel_installer::{InstallError, Journal, System as _};
use cupel_model::wire::{Lifecycle, UpgradeOutcome, UpgradeState, UpgradeWish, Wanted};

use super::input::{Input, Inputs};
use crate::install::Machine;

/// How often it is looked how a wish stands that is not over.
const LOOK: Duration = Duration::from_secs(10);

/// How often the unit is started in vain before it is given up. A run that wrote down that it could
/// not fetch was not in vain.
const STARTS: u32 = 5;

/// What is wished, and whether the node may be touched for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    wish: UpgradeWish,
    on_hold: bool,
}

impl Order {
    /// Of these wishes, if they wish a version.
    pub fn of(wanted: &Wanted) -> Option<Self> {
        Some(Self {
            wish: wanted.upgrade.clone()?,
            on_hold: wanted.lifecycle == Lifecycle::Hold,
        })
    }

    /// Which version.
    pub fn version(&self) -> &str {
        &self.wish.version
    }
}

/// Where orders go.
#[derive(Debug)]
pub struct Upgrades(Sender<Option<Order>>);

impl Upgrades {
    /// Starts the thread, with what was wished before.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(machine: Machine, order: Option<Order>, inputs: Inputs) -> anyhow::Result<Self> {
        let (sender, orders) = channel();
        let upgrades = Self(sender);
        upgrades.order(order);
        thread::Builder::new()
            .name("upgrades".to_owned())
            .spawn(move || look_after(&machine, &orders, &inputs))
            .context("cannot start a thread")?;
        Ok(upgrades)
    }

    /// Something else is wished, or nothing any more.
    pub fn order(&self, order: Option<Order>) {
        // The thread ends with the service alone.
        let _ = self.0.send(order);
    }
}

/// One wish and what was done about it.
struct Case {
    order: Order,
    package: Option<Package>,
    starts: u32,
    /// Attempts to fetch that failed, as the journal has it.
    unfetched: u32,
    told: Option<UpgradeState>,
    over: bool,
}

impl Case {
    fn new(order: Order, package: Option<Package>) -> Self {
        Self {
            order,
            package,
            starts: 0,
            unfetched: 0,
            told: None,
            over: false,
        }
    }

    /// Begins to count starts anew where the one before came as far as to fetch.
    fn see(&mut self, journal: Option<&Journal>) {
        let own = journal
            .and_then(|journal| journal.wish.as_ref())
            .filter(|own| own.wish == self.order.wish);
        let unfetched = own.map_or(0, Wished::failed_attempts);
        if unfetched != self.unfetched {
            (self.unfetched, self.starts) = (unfetched, 0);
        }
    }
}

fn look_after(machine: &Machine, orders: &Receiver<Option<Order>>, inputs: &Inputs) {
    let mut case: Option<Case> = None;
    loop {
        let news = match &case {
            Some(case) if !case.over => orders.recv_timeout(LOOK),
            Some(_) | None => orders.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match news {
            Ok(order) => {
                case = order
                    .map(|order| Case::new(order, facts::package(&machine.disk, &machine.system)));
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        let Some(case) = &mut case else { continue };
        let (state, over) = look(machine, case);
        case.over = over;
        let same = case
            .told
            .as_ref()
            .is_some_and(|told| (told.outcome, &told.why) == (state.outcome, &state.why));
        if !same {
            case.told = Some(state.clone());
            if !inputs.put(Input::Upgrade(state)) {
                return;
            }
        }
    }
}

/// How it stands, and whether that is the end of it. Begins it where nothing speaks against it.
fn look(machine: &Machine, case: &mut Case) -> (UpgradeState, bool) {
    let at = machine.system.now();
    let journal: Result<Option<Journal>, InstallError> = machine.journal();
    case.see(journal.as_ref().ok().and_then(Option::as_ref));
    let wish = &case.order.wish;
    let stands = |outcome, why: Option<String>| UpgradeState {
        version: wish.version.clone(),
        outcome,
        why,
        at,
    };
    if case.order.on_hold {
        let why = "the node is on hold: it is not to be touched".to_owned();
        return (stands(UpgradeOutcome::Waits, Some(why)), false);
    }
    let busy = machine.system.busy();
    let unit = machine.system.service(WISH);
    let known = Known {
        journal: journal.as_ref().map(Option::as_ref),
        package: case.package.as_ref(),
        busy: busy.as_deref(),
        fetching: unit.is_ok_and(|unit| unit.active_state == "activating"),
        at,
    };
    match decide(wish, &known) {
        Next::Over(state) => (state, true),
        Next::Wait(state) => (state, false),
        Next::Begin if case.starts >= STARTS => {
            let why = format!(
                "{WISH} was started {STARTS} times and began nothing: 'journalctl -u {WISH}' \
                 says more"
            );
            (stands(UpgradeOutcome::Refused, Some(why)), true)
        }
        Next::Begin => {
            case.starts += 1;
            tracing::info!(
                "the inventory wishes version {}: {WISH} is started",
                wish.version
            );
            // A unit that failed too often would not be started again.
            let _ = machine.system.reset_failed(WISH);
            match machine.system.job(Job::Start, WISH) {
                Ok(()) => (stands(UpgradeOutcome::UnderWay, None), false),
                Err(error) => {
                    let why = format!("cannot start {WISH}: {error}");
                    (stands(UpgradeOutcome::Waits, Some(why)), false)
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cupel_installer::journal::State;
    use cupel_installer::wish::SHORTEST_PAUSE;
    use cupel_model::Timestamp;

    #[test]
    fn a_start_that_came_as_far_as_to_fetch_was_not_in_vain() {
        let wish = UpgradeWish {
            version: "0.2.0".to_owned(),
            url: "https://releases.example/cupel-x86_64".to_owned(),
            downgrade: false,
        };
        let order = Order {
            wish: wish.clone(),
            on_hold: false,
        };
        let mut journal = Journal::new(State::Settled {
            version: "0.1.0-aaaaaaaaaaaa".parse().expect("a version"),
        });
        let mut case = Case::new(order, None);
        for _ in 0..3 * STARTS {
            case.starts += 1;
            let mut wished = Wished::begin(journal.wish.take(), wish.clone());
            journal.wish = Some(wished.clone());
            case.see(Some(&journal));
            assert_eq!(case.starts, 1);
            wished.later("no route".to_owned(), Timestamp::EPOCH, SHORTEST_PAUSE);
            journal.wish = Some(wished);
            case.see(Some(&journal));
            assert_eq!(case.starts, 0);
        }
        for starts in 1..=STARTS {
            case.starts += 1;
            case.see(Some(&journal));
            assert_eq!(case.starts, starts, "nothing was written down");
        }
    }
}
