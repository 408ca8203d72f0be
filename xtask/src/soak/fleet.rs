//! A fleet and its inventory: how soon a fault is seen, how many nodes one inventory bears, and what
//! their certificates cost it.
//!
//! # Invariants
//! - Release builds, run as the examples of tests/fleet.

use std::path::Path;

use anyhow::{Context as _, bail};

use super::Outcome;
use crate::process;
use crate::workspace::Workspace;

/// Nodes, connections, rounds of heartbeats.
const INGEST: [&str; 3] = ["12500", "32", "3"];

/// Nodes with an identity each, senders, rounds of heartbeats by each way.
const CERTIFICATES: [&str; 3] = ["500", "32", "10"];

/// What the examples run.
const BUILT: [&str; 4] = [
    "cupel",
    "cupel-gpu-worker",
    "cupel-fake-driver",
    "cupel-inventory",
];

/// Rows of so many bytes, so many in a transaction, each of which waits for the disk.
const RAW: &str = r#"
import os, sqlite3, sys, tempfile, time
rows, size, batch = map(int, sys.argv[1:])
with tempfile.TemporaryDirectory() as directory:
    database = sqlite3.connect(os.path.join(directory, "raw.db"), isolation_level=None)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")
    database.execute("CREATE TABLE raw (key INTEGER PRIMARY KEY, bytes BLOB NOT NULL)")
    bodies = [os.urandom(size) for _ in range(batch)]
    began = time.monotonic()
    for _ in range(rows // batch):
        database.execute("BEGIN IMMEDIATE")
        database.executemany("INSERT INTO raw (bytes) VALUES (?)", [(body,) for body in bodies])
        database.execute("COMMIT")
    took = time.monotonic() - began
print(f"{rows / took:.0f}/s")
"#;

/// From a line of the kernel log to the inventory's answers.
pub fn latency(workspace: &Workspace) -> anyhow::Result<(Outcome, String)> {
    example(workspace, "latency", &[])
}

/// Reports of 12,500 nodes, the pages afterwards, and what SQLite alone does on this machine.
pub fn ingest(workspace: &Workspace) -> anyhow::Result<(Outcome, String)> {
    let (outcome, mut figures) = example(workspace, "ingest", &INGEST)?;
    for (what, rows, size) in [
        ("large", "12800", each(&figures, "full: ")),
        ("small", "12800", Some("200".to_owned())),
    ] {
        let size = size.context("the example tells no size of a report")?;
        let [_, connections, _] = INGEST;
        let args = ["-c", RAW, rows, &size, connections];
        let output = process::output(Path::new("python3"), &args, &[], &workspace.root)?;
        let rate = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        let told = if output.status.success() {
            rate
        } else {
            "not measured (no python3 with sqlite3)".to_owned()
        };
        figures.push_str(&format!(
            "; SQLite alone, {what} rows of {size} B, {connections} a transaction: {told}"
        ));
    }
    Ok((outcome, figures))
}

/// What 500 nodes' certificates cost the inventory, beside a token in the clear.
pub fn certificates(workspace: &Workspace) -> anyhow::Result<(Outcome, String)> {
    example(workspace, "certificates", &CERTIFICATES)
}

/// The number before ` B each` on the line that begins so.
fn each(figures: &str, line: &str) -> Option<String> {
    let rest = figures.split(line).nth(1)?;
    let before = rest.split(" B each").next()?;
    before.rsplit(' ').next().map(str::to_owned)
}

fn example(workspace: &Workspace, name: &str, args: &[&str]) -> anyhow::Result<(Outcome, String)> {
    let mut build = vec!["build", "--release", "--locked"];
    for package in BUILT {
        build.extend(["--package", package]);
    }
    let examples = [
        "build",
        "--release",
        "--locked",
        "--package",
        "cupel-fleet",
        "--examples",
    ];
    if !workspace.cargo(&build, &[])? || !workspace.cargo(&examples, &[])? {
        bail!("the release build failed; messages are above");
    }
    let program = workspace.target.join("release/examples").join(name);
    let output = process::output(&program, args, &[], &workspace.root)?;
    let text = String::from_utf8_lossy(&output.stdout);
    let figures: Vec<&str> = text.lines().filter(|line| line.contains(": ")).collect();
    Ok(match output.status.code() {
        Some(0) => (Outcome::Passed, figures.join("; ")),
        Some(1) if !figures.is_empty() && output.stderr.is_empty() => {
            (Outcome::Failed, format!("too slow: {}", figures.join("; ")))
        }
        _ => {
            let why = String::from_utf8_lossy(&output.stderr);
            (
                Outcome::Failed,
                why.lines().take(3).collect::<Vec<_>>().join("; "),
            )
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_of_a_report_is_read_from_the_figures() {
        let figures = "x: 1 B; full: 12500 in 3.0 s, p99 3.1 ms, 31007 B each, 0 told; y: 2 B each";
        assert_eq!(each(figures, "full: ").as_deref(), Some("31007"));
        assert_eq!(each(figures, "other: "), None);
    }
}
