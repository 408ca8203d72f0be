//! Snapshots in files: the JSON of `cupel inspect` or a capture, plain or compressed with zstd.
//!
//! # Invariants
//! - Parsing is pure: bytes and a name in, a snapshot or an error out that names file, line,
//!   column and key.
//! - A newer schema is refused before anything else is looked at.
//! - What is read and what it unpacks to are capped.

use std::io::Read;
use std::path::Path;

use cupel_model::{SCHEMA_VERSION, Snapshot};
use serde::Deserialize;

/// Most bytes of a file.
pub const FILE_CAP: u64 = 64 << 20;

/// Most bytes that a file unpacks to. A node with eight GPUs and a long kernel log has about 2 MiB.
pub const JSON_CAP: u64 = 256 << 20;

const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// Why a file is no snapshot.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotFileError {
    /// It cannot be read.
    #[error("cannot read {file}")]
    Read {
        /// The file.
        file: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is larger than any snapshot.
    #[error("{file} is larger than {cap} bytes: not a snapshot of cupel inspect or cupel capture")]
    TooLarge {
        /// The file.
        file: String,
        /// The cap.
        cap: u64,
    },
    /// It says that it is compressed, and cannot be unpacked.
    #[error("cannot unpack {file} with zstd")]
    Unpack {
        /// The file.
        file: String,
        /// What zstd said.
        source: std::io::Error,
    },
    /// It comes from a newer Cupel.
    #[error(
        "{file} has schema_version {found}, this cupel reads {SCHEMA_VERSION}: use a newer cupel"
    )]
    Newer {
        /// The file.
        file: String,
        /// Its version.
        found: u64,
    },
    /// Its JSON does not fit.
    #[error("{file}:{line}:{column}: {}{what}", if key.is_empty() { String::new() } else { format!("{key}: ") })]
    Content {
        /// The file.
        file: String,
        /// Line, 1-based.
        line: usize,
        /// Column, 1-based.
        column: usize,
        /// Path of the key, e.g. `gpus[3].ecc.enabled`; empty at the top.
        key: String,
        /// What is wrong.
        what: String,
    },
}

/// Reads a snapshot from a file, or from standard input when the path is `-`.
///
/// # Errors
/// See [`SnapshotFileError`].
pub fn load(path: &Path) -> Result<Snapshot, SnapshotFileError> {
    let (file, bytes) = if path == Path::new("-") {
        ("standard input".to_owned(), read(std::io::stdin().lock()))
    } else {
        let opened = std::fs::File::open(path);
        (path.display().to_string(), opened.and_then(read))
    };
    let bytes = bytes.map_err(|source| SnapshotFileError::Read {
        file: file.clone(),
        source,
    })?;
    parse(&bytes, &file)
}

fn read(from: impl Read) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(FILE_CAP + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Only what tells whether the rest can be understood.
#[derive(Deserialize)]
struct Versioned {
    schema_version: Option<serde_json::Value>,
}

/// Parses a snapshot; `file` names it in errors. Compression is told by content, and by a name that
/// ends in `.zst`.
///
/// # Errors
/// See [`SnapshotFileError`].
pub fn parse(bytes: &[u8], file: &str) -> Result<Snapshot, SnapshotFileError> {
    if bytes.len() as u64 > FILE_CAP {
        return Err(SnapshotFileError::TooLarge {
            file: file.to_owned(),
            cap: FILE_CAP,
        });
    }
    if !bytes.starts_with(&ZSTD_MAGIC) && !file.ends_with(".zst") {
        return parse_json(bytes, file);
    }
    let unpack = |source| SnapshotFileError::Unpack {
        file: file.to_owned(),
        source,
    };
    let mut json = Vec::new();
    zstd::Decoder::with_buffer(bytes)
        .map_err(unpack)?
        .take(JSON_CAP + 1)
        .read_to_end(&mut json)
        .map_err(unpack)?;
    if json.len() as u64 > JSON_CAP {
        return Err(SnapshotFileError::TooLarge {
            file: file.to_owned(),
            cap: JSON_CAP,
        });
    }
    parse_json(&json, file)
}

fn parse_json(json: &[u8], file: &str) -> Result<Snapshot, SnapshotFileError> {
    if let Ok(Versioned {
        schema_version: Some(found),
    }) = serde_json::from_slice(json)
        && let Some(found) = found.as_u64()
        && found > u64::from(SCHEMA_VERSION)
    {
        return Err(SnapshotFileError::Newer {
            file: file.to_owned(),
            found,
        });
    }
    let content = |key: String, error: &serde_json::Error| SnapshotFileError::Content {
        file: file.to_owned(),
        line: error.line().max(1),
        column: error.column().max(1),
        key,
        what: without_position(error),
    };
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let snapshot: Snapshot =
        serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
            // `.` is the whole file, and `?` a place that has no name yet.
            let path = error.path().to_string();
            let key = path.trim_end_matches('?').trim_end_matches('.');
            content(key.to_owned(), error.inner())
        })?;
    deserializer
        .end()
        .map_err(|error| content(String::new(), &error))?;
    Ok(snapshot)
}

/// The message without serde_json's own ` at line … column …`: the position stands in front.
fn without_position(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let tail = format!(" at line {} column {}", error.line(), error.column());
    text.strip_suffix(&tail).unwrap_or(&text).to_owned()
}
