//! What a package gives systemd: the files of systemd/ that are its own, and what its scripts do
//! with them.
//!
//! # Invariants
//! - One table says where a kind of file goes.
//! - The units of upgrades and of interrupted upgrades are left out: a package manager does those.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, bail};

/// Below systemd/: a directory, the ending of a file in it, and where such files go.
const PLACES: &[(&str, &str, &str)] = &[
    ("", ".service", "usr/lib/systemd/system"),
    ("", ".catalog", "usr/lib/systemd/catalog"),
    ("sysusers.d", ".conf", "usr/lib/sysusers.d"),
    ("tmpfiles.d", ".conf", "usr/lib/tmpfiles.d"),
];

/// Drop-ins that an operator copies.
const EXAMPLES: &str = "examples";

/// For installations that `cupel install` made alone.
const NOT_PACKAGED: &[&str] = &[
    "cupel-upgrade.service",
    "cupel-recover.service",
    "cupel-wish.service",
];

/// Services that run from the moment they are installed. The inventory is configured first.
const STARTED: &[&str] = &["cupel.service"];

/// What a package gives systemd.
#[derive(Clone, Debug, Default)]
pub struct Units {
    /// Where a file goes, from `/`, and what it holds.
    pub files: Vec<(String, Vec<u8>)>,
    /// Services that are enabled and started.
    pub started: Vec<String>,
    /// Drop-ins that an operator copies: name and contents.
    pub examples: Vec<(String, Vec<u8>)>,
}

impl Units {
    /// The files of `directory` that are of the package `name`.
    pub fn read(directory: &Path, name: &str) -> anyhow::Result<Self> {
        let mut units = Self::default();
        let of_package = |file: &str| {
            file.starts_with("cupel-inventory") == (name == "cupel-inventory")
                && !NOT_PACKAGED.contains(&file)
        };
        for below in ["", "sysusers.d", "tmpfiles.d"] {
            for (file, bytes) in files(&directory.join(below))? {
                let place = PLACES
                    .iter()
                    .find(|(of, ending, _)| *of == below && file.ends_with(ending));
                let Some((_, _, place)) = place else {
                    bail!("systemd/{below}/{file}: where does it go? give it a line in PLACES");
                };
                if !of_package(&file) {
                    continue;
                }
                units.files.push((format!("{place}/{file}"), bytes));
                if STARTED.contains(&file.as_str()) {
                    units.started.push(file);
                }
            }
        }
        if name == "cupel" {
            units.examples = files(&directory.join(EXAMPLES))?;
        }
        Ok(units)
    }

    /// Names of the files of a place, e.g. `usr/lib/sysusers.d`.
    pub fn of(&self, place: &str) -> Vec<&str> {
        self.files
            .iter()
            .filter_map(|(path, _)| path.strip_prefix(place)?.strip_prefix('/'))
            .collect()
    }
}

/// The files of a directory, sorted by name.
fn files(directory: &Path) -> anyhow::Result<Vec<(String, Vec<u8>)>> {
    let mut found = Vec::new();
    for entry in directory
        .read_dir()
        .with_context(|| format!("list {}", directory.display()))?
    {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            let path = entry.path();
            let bytes = fs::read(&path).with_context(|| format!("read {}", path.display()))?;
            found.push((entry.file_name().to_string_lossy().into_owned(), bytes));
        }
    }
    found.sort();
    Ok(found)
}
