//! The pages of this program's own file: its code, and what it carries.
//!
//! # Invariants
//! - Only what the file holds is let go of: private mappings that nobody may write and of which
//!   no page was ever written. Whatever of it is needed again comes back from the same file.
#![expect(
    unsafe_code,
    reason = "madvise of mappings that the kernel itself names as this program's"
)]

use std::ffi::c_void;
use std::fs;
use std::io;
use std::path::Path;
use std::ptr::{self, NonNull};

use nix::sys::mman::{MmapAdvise, madvise};
use procfs_core::FromRead as _;
use procfs_core::process::{MMPermissions, MMapPath, MemoryMap, MemoryMaps};

/// Lets go of what of the program's file is in this process's memory; what is used comes back by
/// and by. For a program that has started and will do the same few things for years: much of what
/// the start needed is never touched again.
///
/// # Errors
/// The kernel does not tell the mappings, or refuses.
pub fn let_go_of_program() -> io::Result<()> {
    let program = fs::read_link("/proc/self/exe")?;
    let maps = fs::File::open("/proc/self/smaps")?;
    let maps = MemoryMaps::from_read(maps).map_err(io::Error::other)?;
    for map in maps.0.iter().filter(|map| is_of_file(map, &program)) {
        let (start, end) = map.address;
        let place = usize::try_from(start).ok();
        let length = usize::try_from(end.saturating_sub(start)).ok();
        let pointer =
            place.and_then(|place| NonNull::new(ptr::with_exposed_provenance_mut::<c_void>(place)));
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

/// Whether the mapping is of the file alone. What was relocated at the start is read-only too, and
/// is not: its pages are this process's own.
fn is_of_file(map: &MemoryMap, program: &Path) -> bool {
    map.perms.contains(MMPermissions::PRIVATE)
        && !map.perms.contains(MMPermissions::WRITE)
        && matches!(&map.pathname, MMapPath::Path(path) if path == program)
        && map.extension.map.get("Anonymous") == Some(&0)
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
    fn a_program_that_was_let_go_of_runs_on() {
        let before = resident();
        let_go_of_program().expect("let go");
        let after = resident();
        assert!(after < before, "{before} KiB before, {after} KiB after");
        assert_eq!(format!("{:?}", Some(1)), "Some(1)");
    }

    #[test]
    fn what_was_written_is_kept() {
        let smaps = "\
1000-2000 r-xp 00000000 08:01 7 /usr/bin/cupel\nAnonymous: 0 kB\nVmFlags: rd ex\n\
2000-3000 r--p 00001000 08:01 7 /usr/bin/cupel\nAnonymous: 4 kB\nVmFlags: rd\n\
3000-4000 rw-p 00002000 08:01 7 /usr/bin/cupel\nAnonymous: 0 kB\nVmFlags: rd wr\n\
4000-5000 r--p 00003000 08:01 7 /usr/bin/cupel\nAnonymous: 0 kB\nVmFlags: rd\n\
5000-6000 r-xp 00000000 08:01 8 /usr/lib/libc.so.6\nAnonymous: 0 kB\nVmFlags: rd ex\n\
6000-7000 r-xp 00000000 00:00 0 \nAnonymous: 0 kB\nVmFlags: rd ex\n";
        let maps = MemoryMaps::from_read(smaps.as_bytes()).expect("smaps");
        let places = maps
            .0
            .iter()
            .filter(|map| is_of_file(map, Path::new("/usr/bin/cupel")))
            .map(|map| map.address.0);
        assert_eq!(places.collect::<Vec<_>>(), [0x1000, 0x4000]);
    }
}
