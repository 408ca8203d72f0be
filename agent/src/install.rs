//! What the commands that install have in common: the machine as the installer sees it, the plan
//! shown, consent, refusals, and the wait for an exchange that another unit carries out.
//!
//! # Invariants
//! - The plan is shown before anything is asked, and nothing is changed before there is consent.
//! - A refusal is exit code 4, and nothing was changed.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use cupel_installer::journal::{Ended, Journal, Outcome, State};
use cupel_installer::layout::{JOURNAL, UPGRADE};
use cupel_installer::plan::{Plan, Refusals};
use cupel_installer::{Answer, Disk, Facts, InstallError, Layout, Live, Lock, System as _};

use crate::cli::COLUMNS;
use crate::context::Context;
use crate::exit::Refused;
use crate::output::{ask, note, stdin_is_terminal};
use crate::render::table::wrap;
use crate::service::client;
use crate::service::protocol::Ask;

/// How long the unit that carries out an exchange may be away before it is given up.
const AWAY: Duration = Duration::from_secs(20);

/// How often the journal is looked at.
const LOOK: Duration = Duration::from_millis(500);

/// The machine as the installer sees it.
pub struct Machine {
    /// Its disk.
    pub disk: Disk,
    /// systemd, programs, the service.
    pub system: Live,
}

impl Machine {
    /// The one of this context.
    pub fn of(context: &Context) -> Self {
        let socket = client::path(&context.root);
        let ask = move || {
            client::document::<Answer>(&socket, &Ask::Status {})
                .map_err(|error| format!("{error:#}"))
        };
        Self {
            disk: Disk::new(Layout::beneath(context.root.path())),
            system: Live::new(context.root.clone(), Box::new(ask)),
        }
    }

    /// What is known of it.
    pub fn facts(&self) -> Facts {
        Facts::gather(&self.disk, &self.system)
    }

    /// The journal as it stands.
    ///
    /// # Errors
    /// It cannot be used.
    pub fn journal(&self) -> Result<Option<Journal>, InstallError> {
        Journal::load(&self.disk.layout.at(JOURNAL))
    }

    /// Takes the lock that whoever installs holds.
    ///
    /// # Errors
    /// Somebody else has it: a refusal.
    pub fn lock(&self) -> anyhow::Result<Lock> {
        match Lock::take(&self.disk) {
            Err(InstallError::Locked) => Err(Refused(InstallError::Locked.to_string()).into()),
            other => Ok(other?),
        }
    }
}

/// Shows what is planned, gets the consent for it, and takes the lock. What was agreed to is done, or
/// nothing: somebody else may have been at it meanwhile.
///
/// # Errors
/// [`Refused`] without consent, or when the plan is another one by then.
pub fn agreed<P: PartialEq>(
    machine: &Machine,
    planned: impl Fn() -> anyhow::Result<P>,
    plan: impl Fn(&P) -> &Plan,
    yes: bool,
) -> anyhow::Result<(P, Lock)> {
    let shown = planned()?;
    agree(&lines(plan(&shown)), yes)?;
    let lock = machine.lock()?;
    if planned()? != shown {
        return Err(Refused("the machine has changed meanwhile; run it again".to_owned()).into());
    }
    Ok((shown, lock))
}

/// Refusals as the error that ends a command with exit code 4.
pub fn refused(refusals: &Refusals) -> anyhow::Error {
    Refused(refusals.to_string()).into()
}

/// The plan, for people.
pub fn lines(plan: &Plan) -> Vec<String> {
    numbered(&plan.title, plan.steps.iter().map(ToString::to_string))
}

/// What is done, in steps.
pub fn numbered(title: &str, steps: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut lines = vec![format!("{title}:")];
    for (number, words) in steps.into_iter().enumerate() {
        let lead = format!("{:>4}. ", number + 1);
        let parts = wrap(&words, COLUMNS - lead.len());
        for (part, text) in parts.into_iter().enumerate() {
            let lead = if part == 0 { lead.as_str() } else { "      " };
            lines.push(format!("{lead}{text}"));
        }
    }
    lines
}

/// Shows the plan and gets the consent for it.
///
/// # Errors
/// [`Refused`] without consent.
pub fn agree(lines: &[String], yes: bool) -> anyhow::Result<()> {
    for line in lines {
        note(line);
    }
    if yes {
        return Ok(());
    }
    if !stdin_is_terminal() {
        return Err(Refused("there is nobody at the terminal to ask; say --yes".to_owned()).into());
    }
    ask()
}

/// A file of the operator's, with a cap.
///
/// # Errors
/// It cannot be read, or is larger.
pub fn read(path: &Path, cap: u64) -> anyhow::Result<Vec<u8>> {
    let about =
        std::fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?;
    if about.len() > cap {
        bail!("{} is larger than {cap} bytes", path.display());
    }
    std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Waits for the end of an exchange that `cupel-upgrade.service` carries out, and tells how it goes.
///
/// # Errors
/// The unit ended before the exchange did.
pub fn follow(machine: &Machine, before: Option<&Outcome>) -> anyhow::Result<Outcome> {
    let mut told = String::new();
    let mut seen = Instant::now();
    loop {
        if let Some(journal) = machine.journal()? {
            let word = match &journal.state {
                State::Settled { .. } | State::Installing { .. } | State::Removing { .. } => "",
                State::Switching { .. } => "the old version switches",
                State::Probation { .. } => "the new version runs, and is watched",
                State::Reverting { .. } => "the old version is put back",
            };
            if word != told && !word.is_empty() {
                note(word);
                word.clone_into(&mut told);
            }
            if let Some(last) = journal.last.as_ref().filter(|_| journal.is_settled())
                && Some(last) != before
            {
                return Ok(last.clone());
            }
        }
        let unit = machine.system.service(UPGRADE);
        if unit.is_ok_and(|unit| unit.main_pid != 0 || unit.active_state == "activating") {
            seen = Instant::now();
        } else if seen.elapsed() > AWAY {
            bail!("{UPGRADE} ended before the exchange did; see 'journalctl -u {UPGRADE}'");
        }
        machine.system.sleep(LOOK);
    }
}

/// What came of an exchange, in a sentence.
pub fn sentence(outcome: &Outcome) -> String {
    let why = outcome.why.as_deref().unwrap_or("no reason is known");
    let from = outcome
        .from
        .as_ref()
        .map_or_else(|| "the old version".to_owned(), ToString::to_string);
    match outcome.result {
        Ended::Installed => format!("{} is installed and runs", outcome.to),
        Ended::Accepted => format!("{} runs; before it, {from} did", outcome.to),
        Ended::Reverted => format!("{} was put back, {from} runs: {why}", outcome.to),
        Ended::NotBegun => format!("{} was not begun, {from} runs on: {why}", outcome.to),
    }
}
