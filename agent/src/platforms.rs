//! The platforms that Cupel knows: those inside the program and those in files under the root.
//!
//! Files are `*.toml` in `/usr/lib/cupel/platforms`, `/run/cupel/platforms`,
//! `/etc/cupel/platforms`; a later one replaces one of the same name.

use anyhow::Context as _;
use cupel_hardware::Root;
use cupel_health::platform::{Unmatched, embedded, matching, parse};
use cupel_model::{Platform, Snapshot};
use serde::Serialize;

use crate::config::{DIRECTORIES, Settings, files, on_disk};

const BUILT_IN: &str = "built in";

/// Most bytes of a platform file.
const FILE_CAP: usize = 1 << 20;

/// A platform and where it comes from.
#[derive(Clone, Debug, Serialize)]
pub struct Known {
    /// `built in`, or the file.
    pub origin: String,
    /// The platform.
    #[serde(flatten)]
    pub platform: Platform,
}

/// Every platform, by name.
///
/// # Errors
/// A platform file is refused.
pub fn known(root: &Root) -> anyhow::Result<Vec<Known>> {
    let mut all: Vec<Known> = embedded()
        .iter()
        .map(|platform| Known {
            origin: BUILT_IN.to_owned(),
            platform: platform.clone(),
        })
        .collect();
    for directory in DIRECTORIES {
        for path in files(root, &format!("{directory}/platforms"))? {
            let platform = read(root, &path)?;
            all.retain(|known| known.platform.name != platform.name);
            all.push(Known {
                origin: path,
                platform,
            });
        }
    }
    all.sort_by(|a, b| a.platform.name.cmp(&b.platform.name));
    Ok(all)
}

fn read(root: &Root, path: &str) -> anyhow::Result<Platform> {
    let file = on_disk(root, path);
    let bytes = root
        .read(path, FILE_CAP)
        .with_context(|| format!("cannot read platform {file}"))?;
    parse_bytes(&bytes, &file)
}

fn parse_bytes(bytes: &[u8], path: &str) -> anyhow::Result<Platform> {
    let text = std::str::from_utf8(bytes).with_context(|| format!("{path} is not UTF-8"))?;
    Ok(parse(text, path)?)
}

/// The platform of that name; of a file, when the name has a `/` or ends in `.toml`.
///
/// # Errors
/// There is none, or a file is refused.
pub fn named(root: &Root, name: &str) -> anyhow::Result<Platform> {
    if name.contains('/') || name.ends_with(".toml") {
        let bytes = std::fs::read(name).with_context(|| format!("cannot read platform {name}"))?;
        return parse_bytes(&bytes, name);
    }
    find(known(root)?, name).map(|known| known.platform)
}

/// How the platform of a machine is found: it is named, or recognised among those that are known.
#[derive(Clone, Debug)]
pub enum Choice {
    /// That one.
    Named(Box<Platform>),
    /// The one that fits; those of files go before those that are built in.
    Recognised {
        /// Those of files under the root.
        files: Vec<Platform>,
        /// Those inside the program.
        built_in: Vec<Platform>,
    },
}

impl Choice {
    /// The platform named by `--platform`, else the one named by the configuration, else the one the
    /// machine is recognised as.
    ///
    /// # Errors
    /// The name is not known, or a file is refused.
    pub fn load(root: &Root, settings: &Settings, name: Option<&str>) -> anyhow::Result<Self> {
        if let Some(name) = name {
            return Ok(Self::Named(Box::new(named(root, name)?)));
        }
        if let Some(name) = &settings.platform.value {
            let origin = &settings.platform.origin;
            let known = find(known(root)?, name)
                .with_context(|| format!("cannot use the platform set in {origin}"))?;
            return Ok(Self::Named(Box::new(known.platform)));
        }
        let (built_in, files): (Vec<Known>, Vec<Known>) = known(root)?
            .into_iter()
            .partition(|known| known.origin == BUILT_IN);
        let platforms = |group: Vec<Known>| group.into_iter().map(|known| known.platform);
        Ok(Self::Recognised {
            files: platforms(files).collect(),
            built_in: platforms(built_in).collect(),
        })
    }

    /// The platform of a machine; none when it is not recognised.
    ///
    /// # Errors
    /// It is recognised as several.
    pub fn of(&self, snapshot: &Snapshot) -> Result<Option<&Platform>, Unmatched> {
        let (files, built_in) = match self {
            Self::Named(platform) => return Ok(Some(platform)),
            Self::Recognised { files, built_in } => (files, built_in),
        };
        for platforms in [files, built_in] {
            match matching(snapshot, platforms) {
                Ok(platform) => return Ok(Some(platform)),
                Err(error @ Unmatched::Ambiguous { .. }) => return Err(error),
                Err(error @ (Unmatched::NoneFits { .. } | Unmatched::Unidentified { .. })) => {
                    tracing::debug!("{error}");
                }
            }
        }
        Ok(None)
    }
}

/// The platform that a machine is held against, as [`Choice::load`] finds it.
///
/// # Errors
/// As [`Choice::load`].
pub fn choose(
    root: &Root,
    settings: &Settings,
    name: Option<&str>,
    snapshot: &Snapshot,
) -> anyhow::Result<Option<Platform>> {
    let choice = Choice::load(root, settings, name)?;
    Ok(choice
        .of(snapshot)
        .map(Option::<&Platform>::cloned)
        .unwrap_or_else(|error| {
            tracing::warn!("{error}; name one with --platform or in the configuration");
            None
        }))
}

/// The platform of that name.
///
/// # Errors
/// There is none; the error lists the names there are.
fn find(all: Vec<Known>, name: &str) -> anyhow::Result<Known> {
    let names: Vec<String> = all
        .iter()
        .map(|known| known.platform.name.clone())
        .collect();
    all.into_iter()
        .find(|known| known.platform.name == name)
        .with_context(|| {
            format!(
                "there is no platform {name:?}; there are: {}",
                names.join(", ")
            )
        })
}
