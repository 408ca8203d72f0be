//! The one place of xtask that starts processes: cargo, git, and what was just built.
//!
//! # Invariants
//! - A child inherits the environment: these are a developer's own tools on a developer's machine.
//! - A child that could not be started is an error that names it.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, ExitStatus, Output, Stdio};

use anyhow::Context as _;

/// Variables that a child gets besides the inherited ones.
pub type Env<'a> = &'a [(&'a str, &'a str)];

fn command(program: &Path, args: &[&str], env: Env<'_>, cwd: &Path) -> Command {
    #[expect(
        clippy::disallowed_methods,
        reason = "a developer's tool runs cargo, git and the built programs; nothing of it ships"
    )]
    let mut command = Command::new(program);
    command
        .args(args)
        .envs(env.iter().copied())
        .current_dir(cwd);
    command
}

/// The cargo that runs this.
pub fn cargo() -> std::path::PathBuf {
    std::env::var_os("CARGO").map_or_else(|| "cargo".into(), Into::into)
}

fn could_not_start(program: &Path) -> String {
    format!("could not start {}", program.display())
}

/// Runs a program on this terminal and waits for it.
pub fn status(
    program: &Path,
    args: &[&str],
    env: Env<'_>,
    cwd: &Path,
) -> anyhow::Result<ExitStatus> {
    command(program, args, env, cwd)
        .status()
        .with_context(|| could_not_start(program))
}

/// Runs a program and gives back what it wrote; its standard error too.
pub fn output(program: &Path, args: &[&str], env: Env<'_>, cwd: &Path) -> anyhow::Result<Output> {
    command(program, args, env, cwd)
        .stdin(Stdio::null())
        .output()
        .with_context(|| could_not_start(program))
}

/// Runs a program whose standard output is given to `line`, line by line as it comes.
pub fn lines(
    program: &Path,
    args: &[&str],
    env: Env<'_>,
    cwd: &Path,
    line: &mut dyn FnMut(&str),
) -> anyhow::Result<ExitStatus> {
    let mut child = command(program, args, env, cwd)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| could_not_start(program))?;
    if let Some(stdout) = child.stdout.take() {
        for bytes in BufReader::new(stdout).split(b'\n') {
            line(&String::from_utf8_lossy(&bytes?));
        }
    }
    Ok(child.wait()?)
}
