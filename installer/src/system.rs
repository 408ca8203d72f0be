//! systemd, programs and the service, as far as an installation needs them.
//!
//! # Invariants
//! - Everything that is not the disk goes through [`System`], so that tests play it.
//! - Programs are run by absolute path through `hardware`, with a deadline.

use std::path::{Path, PathBuf};
use std::time::Duration;

use cupel_hardware::command::{self, CommandError, Limits};
use cupel_hardware::systemd::{Job, Manager, ServiceState, SystemdError};
use cupel_hardware::{Root, clock};
use cupel_model::Timestamp;
use serde::Deserialize;

/// Units that work on the machine and must not be disturbed.
pub const BUSY: &[&str] = &[
    "cupel-burn-in-*",
    "cupel-firmware-*",
    "cupel-bringup.service",
];

/// Most of what a program says that is told.
const TOLD: usize = 600;

/// Why something outside the disk did not work.
#[derive(Debug, thiserror::Error)]
pub enum SystemError {
    /// systemd.
    #[error(transparent)]
    Systemd(#[from] SystemdError),
    /// A program could not be run.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// A program ran and failed.
    #[error("{program} ended with {status}: {said}")]
    Failed {
        /// Which.
        program: String,
        /// Its exit status.
        status: i32,
        /// The end of what it said.
        said: String,
    },
    /// What a test's system says.
    #[error("{0}")]
    Played(String),
}

/// What the service says of itself: of its status, what every version has.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Answer {
    /// When it last judged; `None` before the first time.
    pub judged_at: Option<Timestamp>,
}

/// What is asked, told and run.
pub trait System {
    /// Names of units at work that must not be disturbed.
    ///
    /// # Errors
    /// systemd does not answer.
    fn busy(&self) -> Result<Vec<String>, SystemError>;

    /// Lets systemd read its unit files again.
    ///
    /// # Errors
    /// systemd does not do it.
    fn reload(&self) -> Result<(), SystemError>;

    /// Queues a job.
    ///
    /// # Errors
    /// systemd does not do it.
    fn job(&self, job: Job, unit: &str) -> Result<(), SystemError>;

    /// Forgets that a unit failed.
    ///
    /// # Errors
    /// systemd does not do it.
    fn reset_failed(&self, unit: &str) -> Result<(), SystemError>;

    /// How a service is.
    ///
    /// # Errors
    /// systemd does not answer.
    fn service(&self, unit: &str) -> Result<ServiceState, SystemError>;

    /// The file that a process runs, links resolved.
    fn program_of(&self, pid: u32) -> Option<PathBuf>;

    /// Runs a program to its end, and gives what it wrote.
    ///
    /// # Errors
    /// It cannot be run, is too slow, or fails.
    fn run(
        &self,
        program: &Path,
        arguments: &[&str],
        limit: Duration,
    ) -> Result<String, SystemError>;

    /// Asks the service over its socket.
    ///
    /// # Errors
    /// It does not answer; why, in a line.
    fn ask_service(&self) -> Result<Answer, String>;

    /// The time of day.
    fn now(&self) -> Timestamp;

    /// Time since boot, by a clock that never jumps.
    fn since_boot(&self) -> Duration;

    /// Waits.
    fn sleep(&self, time: Duration);
}

/// Asks the service; given by the program, which knows the socket's protocol.
pub type AskService = Box<dyn Fn() -> Result<Answer, String> + Send + Sync>;

/// The machine itself.
pub struct Live {
    root: Root,
    ask: AskService,
}

impl std::fmt::Debug for Live {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Live").finish_non_exhaustive()
    }
}

impl Live {
    /// The machine; `ask` asks its service.
    pub fn new(root: Root, ask: AskService) -> Self {
        Self { root, ask }
    }

    fn manager(&self) -> Result<Manager, SystemError> {
        Ok(Manager::find(&self.root)?)
    }
}

impl System for Live {
    fn busy(&self) -> Result<Vec<String>, SystemError> {
        let units = self.manager()?.matching(BUSY)?;
        Ok(units
            .into_iter()
            .filter(|unit| !matches!(unit.active_state.as_str(), "inactive" | "failed"))
            // Done and kept as a mark: nothing works any more.
            .filter(|unit| unit.sub_state != "exited")
            .map(|unit| unit.name)
            .collect())
    }

    fn reload(&self) -> Result<(), SystemError> {
        Ok(self.manager()?.reload()?)
    }

    fn job(&self, job: Job, unit: &str) -> Result<(), SystemError> {
        Ok(self.manager()?.job(job, unit)?)
    }

    fn reset_failed(&self, unit: &str) -> Result<(), SystemError> {
        Ok(self.manager()?.reset_failed(unit)?)
    }

    fn service(&self, unit: &str) -> Result<ServiceState, SystemError> {
        Ok(self.manager()?.service(unit)?)
    }

    fn program_of(&self, pid: u32) -> Option<PathBuf> {
        std::fs::read_link(format!("/proc/{pid}/exe")).ok()
    }

    fn run(
        &self,
        program: &Path,
        arguments: &[&str],
        limit: Duration,
    ) -> Result<String, SystemError> {
        let limits = Limits {
            time: limit,
            ..Limits::default()
        };
        let output = command::run(&self.root, program, arguments, limits)?;
        if output.status == 0 {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said.trim();
        let from = said.len().saturating_sub(TOLD);
        let from = (from..=said.len())
            .find(|at| said.is_char_boundary(*at))
            .unwrap_or_default();
        Err(SystemError::Failed {
            program: program.display().to_string(),
            status: output.status,
            said: said[from..].replace('\n', "; "),
        })
    }

    fn ask_service(&self) -> Result<Answer, String> {
        (self.ask)()
    }

    fn now(&self) -> Timestamp {
        clock::now()
    }

    fn since_boot(&self) -> Duration {
        clock::since_boot()
    }

    fn sleep(&self, time: Duration) {
        std::thread::sleep(time);
    }
}
