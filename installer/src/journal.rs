//! The journal of the installer: where an exchange of versions is, so that whoever comes next can
//! finish it or take it back.
//!
//! ```text
//! (none) --install--> installing --> settled
//! settled --upgrade, rollback--> switching --> probation --> settled
//!                                                 '--> reverting --> settled
//! settled --uninstall--> removing --> (none)
//! ```
//!
//! # Invariants
//! - It is on disk, synced, before what it announces is done.
//! - It is replaced whole: whoever reads it sees the old one or the new one.

use std::fs;
use std::io;
use std::path::Path;

use cupel_model::Timestamp;
use serde::{Deserialize, Serialize};

use crate::disk::Disk;
use crate::error::InstallError;
use crate::layout::{JOURNAL, STATE};
use crate::version::Version;
use crate::wish::Wished;

/// Version of the journal's form.
pub const SCHEMA_VERSION: u32 = 1;

/// Longest journal, in bytes.
const CAP: u64 = 1 << 20;

/// How often watching may be cut short, by a power cut or a killed process, before the new version
/// is held to be the reason.
pub const INTERRUPTIONS: u32 = 2;

/// Where the installation is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum State {
    /// The first version is being put on the server.
    Installing {
        /// Which; null until it is written.
        to: Option<Version>,
        /// Since when.
        since: Timestamp,
    },
    /// Nothing is under way.
    Settled {
        /// What runs.
        version: Version,
    },
    /// The link is about to be switched.
    Switching {
        /// What ran.
        from: Version,
        /// What shall run.
        to: Version,
        /// Since when.
        since: Timestamp,
        /// How long the new version is watched.
        probation_seconds: u64,
    },
    /// The link is switched; the new version is watched.
    Probation {
        /// What ran.
        from: Version,
        /// What is watched.
        to: Version,
        /// Since when.
        since: Timestamp,
        /// How long it is watched.
        probation_seconds: u64,
        /// How often watching was cut short.
        interruptions: u32,
        /// Counted already by the unit that looks early in a boot.
        #[serde(default)]
        counted: bool,
    },
    /// The old version is being put back.
    Reverting {
        /// What is put back.
        from: Version,
        /// What was tried.
        to: Version,
        /// Since when.
        since: Timestamp,
        /// Why.
        why: String,
    },
    /// Everything is being removed.
    Removing {
        /// Configuration and state as well.
        purge: bool,
        /// Since when.
        since: Timestamp,
    },
}

/// How the last exchange ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ended {
    /// First installation.
    Installed,
    /// The new version was watched and found well.
    Accepted,
    /// The old version was put back.
    Reverted,
    /// It did not begin: the old version runs on.
    NotBegun,
}

/// What came of the last exchange.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// When.
    pub at: Timestamp,
    /// What ran before; null at the first installation.
    pub from: Option<Version>,
    /// What was to run.
    pub to: Version,
    /// How it ended.
    pub result: Ended,
    /// Why it was put back; null when it was not.
    pub why: Option<String>,
}

/// The journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Journal {
    /// Version of this form.
    pub schema_version: u32,
    /// Where the installation is.
    #[serde(flatten)]
    pub state: State,
    /// What `cupel rollback` goes back to; null when there is nothing.
    #[serde(default)]
    pub previous: Option<Version>,
    /// What came of the last exchange; null when there was none.
    #[serde(default)]
    pub last: Option<Outcome>,
    /// The newest wish of the inventory, and what came of it; null when there was none.
    #[serde(default)]
    pub wish: Option<Wished>,
    /// The step that is being done, in words; null between steps.
    #[serde(default)]
    pub doing: Option<String>,
}

/// The journal's text, read.
///
/// # Errors
/// Why it is no journal.
pub fn parse(bytes: &[u8]) -> Result<Journal, String> {
    let journal: Journal = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    if journal.schema_version != SCHEMA_VERSION {
        return Err(format!(
            "schema_version {}, not {SCHEMA_VERSION}",
            journal.schema_version
        ));
    }
    Ok(journal)
}

impl Journal {
    /// A new one in this state.
    pub fn new(state: State) -> Self {
        Self {
            schema_version: SCHEMA_VERSION,
            state,
            previous: None,
            last: None,
            wish: None,
            doing: None,
        }
    }

    /// The one on disk; `None` where there is none.
    ///
    /// # Errors
    /// It cannot be read, or is no journal.
    pub fn load(path: &Path) -> Result<Option<Self>, InstallError> {
        let unusable = |why: String| InstallError::Journal {
            path: path.to_owned(),
            why,
        };
        match fs::metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unusable(error.to_string())),
            Ok(about) if about.len() > CAP => return Err(unusable("too large".to_owned())),
            Ok(_) => {}
        }
        let bytes = fs::read(path).map_err(|error| unusable(error.to_string()))?;
        parse(&bytes).map(Some).map_err(unusable)
    }

    /// What was under way is over: `version` runs.
    ///
    /// # Errors
    /// The disk's.
    pub fn settle(
        &mut self,
        disk: &Disk,
        version: Version,
        outcome: Outcome,
    ) -> Result<(), InstallError> {
        self.state = State::Settled { version };
        if let Some(wish) = &mut self.wish {
            wish.exchanged(&outcome);
        }
        self.last = Some(outcome);
        self.doing = None;
        self.save(disk)
    }

    /// Writes it down.
    ///
    /// # Errors
    /// The disk's.
    pub fn save(&self, disk: &Disk) -> Result<(), InstallError> {
        disk.make_directory(&disk.layout.at(STATE), 0o755)?;
        let path = disk.layout.at(JOURNAL);
        let mut bytes = serde_json::to_vec_pretty(self).map_err(|error| InstallError::Journal {
            path: path.clone(),
            why: error.to_string(),
        })?;
        bytes.push(b'\n');
        disk.replace(&path, &bytes, 0o644)
    }

    /// Whether nothing is under way.
    pub fn is_settled(&self) -> bool {
        match self.state {
            State::Settled { .. } => true,
            State::Installing { .. }
            | State::Switching { .. }
            | State::Probation { .. }
            | State::Reverting { .. }
            | State::Removing { .. } => false,
        }
    }
}
