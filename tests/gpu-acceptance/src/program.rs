//! Runs programs with a deadline and watches the workers that they start.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

/// A program that has ended.
pub struct Ended {
    /// Exit code; none when a signal ended it.
    pub code: Option<i32>,
    /// How long it ran.
    pub took: Duration,
    /// Standard output.
    pub stdout: String,
    /// What `/proc/PID/exe` of its children pointed at, while it ran.
    pub workers: BTreeSet<String>,
}

/// A command of std.
pub fn command(program: &Path) -> Command {
    #[expect(
        clippy::disallowed_methods,
        reason = "a test program runs the program under test"
    )]
    Command::new(program)
}

/// Starts a program whose outputs go to `name.out` and `name.err`.
pub fn start(program: &Path, args: &[&str], out: &Path, name: &str) -> anyhow::Result<Child> {
    let file = |ending: &str| {
        let path = out.join(format!("{name}.{ending}"));
        File::create(&path).with_context(|| format!("create {}", path.display()))
    };
    command(program)
        .args(args)
        .stdin(Stdio::null())
        .stdout(file("out")?)
        .stderr(file("err")?)
        .spawn()
        .with_context(|| format!("could not start {}", program.display()))
}

/// Runs a program to its end, at most `limit`.
pub fn run(
    program: &Path,
    args: &[&str],
    out: &Path,
    name: &str,
    limit: Duration,
) -> anyhow::Result<Ended> {
    let began = Instant::now();
    let mut child = start(program, args, out, name)?;
    let mut workers = BTreeSet::new();
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if began.elapsed() > limit {
            child.kill()?;
            child.wait()?;
            bail!("{name}: no end after {} s, killed", limit.as_secs());
        }
        workers.extend(children(child.id()).into_iter().map(|child| child.program));
        thread::sleep(Duration::from_millis(1));
    };
    let path = out.join(format!("{name}.out"));
    Ok(Ended {
        code: status.code(),
        took: began.elapsed(),
        stdout: String::from_utf8_lossy(&fs::read(&path)?).into_owned(),
        workers,
    })
}

/// A process that another has started.
pub struct Worker {
    /// Its number.
    pub pid: u32,
    /// What it runs.
    program: String,
}

/// The children of a process.
pub fn children(parent: u32) -> Vec<Worker> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let path = entry.path();
        let Ok(stat) = fs::read_to_string(path.join("stat")) else {
            continue;
        };
        // `pid (name) state ppid …`; the name may hold anything.
        let ppid = stat
            .rsplit(") ")
            .next()
            .and_then(|rest| rest.split(' ').nth(1));
        let pid = entry.file_name().to_string_lossy().parse();
        if ppid.and_then(|ppid| ppid.parse().ok()) == Some(parent)
            && let (Ok(pid), Ok(exe)) = (pid, fs::read_link(path.join("exe")))
        {
            let program = exe.display().to_string();
            found.push(Worker { pid, program });
        }
    }
    found
}

/// The first Python on the path.
///
/// # Errors
/// There is none.
pub fn python() -> anyhow::Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|directory| directory.join("python3"))
        .find(|path| path.is_file())
        .context("there is no python3")
}

/// Where the driver's own tool is.
pub fn nvidia_smi() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(
            [
                "/usr/bin",
                "/usr/local/nvidia/bin",
                "/run/nvidia/driver/usr/bin",
            ]
            .map(PathBuf::from),
        )
        .map(|directory| directory.join("nvidia-smi"))
        .find(|path| path.is_file())
}
