//! `cargo xtask bringup`: builds Cupel and brings up this very machine.
//!
//! # What is absent
//! No release build: the burn-in and the log decoder are optimised in the development profile too,
//! and the rest does not wait on the processor.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use anyhow::Context as _;

use crate::process;
use crate::workspace::Workspace;

/// Options of `cargo xtask bringup`.
#[derive(clap::Args)]
pub struct Options {
    /// Further options of `cupel bringup`, after `--`
    #[arg(last = true)]
    more: Vec<String>,
}

/// Builds, then becomes `cupel bringup`; returns only when that failed.
pub fn run(workspace: &Workspace, options: &Options) -> anyhow::Result<u8> {
    workspace.build(&["cupel", "cupel-gpu-worker"])?;
    let report = workspace.root.join("out/bringup");
    fs::create_dir_all(&report).with_context(|| format!("create {}", report.display()))?;

    let mut args: Vec<String> = vec![
        "bringup".into(),
        "--yes".into(),
        "--report".into(),
        report.display().to_string(),
    ];
    if !is_root()? {
        let state = workspace.root.join("out/state");
        println!(
            "not root: some values cannot be read; the journal is kept in {}",
            state.display()
        );
        args.extend(["--state-dir".into(), state.display().to_string()]);
    }
    args.extend(options.more.iter().cloned());
    Err(process::become_program(
        &workspace.debug().join("cupel"),
        &args,
        &workspace.root,
    ))
}

/// Whether this process runs as root: it owns its own /proc entry.
fn is_root() -> anyhow::Result<bool> {
    let owner = fs::metadata("/proc/self").context("read /proc/self")?.uid();
    Ok(owner == 0)
}
