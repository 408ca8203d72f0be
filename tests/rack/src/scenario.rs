//! A scenario: a platform, faults, and what an examiner must find.

use std::path::Path;

use anyhow::{Context, Result};
use cupel_model::{ComponentKind, Severity, Verdict};
use serde::Deserialize;

use crate::fault::Fault;

/// A platform and its faults, from a TOML file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// What it shows, in a sentence.
    pub title: String,
    /// Name of the platform, as of `platforms/`.
    pub platform: String,
    /// Number of the node; serial numbers and addresses are made from it.
    #[serde(default = "first_node")]
    pub node: u32,
    /// Whether the node was examined in good order before the faults: then a lost part has a past.
    #[serde(default)]
    pub seen_healthy: bool,
    /// Faults, in the order in which they happen.
    #[serde(default, rename = "fault")]
    pub faults: Vec<Fault>,
    /// The verdict that is right.
    pub verdict: Verdict,
    /// Every finding of warning or above that is right; none other is.
    #[serde(default, rename = "expect")]
    pub expected: Vec<Expect>,
}

fn first_node() -> u32 {
    17
}

/// A finding that must be made. A field that is left out must be null in the finding.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    /// The finding's code.
    pub code: String,
    /// How bad it is.
    pub severity: Severity,
    /// What kind of part.
    pub kind: ComponentKind,
    /// Its number among its kind.
    pub index: Option<u32>,
    /// Serial number.
    pub serial: Option<String>,
    /// PCI address.
    pub pci: Option<String>,
    /// Physical slot.
    pub slot: Option<String>,
}

impl Scenario {
    /// Reads a scenario file.
    ///
    /// # Errors
    /// The file's, or TOML that does not fit; the message names file and line.
    pub fn load(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(&text).with_context(|| format!("in scenario {}", path.display()))
    }

    /// Reads a scenario.
    ///
    /// # Errors
    /// TOML that does not fit.
    pub fn parse(text: &str) -> Result<Self> {
        Ok(toml::from_str(text)?)
    }
}
