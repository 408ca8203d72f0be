//! Why a value could not be read, naming file, line and value, and how that becomes a
//! [`Reading`].
//!
//! # Invariants
//! - A path is told as the machine would say it (`/sys/…`), whatever the root: snapshots of a
//!   captured tree and of the machine itself read the same.
//! - A value in a message is quoted and cut to 64 characters.

use cupel_model::Reading;
use nix::errno::Errno;

/// Why a file gave no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// There is no such file or directory.
    #[error("{path}: no such file")]
    Missing {
        /// The file.
        path: String,
    },
    /// The file is there; the device or driver behind it does not offer the value.
    #[error("{path}: not offered by this device or driver ({detail})")]
    NotOffered {
        /// The file.
        path: String,
        /// The system's word for it, or the file's own.
        detail: String,
    },
    /// The system refused or failed.
    #[error("{path}: {}", .errno.desc())]
    System {
        /// The file.
        path: String,
        /// What the system said.
        errno: Errno,
    },
    /// A device, pipe or socket where a plain file belongs.
    #[error("{path}: not a regular file")]
    NotRegular {
        /// The file.
        path: String,
    },
    /// More than Cupel is ready to read.
    #[error("{path}: longer than {cap} bytes")]
    TooLong {
        /// The file.
        path: String,
        /// The cap, bytes.
        cap: usize,
    },
    /// There is nothing in the file.
    #[error("{path}: empty")]
    Empty {
        /// The file.
        path: String,
    },
    /// The content is not what the file is documented to hold.
    #[error("{path}: line {line}: {value:?} is not {wanted}")]
    Malformed {
        /// The file.
        path: String,
        /// Line, 1-based.
        line: usize,
        /// The offending text, at most 64 characters of it.
        value: String,
        /// What belongs there, with its article.
        wanted: &'static str,
    },
    /// The content of a binary file is not what it is documented to hold.
    #[error("{path}: {detail}")]
    Binary {
        /// The file or device.
        path: String,
        /// What is wrong, naming offset and value.
        detail: String,
    },
}

impl ReadError {
    /// What a failed system call on `path` means.
    pub fn from_errno(path: &str, errno: Errno) -> Self {
        let path = path.to_owned();
        // Something that is no directory where one belongs is there, and broken.
        if errno == Errno::ENOENT {
            Self::Missing { path }
        } else if matches!(errno, Errno::EOPNOTSUPP | Errno::EINVAL | Errno::ENOSYS) {
            Self::NotOffered {
                path,
                detail: errno.desc().to_owned(),
            }
        } else {
            Self::System { path, errno }
        }
    }

    /// What a failed `std::io` call on `path` means.
    pub fn from_io(path: &str, error: &std::io::Error) -> Self {
        Self::from_errno(
            path,
            error.raw_os_error().map_or(Errno::EIO, Errno::from_raw),
        )
    }

    /// `value`, on `line` of `path`, is not what belongs there.
    pub fn malformed(path: &str, line: usize, value: &str, wanted: &'static str) -> Self {
        Self::Malformed {
            path: path.to_owned(),
            line,
            value: value.chars().take(64).collect(),
            wanted,
        }
    }

    /// Whether the file is simply not there.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Missing { .. })
    }

    /// Missing becomes absent, not offered becomes unsupported, all else failed.
    pub fn into_reading<T>(self) -> Reading<T> {
        let why = self.to_string();
        match self {
            Self::Missing { .. } => Reading::Absent(why),
            Self::NotOffered { .. } => Reading::Unsupported(why),
            Self::System { .. }
            | Self::NotRegular { .. }
            | Self::TooLong { .. }
            | Self::Empty { .. }
            | Self::Malformed { .. }
            | Self::Binary { .. } => Reading::Failed(why),
        }
    }
}

/// A result as a reading.
pub fn reading<T>(result: Result<T, ReadError>) -> Reading<T> {
    match result {
        Ok(value) => Reading::Value(value),
        Err(error) => error.into_reading(),
    }
}
