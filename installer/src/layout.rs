//! Where everything is on a server, beneath a root that tests choose.
//!
//! ```text
//! /usr/lib/cupel/versions/VERSION/cupel      one directory a version, complete or not there
//! /usr/lib/cupel/current -> versions/VERSION the version that runs: the one link that is switched
//! /usr/lib/cupel/proven  -> versions/VERSION the last version that was watched and found well:
//!                                            upgrades are carried out, and taken back, by it
//! /usr/bin/cupel         -> ../lib/cupel/current/cupel
//! /usr/lib/systemd/system/cupel*.service     links into current, as are sysusers, tmpfiles and
//!                                            catalogue: one rename exchanges all of it
//! /var/lib/cupel/install.json                the journal
//! ```

use std::path::{Path, PathBuf};

use crate::version::Version;

/// The program, for people and units.
pub const PROGRAM: &str = "/usr/bin/cupel";

/// Everything that is of one version.
pub const LIBRARY: &str = "/usr/lib/cupel";

/// Directory of the versions.
pub const VERSIONS: &str = "/usr/lib/cupel/versions";

/// Link to the version that runs.
pub const CURRENT: &str = "/usr/lib/cupel/current";

/// Link to the last version that was found well.
pub const PROVEN: &str = "/usr/lib/cupel/proven";

/// What outlives everything else.
pub const STATE: &str = "/var/lib/cupel";

/// The journal.
pub const JOURNAL: &str = "/var/lib/cupel/install.json";

/// Held by whoever installs.
pub const LOCK: &str = "/var/lib/cupel/install.lock";

/// What lives as long as the service: its socket, and the gate.
pub const RUNTIME: &str = "/run/cupel";

/// The operator's configuration.
pub const CONFIGURATION: &str = "/etc/cupel";

/// Public keys of releases that are trusted.
pub const KEYS: &str = "/etc/cupel/release-keys";

/// Configuration that the installer writes when an inventory is named.
pub const INVENTORY: &str = "/etc/cupel/inventory.toml";

/// The inventory's token.
pub const TOKEN: &str = "/etc/cupel/inventory.token";

/// Begins the name of a version that is being written.
pub const UNFINISHED: &str = ".unfinished-";

/// Name of the program within a version.
pub const BINARY: &str = "cupel";

/// Name of the list of a version's files within it.
pub const MANIFEST: &str = "manifest.json";

/// The unit of the service.
pub const SERVICE: &str = "cupel.service";

/// The unit that carries out an upgrade.
pub const UPGRADE: &str = "cupel-upgrade.service";

/// The unit that fetches what the inventory wishes.
pub const WISH: &str = "cupel-wish.service";

/// Links into the current version, and where they lead.
pub const LINKS: &[(&str, &str)] = &[
    (
        "/usr/lib/sysusers.d/cupel.conf",
        "../cupel/current/sysusers.d/cupel.conf",
    ),
    (
        "/usr/lib/tmpfiles.d/cupel.conf",
        "../cupel/current/tmpfiles.d/cupel.conf",
    ),
    (
        "/usr/lib/systemd/catalog/cupel.catalog",
        "../../cupel/current/catalog/cupel.catalog",
    ),
    (
        "/usr/lib/systemd/system/cupel.service",
        "../../cupel/current/systemd/cupel.service",
    ),
    (
        "/usr/lib/systemd/system/cupel-bringup.service",
        "../../cupel/current/systemd/cupel-bringup.service",
    ),
    (
        "/usr/lib/systemd/system/cupel-recover.service",
        "../../cupel/current/systemd/cupel-recover.service",
    ),
    (
        "/usr/lib/systemd/system/cupel-upgrade.service",
        "../../cupel/current/systemd/cupel-upgrade.service",
    ),
    (
        "/usr/lib/systemd/system/cupel-wish.service",
        "../../cupel/current/systemd/cupel-wish.service",
    ),
    (PROGRAM, "../lib/cupel/current/cupel"),
];

/// What makes a unit start at boot, as `systemctl enable` does it.
pub const ENABLED: &[(&str, &str)] = &[
    (
        "/etc/systemd/system/multi-user.target.wants/cupel-recover.service",
        "/usr/lib/systemd/system/cupel-recover.service",
    ),
    (
        "/etc/systemd/system/multi-user.target.wants/cupel-upgrade.service",
        "/usr/lib/systemd/system/cupel-upgrade.service",
    ),
    (
        "/etc/systemd/system/multi-user.target.wants/cupel-bringup.service",
        "/usr/lib/systemd/system/cupel-bringup.service",
    ),
    (
        "/etc/systemd/system/multi-user.target.wants/cupel.service",
        "/usr/lib/systemd/system/cupel.service",
    ),
];

/// A root with everything below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    root: PathBuf,
}

impl Layout {
    /// Beneath this directory; `/` is the machine.
    pub fn beneath(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The root.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where an absolute path is beneath the root.
    pub fn at(&self, absolute: &str) -> PathBuf {
        self.root.join(absolute.trim_start_matches('/'))
    }

    /// Directory of a version.
    pub fn version(&self, version: &Version) -> PathBuf {
        self.at(VERSIONS).join(version.as_str())
    }

    /// Program of a version.
    pub fn binary(&self, version: &Version) -> PathBuf {
        self.version(version).join(BINARY)
    }

    /// The version that a link leads to; `None` where there is no such link.
    pub fn linked(&self, link: &str) -> Option<Version> {
        let target = std::fs::read_link(self.at(link)).ok()?;
        let name = target.strip_prefix("versions").ok()?.to_str()?;
        name.parse().ok()
    }
}
