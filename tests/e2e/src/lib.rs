//! What the end-to-end tests share: the built programs, and a simulated server to run them in.
//!
//! # Invariants
//! - Programs are those of the profile directory that the test was built into; a missing one is an
//!   error that says how to build it.
//! - A command gets a clean environment: nothing of the developer's own reaches `cupel`.
//! - No command runs for ever: each has a limit, and what outlives it is killed and told.

use std::ffi::OsStr;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use cupel_model::{CheckReport, Severity};
use cupel_rack::{Expect, Rack, Scenario, scratch};

/// Longest that any command here may take.
pub const LIMIT: Duration = Duration::from_secs(120);

/// The directory that cargo builds programs into.
///
/// # Errors
/// The running test's own path is unknown.
pub fn built() -> Result<PathBuf> {
    let own = std::env::current_exe().context("cannot tell where this test is")?;
    let mut directory = own.parent().unwrap_or(Path::new("/")).to_owned();
    if directory.file_name() == Some(OsStr::new("deps")) {
        directory.pop();
    }
    Ok(directory)
}

/// A program or library that cargo built.
///
/// # Errors
/// It was not built.
pub fn program(name: &str) -> Result<PathBuf> {
    let directory = built()?;
    for place in [directory.join(name), directory.join("deps").join(name)] {
        if place.is_file() {
            return Ok(place);
        }
    }
    bail!(
        "{name} is not in {}: cargo build --workspace",
        directory.display()
    )
}

/// The fake driver library.
///
/// # Errors
/// It was not built.
pub fn fake_driver() -> Result<PathBuf> {
    program("libcupel_fake_driver.so")
}

/// Every scenario of `tests/scenarios` with its name, sorted.
///
/// # Errors
/// A file that cannot be read, or is no scenario.
pub fn scenarios() -> Result<Vec<(String, Scenario)>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios");
    let mut all = Vec::new();
    for entry in std::fs::read_dir(&folder).context("cannot list tests/scenarios")? {
        let path = entry?.path();
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        if path.extension() == Some(OsStr::new("toml")) {
            all.push((name.into_owned(), Scenario::load(&path)?));
        }
    }
    all.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(all)
}

/// What a command did.
#[derive(Debug)]
pub struct Ran {
    /// How it ended; `None` when it had to be killed.
    pub status: Option<ExitStatus>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// How long it took.
    pub took: Duration,
}

impl Ran {
    /// The exit code, -1 where there is none.
    pub fn code(&self) -> i32 {
        self.status.and_then(|status| status.code()).unwrap_or(-1)
    }

    /// Standard output as the report of `check --output json`.
    ///
    /// # Errors
    /// It is none; the message holds standard error.
    pub fn report(&self) -> Result<CheckReport> {
        serde_json::from_str(&self.stdout)
            .with_context(|| format!("no report (exit code {}): {}", self.code(), self.stderr))
    }
}

/// A simulated server.
pub struct Server {
    /// Its files and driver.
    pub rack: Rack,
    directory: tempfile::TempDir,
}

impl Server {
    /// The scenario's server with its faults.
    ///
    /// # Errors
    /// A scenario that cannot be built, or programs that are missing.
    pub fn of(scenario: &Scenario) -> Result<Self> {
        let directory = scratch()?;
        let rack = Rack::healthy(scenario, directory.path(), &fake_driver()?)?;
        let mut server = Self { rack, directory };
        if scenario.seen_healthy {
            let before = server.cupel(&["check", "--output", "json"])?;
            let findings = warnings(&before.report()?);
            if !findings.is_empty() {
                bail!("the server has findings before its faults: {findings:#?}");
            }
        }
        server.rack.apply_all(&scenario.faults)?;
        Ok(server)
    }

    /// A healthy server of a platform.
    ///
    /// # Errors
    /// As [`Self::of`].
    pub fn healthy(platform: &str) -> Result<Self> {
        Self::of(&Scenario::parse(&format!(
            "title = \"well\"\nplatform = \"{platform}\"\nverdict = \"healthy\""
        ))?)
    }

    /// A directory of the test's own beside the server.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Runs `cupel` on the server and waits for it.
    ///
    /// # Errors
    /// It could not be started.
    pub fn cupel(&self, args: &[&str]) -> Result<Ran> {
        let variables = self.rack.environment();
        run(args, variables.iter().map(|(name, value)| (name, value)))
    }
}

/// Runs `cupel` without a server, as on another machine.
///
/// # Errors
/// It could not be started.
pub fn cupel_elsewhere(args: &[&str]) -> Result<Ran> {
    run(args, std::iter::empty::<(&str, &str)>())
}

fn run<K: AsRef<OsStr>, V: AsRef<OsStr>>(
    args: &[&str],
    environment: impl Iterator<Item = (K, V)>,
) -> Result<Ran> {
    let path = program("cupel")?;
    program("cupel-gpu-worker")?;
    #[expect(
        clippy::disallowed_methods,
        reason = "a test starts the program that it tests; nothing of it ships"
    )]
    let mut command = Command::new(path);
    command
        .args(args)
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .envs(environment)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let started = Instant::now();
    let mut child = command.spawn().context("cannot start cupel")?;
    let collect = |stream: Option<Box<dyn Read + Send>>| {
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            if let Some(mut stream) = stream {
                stream.read_to_end(&mut bytes)?;
            }
            std::io::Result::Ok(String::from_utf8_lossy(&bytes).into_owned())
        })
    };
    let stdout = collect(
        child
            .stdout
            .take()
            .map(|s| Box::new(s) as Box<dyn Read + Send>),
    );
    let stderr = collect(
        child
            .stderr
            .take()
            .map(|s| Box::new(s) as Box<dyn Read + Send>),
    );
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break Some(status);
        }
        if started.elapsed() > LIMIT {
            child.kill()?;
            child.wait()?;
            break None;
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let took = started.elapsed();
    let text = |reader: std::thread::JoinHandle<std::io::Result<String>>| {
        reader.join().ok().and_then(Result::ok).unwrap_or_default()
    };
    Ok(Ran {
        status,
        stdout: text(stdout),
        stderr: text(stderr),
        took,
    })
}

/// The findings of warning or above, in the terms of a scenario's expectations, sorted.
pub fn warnings(report: &CheckReport) -> Vec<Expect> {
    let mut found: Vec<Expect> = report
        .findings
        .iter()
        .filter(|finding| finding.severity >= Severity::Warning)
        .map(|finding| Expect {
            code: finding.code.clone(),
            severity: finding.severity,
            kind: finding.component.kind,
            index: finding.component.index,
            serial: finding.component.serial.clone(),
            pci: finding.component.pci.map(|pci| pci.to_string()),
            slot: finding.component.slot.clone(),
        })
        .collect();
    sort(&mut found);
    found
}

/// Sorts expectations, so that two lists can be held against each other.
pub fn sort(expectations: &mut [Expect]) {
    expectations.sort_by_key(|e| (e.code.clone(), e.index, e.pci.clone(), e.serial.clone()));
}
