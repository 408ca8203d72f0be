//! What will be done, from what is known: all of it, in order, with nothing left to decide.
//!
//! # Invariants
//! - Pure: facts in, a plan or refusals out. A refusal says what to do instead.
//! - Configuration is only ever added, never overwritten.

use std::fmt;

use cupel_hardware::systemd::Job;

use crate::facts::Facts;
use crate::journal::State;
use crate::layout::{
    CONFIGURATION, CURRENT, ENABLED, JOURNAL, KEYS, LIBRARY, LINKS, LOCK, PROVEN, RUNTIME, SERVICE,
    STATE, VERSIONS,
};
use crate::version::Version;

/// Room beside the versions themselves, in bytes.
const SPARE: u64 = 64 << 20;

/// Why nothing else is begun while versions are exchanged.
const UNDER_WAY: &str =
    "an upgrade is under way: wait for it, see 'systemctl status cupel-upgrade.service'";

/// One thing that is done.
#[derive(Clone, PartialEq, Eq)]
pub enum Step {
    /// Write the version beside those that are there; it proves itself before it has its name.
    Version {
        /// Its size, in bytes.
        bytes: u64,
    },
    /// Make a directory.
    Directory {
        /// Which.
        path: &'static str,
        /// Its mode.
        mode: u32,
    },
    /// Write a file, only where there is none.
    Configuration {
        /// Which.
        path: String,
        /// What is in it; never shown.
        text: String,
        /// Its mode.
        mode: u32,
    },
    /// Let a link lead to the version that was written.
    LinkVersion {
        /// Which.
        path: &'static str,
    },
    /// Make a link.
    Link {
        /// Which.
        path: &'static str,
        /// Where it leads.
        target: &'static str,
    },
    /// Run a program of systemd's.
    Run {
        /// Which, by its absolute path.
        program: &'static str,
        /// With what.
        arguments: &'static [&'static str],
    },
    /// Let systemd read its units again.
    Reload,
    /// Queue a job.
    Job(Job, &'static str),
    /// Wait until the service is healthy.
    Healthy,
    /// Remove a file, a link or a directory.
    Remove {
        /// Which.
        path: &'static str,
    },
    /// Write down that an exchange begins, and let the old version carry it out.
    Exchange {
        /// How long the new version is watched.
        probation_seconds: u64,
    },
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What is in a file may be a token.
        write!(f, "{self}")
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version { bytes } => write!(
                f,
                "write the new version below {VERSIONS} ({} MiB) and let it test itself",
                bytes.div_ceil(1 << 20)
            ),
            Self::Directory { path, mode } => write!(f, "make {path} ({mode:04o})"),
            Self::Configuration { path, mode, .. } => write!(f, "write {path} ({mode:04o})"),
            Self::LinkVersion { path } => write!(f, "link {path} to the new version"),
            Self::Link { path, target } => write!(f, "link {path} to {target}"),
            Self::Run { program, arguments } => write!(f, "run {program} {}", arguments.join(" ")),
            Self::Reload => write!(f, "let systemd read its units"),
            Self::Job(Job::Start, unit) => write!(f, "start {unit}"),
            Self::Job(Job::Stop, unit) => write!(f, "stop {unit}"),
            Self::Job(Job::Restart, unit) => write!(f, "restart {unit}"),
            Self::Healthy => write!(f, "wait until the service answers; otherwise put all back"),
            Self::Remove { path } => write!(f, "remove {path}"),
            Self::Exchange { probation_seconds } => write!(
                f,
                "switch {CURRENT}, restart {SERVICE}, watch it for {probation_seconds} s; put the \
                 old version back if it is not healthy"
            ),
        }
    }
}

/// What will be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// In a line.
    pub title: String,
    /// In order.
    pub steps: Vec<Step>,
}

/// Why nothing is done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("; "))]
pub struct Refusals(pub Vec<String>);

/// What is wanted of an installation.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct InstallWish {
    /// Configuration to be added: path, text, mode.
    pub configuration: Vec<(String, String, u32)>,
    /// Do not start the service.
    pub no_start: bool,
    /// Let a bring-up run once, at the next boot.
    pub bringup: bool,
}

/// Makes an installation out of nothing.
///
/// # Errors
/// Every reason against it.
pub fn install(facts: &Facts, wish: &InstallWish, bytes: u64) -> Result<Plan, Refusals> {
    let mut against = common(facts, bytes);
    match &facts.journal {
        Ok(None) => {}
        Ok(Some(journal)) => match &journal.state {
            // Cut short: it is done again from the beginning, every step can be repeated.
            State::Installing { .. } | State::Removing { .. } => {}
            State::Settled { version } => against.push(format!(
                "{version} is installed: use 'cupel upgrade FILE' to exchange it"
            )),
            State::Switching { .. } | State::Probation { .. } | State::Reverting { .. } => {
                against.push(UNDER_WAY.to_owned());
            }
        },
        Err(why) => against.push(why.clone()),
    }
    for path in &facts.foreign {
        against.push(format!(
            "{path} is there and is not of such an installation: remove it first"
        ));
    }
    if !against.is_empty() {
        return Err(Refusals(against));
    }
    let mut steps = vec![
        Step::Version { bytes },
        Step::Directory {
            path: CONFIGURATION,
            mode: 0o755,
        },
        Step::Directory {
            path: KEYS,
            mode: 0o755,
        },
    ];
    steps.extend(
        wish.configuration
            .iter()
            .filter(|(path, _, _)| !facts.configured.contains(path))
            .map(|(path, text, mode)| Step::Configuration {
                path: path.clone(),
                text: text.clone(),
                mode: *mode,
            }),
    );
    steps.extend([PROVEN, CURRENT].map(|path| Step::LinkVersion { path }));
    steps.extend(links(LINKS));
    steps.extend([
        Step::Run {
            program: "/usr/bin/systemd-sysusers",
            arguments: &["cupel.conf"],
        },
        Step::Run {
            program: "/usr/bin/systemd-tmpfiles",
            arguments: &["--create", "cupel.conf"],
        },
        Step::Run {
            program: "/usr/bin/journalctl",
            arguments: &["--update-catalog"],
        },
    ]);
    let is_bringup = |path: &str| path.ends_with("/cupel-bringup.service");
    let enabled = ENABLED
        .iter()
        .filter(|(path, _)| wish.bringup || !is_bringup(path));
    steps.extend(enabled.map(|&(path, target)| Step::Link { path, target }));
    steps.push(Step::Reload);
    if !wish.no_start {
        steps.push(Step::Job(Job::Start, SERVICE));
        steps.push(Step::Healthy);
    }
    Ok(Plan {
        title: "Install Cupel on this server".to_owned(),
        steps,
    })
}

fn links(list: &[(&'static str, &'static str)]) -> impl Iterator<Item = Step> {
    list.iter()
        .map(|&(path, target)| Step::Link { path, target })
}

/// What speaks against any of it.
fn common(facts: &Facts, bytes: u64) -> Vec<String> {
    let mut against = Vec::new();
    if !facts.is_root {
        against.push("only root may do this".to_owned());
    }
    if let Some(package) = &facts.package {
        against.push(format!(
            "the package {} owns {}: {}",
            package.name,
            crate::layout::PROGRAM,
            package.instead()
        ));
    }
    match &facts.busy {
        Ok(units) if units.is_empty() => {}
        Ok(units) => against.push(format!("{} is at work: wait for it", units.join(", "))),
        Err(why) => against.push(format!("systemd cannot be asked: {why}")),
    }
    if facts.architecture.is_none() {
        against.push("there are no releases for this machine's processors".to_owned());
    }
    match &facts.place {
        Err(why) => against.push(format!("{LIBRARY}: {why}")),
        Ok(place) => {
            let where_ = place.directory.display();
            if place.read_only {
                against.push(format!("{where_} is mounted read-only"));
            }
            if place.no_programs {
                against.push(format!("{where_} is mounted with noexec"));
            }
            // Once below its unfinished name, and room for what the system writes meanwhile.
            let needed = bytes.saturating_add(SPARE);
            if bytes > 0 && place.free_bytes < needed {
                against.push(format!(
                    "{where_} has {} MiB left, {} are needed",
                    place.free_bytes >> 20,
                    needed >> 20
                ));
            }
        }
    }
    against
}

/// What runs, if that is settled.
fn settled(facts: &Facts, against: &mut Vec<String>) -> Option<Version> {
    match &facts.journal {
        Err(why) => against.push(why.clone()),
        Ok(None) => against.push("nothing is installed here: use 'cupel install'".to_owned()),
        Ok(Some(journal)) => match &journal.state {
            State::Settled { version } => return Some(version.clone()),
            State::Installing { .. } => {
                against.push("an installation was cut short: run 'cupel install' again".to_owned())
            }
            State::Removing { .. } => {
                against.push("a removal was cut short: run 'cupel uninstall' again".to_owned())
            }
            State::Switching { .. } | State::Probation { .. } | State::Reverting { .. } => {
                against.push(UNDER_WAY.to_owned());
            }
        },
    }
    None
}

/// Exchanges the version that runs for another.
///
/// # Errors
/// Every reason against it.
pub fn upgrade(facts: &Facts, bytes: u64, probation_seconds: u64) -> Result<Plan, Refusals> {
    let mut against = common(facts, bytes);
    let from = settled(facts, &mut against);
    match from {
        Some(from) if against.is_empty() => Ok(Plan {
            title: format!("Exchange {from} for the new version"),
            steps: vec![
                Step::Version { bytes },
                Step::Exchange { probation_seconds },
            ],
        }),
        Some(_) | None => Err(Refusals(against)),
    }
}

/// Goes back to the version before.
///
/// # Errors
/// Every reason against it.
pub fn rollback(facts: &Facts, probation_seconds: u64) -> Result<(Plan, Version), Refusals> {
    let mut against = common(facts, 0);
    let from = settled(facts, &mut against);
    let journal = facts.journal.as_ref().ok().and_then(Option::as_ref);
    let previous = journal.and_then(|journal| journal.previous.clone());
    if from.is_some() && previous.is_none() {
        against.push("there is no version to go back to".to_owned());
    }
    match (from, previous) {
        (Some(from), Some(to)) if against.is_empty() => Ok((
            Plan {
                title: format!("Go back from {from} to {to}"),
                steps: vec![Step::Exchange { probation_seconds }],
            },
            to,
        )),
        (Some(_) | None, _) => Err(Refusals(against)),
    }
}

/// Removes the installation; `purge`: configuration and state as well.
///
/// # Errors
/// Every reason against it.
pub fn uninstall(facts: &Facts, purge: bool) -> Result<Plan, Refusals> {
    let mut against = common(facts, 0);
    match &facts.journal {
        Ok(Some(journal)) => match &journal.state {
            State::Settled { .. } | State::Installing { .. } | State::Removing { .. } => {}
            State::Switching { .. } | State::Probation { .. } | State::Reverting { .. } => {
                settled(facts, &mut against);
            }
        },
        Ok(None) if facts.current.is_some() => {}
        Ok(None) => against.push("nothing is installed here".to_owned()),
        // It is being removed: what is in it does not matter.
        Err(_) => {}
    }
    if against.is_empty() {
        Ok(Plan {
            title: "Remove Cupel from this server".to_owned(),
            steps: removal(purge),
        })
    } else {
        Err(Refusals(against))
    }
}

/// The steps that remove an installation: what starts things first, the programs last.
pub fn removal(purge: bool) -> Vec<Step> {
    let remove = |&(path, _): &(&'static str, &'static str)| Step::Remove { path };
    let mut steps: Vec<Step> = ENABLED.iter().map(remove).collect();
    steps.push(Step::Job(Job::Stop, SERVICE));
    steps.extend(LINKS.iter().map(remove));
    steps.extend([RUNTIME, CURRENT, PROVEN, LIBRARY].map(|path| Step::Remove { path }));
    steps.push(Step::Reload);
    if purge {
        steps.extend([CONFIGURATION, STATE].map(|path| Step::Remove { path }));
    } else {
        steps.extend([JOURNAL, LOCK].map(|path| Step::Remove { path }));
    }
    steps
}
