//! `cargo xtask acceptance-kit`: one directory that is carried to a machine with GPUs.
//!
//! # Invariants
//! - Nothing in it needs a compiler, a network or an installed program where it runs.
//! - `cupel` and the comparison are static (musl where zig and the target are installed, else this
//!   machine's libc); the worker is not, because a driver library is loaded
//!   into it, and is both inside `cupel` and beside it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use crate::process;
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

    let zig = has_zig(workspace)?;
    let worker = worker(workspace, zig)?;
    copy(&worker, &kit.join("cupel-gpu-worker"))?;

    let (target, flags) = static_target(workspace, zig)?;
    let worker = worker.display().to_string();
    let args = [
        if target.ends_with("musl") {
            "zigbuild"
        } else {
            "build"
        },
        "--release",
        "--locked",
        "--target",
        &target,
        "--package",
        "cupel",
        "--package",
        "cupel-gpu-acceptance",
        "--features",
        "cupel/embedded-worker",
    ];
    let env = [("CUPEL_WORKER_FILE", worker.as_str()), ("RUSTFLAGS", flags)];
    if !workspace.cargo(&args, &env)? {
        bail!("building the static programs failed; messages are above");
    }
    let built = workspace.target.join(&target).join("release");
    for name in ["cupel", "cupel-gpu-acceptance"] {
        copy(&built.join(name), &kit.join(name))?;
    }
    for name in ["run.sh", "peer.py"] {
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
    println!("{total:>9} bytes for {target}; on a machine with a GPU: bash run.sh");
    if total > LARGEST {
        bail!("the kit is larger than {LARGEST} bytes");
    }
    Ok(0)
}

/// Builds the worker: dynamic, so that it can load the driver library of the machine it runs on.
/// With zig it is linked for glibc 2.17, else for this machine's glibc or newer.
fn worker(workspace: &Workspace, zig: bool) -> anyhow::Result<PathBuf> {
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let linked = if zig {
        format!("{target}.2.17")
    } else {
        target.clone()
    };
    let args = [
        if zig { "zigbuild" } else { "build" },
        "--release",
        "--locked",
        "--target",
        &linked,
        "--package",
        "cupel-gpu-worker",
    ];
    if !workspace.cargo(&args, &[])? {
        bail!("building the worker failed; messages are above");
    }
    Ok(workspace
        .target
        .join(target)
        .join("release/cupel-gpu-worker"))
}

/// Whether `cargo zigbuild` is here; it brings a C compiler for every target.
fn has_zig(workspace: &Workspace) -> anyhow::Result<bool> {
    let args = ["zigbuild", "--help"];
    let answer = process::output(Path::new("cargo"), &args, &[], &workspace.root)?;
    Ok(answer.status.success())
}

/// musl where its standard library and zig are installed; else this machine's libc, linked
/// statically.
fn static_target(workspace: &Workspace, zig: bool) -> anyhow::Result<(String, &'static str)> {
    let musl = format!("{}-unknown-linux-musl", std::env::consts::ARCH);
    let args = ["--print", "target-libdir", "--target", &musl];
    let libraries = process::output(Path::new("rustc"), &args, &[], &workspace.root)?;
    let path = String::from_utf8_lossy(&libraries.stdout).trim().to_owned();
    if zig && libraries.status.success() && Path::new(&path).is_dir() {
        return Ok((musl, ""));
    }
    println!(
        "no musl build (it needs `rustup target add {musl}` and `pip install ziglang \
         cargo-zigbuild`): linking against this machine's libc"
    );
    Ok((
        format!("{}-unknown-linux-gnu", std::env::consts::ARCH),
        "-C target-feature=+crt-static",
    ))
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    // The old file may be running: a new one takes its name.
    if to.exists() {
        fs::remove_file(to).with_context(|| format!("remove {}", to.display()))?;
    }
    fs::copy(from, to).with_context(|| format!("copy {} to {}", from.display(), to.display()))?;
    Ok(())
}
