//! Builds the image, once.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, bail};

use super::{Image, Prepared, recipe, tools};
use crate::host;

/// Longest for the system's packages, from a slow mirror on a busy host.
const PACKAGES: Duration = Duration::from_secs(900);

/// Longest for each other step.
const STEP: Duration = Duration::from_secs(180);

/// Images that nobody used for so long are removed.
const KEPT: Duration = Duration::from_secs(30 * 24 * 3600);

/// The image, built where there is none yet.
///
/// # Errors
/// The cache cannot be written, or the recipe does not work.
pub fn prepare() -> Result<Prepared<Image>> {
    let Some(cache) = cache() else {
        return Ok(Prepared::Skipped(
            "neither XDG_CACHE_HOME nor HOME is set: no place for images".to_owned(),
        ));
    };
    fs::create_dir_all(&cache).with_context(|| format!("create {}", cache.display()))?;
    // One builder at a time; the lock goes with the file.
    let lock = File::create(cache.join("lock"))?;
    lock.lock()?;
    let log = cache.join("build.log");
    if let Err(why) = tools::ready(&log) {
        return Ok(Prepared::Skipped(why));
    }
    let image = Image {
        directory: cache.join(recipe::key()),
    };
    if !image.directory.is_dir() {
        if !nix::unistd::geteuid().is_root() {
            return Ok(Prepared::Skipped(
                "building the image of the machines takes root (debootstrap)".to_owned(),
            ));
        }
        let building = cache.join("building");
        clear(&building)?;
        let _ = fs::remove_file(&log);
        if let Err(error) = system(&building.join("root"), &log) {
            clear(&building)?;
            return Ok(Prepared::Skipped(format!(
                "cannot get Debian {}: {error:#} ({})",
                recipe::SUITE,
                log.display()
            )));
        }
        finish(&building, &log)?;
        fs::rename(&building, &image.directory)?;
    }
    File::create(image.directory.join("used"))?.set_modified(now())?;
    forget_old(&cache)?;
    Ok(Prepared::Ready(image))
}

/// `XDG_CACHE_HOME/cupel/machines`.
fn cache() -> Option<PathBuf> {
    let absolute = |name: &str| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let base = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")))?;
    Some(base.join("cupel/machines"))
}

#[expect(
    clippy::disallowed_methods,
    reason = "the cache ages by the clock of its files"
)]
fn now() -> SystemTime {
    SystemTime::now()
}

/// A fresh Debian. `CUPEL_MACHINES_MIRROR` names another mirror than Debian's own.
fn system(root: &Path, log: &Path) -> Result<()> {
    let parent = root.parent().context("a directory for the root")?;
    fs::create_dir_all(parent)?;
    let mut args = vec![
        "--variant=minbase".to_owned(),
        format!("--include={}", recipe::PACKAGES.join(",")),
        recipe::SUITE.to_owned(),
        root.display().to_string(),
    ];
    args.extend(std::env::var("CUPEL_MACHINES_MIRROR").ok());
    host::run("debootstrap", &args, log, PACKAGES)
}

/// What tests want of it, and then the disk.
fn finish(building: &Path, log: &Path) -> Result<()> {
    let root = building.join("root");
    unmounted(&root)?;
    let script = "finish.sh";
    fs::write(root.join(script), recipe::FINISH)?;
    let args = [
        root.display().to_string(),
        "/bin/sh".to_owned(),
        format!("/{script}"),
        recipe::MODULES.join(" "),
    ];
    host::run("chroot", &args, log, STEP)?;
    fs::remove_file(root.join(script))?;
    for name in ["vmlinuz", "start.img"] {
        fs::rename(root.join("boot").join(name), building.join(name))
            .with_context(|| format!("the system has no boot/{name}"))?;
    }
    let disk = building.join("root.img");
    File::create(&disk)?.set_len(u64::from(recipe::DISK_MIB) << 20)?;
    let args = [
        "-q".to_owned(),
        "-d".to_owned(),
        root.display().to_string(),
        disk.display().to_string(),
    ];
    host::run("mkfs.ext4", &args, log, STEP)?;
    clear(&root)
}

/// Removes a directory, but never through what is mounted below it.
fn clear(directory: &Path) -> Result<()> {
    unmounted(directory)?;
    if directory.exists() {
        fs::remove_dir_all(directory).with_context(|| format!("remove {}", directory.display()))?;
    }
    Ok(())
}

/// Refuses a directory below which something is mounted: debootstrap was killed there.
fn unmounted(directory: &Path) -> Result<()> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let below = mounts
        .lines()
        .filter_map(|line| line.split(' ').nth(1))
        .find(|place| Path::new(place).starts_with(directory));
    if let Some(place) = below {
        bail!("{place} is still mounted: umount {place}");
    }
    Ok(())
}

fn forget_old(cache: &Path) -> Result<()> {
    for entry in fs::read_dir(cache)? {
        let directory = entry?.path();
        let used = fs::metadata(directory.join("used")).and_then(|used| used.modified());
        let age = used.ok().and_then(|used| now().duration_since(used).ok());
        if age.is_some_and(|age| age > KEPT) {
            clear(&directory)?;
        }
    }
    Ok(())
}
