//! `cargo xtask acceptance-kit`: one directory that is carried to a machine with GPUs.
//!
//! # Invariants
//! - Nothing in it needs a compiler, a network or an installed program where it runs.
//! - `cupel` and the comparison are static; the worker is not, and is both inside `cupel` and beside
//!   it. They are compiled as a release is.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, bail};

use crate::dist::build::{Architecture, Toolchain, copy};
use crate::workspace::Workspace;

/// Options of `cargo xtask acceptance-kit`.
#[derive(clap::Args)]
pub struct Options {
    /// Where the kit goes
    #[arg(long, default_value = "out/acceptance-kit")]
    to: PathBuf,
}

/// What may be carried, in bytes.
const LARGEST: u64 = 64 << 20;

/// Builds the kit.
pub fn run(workspace: &Workspace, options: &Options) -> anyhow::Result<u8> {
    let kit = workspace.root.join(&options.to);
    fs::create_dir_all(&kit).with_context(|| format!("create {}", kit.display()))?;

    let architecture = Architecture::here()?;
    let toolchain = Toolchain::find(workspace)?;
    for what in toolchain.missing(architecture) {
        println!("missing {what}: linking against this machine's libc");
    }
    let programs = ["cupel", "cupel-gpu-acceptance"];
    let (built, worker) = toolchain.build(architecture, &programs)?;
    copy(&worker, &kit.join("cupel-gpu-worker"))?;
    for name in programs {
        copy(&built.directory.join(name), &kit.join(name))?;
    }
    for name in ["run.sh", "peer.py", "app_fault.py"] {
        let source = workspace.root.join("tests/gpu-acceptance").join(name);
        copy(&source, &kit.join(name))?;
    }
    let mut total = 0;
    for entry in kit.read_dir()? {
        let entry = entry?;
        let size = entry.metadata()?.len();
        total += size;
        println!("{:>9} {}", size, entry.path().display());
    }
    println!(
        "{total:>9} bytes for {}; on a machine with a GPU: bash run.sh",
        built.target
    );
    if total > LARGEST {
        bail!("the kit is larger than {LARGEST} bytes");
    }
    Ok(0)
}
