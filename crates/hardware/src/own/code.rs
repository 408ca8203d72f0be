//! The pages of this program's own code.
//!
//! # Invariants
//! - Only code is let go of: private mappings of the program's file that nobody may write. Whatever
//!   of it is needed again comes back from the same file.
#![expect(
    unsafe_code,
    reason = "madvise of mappings that the kernel itself names as this program's code"
)]

use std::ffi::c_void;
use std::fs;
use std::io;
use std::path::Path;
use std::ptr::NonNull;

use nix::sys::mman::{MmapAdvise, madvise};
use procfs_core::FromRead as _;
use procfs_core::process::{MMPermissions, MMapPath, MemoryMap, MemoryMaps};

/// Lets go of the code that is in this process's memory; what is used comes back by and by. For a
/// program that has started and will do the same few things for years: of what the start needed,
/// half is never run again.
///
/// # Errors
/// The kernel does not tell the mappings, or refuses.
pub fn let_go_of_code() -> io::Result<()> {
    let program = fs::read_link("/proc/self/exe")?;
    let maps = fs::File::open("/proc/self/maps")?;
    let maps = MemoryMaps::from_read(maps).map_err(io::Error::other)?;
    for map in maps.0.iter().filter(|map| is_code(map, &program)) {
        let (start, end) = map.address;
        let place = usize::try_from(start).ok();
        let length = usize::try_from(end.saturating_sub(start)).ok();
        let pointer = place
            .and_then(|place| NonNull::new(std::ptr::with_exposed_provenance_mut::<c_void>(place)));
        let (Some(pointer), Some(length)) = (pointer, length) else {
            continue;
        };
        // SAFETY: the range is one mapping, of a file, private, and never written: the kernel reads
        // a page again from that file when it is touched, and it holds the same then. The file
        // cannot be written while it runs (ETXTBSY), and one that took its place is another file.
        unsafe { madvise(pointer, length, MmapAdvise::MADV_DONTNEED) }?;
    }
    Ok(())
}

fn is_code(map: &MemoryMap, program: &Path) -> bool {
    let wanted = MMPermissions::READ | MMPermissions::EXECUTE | MMPermissions::PRIVATE;
    map.perms == wanted && matches!(&map.pathname, MMapPath::Path(path) if path == program)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Resident pages of files, in KiB.
    fn resident() -> u64 {
        let status = fs::read_to_string("/proc/self/status").expect("status");
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("RssFile:"));
        let number = line.and_then(|rest| rest.split_whitespace().next());
        number.and_then(|number| number.parse().ok()).expect("KiB")
    }

    #[test]
    fn code_that_was_let_go_of_runs_again() {
        let before = resident();
        let_go_of_code().expect("let go");
        let after = resident();
        assert!(after < before, "{before} KiB before, {after} KiB after");
        assert_eq!(format!("{:?}", Some(1)), "Some(1)");
    }
}
