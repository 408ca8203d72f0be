//! What is known of a server before anything is planned. Reads, and changes nothing.

use std::fs;
use std::path::Path;
use std::time::Duration;

use cupel_hardware::place::{self, Place};

use crate::disk::Disk;
use crate::journal::Journal;
use crate::layout::{self, CURRENT, LIBRARY, LINKS, PROGRAM};
use crate::release::{Architecture, Key};
use crate::system::System;
use crate::version::Version;

/// How long rpm may take to name the owner of a file.
const RPM: Duration = Duration::from_secs(20);

/// Longest key file, in bytes.
const KEY_CAP: u64 = 16 * 1024;

/// A package that owns the program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Package {
    /// `cupel`.
    pub name: String,
    /// Who manages it.
    pub manager: PackageManager,
}

/// Who manages packages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PackageManager {
    /// Debian's.
    Dpkg,
    /// Red Hat's and SUSE's.
    Rpm,
}

impl Package {
    /// What to do instead.
    pub fn instead(&self) -> String {
        match self.manager {
            PackageManager::Dpkg => format!("use apt-get install or remove {}", self.name),
            PackageManager::Rpm => format!("use dnf install, upgrade or remove {}", self.name),
        }
    }
}

/// What is known.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Whether this process may do it at all.
    pub is_root: bool,
    /// Units at work that must not be disturbed; or why systemd does not say.
    pub busy: Result<Vec<String>, String>,
    /// What this program was built for.
    pub architecture: Option<Architecture>,
    /// The file system of the program; or why it cannot be asked.
    pub place: Result<Place, String>,
    /// The package that owns the program.
    pub package: Option<Package>,
    /// The journal; or why it cannot be used.
    pub journal: Result<Option<Journal>, String>,
    /// The version that runs.
    pub current: Option<Version>,
    /// Names that the installation needs and that something else has.
    pub foreign: Vec<String>,
    /// Configuration files that are there.
    pub configured: Vec<String>,
}

impl Facts {
    /// Looks.
    pub fn gather(disk: &Disk, system: &dyn System) -> Self {
        let layout = &disk.layout;
        let exists = |path: &str| fs::symlink_metadata(layout.at(path)).is_ok();
        let foreign = LINKS
            .iter()
            .filter(|(path, target)| {
                exists(path)
                    && fs::read_link(layout.at(path)).ok().as_deref() != Some(Path::new(target))
            })
            .map(|(path, _)| (*path).to_owned())
            .collect();
        let configured = [layout::INVENTORY, layout::TOKEN];
        Self {
            is_root: place::is_root(),
            busy: system.busy().map_err(|error| error.to_string()),
            architecture: Architecture::of_this_program(),
            place: place::of(&layout.at(LIBRARY)).map_err(|error| error.to_string()),
            package: package(disk, system),
            journal: Journal::load(&layout.at(layout::JOURNAL)).map_err(|error| error.to_string()),
            current: layout.linked(CURRENT),
            foreign,
            configured: configured
                .into_iter()
                .filter(|path| exists(path))
                .map(str::to_owned)
                .collect(),
        }
    }
}

/// The package that owns the program.
pub fn package(disk: &Disk, system: &dyn System) -> Option<Package> {
    dpkg(disk).or_else(|| rpm(disk, system))
}

/// Debian's list of each package's files names the program.
fn dpkg(disk: &Disk) -> Option<Package> {
    let lists = fs::read_dir(disk.layout.at("/var/lib/dpkg/info")).ok()?;
    for entry in lists.flatten() {
        let name = entry.file_name();
        let Some(package) = name.to_str().and_then(|name| name.strip_suffix(".list")) else {
            continue;
        };
        // Only a package of ours can bring it; reading the lists of all costs a second.
        if !package.starts_with("cupel") {
            continue;
        }
        let text = fs::read_to_string(entry.path()).unwrap_or_default();
        if text.lines().any(|line| line == PROGRAM) {
            let name = package.split(':').next().unwrap_or(package).to_owned();
            let manager = PackageManager::Dpkg;
            return Some(Package { name, manager });
        }
    }
    None
}

fn rpm(disk: &Disk, system: &dyn System) -> Option<Package> {
    let program = Path::new("/usr/bin/rpm");
    if !disk.layout.at("/usr/bin/rpm").exists()
        || fs::symlink_metadata(disk.layout.at(PROGRAM)).is_err()
    {
        return None;
    }
    let asked = ["-qf", "--queryformat", "%{NAME}", PROGRAM];
    // It ends with an error where no package owns the file.
    let name = system.run(program, &asked, RPM).ok()?;
    let name = name.trim();
    (!name.is_empty() && !name.contains(char::is_whitespace)).then(|| Package {
        name: name.to_owned(),
        manager: PackageManager::Rpm,
    })
}

/// The release keys that are trusted here.
///
/// # Errors
/// A file cannot be read; which and why.
pub fn keys(disk: &Disk) -> Result<Vec<Key>, String> {
    let directory = disk.layout.at(layout::KEYS);
    let mut paths: Vec<_> = match fs::read_dir(&directory) {
        Ok(entries) => entries.flatten().map(|entry| entry.path()).collect(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(format!("{}: {error}", directory.display())),
    };
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "pub"));
    paths.sort();
    paths
        .into_iter()
        .map(|path| {
            let unusable = |why: String| format!("{}: {why}", path.display());
            let about = fs::metadata(&path).map_err(|error| unusable(error.to_string()))?;
            if about.len() > KEY_CAP {
                return Err(unusable("too large for a key".to_owned()));
            }
            let text = fs::read_to_string(&path).map_err(|error| unusable(error.to_string()))?;
            Ok(Key { path, text })
        })
        .collect()
}
