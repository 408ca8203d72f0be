//! Each fuzz target for a while, with libFuzzer under the address sanitizer.
//!
//! # Invariants
//! - What a run learnt stays in fuzz/corpus (not committed); a small share of it, the smallest
//!   files, goes to fuzz/corpus-min, which `cargo xtask fuzz-replay` runs on every machine.

use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::time::Instant;

use anyhow::Context as _;

use super::{Done, Outcome, Soak};
use crate::process;
use crate::workspace::Workspace;

/// What is kept of a corpus, in files and bytes.
const KEPT: (usize, u64) = (100, 100_000);

/// Runs the targets, `at_once` at a time.
pub fn run(
    workspace: &Workspace,
    soak: &mut Soak<'_>,
    minutes: u64,
    only: &[String],
    at_once: usize,
) -> anyhow::Result<()> {
    let mut targets = targets(workspace)?;
    if let Some(unknown) = only.iter().find(|name| !targets.contains(name)) {
        anyhow::bail!("no fuzz target {unknown}; there are {}", targets.join(", "));
    }
    targets.retain(|name| only.is_empty() || only.contains(name));
    let job = |target: &str| format!("fuzz {target}, {minutes} min");
    targets.retain(|target| !soak.has_passed(&job(target)));
    if let Some(missing) = missing(workspace) {
        for target in &targets {
            soak.record(Done {
                job: job(target),
                outcome: Outcome::NotRun,
                seconds: 0.0,
                figures: missing.clone(),
            })?;
        }
        return Ok(());
    }
    let queue = Mutex::new(targets.into_iter());
    let soak = Mutex::new(soak);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..at_once.max(1))
            .map(|_| {
                scope.spawn(|| -> anyhow::Result<()> {
                    loop {
                        let next = queue.lock().map_err(|_| poisoned())?.next();
                        let Some(target) = next else { return Ok(()) };
                        let began = Instant::now();
                        let (outcome, figures) = fuzz(workspace, &target, minutes)?;
                        soak.lock().map_err(|_| poisoned())?.record(Done {
                            job: job(&target),
                            outcome,
                            seconds: began.elapsed().as_secs_f64(),
                            figures,
                        })?;
                    }
                })
            })
            .collect();
        workers
            .into_iter()
            .try_for_each(|worker| worker.join().map_err(|_| poisoned())?)
    })
}

fn poisoned() -> anyhow::Error {
    anyhow::anyhow!("a fuzzing thread panicked")
}

/// The names of the targets: one file each.
fn targets(workspace: &Workspace) -> anyhow::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in workspace.root.join("fuzz/fuzz_targets").read_dir()? {
        if let Some(name) = entry?.file_name().to_string_lossy().strip_suffix(".rs") {
            names.push(name.to_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// What fuzzing needs and this machine lacks.
fn missing(workspace: &Workspace) -> Option<String> {
    let works = |args: &[&str]| {
        process::output(Path::new("rustup"), args, &[], &workspace.root)
            .is_ok_and(|output| output.status.success())
    };
    if !works(&["run", "nightly", "rustc", "--version"]) {
        return Some("no nightly compiler (`rustup toolchain install nightly`)".to_owned());
    }
    if !works(&["run", "nightly", "cargo", "fuzz", "--version"]) {
        return Some("no cargo-fuzz (`cargo install cargo-fuzz`)".to_owned());
    }
    None
}

fn fuzz(workspace: &Workspace, target: &str, minutes: u64) -> anyhow::Result<(Outcome, String)> {
    let corpus = format!("fuzz/corpus/{target}");
    let seeds = format!("fuzz/seeds/{target}");
    for directory in [&corpus, &seeds] {
        fs::create_dir_all(workspace.root.join(directory))?;
    }
    let time = format!("-max_total_time={}", minutes * 60);
    let args = [
        "-print_final_stats=1",
        "-rss_limit_mb=4096",
        "-timeout=20",
        &time,
    ];
    let output = libfuzzer(workspace, target, &[&corpus, &seeds], &args)?;
    let text = String::from_utf8_lossy(&output.stderr);
    let runs = stat(&text, "stat::number_of_executed_units:");
    let covered = text
        .lines()
        .rfind(|line| line.contains(" cov: "))
        .unwrap_or_default();
    let covered = covered
        .split("cov: ")
        .nth(1)
        .and_then(|rest| rest.split(' ').next());
    let covered = covered.unwrap_or("unknown");
    if output.status.success() {
        keep(workspace, target)?;
        return Ok((
            Outcome::Passed,
            format!("{runs} inputs, {covered} edges, no finding"),
        ));
    }
    let artifact = text
        .lines()
        .rfind(|line| line.contains("Test unit written to"));
    let panic = text.lines().find(|line| line.contains("panicked at"));
    let why = panic
        .or(artifact)
        .or_else(|| text.lines().last())
        .unwrap_or_default();
    Ok((Outcome::Failed, format!("{runs} inputs: {}", why.trim())))
}

fn libfuzzer(
    workspace: &Workspace,
    target: &str,
    directories: &[&str],
    options: &[&str],
) -> anyhow::Result<std::process::Output> {
    let mut args = vec!["run", "nightly", "cargo", "fuzz", "run", target];
    args.extend(directories);
    args.push("--");
    args.extend(options);
    process::output(Path::new("rustup"), &args, &[], &workspace.root)
}

fn stat<'a>(text: &'a str, name: &str) -> &'a str {
    text.lines()
        .rev()
        .find_map(|line| line.strip_prefix(name))
        .map_or("unknown number of", str::trim)
}

/// Puts the smallest files of the minimised corpus where the replay finds them.
fn keep(workspace: &Workspace, target: &str) -> anyhow::Result<()> {
    let merged = format!("out/soak/merged/{target}");
    let at = workspace.root.join(&merged);
    if at.exists() {
        fs::remove_dir_all(&at)?;
    }
    fs::create_dir_all(&at)?;
    libfuzzer(
        workspace,
        target,
        &[&merged, &format!("fuzz/corpus/{target}")],
        &["-merge=1"],
    )?;
    let mut files = Vec::new();
    for entry in at.read_dir()? {
        let entry = entry?;
        files.push((entry.metadata()?.len(), entry.file_name()));
    }
    files.sort();
    let kept = workspace.root.join(format!("fuzz/corpus-min/{target}"));
    if kept.exists() {
        fs::remove_dir_all(&kept)?;
    }
    fs::create_dir_all(&kept)?;
    let mut bytes = 0;
    for (size, name) in files.into_iter().take(KEPT.0) {
        bytes += size;
        if bytes > KEPT.1 {
            break;
        }
        fs::copy(at.join(&name), kept.join(&name)).context("keep a corpus file")?;
    }
    Ok(())
}
