//! A small disk that can be filled: a file system in memory.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use nix::mount::{MntFlags, MsFlags, mount, umount2};

/// A mounted file system; unmounted when dropped.
#[derive(Debug)]
pub struct SmallDisk {
    at: PathBuf,
}

/// Why small disks cannot be had here; `None` when they can.
pub fn not_here() -> Option<String> {
    let directory = match tempfile::tempdir() {
        Ok(directory) => directory,
        Err(error) => return Some(error.to_string()),
    };
    SmallDisk::mounted(directory.path(), 1)
        .err()
        .map(|error| format!("{error:#}"))
}

impl SmallDisk {
    /// Mounts one of so many MiB.
    pub fn mounted(at: &Path, mib: u32) -> Result<Self> {
        std::fs::create_dir_all(at)?;
        let options = format!("size={mib}m,mode=0700");
        mount(
            Some("tmpfs"),
            at,
            Some("tmpfs"),
            MsFlags::MS_NOSUID | MsFlags::MS_NODEV,
            Some(options.as_str()),
        )
        .context("cannot mount a tmpfs (that takes root)")?;
        Ok(Self { at: at.to_owned() })
    }

    fn ballast(&self) -> PathBuf {
        self.at.join("ballast")
    }

    /// Takes all the room that is left.
    pub fn fill(&self) -> Result<()> {
        let mut file = File::options()
            .append(true)
            .create(true)
            .open(self.ballast())?;
        for size in [64 << 10, 4 << 10, 1 << 10, 1] {
            let block = vec![0_u8; size];
            while file.write_all(&block).is_ok() {}
        }
        Ok(())
    }

    /// Gives the room back.
    pub fn free(&self) -> Result<()> {
        Ok(std::fs::remove_file(self.ballast())?)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Gone already, or still in use: it goes when its last user does.
        let _ = umount2(&self.at, MntFlags::MNT_DETACH);
    }
}
