//! RACK.toml: which nodes, and what they get.
//!
//! # Invariants
//! - Pure, and total: whatever the bytes, a rack or an error.
//! - No name or address begins with `-` or holds what a shell or ssh would take for something else.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// Most nodes in a file.
const MOST: usize = 4096;

/// Most nodes at the same time.
const MOST_AT_ONCE: u16 = 256;

/// Longest name or address.
const LONGEST: usize = 253;

/// Why a file is no rack.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct RackError(pub String);

/// A rack.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rack {
    /// The program that is installed; relative to the file that names it.
    pub program: PathBuf,
    /// Its signature, for nodes that have another version [default: `PROGRAM.minisig`].
    pub signature: Option<PathBuf>,
    /// Where the nodes report to.
    pub inventory: Option<String>,
    /// The inventory's token.
    pub token_file: Option<PathBuf>,
    /// The inventory's join file: each node gets an identity with it.
    pub join: Option<PathBuf>,
    /// Keys of releases that the nodes shall trust.
    #[serde(default)]
    pub release_keys: Vec<PathBuf>,
    /// Let a bring-up run at the next boot.
    #[serde(default)]
    pub with_bringup: bool,
    /// User on the nodes.
    #[serde(default = "root")]
    pub user: String,
    /// Become root by `sudo -n`.
    #[serde(default)]
    pub sudo: bool,
    /// Further arguments of ssh, such as `-i` and a file.
    #[serde(default)]
    pub ssh_arguments: Vec<String>,
    /// Nodes at the same time.
    #[serde(default = "at_once")]
    pub at_once: u16,
    /// Further attempts when a connection breaks.
    #[serde(default = "retries")]
    pub retries: u32,
    /// The nodes.
    #[serde(rename = "node", default)]
    pub nodes: Vec<Node>,
}

/// A node.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Node {
    /// What it is called, in the table and for its log.
    pub name: String,
    /// Where it is reached [default: its name].
    pub address: Option<String>,
    /// Port of its sshd [default: what ssh is configured to].
    pub port: Option<u16>,
}

impl Node {
    /// Where it is reached.
    pub fn address(&self) -> &str {
        self.address.as_deref().unwrap_or(&self.name)
    }
}

fn root() -> String {
    "root".to_owned()
}

fn at_once() -> u16 {
    16
}

fn retries() -> u32 {
    2
}

/// The rack of a file's text.
///
/// # Errors
/// What is wrong with it.
pub fn parse(text: &str) -> Result<Rack, RackError> {
    let rack: Rack = toml::from_str(text).map_err(|error| {
        // The excerpt may hold what is nobody's business in a log.
        let at = error.span().map_or(0, |span| span.start);
        let line = text[..at.min(text.len())].matches('\n').count() + 1;
        RackError(format!("line {line}: {}", error.message()))
    })?;
    let wrong = |what: String| Err(RackError(what));
    if rack.nodes.is_empty() {
        return wrong("no node: want at least one table [[node]]".to_owned());
    }
    if rack.nodes.len() > MOST {
        return wrong(format!("{} nodes, at most {MOST}", rack.nodes.len()));
    }
    if !(1..=MOST_AT_ONCE).contains(&rack.at_once) {
        return wrong(format!("at_once: want 1 to {MOST_AT_ONCE}"));
    }
    if !is_plain(&rack.user) {
        return wrong(format!("user: {:?} is no user", rack.user));
    }
    if rack.token_file.is_some() && rack.inventory.is_none() {
        return wrong("token_file: want an inventory too".to_owned());
    }
    if rack.join.is_some() && (rack.inventory.is_some() || rack.token_file.is_some()) {
        return wrong(
            "join: the file says where to report, so want no inventory and token_file beside it"
                .to_owned(),
        );
    }
    let inventory = rack.inventory.as_deref().unwrap_or_default();
    if inventory.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return wrong("inventory: no URL".to_owned());
    }
    for key in &rack.release_keys {
        if !key
            .file_stem()
            .and_then(|name| name.to_str())
            .is_some_and(is_plain)
        {
            return wrong(format!(
                "release_keys: {} is no name for a key",
                key.display()
            ));
        }
    }
    let mut names = BTreeSet::new();
    for node in &rack.nodes {
        if !is_plain(&node.name) || node.name.contains(':') {
            return wrong(format!("{:?} is no name for a node", node.name));
        }
        if !is_plain(node.address()) {
            return wrong(format!("{}: {:?} is no address", node.name, node.address()));
        }
        if !names.insert(&node.name) {
            return wrong(format!("{} is there twice", node.name));
        }
    }
    Ok(rack)
}

/// Letters, digits and what else names, addresses and users are made of; nothing that leads.
fn is_plain(text: &str) -> bool {
    let begins = text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':');
    begins
        && text.len() <= LONGEST
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "._-:%".contains(c))
}

impl Rack {
    /// With its files found from the directory of the file that names them.
    #[must_use]
    pub fn beside(mut self, directory: &Path) -> Self {
        let signature = self.signature.take().unwrap_or_else(|| {
            let mut name = self.program.clone().into_os_string();
            name.push(".minisig");
            name.into()
        });
        self.program = directory.join(&self.program);
        self.signature = Some(directory.join(signature));
        self.token_file = self.token_file.map(|path| directory.join(path));
        self.join = self.join.map(|path| directory.join(path));
        for key in &mut self.release_keys {
            *key = directory.join(&key);
        }
        self
    }
}
