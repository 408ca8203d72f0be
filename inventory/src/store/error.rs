//! What can go wrong with the store.

use std::path::PathBuf;
use std::sync::Arc;

use crate::authority::AuthorityError;

/// Why the store did not do what it was asked for.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// No room on the disk.
    #[error("the disk of the database is full")]
    Full,
    /// Another process holds the database, or more is asked of it than it can do.
    #[error("the database is busy")]
    Busy,
    /// Made by a later version.
    #[error(
        "the database has schema {found}; this program knows {known}: use a newer cupel-inventory"
    )]
    Newer {
        /// Schema of the database.
        found: i64,
        /// Newest schema that is known here.
        known: i64,
    },
    /// Made by an earlier version.
    #[error(
        "the database has schema {found}; this program needs {known}: run `cupel-inventory migrate`"
    )]
    Older {
        /// Schema of the database.
        found: i64,
        /// Newest schema that is known here.
        known: i64,
    },
    /// A report with the same name and another content is stored.
    #[error("a report of this node, boot and sequence is stored, with another content")]
    OtherContent,
    /// There is a token of this name.
    #[error("there is a token named {0:?}; choose another name")]
    TokenExists(String),
    /// There is a join token of this name.
    #[error("there is a join token named {0:?}; choose another name")]
    JoinExists(String),
    /// What is stored cannot be read.
    #[error("the database holds {what} that cannot be read: {detail}")]
    Damaged {
        /// What.
        what: &'static str,
        /// Why not.
        detail: String,
    },
    /// A file of the store.
    #[error("cannot {action} {path}")]
    File {
        /// What was tried.
        action: &'static str,
        /// Which.
        path: PathBuf,
        /// The system's word.
        #[source]
        source: Arc<std::io::Error>,
    },
    /// A certificate could not be made.
    #[error("the authority failed")]
    Authority(#[source] Arc<AuthorityError>),
    /// Anything else.
    #[error("the database failed")]
    Backend(#[source] Arc<dyn std::error::Error + Send + Sync>),
}

impl Error {
    /// Stored JSON that cannot be read.
    pub fn damaged(what: &'static str) -> impl FnOnce(serde_json::Error) -> Self {
        move |error| Self::Damaged {
            what,
            detail: error.to_string(),
        }
    }

    /// A file of the store.
    pub fn file(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File {
            action,
            path,
            source: Arc::new(source),
        }
    }

    /// Whether everything that is tried now will fail the same way.
    pub fn is_general(&self) -> bool {
        match self {
            Self::Full
            | Self::Busy
            | Self::Newer { .. }
            | Self::Older { .. }
            | Self::File { .. } => true,
            Self::OtherContent
            | Self::TokenExists(_)
            | Self::JoinExists(_)
            | Self::Damaged { .. }
            | Self::Authority(_)
            | Self::Backend(_) => false,
        }
    }
}
