//! What can go wrong with the store.

use std::io;
use std::path::PathBuf;

use rusqlite::ErrorCode;

/// Why there is no outbox. Whatever else is wrong with a directory, there is one in memory.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process uses the directory.
    #[error("another cupel service uses {path}; stop it first, or name another --state-dir")]
    InUse {
        /// The lock that it holds.
        path: PathBuf,
    },
}

/// Why a change was not taken. Nothing of it was kept; it is left as it was given.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// A report is larger than the inventory takes: make it smaller and commit again.
    #[error(
        "a {what} report has {bytes} bytes {stage}, at most {limit} are taken; leave something out"
    )]
    TooLarge {
        /// Index in `reports`.
        index: usize,
        /// What kind of report.
        what: &'static str,
        /// Its size, or where counting stopped.
        bytes: usize,
        /// `compressed` or `before compression`.
        stage: &'static str,
        /// Most bytes that are taken.
        limit: usize,
    },
    /// A report cannot be written.
    #[error("cannot write a {what} report as compressed JSON")]
    Unwritable {
        /// Index in `reports`.
        index: usize,
        /// What kind of report.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
}

/// Why the file cannot be used now.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The directory or the file, by the system's word.
    #[error("cannot {action} {path}")]
    File {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// There is something in the file's place that does not belong there.
    #[error("{path} is {what}; move it away")]
    InTheWay {
        /// What was found.
        path: PathBuf,
        /// Its nature.
        what: &'static str,
    },
    /// A later cupel wrote it.
    #[error(
        "{path} was written by a later cupel (version {found} of the file, {known} is known here); \
         install that cupel again, or move the file away to begin a new one"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// The last version that this program knows.
        known: usize,
    },
    /// It is not what it was.
    #[error("{path} is damaged: {why}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        why: String,
    },
    /// SQLite's word. It is no source: the chain beneath says the same once more.
    #[error("cannot {action} in {path}: {cause}")]
    Sqlite {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        cause: rusqlite::Error,
    },
    /// The lock is another's.
    #[error(transparent)]
    InUse(OpenError),
}

impl StoreError {
    /// Whether the content is broken, so that trying again is of no use.
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Damaged { .. } => true,
            Self::Sqlite { cause, .. } => is_damage(cause),
            Self::File { .. } | Self::InTheWay { .. } | Self::Newer { .. } | Self::InUse(_) => {
                false
            }
        }
    }
}

/// Whether SQLite or a row's content says that the file is broken. An error of the disk is not
/// damage: what cannot be read now may be readable later.
fn is_damage(error: &rusqlite::Error) -> bool {
    if let Some(code) = error.sqlite_error_code() {
        return matches!(code, ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase);
    }
    matches!(
        error,
        rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::InvalidColumnType(..)
            | rusqlite::Error::IntegralValueOutOfRange(..)
            | rusqlite::Error::Utf8Error(..)
    )
}

/// An error with its causes, in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    text
}
