//! `cargo xtask tidy`: the promises of docs/architecture.md, proved.
//!
//! # Invariants
//! - Each rule is a function from facts (a dependency graph, or one file) to violations, so that
//!   its tests need no checkout; each has a case that breaks it.
//! - A violation says where, what, and what to do instead.

mod directions;
mod graph;
mod licences;
mod sources;
mod tokens;

use crate::workspace::Workspace;
use graph::Graph;

/// A broken promise.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Violation {
    /// File and line, or package.
    pub at: String,
    /// Name of the rule.
    pub rule: &'static str,
    /// What is wrong, and what to do instead.
    pub what: String,
}

/// All violations of the checkout.
pub fn violations(workspace: &Workspace) -> anyhow::Result<Vec<Violation>> {
    let everywhere = Graph::from_metadata(&workspace.metadata(None)?);
    let linux = Graph::from_metadata(&workspace.metadata(Some("x86_64-unknown-linux-gnu"))?);
    let allowed = licences::allowed(&std::fs::read_to_string(workspace.root.join("deny.toml"))?)?;

    let mut found = directions::check(&linux);
    found.extend(licences::check(&everywhere, &allowed));

    let machine = sources::Machine {
        checkout: workspace.root.display().to_string(),
        home: std::env::var("HOME").unwrap_or_default(),
    };
    for path in workspace.files()? {
        let Ok(text) = std::fs::read_to_string(workspace.root.join(&path)) else {
            continue; // not text
        };
        found.extend(sources::check(&path, &text, &machine));
    }
    found.sort();
    found.dedup();
    Ok(found)
}

/// Prints the violations.
pub fn run(workspace: &Workspace) -> anyhow::Result<u8> {
    let found = violations(workspace)?;
    for violation in &found {
        println!("{}: {} [{}]", violation.at, violation.what, violation.rule);
    }
    if found.is_empty() {
        println!("tidy: every promise kept");
        return Ok(0);
    }
    println!("tidy: {} broken", found.len());
    Ok(1)
}
