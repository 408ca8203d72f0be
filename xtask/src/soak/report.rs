//! The report of a soak: machine, commit, figures.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use super::{Done, Outcome};
use crate::process;
use crate::workspace::Workspace;

/// The whole report.
pub fn text(workspace: &Workspace, commit: &str, done: &[Done]) -> anyhow::Result<String> {
    let rustc = process::output(Path::new("rustc"), &["--version"], &[], &workspace.root)?;
    let mut text = String::new();
    writeln!(text, "# Soak\n")?;
    writeln!(text, "- commit: {commit}")?;
    writeln!(
        text,
        "- written: {}",
        jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%MZ")
    )?;
    writeln!(text, "- machine: {}", machine())?;
    writeln!(
        text,
        "- compiler: {}",
        String::from_utf8_lossy(&rustc.stdout).trim()
    )?;
    writeln!(
        text,
        "\n| Job | Outcome | Seconds | Figures |\n|---|---|---:|---|"
    )?;
    for one in done {
        let outcome = match one.outcome {
            Outcome::Passed => "passed",
            Outcome::Failed => "**failed**",
            Outcome::NotRun => "not run",
        };
        let figures = one.figures.replace('|', "/").replace('\n', " ");
        writeln!(
            text,
            "| {} | {outcome} | {:.0} | {figures} |",
            one.job, one.seconds
        )?;
    }
    Ok(text)
}

/// Processor, cores, memory, kernel.
fn machine() -> String {
    let field = |file: &str, key: &str| {
        let text = fs::read_to_string(file).ok()?;
        let line = text.lines().find(|line| line.starts_with(key))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let unknown = || "unknown".to_owned();
    let cores = std::thread::available_parallelism().map_or_else(|_| unknown(), |n| n.to_string());
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_else(|_| unknown());
    format!(
        "{}, {cores} cores, memory {}, Linux {}",
        field("/proc/cpuinfo", "model name").unwrap_or_else(unknown),
        field("/proc/meminfo", "MemTotal").unwrap_or_else(unknown),
        kernel.trim()
    )
}
