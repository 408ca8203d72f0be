//! Where simulated servers are put.

use std::io;
use std::path::Path;

use tempfile::{Builder, TempDir};

/// A file system in memory, where Linux has one.
const MEMORY: &str = "/dev/shm";

/// A temporary directory for a server: in memory where programs may be run from there, because
/// thousands of small files that come and go are slow on disk.
///
/// # Errors
/// The file system's.
pub fn scratch() -> io::Result<TempDir> {
    let mut builder = Builder::new();
    builder.prefix("cupel-rack-");
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let runs_programs = mounts.lines().any(|line| {
        let mut fields = line.split(' ').skip(1);
        fields.next() == Some(MEMORY)
            && fields
                .nth(1)
                .is_some_and(|options| options.split(',').all(|option| option != "noexec"))
    });
    if runs_programs && let Ok(directory) = builder.tempdir_in(Path::new(MEMORY)) {
        return Ok(directory);
    }
    builder.tempdir()
}
