//! The journal of a bring-up: the state that the next step starts from, on disk before the step
//! begins.
//!
//! # Invariants
//! - `journal.json` is replaced atomically and synced with its directory: after a kill or a power
//!   cut there is the state before a step or the state after it, nothing between.
//! - Whoever writes it holds the lock; two bring-ups never run at once on one state directory.
//! - Nothing is thrown away: a journal of another boot, node or version, and one that the operator
//!   gives up, is kept as `journal-<time>.json`. A damaged one is left where it is.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow, bail};
use cupel_burnin::Plan;
use cupel_model::{SCHEMA_VERSION, Timestamp};
use serde::{Deserialize, Serialize};

use super::report::StepRecord;
use super::state::State;
use crate::exit::Refused;
use crate::state::replace;

const DIRECTORY: &str = "bringup";
const JOURNAL: &str = "journal.json";
const LOCK: &str = "lock";

/// Largest journal that is read: a snapshot of a large node is a few megabytes, two reports less.
const CAP: u64 = 256 << 20;

/// Which machine in which boot a journal belongs to; `None` is "the machine does not say".
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// Kernel's random boot id.
    pub boot_id: Option<String>,
    /// Stable id of the node.
    pub node_id: Option<String>,
}

/// What is on disk.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Journal {
    /// Version of this file.
    pub schema_version: u32,
    /// Version of the cupel that wrote it.
    pub cupel_version: String,
    /// The machine.
    pub identity: Identity,
    /// When the bring-up began.
    pub started_at: Timestamp,
    /// When the step that the state names began.
    pub step_started_at: Timestamp,
    /// The burn-in that was agreed to.
    pub plan: Plan,
    /// What was done so far.
    pub steps: Vec<StepRecord>,
    /// What to do now.
    pub state: State,
}

/// The directory of journals, locked.
#[derive(Debug)]
pub struct Store {
    directory: PathBuf,
    _lock: File,
}

/// Takes the lock that keeps two burn-ins apart.
///
/// # Errors
/// The directory cannot be used; [`Refused`] when another process holds the lock.
pub fn lock(state_directory: &Path) -> anyhow::Result<File> {
    let directory = state_directory.join(DIRECTORY);
    fs::create_dir_all(&directory).with_context(|| {
        format!(
            "cannot make {}: run as root, or name another place with --state-dir",
            directory.display()
        )
    })?;
    let path = directory.join(LOCK);
    let lock = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .with_context(|| {
            format!(
                "cannot open {}: run as root, or name another place with --state-dir",
                path.display()
            )
        })?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(Refused(format!(
            "another bring-up or burn-in runs on this machine (it holds {}); wait until it is done",
            path.display()
        ))
        .into()),
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("cannot lock {}", path.display()))
        }
    }
}

impl Store {
    /// Locks the journals beneath a state directory.
    ///
    /// # Errors
    /// As [`lock`].
    pub fn open(state_directory: &Path) -> anyhow::Result<Self> {
        let lock = lock(state_directory)?;
        let store = Self {
            directory: state_directory.join(DIRECTORY),
            _lock: lock,
        };
        store.sweep();
        Ok(store)
    }

    /// Where the journal is.
    pub fn path(&self) -> PathBuf {
        self.directory.join(JOURNAL)
    }

    /// Takes away what a kill in the middle of a replacement left beside the journal.
    fn sweep(&self) {
        let Ok(entries) = fs::read_dir(&self.directory) else {
            return;
        };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.starts_with(JOURNAL) && name.ends_with(".new") {
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    /// The journal, if there is one.
    ///
    /// # Errors
    /// It cannot be read or understood; the error names file and line and says what to do.
    pub fn load(&self) -> anyhow::Result<Option<Journal>> {
        let path = self.path();
        let advice = "the journal of an earlier bring-up cannot be used; nothing was changed. Run \
                      'cupel bringup --start-over' to keep it under another name and begin anew";
        match read(&path) {
            Ok(journal) => Ok(journal),
            Err(error) => Err(error.context(advice)),
        }
    }

    /// Writes the journal.
    ///
    /// # Errors
    /// The system's; then the old journal stands.
    pub fn save(&self, journal: &Journal) -> anyhow::Result<()> {
        let mut json = serde_json::to_vec(journal).context("cannot write the journal as JSON")?;
        json.push(b'\n');
        replace(&self.path(), &json)
            .with_context(|| format!("cannot write the journal {}", self.path().display()))
    }

    /// Moves the journal aside; returns where to, `None` when there was none.
    ///
    /// # Errors
    /// The system's.
    pub fn set_aside(&self, now: Timestamp) -> anyhow::Result<Option<PathBuf>> {
        let stamp: String = now
            .to_string()
            .chars()
            .filter(|c| c.is_ascii_alphanumeric())
            .collect();
        let mut to = self.directory.join(format!("journal-{stamp}.json"));
        let mut number = 1;
        while to.exists() {
            number += 1;
            to = self
                .directory
                .join(format!("journal-{stamp}-{number}.json"));
        }
        let moved =
            fs::rename(self.path(), &to).and_then(|()| File::open(&self.directory)?.sync_all());
        match moved {
            Ok(()) => Ok(Some(to)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => {
                Err(error).with_context(|| format!("cannot move {} aside", self.path().display()))
            }
        }
    }
}

fn read(path: &Path) -> anyhow::Result<Option<Journal>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            return Err(error).with_context(|| format!("cannot open {}", path.display()));
        }
    };
    let length = file
        .metadata()
        .with_context(|| format!("cannot read {}", path.display()))?
        .len();
    if length > CAP {
        bail!(
            "{}: {length} bytes are more than a journal has",
            path.display()
        );
    }
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let version: Version = parse(path, &bytes)?;
    if version.schema_version != SCHEMA_VERSION {
        bail!(
            "{}: line 1: schema_version {} is not {SCHEMA_VERSION}: another version of cupel wrote it",
            path.display(),
            version.schema_version
        );
    }
    parse(path, &bytes).map(Some)
}

#[derive(Deserialize)]
struct Version {
    schema_version: u32,
}

fn parse<T: serde::de::DeserializeOwned>(path: &Path, bytes: &[u8]) -> anyhow::Result<T> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let wrong = |key: String, error: &serde_json::Error| {
        let key = if key == "." {
            String::new()
        } else {
            format!(" {key}:")
        };
        anyhow!(
            "{}: line {}:{key} {error}",
            path.display(),
            error.line().max(1)
        )
    };
    let value = serde_path_to_error::deserialize(&mut json)
        .map_err(|error| wrong(error.path().to_string(), error.inner()))?;
    json.end().map_err(|error| wrong(".".to_owned(), &error))?;
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use cupel_burnin::Word;

    fn journal() -> Journal {
        let now = Timestamp::from_microseconds(1_700_000_000_000_000).expect("time");
        Journal {
            schema_version: SCHEMA_VERSION,
            cupel_version: "0.1.0".to_owned(),
            identity: Identity {
                boot_id: Some("b".to_owned()),
                node_id: None,
            },
            started_at: now,
            step_started_at: now,
            plan: Plan::quick(Word(u64::MAX)),
            steps: Vec::new(),
            state: State::Inspect {},
        }
    }

    fn store() -> (tempfile::TempDir, Store) {
        let directory = tempfile::tempdir().expect("directory");
        let store = Store::open(directory.path()).expect("store");
        (directory, store)
    }

    #[test]
    fn what_was_saved_is_loaded_and_leavings_are_swept() {
        let (directory, store) = store();
        assert_eq!(store.load().expect("none"), None);
        store.save(&journal()).expect("save");
        let leaving = store.path().with_extension("json.77.new");
        fs::write(&leaving, "{").expect("write");
        drop(store);
        let store = Store::open(directory.path()).expect("store");
        assert!(!leaving.exists());
        assert_eq!(store.load().expect("load"), Some(journal()));
    }

    #[test]
    fn a_torn_journal_is_an_error_with_file_and_line_and_stays() {
        let (_keep, store) = store();
        store.save(&journal()).expect("save");
        let whole = fs::read(store.path()).expect("read");
        for torn in [0, 1, whole.len() / 2, whole.len() - 3] {
            fs::write(store.path(), &whole[..torn]).expect("write");
            let error = format!("{:#}", store.load().expect_err("torn"));
            assert!(error.contains("journal.json: line 1:"), "{error}");
            assert!(error.contains("--start-over"), "{error}");
            assert_eq!(fs::read(store.path()).expect("read"), &whole[..torn]);
        }
        for (text, want) in [
            ("\u{0}\u{1}garbage", "line 1:"),
            ("{\n\"schema_version\": 99}", "schema_version 99"),
            ("{\"schema_version\":1}", "missing field"),
        ] {
            fs::write(store.path(), text).expect("write");
            let error = format!("{:#}", store.load().expect_err("garbage"));
            assert!(error.contains(want), "{error}");
        }
    }

    #[test]
    fn setting_aside_keeps_everything() {
        let (_keep, store) = store();
        let now = journal().started_at;
        assert_eq!(store.set_aside(now).expect("none"), None);
        store.save(&journal()).expect("save");
        let first = store.set_aside(now).expect("moved").expect("path");
        store.save(&journal()).expect("save");
        let second = store.set_aside(now).expect("moved").expect("path");
        assert_ne!(first, second);
        assert!(first.exists() && second.exists() && !store.path().exists());
    }

    #[test]
    fn the_lock_keeps_a_second_one_out() {
        let (directory, store) = store();
        let error = Store::open(directory.path()).expect_err("locked");
        assert!(error.is::<Refused>(), "{error:#}");
        drop(store);
        Store::open(directory.path()).expect("free");
    }
}
