//! How fast: the log decoder, and `cupel check` of a simulated node.

use std::ffi::OsString;
use std::time::{Duration, Instant};

use anyhow::bail;
use cupel_rack::{Rack, Scenario};

use super::Outcome;
use crate::process;
use crate::workspace::Workspace;

/// How often `cupel check` is timed.
const RUNS: usize = 20;

/// What `cupel check` may take on a node of eight simulated GPUs.
const CHECK_LIMIT: Duration = Duration::from_millis(300);

/// The node that is timed.
const NODE: &str = "title = \"timed\"\nplatform = \"dgx-h100\"\nverdict = \"healthy\"\n";

/// The criterion benchmark of the decoder; its throughput lines are the figures.
pub fn decode(workspace: &Workspace) -> anyhow::Result<(Outcome, String)> {
    let args = [
        "bench",
        "--locked",
        "-p",
        "cupel-kernel-log",
        "--bench",
        "decode",
    ];
    let output = process::output(&process::cargo(), &args, &[], &workspace.root)?;
    let text = String::from_utf8_lossy(&output.stdout);
    let figures: Vec<_> = text
        .lines()
        .filter(|line| line.contains("thrpt:"))
        .map(str::trim)
        .collect();
    if output.status.success() && !figures.is_empty() {
        Ok((Outcome::Passed, figures.join("; ")))
    } else {
        Ok((
            Outcome::Failed,
            "the benchmark gave no throughput".to_owned(),
        ))
    }
}

/// `cupel check` of a healthy simulated DGX H100, release build: median and slowest of the runs.
pub fn check(workspace: &Workspace) -> anyhow::Result<(Outcome, String)> {
    let args = [
        "build",
        "--release",
        "--locked",
        "--package",
        "cupel",
        "--package",
        "cupel-gpu-worker",
        "--package",
        "cupel-fake-driver",
    ];
    if !workspace.cargo(&args, &[])? {
        bail!("the release build failed; messages are above");
    }
    let built = workspace.target.join("release");
    let directory = tempfile::tempdir()?;
    let library = built.join("libcupel_fake_driver.so");
    let rack = Rack::build(&Scenario::parse(NODE)?, directory.path(), &library)?;
    let environment = rack
        .environment()
        .into_iter()
        .map(|(name, value)| Some((text(name)?, text(value)?)))
        .collect::<Option<Vec<_>>>();
    let Some(environment) = environment else {
        bail!("the temporary directory's path is not UTF-8");
    };
    let environment: Vec<_> = environment
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();

    let mut took = Vec::new();
    for _ in 0..RUNS {
        let began = Instant::now();
        let args = ["check", "--output", "json"];
        let output = process::output(&built.join("cupel"), &args, &environment, directory.path())?;
        took.push(began.elapsed());
        if output.status.code() != Some(0) {
            return Ok((Outcome::Failed, format!("cupel check: {}", output.status)));
        }
    }
    took.sort();
    let (median, slowest) = (took[RUNS / 2], took[RUNS - 1]);
    let outcome = if median <= CHECK_LIMIT {
        Outcome::Passed
    } else {
        Outcome::Failed
    };
    let milliseconds = |time: Duration| time.as_secs_f64() * 1000.0;
    Ok((
        outcome,
        format!(
            "{RUNS} runs: median {:.0} ms, slowest {:.0} ms, limit {:.0} ms",
            milliseconds(median),
            milliseconds(slowest),
            milliseconds(CHECK_LIMIT)
        ),
    ))
}

fn text(part: OsString) -> Option<String> {
    part.into_string().ok()
}
