//! The exchange of one version for another, carried out by the last version that was found well.
//!
//! ```text
//! switching -> probation -> settled (new)
//!      |            '----> reverting -> settled (old)
//!      '--> settled (old): something is at work, or the new version is not whole
//! ```
//!
//! # Invariants
//! - At every moment `current` leads to a whole version.
//! - The journal announces a state before its first side effect, and each state can be entered
//!   again after a power cut or a killed process.
//! - A version under which watching was cut short [`INTERRUPTIONS`] times is put back: what takes
//!   the machine down with it must not do so for ever.

use std::time::Duration;

use cupel_hardware::systemd::Job;
use cupel_model::Timestamp;

use crate::apply::Tell;
use crate::contents;
use crate::disk::Disk;
use crate::error::InstallError;
use crate::journal::{Ended, INTERRUPTIONS, Journal, Outcome, State};
use crate::layout::{CURRENT, JOURNAL, PROVEN, SERVICE};
use crate::system::{System, SystemError};
use crate::version::Version;
use crate::watch::{Judgement, Watch, observe};

/// How often the service is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// Carries an exchange from wherever it is to its end.
pub struct Exchange<'a> {
    disk: &'a Disk,
    system: &'a dyn System,
    tell: Tell<'a>,
}

/// From which, to which, and for how long it is watched.
struct Pair {
    from: Version,
    to: Version,
    since: Timestamp,
    probation_seconds: u64,
}

impl<'a> Exchange<'a> {
    /// On this disk.
    pub fn new(disk: &'a Disk, system: &'a dyn System, tell: Tell<'a>) -> Self {
        Self { disk, system, tell }
    }

    /// `cupel upgrade --step`: until it is settled. `None` where nothing is under way.
    ///
    /// # Errors
    /// [`InstallError`]; run again, it goes on.
    pub fn step(&mut self) -> Result<Option<Outcome>, InstallError> {
        let Some(mut journal) = Journal::load(&self.disk.layout.at(JOURNAL))? else {
            return Ok(None);
        };
        match &mut journal.state {
            State::Settled { .. } | State::Installing { .. } | State::Removing { .. } => {
                return Ok(None);
            }
            State::Probation {
                interruptions,
                counted,
                ..
            } => {
                // Whoever comes here in the middle comes after an interruption.
                if !std::mem::take(counted) {
                    *interruptions += 1;
                }
                journal.save(self.disk)?;
            }
            State::Switching { .. } | State::Reverting { .. } => {}
        }
        loop {
            match journal.state.clone() {
                State::Settled { .. } | State::Installing { .. } | State::Removing { .. } => {
                    return Ok(journal.last);
                }
                State::Switching {
                    from,
                    to,
                    since,
                    probation_seconds,
                } => {
                    let pair = Pair {
                        from,
                        to,
                        since,
                        probation_seconds,
                    };
                    self.switch(&mut journal, pair)?;
                }
                State::Probation {
                    from,
                    to,
                    since,
                    probation_seconds,
                    interruptions,
                    ..
                } => {
                    let pair = Pair {
                        from,
                        to,
                        since,
                        probation_seconds,
                    };
                    self.probation(&mut journal, pair, interruptions)?;
                }
                State::Reverting { from, to, why, .. } => {
                    self.put_back(&from)?;
                    (self.tell)("restart the old version");
                    self.restart()?;
                    let why = match self.watch(&from, Duration::ZERO) {
                        Judgement::Revert(also) => {
                            format!("{why}; and the old version is not healthy either: {also}")
                        }
                        Judgement::Accept | Judgement::Wait => why,
                    };
                    self.reverted(&mut journal, from, to, why)?;
                }
            }
        }
    }

    /// `cupel upgrade --recover`, early in a boot, before the service: leaves a whole version
    /// behind `current`, whatever the disk looks like.
    ///
    /// # Errors
    /// The disk's; or no version is whole.
    pub fn recover(&mut self) -> Result<Option<Outcome>, InstallError> {
        let path = self.disk.layout.at(JOURNAL);
        let mut is_new = false;
        let mut journal = match Journal::load(&path) {
            Ok(Some(journal)) => journal,
            Ok(None) => return Ok(None),
            Err(error) => {
                (self.tell)(&format!("{error}: it is made again from the links"));
                is_new = true;
                let version = self.some_whole()?;
                let mut others = contents::present(self.disk).0;
                others.retain(|other| *other != version);
                let mut journal = Journal::new(State::Settled { version });
                journal.previous = others.pop();
                journal
            }
        };
        match journal.state.clone() {
            State::Installing { to, .. } => {
                // This unit is enabled last: all else is in its place.
                let Some(version) = to.or_else(|| self.disk.layout.linked(CURRENT)) else {
                    return Ok(None);
                };
                contents::whole(self.disk, &version)?;
                self.put_back(&version)?;
                let outcome = (None, version.clone(), Ended::Installed, None);
                self.settle(&mut journal, version, outcome)?;
            }
            State::Settled { version } => {
                let sound = if contents::whole(self.disk, &version).is_ok() {
                    version
                } else {
                    let other = self.some_whole()?;
                    (self.tell)(&format!("{version} is not whole: {other} takes its place"));
                    other
                };
                self.put_back(&sound)?;
                let settled = State::Settled { version: sound };
                if is_new || journal.state != settled || journal.doing.is_some() {
                    journal.state = settled;
                    journal.doing = None;
                    journal.save(self.disk)?;
                }
                let keep: Vec<&Version> = journal.previous.iter().collect();
                contents::prune(self.disk, &keep)?;
            }
            // The unit that carries out upgrades is started in this boot as well: it goes on.
            State::Switching { from, .. } => self.put_back(&from)?,
            State::Probation {
                from,
                to,
                since,
                probation_seconds,
                interruptions,
                ..
            } => {
                let interruptions = interruptions + 1;
                let broken = contents::whole(self.disk, &to).err();
                if interruptions >= INTERRUPTIONS || broken.is_some() {
                    let why = broken.map_or_else(|| cut_short(interruptions), |e| e.to_string());
                    self.revert_quietly(&mut journal, from, to, since, why)?;
                } else {
                    journal.state = State::Probation {
                        from,
                        to,
                        since,
                        probation_seconds,
                        interruptions,
                        counted: true,
                    };
                    journal.save(self.disk)?;
                }
            }
            State::Reverting {
                from,
                to,
                since,
                why,
            } => self.revert_quietly(&mut journal, from, to, since, why)?,
            State::Removing { .. } => {}
        }
        Ok(journal.last)
    }

    /// Puts the old version back while no service runs: nothing is restarted, nothing is watched.
    fn revert_quietly(
        &mut self,
        journal: &mut Journal,
        from: Version,
        to: Version,
        since: Timestamp,
        why: String,
    ) -> Result<(), InstallError> {
        journal.state = State::Reverting {
            from: from.clone(),
            to: to.clone(),
            since,
            why: why.clone(),
        };
        journal.save(self.disk)?;
        self.put_back(&from)?;
        self.disk.before("let systemd read its units")?;
        if let Err(error) = self.system.reload() {
            (self.tell)(&format!(
                "systemd does not read its units again: {error}; it has those of {to} in this boot"
            ));
        }
        self.reverted(journal, from, to, why)
    }

    fn switch(&mut self, journal: &mut Journal, pair: Pair) -> Result<(), InstallError> {
        let not_now = match self.system.busy() {
            Ok(units) if units.is_empty() => contents::whole(self.disk, &pair.to)
                .err()
                .map(|error| error.to_string()),
            Ok(units) => Some(format!("{} is at work", units.join(", "))),
            Err(error) => Some(error.to_string()),
        };
        if let Some(why) = not_now {
            let (from, to) = (pair.from, pair.to);
            self.put_back(&from)?;
            let stays = from.clone();
            return self.settle(journal, stays, (Some(from), to, Ended::NotBegun, Some(why)));
        }
        (self.tell)(&format!("switch to {}", pair.to));
        self.disk
            .link(&self.disk.layout.at(CURRENT), &pair.to.link_target())?;
        journal.state = State::Probation {
            from: pair.from,
            to: pair.to,
            since: pair.since,
            probation_seconds: pair.probation_seconds,
            interruptions: 0,
            counted: false,
        };
        journal.save(self.disk)
    }

    fn probation(
        &mut self,
        journal: &mut Journal,
        pair: Pair,
        interruptions: u32,
    ) -> Result<(), InstallError> {
        let judgement = if interruptions >= INTERRUPTIONS {
            Judgement::Revert(cut_short(interruptions))
        } else {
            self.disk
                .link(&self.disk.layout.at(CURRENT), &pair.to.link_target())?;
            (self.tell)(&format!(
                "restart {SERVICE}, and watch it for {} s",
                pair.probation_seconds
            ));
            match self.restart() {
                Err(error @ InstallError::PowerCut(_)) => return Err(error),
                Err(error) => Judgement::Revert(error.to_string()),
                Ok(()) => self.watch(&pair.to, Duration::from_secs(pair.probation_seconds)),
            }
        };
        match judgement {
            Judgement::Accept | Judgement::Wait => {
                self.disk
                    .link(&self.disk.layout.at(PROVEN), &pair.to.link_target())?;
                journal.previous = Some(pair.from.clone());
                let from = Some(pair.from.clone());
                let outcome = (from, pair.to.clone(), Ended::Accepted, None);
                self.settle(journal, pair.to, outcome)?;
                contents::prune(self.disk, &[&pair.from])
            }
            Judgement::Revert(why) => {
                (self.tell)(&format!("put {} back: {why}", pair.from));
                journal.state = State::Reverting {
                    from: pair.from,
                    to: pair.to,
                    since: pair.since,
                    why,
                };
                journal.save(self.disk)
            }
        }
    }

    fn watch(&mut self, version: &Version, probation: Duration) -> Judgement {
        let binary = self.disk.layout.binary(version);
        let mut watch = Watch::new(self.system.since_boot(), probation);
        loop {
            let seen = observe(self.system, &binary);
            match watch.judge(&seen, self.system.since_boot()) {
                Judgement::Wait => self.system.sleep(LOOK),
                judgement @ (Judgement::Accept | Judgement::Revert(_)) => return judgement,
            }
        }
    }

    fn restart(&mut self) -> Result<(), InstallError> {
        let failed = |source: SystemError| InstallError::System {
            what: format!("cannot restart {SERVICE}"),
            source,
        };
        self.disk.before("let systemd read its units")?;
        self.system.reload().map_err(failed)?;
        self.disk.before("restart the service")?;
        // A unit that failed too often would not be started again.
        let _ = self.system.reset_failed(SERVICE);
        self.system.job(Job::Restart, SERVICE).map_err(failed)
    }

    /// Lets both links lead to a version.
    fn put_back(&mut self, version: &Version) -> Result<(), InstallError> {
        for link in [CURRENT, PROVEN] {
            self.disk
                .link(&self.disk.layout.at(link), &version.link_target())?;
        }
        Ok(())
    }

    fn reverted(
        &mut self,
        journal: &mut Journal,
        from: Version,
        to: Version,
        why: String,
    ) -> Result<(), InstallError> {
        let outcome = (Some(from.clone()), to, Ended::Reverted, Some(why));
        self.settle(journal, from, outcome)?;
        let keep: Vec<&Version> = journal.previous.iter().collect();
        contents::prune(self.disk, &keep)
    }

    /// It is over: `version` runs. From which, to which, how it ended, and why.
    fn settle(
        &mut self,
        journal: &mut Journal,
        version: Version,
        (from, to, result, why): (Option<Version>, Version, Ended, Option<String>),
    ) -> Result<(), InstallError> {
        let outcome = Outcome {
            at: self.system.now(),
            from,
            to,
            result,
            why,
        };
        journal.settle(self.disk, version, outcome)
    }

    /// A version that is whole: the one that runs, the proven one, or any.
    fn some_whole(&self) -> Result<Version, InstallError> {
        let layout = &self.disk.layout;
        let linked = [CURRENT, PROVEN].iter().filter_map(|at| layout.linked(at));
        let any = contents::present(self.disk).0.into_iter().rev();
        linked
            .chain(any)
            .find(|version| contents::whole(self.disk, version).is_ok())
            .ok_or_else(|| InstallError::NotWhole {
                version: "any".to_owned(),
                why: "no version on this server is".to_owned(),
            })
    }
}

fn cut_short(interruptions: u32) -> String {
    format!("watching it was cut short {interruptions} times, by power cuts or killed processes")
}
