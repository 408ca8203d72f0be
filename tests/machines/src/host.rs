//! Programs of the host: found, installed where the caller may, and run with a limit.
//!
//! # Invariants
//! - Nothing runs without a limit; what outlives it is killed, by its own handle.
//! - What a program says goes to a log; an error holds the log's last lines.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

/// Where programs are looked for.
const PLACES: [&str; 6] = [
    "/usr/local/sbin",
    "/usr/local/bin",
    "/usr/sbin",
    "/usr/bin",
    "/sbin",
    "/bin",
];

/// A program of the host.
pub fn find(name: &str) -> Option<PathBuf> {
    PLACES
        .iter()
        .map(|place| Path::new(place).join(name))
        .find(|path| path.is_file())
}

/// Starts a program whose outputs are appended to `log`. The kernel ends it with the thread that
/// started it, however that ends.
///
/// # Errors
/// It could not be started.
pub fn start(program: &Path, args: &[String], log: &Path) -> Result<Child> {
    let append = || -> Result<File> {
        File::options()
            .create(true)
            .append(true)
            .open(log)
            .with_context(|| format!("cannot write {}", log.display()))
    };
    let leash = find("setpriv").context("no setpriv (package util-linux)")?;
    #[expect(
        clippy::disallowed_methods,
        reason = "tests start the emulator and the tools that build its image; nothing of it ships"
    )]
    let mut command = Command::new(leash);
    command
        .args(["--pdeathsig", "KILL", "--"])
        .arg(program)
        .args(args)
        .env("PATH", PLACES.join(":"))
        .env("LC_ALL", "C")
        .env("DEBIAN_FRONTEND", "noninteractive")
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(append()?)
        .stderr(append()?)
        .spawn()
        .with_context(|| format!("cannot start {}", program.display()))
}

/// Runs a program to its end.
///
/// # Errors
/// It is not there, fails, or does not end within `limit`.
pub fn run(name: &str, args: &[String], log: &Path, limit: Duration) -> Result<()> {
    let program = find(name).with_context(|| format!("no {name} here"))?;
    to_its_end(&program, args, log, limit)
}

fn to_its_end(program: &Path, args: &[String], log: &Path, limit: Duration) -> Result<()> {
    let name = program.display();
    let began = Instant::now();
    let mut child = start(program, args, log)?;
    loop {
        if let Some(status) = child.try_wait()? {
            if status.success() {
                return Ok(());
            }
            bail!("{name} ended with {status}: {}", tail(log, 5));
        }
        if began.elapsed() > limit {
            child.kill()?;
            child.wait()?;
            bail!("{name} did not end within {limit:?}: {}", tail(log, 5));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// What a program writes to its standard output.
///
/// # Errors
/// As [`run`].
pub fn said(program: &Path, args: &[&str], limit: Duration) -> Result<String> {
    let directory = tempfile::tempdir()?;
    let log = directory.path().join("said");
    let args: Vec<String> = args.iter().map(|&arg| arg.to_owned()).collect();
    to_its_end(program, &args, &log, limit)?;
    std::fs::read_to_string(&log).with_context(|| format!("read what {} said", program.display()))
}

/// The last lines of a log.
pub fn tail(log: &Path, lines: usize) -> String {
    let bytes = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str, limit: Duration) -> Result<()> {
        let directory = tempfile::tempdir()?;
        let args = ["-c".to_owned(), script.to_owned()];
        run("sh", &args, &directory.path().join("log"), limit)
    }

    #[test]
    fn a_failure_tells_what_the_program_said() {
        sh("true", Duration::from_secs(20)).expect("true");
        let error = sh("echo why >&2; exit 3", Duration::from_secs(20)).expect_err("fails");
        assert!(error.to_string().contains("why"), "{error}");
    }

    #[test]
    fn what_does_not_end_is_killed() {
        let began = Instant::now();
        let error = sh("exec sleep 60", Duration::from_millis(300)).expect_err("too long");
        assert!(error.to_string().contains("did not end"), "{error}");
        assert!(began.elapsed() < Duration::from_secs(20));
    }
}
