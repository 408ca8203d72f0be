//! What a package holds; [`deb`] and [`rpm`] write it down.
//!
//! # Invariants
//! - Both kinds are made from the same [`Package`], and hold the same files but for where a
//!   distribution wants them.
//! - A package is a function of its contents and the commit's date: no clock, no name of this
//!   machine, no order of a directory.

pub mod deb;
pub mod rpm;
mod units;

#[cfg(test)]
mod tests;

use std::io::Write as _;

use anyhow::Context as _;
use flate2::{Compression, GzBuilder};

use super::build::Architecture;
use super::texts::Texts;
use crate::workspace::Workspace;

pub use units::Units;

/// Kinds of packages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Debian, Ubuntu
    Deb,
    /// Red Hat, SUSE
    Rpm,
}

/// What a file of a package is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Runs, or is read by what runs.
    Part,
    /// Documentation.
    Document,
}

/// A file of a package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Where it goes, from `/`.
    pub path: String,
    /// Permissions.
    pub mode: u16,
    /// What it holds.
    pub bytes: Vec<u8>,
    /// What it is for.
    pub role: Role,
}

/// A package, before it is written.
#[derive(Clone, Debug)]
pub struct Package {
    /// Its name, and that of its program.
    pub name: String,
    /// One line.
    pub summary: String,
    /// Some lines.
    pub description: String,
    /// Version of the program.
    pub version: String,
    /// Who answers for it: `Name <mail address>`.
    pub maintainer: String,
    /// For which machines.
    pub architecture: Architecture,
    /// Seconds since 1970 of the commit.
    pub date: u32,
    /// Sorted by path.
    pub files: Vec<File>,
    /// What is to be done for systemd.
    pub units: Units,
}

/// What all packages of a release have in common.
pub struct Release<'a> {
    /// The checkout.
    pub workspace: &'a Workspace,
    /// Version of the programs.
    pub version: &'a str,
    /// Who answers for the packages.
    pub maintainer: &'a str,
    /// Seconds since 1970 of the commit.
    pub date: u32,
}

/// Text of a package: name, one line, some lines.
const TEXTS: &[(&str, &str, &str)] = &[
    (
        "cupel",
        "provisioning and health of bare-metal GPU servers",
        "Cupel finds out what a GPU server really is, checks it, burns it in, and\n\
         says which part in which slot needs what. Its service watches the machine\n\
         and reports to an inventory.",
    ),
    (
        "cupel-inventory",
        "inventory of GPU servers that Cupel watches",
        "The inventory takes the reports of all nodes, keeps their history, and\n\
         shows it: an API, metrics and pages.",
    ),
];

/// What tells of what a program is made of.
pub struct Papers<'a> {
    /// The bill of materials.
    pub bill: &'a [u8],
    /// The licence texts.
    pub notices: &'a [u8],
}

impl Package {
    /// The package of a program.
    pub fn new(
        release: &Release<'_>,
        kind: Kind,
        architecture: Architecture,
        name: &str,
        program: Vec<u8>,
        texts: &Texts,
        papers: &Papers<'_>,
    ) -> anyhow::Result<Self> {
        let (_, summary, description) = TEXTS
            .iter()
            .find(|(of, _, _)| *of == name)
            .with_context(|| format!("there is no text for a package {name}"))?;
        let units = Units::read(&release.workspace.root.join("systemd"), name)?;
        let mut files = vec![File {
            path: format!("usr/bin/{name}"),
            mode: 0o755,
            bytes: program,
            role: Role::Part,
        }];
        let mut add = |path: String, bytes: Vec<u8>, role| {
            files.push(File {
                path,
                mode: 0o644,
                bytes,
                role,
            });
        };
        for (path, bytes) in &units.files {
            add(path.clone(), bytes.clone(), Role::Part);
        }
        let documents = format!("usr/share/doc/{name}");
        for (file, bytes) in &units.examples {
            let path = format!("{documents}/examples/{file}");
            add(path, bytes.clone(), Role::Document);
        }
        for (page, text) in texts.manual(name) {
            let path = format!("usr/share/man/man1/{page}.gz");
            add(path, gzip(text)?, Role::Document);
        }
        let completions = texts.completions(name);
        if let Some(completions) = completions {
            let zsh = match kind {
                Kind::Deb => "vendor-completions",
                Kind::Rpm => "site-functions",
            };
            let bash = format!("usr/share/bash-completion/completions/{name}");
            add(bash, completions.bash.clone(), Role::Part);
            let path = format!("usr/share/zsh/{zsh}/_{name}");
            add(path, completions.zsh.clone(), Role::Part);
            let path = format!("usr/share/fish/vendor_completions.d/{name}.fish");
            add(path, completions.fish.clone(), Role::Part);
        }
        let read = |file: &str| {
            std::fs::read(release.workspace.root.join(file)).with_context(|| format!("read {file}"))
        };
        for (file, text) in [
            (format!("{name}.cdx.json.gz"), papers.bill),
            ("licences.txt.gz".to_owned(), papers.notices),
        ] {
            add(format!("{documents}/{file}"), gzip(text)?, Role::Document);
        }
        let changes = gzip(&read("CHANGELOG.md")?)?;
        add(format!("{documents}/changelog.gz"), changes, Role::Document);
        let mut package = Self {
            name: name.to_owned(),
            summary: (*summary).to_owned(),
            description: (*description).to_owned(),
            version: release.version.to_owned(),
            maintainer: release.maintainer.to_owned(),
            architecture,
            date: release.date,
            files,
            units,
        };
        match kind {
            Kind::Deb => package.files.extend(deb::documents(&package)?),
            Kind::Rpm => package.files.push(File {
                path: format!("usr/share/licenses/{name}/LICENSE"),
                mode: 0o644,
                bytes: read("LICENSE")?,
                role: Role::Document,
            }),
        }
        package.files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(package)
    }

    /// Directories of the files that are this package's own.
    pub fn own_directories(&self) -> Vec<String> {
        let ends = format!("/{}", self.name);
        let mut own: Vec<String> = self
            .files
            .iter()
            .filter_map(|file| Some(file.path.rsplit_once('/')?.0))
            .filter(|directory| directory.ends_with(&ends))
            .map(str::to_owned)
            .collect();
        own.dedup();
        own
    }
}

/// Compresses as `gzip -9n` does: without a name and a time.
pub fn gzip(bytes: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut out = GzBuilder::new()
        .operating_system(3)
        .write(Vec::new(), Compression::best());
    out.write_all(bytes)?;
    Ok(out.finish()?)
}
