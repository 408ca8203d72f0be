//! What the file system under a path allows: room, writing, running programs.
//!
//! # Invariants
//! - The nearest directory that exists answers for a path that does not exist yet.

use std::io;
use std::path::{Path, PathBuf};

use nix::sys::statvfs::{FsFlags, statvfs};
use nix::unistd::geteuid;

/// What a file system allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The directory that was asked.
    pub directory: PathBuf,
    /// Room for those who are not root, in bytes.
    pub free_bytes: u64,
    /// Mounted with `noexec`: no program can be started from it.
    pub no_programs: bool,
    /// Mounted read-only.
    pub read_only: bool,
}

/// Asks the file system that `path` is on, or would be on.
///
/// # Errors
/// The system's.
pub fn of(path: &Path) -> io::Result<Place> {
    let directory = path
        .ancestors()
        .find(|ancestor| ancestor.is_dir())
        .unwrap_or(Path::new("/"));
    let about = statvfs(directory)?;
    Ok(Place {
        directory: directory.to_owned(),
        free_bytes: about
            .blocks_available()
            .saturating_mul(about.fragment_size()),
        no_programs: about.flags().contains(FsFlags::ST_NOEXEC),
        read_only: about.flags().contains(FsFlags::ST_RDONLY),
    })
}

/// Whether this process has the rights of root.
pub fn is_root() -> bool {
    geteuid().is_root()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_directory_answers() {
        let directory = tempfile::tempdir().expect("directory");
        let place = of(&directory.path().join("not/there/yet")).expect("place");
        assert_eq!(place.directory, directory.path());
        assert!(!place.read_only && place.free_bytes > 0, "{place:?}");
        assert!(of(Path::new("/proc")).expect("place").free_bytes == 0);
    }
}
