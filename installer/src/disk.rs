//! What is done to the disk, one side effect at a time.
//!
//! # Invariants
//! - What a name stands for is whole: files are written beside, synced, renamed, and the directory
//!   is synced before the next thing happens.
//! - Each single system call that changes something passes [`Disk::before`] first. That is where
//!   tests cut the power: at every one of them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use crate::error::InstallError;
use crate::layout::Layout;

/// Asked before each side effect; `false`: the power is gone.
pub type Power = Arc<dyn Fn(&str) -> bool + Send + Sync>;

/// The disk beneath a root.
#[derive(Clone)]
pub struct Disk {
    /// Where everything is.
    pub layout: Layout,
    power: Option<Power>,
    /// Files that were written and not synced: a power cut may take what is in them.
    unsynced: Arc<Mutex<Vec<PathBuf>>>,
}

impl std::fmt::Debug for Disk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Disk")
            .field("layout", &self.layout)
            .finish_non_exhaustive()
    }
}

fn failed<'a>(what: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> InstallError + 'a {
    move |source| InstallError::Disk {
        what,
        path: path.to_owned(),
        source,
    }
}

impl Disk {
    /// The disk.
    pub fn new(layout: Layout) -> Self {
        Self {
            layout,
            power: None,
            unsynced: Arc::default(),
        }
    }

    /// A disk whose power can be cut.
    pub fn with_power(layout: Layout, power: Power) -> Self {
        Self {
            power: Some(power),
            ..Self::new(layout)
        }
    }

    /// Every side effect passes here, also those that are not on the disk.
    ///
    /// # Errors
    /// The power is cut.
    pub fn before(&self, effect: &str) -> Result<(), InstallError> {
        tracing::debug!("{effect}");
        match &self.power {
            Some(power) if !power(effect) => Err(InstallError::PowerCut(effect.to_owned())),
            Some(_) | None => Ok(()),
        }
    }

    /// What a power cut may take: what was written and not synced.
    pub fn lose_unsynced(&self) {
        let mut unsynced = self
            .unsynced
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        for path in unsynced.drain(..) {
            // A file that is gone has nothing to lose.
            let _ = File::create(path);
        }
    }

    /// Makes a directory, and those above it.
    ///
    /// # Errors
    /// The system's.
    pub fn make_directory(&self, path: &Path, mode: u32) -> Result<(), InstallError> {
        if path.is_dir() {
            return Ok(());
        }
        if let Some(parent) = path.parent() {
            self.make_directory(parent, 0o755)?;
        }
        self.before(&format!("make {}", path.display()))?;
        match fs::create_dir(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(failed("make", path)(error));
            }
            Ok(()) | Err(_) => {}
        }
        fs::set_permissions(path, fs::Permissions::from_mode(mode))
            .map_err(failed("open", path))?;
        self.sync_parent(path)
    }

    /// Writes a file that is not there yet, and syncs it.
    fn create(&self, path: &Path, bytes: &[u8], mode: u32) -> Result<(), InstallError> {
        self.before(&format!("write {}", path.display()))?;
        self.unsynced
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .push(path.to_owned());
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(path)
            .map_err(failed("write", path))?;
        file.write_all(bytes).map_err(failed("write", path))?;
        file.set_permissions(fs::Permissions::from_mode(mode))
            .map_err(failed("set the mode of", path))?;
        self.before(&format!("sync {}", path.display()))?;
        self.sync(&file).map_err(failed("sync", path))?;
        self.unsynced
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .retain(|unsynced| unsynced != path);
        Ok(())
    }

    /// Replaces a file, or makes it.
    ///
    /// # Errors
    /// The system's; then the old one stands.
    pub fn replace(&self, path: &Path, bytes: &[u8], mode: u32) -> Result<(), InstallError> {
        let beside = beside(path);
        self.remove(&beside)?;
        self.create(&beside, bytes, mode)?;
        self.rename(&beside, path)
    }

    /// Writes a file into a directory that nobody looks at yet.
    ///
    /// # Errors
    /// The system's.
    pub fn write_new(&self, path: &Path, bytes: &[u8], mode: u32) -> Result<(), InstallError> {
        self.create(path, bytes, mode)?;
        self.sync_parent(path)
    }

    /// Makes `path` a link to `target`, whatever stood there.
    ///
    /// # Errors
    /// The system's; then the old one stands.
    pub fn link(&self, path: &Path, target: &Path) -> Result<(), InstallError> {
        if fs::read_link(path).is_ok_and(|stands| stands == target) {
            return Ok(());
        }
        let beside = beside(path);
        self.remove(&beside)?;
        self.before(&format!(
            "link {} to {}",
            beside.display(),
            target.display()
        ))?;
        symlink(target, &beside).map_err(failed("link", &beside))?;
        self.rename(&beside, path)
    }

    /// Gives something another name, and makes that last.
    ///
    /// # Errors
    /// The system's.
    pub fn rename(&self, from: &Path, to: &Path) -> Result<(), InstallError> {
        self.before(&format!("rename {} to {}", from.display(), to.display()))?;
        fs::rename(from, to).map_err(failed("rename to", to))?;
        self.sync_parent(to)
    }

    /// Removes a file, a link, or a directory with all that is in it. What is not there is no error.
    ///
    /// # Errors
    /// The system's.
    pub fn remove(&self, path: &Path) -> Result<(), InstallError> {
        let about = match fs::symlink_metadata(path) {
            Ok(about) => about,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(failed("look at", path)(error)),
        };
        if about.is_dir() {
            let entries = fs::read_dir(path).map_err(failed("list", path))?;
            for entry in entries {
                self.remove(&entry.map_err(failed("list", path))?.path())?;
            }
            self.before(&format!("remove {}", path.display()))?;
            fs::remove_dir(path).map_err(failed("remove", path))?;
        } else {
            self.before(&format!("remove {}", path.display()))?;
            fs::remove_file(path).map_err(failed("remove", path))?;
        }
        self.sync_parent(path)
    }

    fn sync_parent(&self, path: &Path) -> Result<(), InstallError> {
        let Some(parent) = path.parent() else {
            return Ok(());
        };
        self.before(&format!("sync {}", parent.display()))?;
        File::open(parent)
            .and_then(|directory| self.sync(&directory))
            .map_err(failed("sync", parent))
    }

    /// Where the power is played, so is what lasts: see [`Disk::lose_unsynced`].
    fn sync(&self, file: &File) -> io::Result<()> {
        match &self.power {
            Some(_) => Ok(()),
            None => file.sync_all(),
        }
    }
}

/// The name under which something is made before it takes its place.
fn beside(path: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".cupel-new");
    path.with_file_name(name)
}
