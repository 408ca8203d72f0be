//! Does what a plan says, one step after the other.
//!
//! # Invariants
//! - The journal names a step before it is done.
//! - Each step can be repeated: a plan that was cut short is done again from its beginning.
//! - A first installation that does not become healthy leaves nothing but configuration.

use std::fs::{self, File, TryLockError};
use std::path::Path;
use std::time::Duration;

use cupel_hardware::systemd::Job;

use crate::contents::{self, Terms};
use crate::disk::Disk;
use crate::error::InstallError;
use crate::journal::{Ended, Journal, Outcome, State};
use crate::layout::{JOURNAL, LOCK, STATE, UPGRADE};
use crate::plan::{Plan, Step, removal};
use crate::release::Release;
use crate::system::{System, SystemError};
use crate::version::Version;
use crate::watch::{Judgement, Watch, observe};

/// How long a program of systemd's may take.
const PROGRAM: Duration = Duration::from_secs(60);

/// How long a unit may take to stop.
const STOPPING: Duration = Duration::from_secs(30);

/// How often a unit is looked at.
const LOOK: Duration = Duration::from_millis(500);

/// Held by whoever installs; the kernel gives it back however the process ends.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Takes it.
    ///
    /// # Errors
    /// Somebody else has it.
    pub fn take(disk: &Disk) -> Result<Self, InstallError> {
        disk.make_directory(&disk.layout.at(STATE), 0o755)?;
        let path = disk.layout.at(LOCK);
        let cannot = |source| InstallError::Disk {
            what: "lock",
            path: path.clone(),
            source,
        };
        let file = File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(cannot)?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(InstallError::Locked),
            Err(TryLockError::Error(error)) => Err(cannot(error)),
        }
    }
}

/// Tells whoever waits what is being done.
pub type Tell<'a> = &'a mut dyn FnMut(&str);

/// Does steps.
pub struct Applier<'a> {
    disk: &'a Disk,
    system: &'a dyn System,
    tell: Tell<'a>,
    journal: Journal,
    release: Option<&'a Release>,
    /// The version that was written, or that is gone back to.
    version: Option<Version>,
    terms: Terms,
    /// The inventory wishes it, and not a person.
    wished: bool,
}

impl<'a> Applier<'a> {
    /// With the journal as it is.
    pub fn new(
        disk: &'a Disk,
        system: &'a dyn System,
        tell: Tell<'a>,
        journal: Journal,
        release: Option<&'a Release>,
    ) -> Self {
        Self {
            disk,
            system,
            tell,
            journal,
            release,
            version: None,
            terms: Terms::default(),
            wished: false,
        }
    }

    /// What the new version must be.
    #[must_use]
    pub fn under(self, terms: Terms) -> Self {
        Self { terms, ..self }
    }

    /// It is done for the wish that the journal names.
    #[must_use]
    pub fn for_the_wish(self) -> Self {
        Self {
            wished: true,
            ..self
        }
    }

    /// The first installation.
    ///
    /// # Errors
    /// [`InstallError`]; the service did not come up: then everything but configuration is removed.
    pub fn install(mut self, plan: &Plan) -> Result<Version, InstallError> {
        let since = self.system.now();
        self.journal.state = State::Installing { to: None, since };
        if let Err(error) = self.all(&plan.steps) {
            if matches!(error, InstallError::PowerCut(_)) {
                return Err(error);
            }
            (self.tell)("putting everything back");
            self.journal.state = State::Removing {
                purge: false,
                since,
            };
            self.all(&removal(false))?;
            return Err(InstallError::PutBack(Box::new(error)));
        }
        let version = self.written()?;
        let outcome = Outcome {
            at: self.system.now(),
            from: None,
            to: version.clone(),
            result: Ended::Installed,
            why: None,
        };
        self.journal.settle(self.disk, version.clone(), outcome)?;
        Ok(version)
    }

    /// An upgrade: the new version is written and proves itself; the exchange is begun.
    ///
    /// # Errors
    /// [`InstallError`]; then the old version runs on.
    pub fn upgrade(mut self, plan: &Plan) -> Result<Version, InstallError> {
        if let Err(error) = self.all(&plan.steps) {
            if !matches!(error, InstallError::PowerCut(_)) {
                self.journal.doing = None;
                // What went wrong is told; a journal that cannot be written says nothing new.
                let _ = self.journal.save(self.disk);
            }
            return Err(error);
        }
        self.written()
    }

    /// A return to a version that is there.
    ///
    /// # Errors
    /// [`InstallError`]; then the version of now runs on.
    pub fn rollback(mut self, plan: &Plan, to: &Version) -> Result<(), InstallError> {
        contents::whole(self.disk, to)?;
        self.version = Some(to.clone());
        self.all(&plan.steps)
    }

    /// A removal.
    ///
    /// # Errors
    /// [`InstallError`]; done again, it goes on.
    pub fn uninstall(mut self, plan: &Plan, purge: bool) -> Result<(), InstallError> {
        let since = self.system.now();
        self.journal.state = State::Removing { purge, since };
        self.all(&plan.steps)
    }

    fn all(&mut self, steps: &[Step]) -> Result<(), InstallError> {
        steps.iter().try_for_each(|step| self.step(step))
    }

    fn written(&self) -> Result<Version, InstallError> {
        self.version.clone().ok_or_else(|| InstallError::NotWhole {
            version: "new".to_owned(),
            why: "nothing was written".to_owned(),
        })
    }

    fn step(&mut self, step: &Step) -> Result<(), InstallError> {
        let words = step.to_string();
        (self.tell)(&words);
        // The journal is not brought back by what removes it, nor made again after that.
        let ends = matches!(step, Step::Remove { path } if [JOURNAL, LOCK, STATE].contains(path));
        if !ends {
            self.journal.doing = Some(words.clone());
            self.journal.save(self.disk)?;
        }
        let at = |path: &str| self.disk.layout.at(path);
        let system = |source: SystemError| InstallError::System {
            what: format!("cannot {words}"),
            source,
        };
        match step {
            Step::Version { .. } => {
                let release = self.release.ok_or_else(|| InstallError::NotWhole {
                    version: "new".to_owned(),
                    why: "there is no file".to_owned(),
                })?;
                let version = contents::stage(self.disk, self.system, release, &self.terms)?;
                if let State::Installing { to, .. } = &mut self.journal.state {
                    *to = Some(version.clone());
                }
                self.version = Some(version);
            }
            Step::Directory { path, mode } => self.disk.make_directory(&at(path), *mode)?,
            Step::Configuration { path, text, mode } => {
                let path = at(path);
                if fs::symlink_metadata(&path).is_err() {
                    self.disk.replace(&path, text.as_bytes(), *mode)?;
                }
            }
            Step::LinkVersion { path } => {
                let version = self.written()?;
                self.disk.link(&at(path), &version.link_target())?;
            }
            Step::Link { path, target } => {
                let path = at(path);
                if let Some(parent) = path.parent() {
                    self.disk.make_directory(parent, 0o755)?;
                }
                self.disk.link(&path, Path::new(target))?;
            }
            Step::Run { program, arguments } => {
                self.disk.before(&words)?;
                self.system
                    .run(Path::new(program), arguments, PROGRAM)
                    .map_err(system)?;
            }
            Step::Reload => {
                self.disk.before(&words)?;
                self.system.reload().map_err(system)?;
            }
            Step::Job(Job::Stop, unit) => {
                self.disk.before(&words)?;
                stop(self.system, unit).map_err(system)?;
            }
            Step::Job(job, unit) => {
                self.disk.before(&words)?;
                // It may have failed for good while an earlier installation was broken.
                let _ = self.system.reset_failed(unit);
                self.system.job(*job, unit).map_err(system)?;
            }
            Step::Healthy => self.healthy()?,
            Step::Remove { path } => {
                if *path == crate::layout::LIBRARY {
                    // Names of versions go before what is in them.
                    for version in contents::present(self.disk).0 {
                        contents::remove_version(self.disk, &version)?;
                    }
                }
                self.disk.remove(&at(path))?;
            }
            Step::Exchange { probation_seconds } => self.exchange(*probation_seconds)?,
        }
        Ok(())
    }

    /// Waits for the first health of a first installation.
    fn healthy(&mut self) -> Result<(), InstallError> {
        let version = self.written()?;
        let mut watch = Watch::new(self.system.since_boot(), Duration::ZERO);
        loop {
            let observation = observe(self.system, &self.disk.layout.binary(&version));
            match watch.judge(&observation, self.system.since_boot()) {
                Judgement::Wait => self.system.sleep(LOOK),
                Judgement::Accept => return Ok(()),
                Judgement::Revert(why) => return Err(InstallError::Unhealthy(why)),
            }
        }
    }

    fn exchange(&mut self, probation_seconds: u64) -> Result<(), InstallError> {
        let to = self.written()?;
        let State::Settled { version: from } = self.journal.state.clone() else {
            return Err(InstallError::Locked);
        };
        self.journal.doing = None;
        if let Some(wish) = self.journal.wish.as_mut().filter(|_| self.wished) {
            wish.to = Some(to.clone());
        }
        if from == to {
            return self.journal.save(self.disk);
        }
        self.journal.state = State::Switching {
            from,
            to,
            since: self.system.now(),
            probation_seconds,
        };
        self.journal.save(self.disk)?;
        self.disk.before("start cupel-upgrade.service")?;
        let started = self.system.job(Job::Start, UPGRADE);
        started.map_err(|source| InstallError::System {
            what: format!("cannot start {UPGRADE}; 'cupel upgrade --step' carries on"),
            source,
        })
    }
}

/// Stops a unit and waits until it has.
fn stop(system: &dyn System, unit: &str) -> Result<(), SystemError> {
    system.job(Job::Stop, unit)?;
    let until = system.since_boot() + STOPPING;
    while system.since_boot() < until {
        let state = system.service(unit)?.active_state;
        if matches!(state.as_str(), "inactive" | "failed") {
            break;
        }
        system.sleep(LOOK);
    }
    Ok(())
}
