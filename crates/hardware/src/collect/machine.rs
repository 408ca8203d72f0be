//! What the readers of one machine share: how it is read, and what its firmware says of it.
//!
//! # Invariants
//! - SMBIOS is read once in a process, for it is what the firmware left when it booted; where that
//!   went wrong, again after a while. Beneath a root other than `/`, where files are put in place by
//!   hand, it is read again when its file is another one.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cupel_model::snapshot::Problem;

use super::fragment::Problems;
use super::options::CollectOptions;
use super::reader::Reader;
use super::source::Source;
use crate::error::ReadError;
use crate::smbios::Smbios;
use crate::{clock, deadline, smbios};

/// How long tables that could not be read are left alone.
const RETRY: Duration = Duration::from_secs(60);

/// SMBIOS, or why there is none.
pub(super) type Board = Arc<Result<Smbios, ReadError>>;

/// A machine to read. Cheap to clone; clones share what is read once.
#[derive(Clone)]
pub struct Machine(Arc<Shared>);

struct Shared {
    options: CollectOptions,
    board: Mutex<Option<Kept>>,
}

/// What was read of SMBIOS, and when.
struct Kept {
    board: Board,
    problems: Vec<Problem>,
    at: Duration,
    file: Option<smbios::FileIdentity>,
}

impl fmt::Debug for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Machine")
            .field(&self.0.options.root)
            .finish()
    }
}

impl Machine {
    /// A machine that is read as `options` say; `interval` and `with_kernel_log` mean nothing here.
    pub fn new(options: CollectOptions) -> Self {
        Self(Arc::new(Shared {
            options,
            board: Mutex::new(None),
        }))
    }

    /// How it is read.
    pub fn options(&self) -> &CollectOptions {
        &self.0.options
    }

    /// A reader of one source. It keeps what does not change from one reading to the next, so there
    /// should be one for each source, for as long as the source is watched.
    pub fn reader(&self, source: Source) -> Reader {
        Reader::new(self, source)
    }

    /// SMBIOS, read now if it was not before.
    pub(super) fn board(&self, problems: &mut Problems) -> Board {
        let mut kept = self.0.board.lock().unwrap_or_else(PoisonError::into_inner);
        let root = &self.0.options.root;
        let file = smbios::file_identity(root);
        let fresh = kept.as_ref().filter(|kept| {
            let lately = clock::since_boot().saturating_sub(kept.at) < RETRY;
            kept.file == file && (kept.board.is_ok() || lately)
        });
        if let Some(kept) = fresh {
            problems.0.extend_from_slice(&kept.problems);
            return Arc::clone(&kept.board);
        }
        let own = root.clone();
        let limit = self.0.options.deadlines.source;
        let read = deadline::within(root, "smbios", limit, move || smbios::read(&own));
        let mut told = Problems::default();
        let board = Arc::new(told.take("smbios", read, |why| {
            Err(ReadError::Binary {
                path: "SMBIOS".to_owned(),
                detail: why.to_owned(),
            })
        }));
        problems.0.extend_from_slice(&told.0);
        *kept = Some(Kept {
            board: Arc::clone(&board),
            problems: told.0,
            at: clock::since_boot(),
            file,
        });
        board
    }
}
