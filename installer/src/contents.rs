//! What a version consists of: the program, and the files of the system that it brings along.
//!
//! # Invariants
//! - A directory named after a version is whole: it is written under another name, proves itself,
//!   and is renamed last.
//! - A version names its own files: the program that installs another asks that one for them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Component, Path};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::disk::Disk;
use crate::error::InstallError;
use crate::layout::{BINARY, CURRENT, MANIFEST, PROVEN, UNFINISHED, VERSIONS};
use crate::release::Release;
use crate::system::System;
use crate::version::{Hash, Version};

/// Files of the system, by their path within a version.
pub const FILES: &[(&str, &str)] = &[
    (
        "catalog/cupel.catalog",
        include_str!("../../systemd/cupel.catalog"),
    ),
    (
        "systemd/cupel-bringup.service",
        include_str!("../../systemd/cupel-bringup.service"),
    ),
    (
        "systemd/cupel-recover.service",
        include_str!("../../systemd/cupel-recover.service"),
    ),
    (
        "systemd/cupel-upgrade.service",
        include_str!("../../systemd/cupel-upgrade.service"),
    ),
    (
        "systemd/cupel-wish.service",
        include_str!("../../systemd/cupel-wish.service"),
    ),
    (
        "systemd/cupel.service",
        include_str!("../../systemd/cupel.service"),
    ),
    (
        "sysusers.d/cupel.conf",
        include_str!("../../systemd/sysusers.d/cupel.conf"),
    ),
    (
        "tmpfiles.d/cupel.conf",
        include_str!("../../systemd/tmpfiles.d/cupel.conf"),
    ),
];

/// How long a program may take to name its files.
const NAMING: Duration = Duration::from_secs(20);

/// How long the self-test of a version may take: a driver that hangs costs half a minute.
const SELF_TEST: Duration = Duration::from_secs(180);

/// What a program says of the files that belong to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SystemFiles {
    /// The program's number.
    pub version: String,
    /// Files of the system, by their path within a version.
    pub files: BTreeMap<String, String>,
}

impl SystemFiles {
    /// Those of this program.
    pub fn own(version: &str) -> Self {
        Self {
            version: version.to_owned(),
            files: FILES
                .iter()
                .map(|&(path, text)| (path.to_owned(), text.to_owned()))
                .collect(),
        }
    }
}

/// The list of a version's files, with their hashes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Which version.
    pub version: Version,
    /// Hash of each file, by its path within the version.
    pub files: BTreeMap<String, Hash>,
}

/// Whether every file of a version is there as it was written.
///
/// # Errors
/// What is missing or different.
pub fn whole(disk: &Disk, version: &Version) -> Result<Manifest, InstallError> {
    let not_whole = |why: String| InstallError::NotWhole {
        version: version.to_string(),
        why,
    };
    let directory = disk.layout.version(version);
    let read = |path: &str| {
        fs::read(directory.join(path)).map_err(|error| not_whole(format!("{path}: {error}")))
    };
    let manifest: Manifest = serde_json::from_slice(&read(MANIFEST)?)
        .map_err(|error| not_whole(format!("{MANIFEST}: {error}")))?;
    if manifest.version != *version || !manifest.files.contains_key(BINARY) {
        return Err(not_whole(format!("{MANIFEST} is of another version")));
    }
    for (path, hash) in &manifest.files {
        if !is_inside(path) || Hash::of(&read(path)?) != *hash {
            return Err(not_whole(format!("{path} is not as it was written")));
        }
    }
    Ok(manifest)
}

/// Whether a path leads nowhere but below where it begins.
fn is_inside(path: &str) -> bool {
    !path.is_empty()
        && Path::new(path)
            .components()
            .all(|part| matches!(part, Component::Normal(_)))
}

/// What a new version must be, beyond signed and whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// It is called so, by its number or its whole name.
    pub version: Option<String>,
    /// It may be older than what runs.
    pub downgrade: bool,
}

impl Terms {
    /// Whether a version is as it must be, where `current` runs.
    ///
    /// # Errors
    /// [`InstallError::Unwanted`].
    fn hold(&self, version: &Version, current: Option<&Version>) -> Result<(), InstallError> {
        if let Some(wanted) = &self.version
            && !version.is_called(wanted)
        {
            let why = format!("it is {version}, and {wanted} is wanted");
            return Err(InstallError::Unwanted(why));
        }
        match current {
            Some(current) if !self.downgrade && version.is_older_than(current) => {
                let why = format!(
                    "{version} is older than {current}, which runs: ask for a downgrade if that \
                     is meant, or use 'cupel rollback'"
                );
                Err(InstallError::Unwanted(why))
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// Writes a version beside those that are there, and lets it prove itself.
///
/// # Errors
/// The disk's; and that it does not prove itself: then it is removed again.
pub fn stage(
    disk: &Disk,
    system: &dyn System,
    release: &Release,
    terms: &Terms,
) -> Result<Version, InstallError> {
    let unfinished = disk
        .layout
        .at(VERSIONS)
        .join(format!("{UNFINISHED}{}", &release.hash().as_str()[..12]));
    let staged = written(disk, system, release, terms, &unfinished);
    if let Err(
        InstallError::SelfTest(_) | InstallError::NotWhole { .. } | InstallError::Unwanted(_),
    ) = &staged
    {
        disk.remove(&unfinished)?;
    }
    staged
}

fn written(
    disk: &Disk,
    system: &dyn System,
    release: &Release,
    terms: &Terms,
    unfinished: &Path,
) -> Result<Version, InstallError> {
    disk.make_directory(&disk.layout.at(VERSIONS), 0o755)?;
    disk.remove(unfinished)?;
    disk.make_directory(unfinished, 0o755)?;
    let binary = unfinished.join(BINARY);
    disk.write_new(&binary, release.bytes(), 0o755)?;
    let said = fs::read(&binary).map_err(|source| InstallError::Disk {
        what: "read",
        path: binary.clone(),
        source,
    })?;
    if Hash::of(&said) != *release.hash() {
        return Err(InstallError::NotWhole {
            version: "just written".to_owned(),
            why: "the disk gives back other bytes than were written".to_owned(),
        });
    }
    disk.before("ask the new version for its files")?;
    let own = system
        .run(&binary, &["system-files"], NAMING)
        .map_err(|error| InstallError::SelfTest(error.to_string()))?;
    let own: SystemFiles = serde_json::from_str(&own)
        .map_err(|error| InstallError::SelfTest(format!("it does not name its files: {error}")))?;
    let version = Version::new(&own.version, release.hash())
        .map_err(|error| InstallError::SelfTest(error.to_string()))?;
    terms.hold(&version, disk.layout.linked(CURRENT).as_ref())?;
    if whole(disk, &version).is_ok() {
        disk.remove(unfinished)?;
        return Ok(version);
    }
    let mut files = BTreeMap::from([(BINARY.to_owned(), release.hash().clone())]);
    for (path, text) in &own.files {
        if !is_inside(path) || path == BINARY || path == MANIFEST {
            return Err(InstallError::SelfTest(format!(
                "it wants to write {path:?}, which is not its own"
            )));
        }
        let to = unfinished.join(path);
        if let Some(parent) = to.parent() {
            disk.make_directory(parent, 0o755)?;
        }
        disk.write_new(&to, text.as_bytes(), 0o644)?;
        files.insert(path.clone(), Hash::of(text.as_bytes()));
    }
    disk.before("let the new version test itself")?;
    system
        .run(&binary, &["self-test"], SELF_TEST)
        .map_err(|error| InstallError::SelfTest(error.to_string()))?;
    let manifest = Manifest {
        version: version.clone(),
        files,
    };
    let json = serde_json::to_vec_pretty(&manifest)
        .map_err(|error| InstallError::SelfTest(error.to_string()))?;
    disk.write_new(&unfinished.join(MANIFEST), &json, 0o644)?;
    // What stands under this name is not whole, so nothing runs from it.
    remove_version(disk, &version)?;
    disk.rename(unfinished, &disk.layout.version(&version))?;
    Ok(version)
}

/// Removes a version: its name goes first, so that a version is whole or not there.
///
/// # Errors
/// The disk's.
pub fn remove_version(disk: &Disk, version: &Version) -> Result<(), InstallError> {
    let directory = disk.layout.version(version);
    if fs::symlink_metadata(&directory).is_err() {
        return Ok(());
    }
    let unfinished = disk
        .layout
        .at(VERSIONS)
        .join(format!("{UNFINISHED}{version}"));
    disk.remove(&unfinished)?;
    disk.rename(&directory, &unfinished)?;
    disk.remove(&unfinished)
}

/// The versions that are there, and the unfinished ones.
pub fn present(disk: &Disk) -> (Vec<Version>, Vec<std::path::PathBuf>) {
    let (mut versions, mut unfinished) = (Vec::new(), Vec::new());
    let entries = fs::read_dir(disk.layout.at(VERSIONS));
    for entry in entries.into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(UNFINISHED) {
            unfinished.push(entry.path());
        } else if let Ok(version) = name.parse() {
            versions.push(version);
        }
    }
    versions.sort();
    (versions, unfinished)
}

/// Removes what was left unfinished, and every version but these and those that the links lead to.
///
/// # Errors
/// The disk's.
pub fn prune(disk: &Disk, keep: &[&Version]) -> Result<(), InstallError> {
    let (versions, unfinished) = present(disk);
    for path in unfinished {
        disk.remove(&path)?;
    }
    let linked: Vec<_> = [CURRENT, PROVEN]
        .iter()
        .filter_map(|link| disk.layout.linked(link))
        .collect();
    for version in versions {
        if !keep.contains(&&version) && !linked.contains(&version) {
            remove_version(disk, &version)?;
        }
    }
    Ok(())
}
