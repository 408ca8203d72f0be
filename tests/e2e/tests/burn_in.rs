//! `cupel burn-in` as a program: consent, verdicts, its JSON, and an end by signal.

use std::time::{Duration, Instant};

use anyhow::Result;
use cupel_burnin::{BurnInResult, Detector, Outcome, StageKind};
use cupel_e2e::{Ran, cupel_elsewhere, program};

/// How often what must never raise a false alarm is run; `CUPEL_REPEATS` asks for more.
fn repeats() -> u32 {
    std::env::var("CUPEL_REPEATS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(2)
}

/// A machine of whose root nothing can be read: processors and memory are this one's.
fn burn_in(root: &tempfile::TempDir, args: &[&str]) -> Result<Ran> {
    let root = root.path().to_string_lossy().into_owned();
    let mut all = vec!["burn-in", "--root", &root];
    all.extend(args);
    cupel_elsewhere(&all)
}

#[test]
fn a_clean_machine_passes_and_proves_its_detectors() -> Result<()> {
    let root = tempfile::tempdir()?;
    for _ in 0..repeats() {
        for (stage, args) in [
            (StageKind::Cpu, ["--only", "cpu", "--for", "1s"]),
            (
                StageKind::Memory,
                ["--only", "memory", "--memory-share", "1%"],
            ),
        ] {
            let mut all = vec!["--yes", "--output", "json"];
            all.extend(args);
            let ran = burn_in(&root, &all)?;
            let result: BurnInResult = serde_json::from_str(&ran.stdout)?;
            assert_eq!(ran.code(), 0, "{} {}", ran.stdout, ran.stderr);
            assert_eq!(result.verdict, Outcome::Pass);
            assert_eq!(result.detector, Detector::Proven);
            assert_eq!(result.stages.len(), 1);
            let done = &result.stages[0];
            assert_eq!((done.stage, done.name.kind), (stage, stage));
            assert_eq!(done.coverage.covered, done.coverage.asked);
            assert!(done.proof.planted > 0);
            assert_eq!(done.proof.found, done.proof.planted);
            assert_eq!(done.mismatch_count, 0);
        }
    }
    Ok(())
}

#[test]
fn without_consent_nothing_is_done() -> Result<()> {
    let root = tempfile::tempdir()?;
    let ran = burn_in(&root, &["--for", "1h"])?;
    assert_eq!(ran.code(), 4, "{}", ran.stderr);
    assert!(ran.stderr.contains("--yes"), "{}", ran.stderr);
    assert_eq!(ran.stdout, "");
    std::fs::create_dir_all(root.path().join("etc/cupel"))?;
    std::fs::write(
        root.path().join("etc/cupel/site.toml"),
        "tenancy = \"scheduler\"\n",
    )?;
    let ran = burn_in(&root, &["--for", "1h", "--yes"])?;
    assert_eq!(ran.code(), 4, "{}", ran.stderr);
    assert!(ran.stderr.contains("terminal"), "{}", ran.stderr);
    Ok(())
}

#[test]
fn too_short_a_time_is_incomplete_and_never_a_pass() -> Result<()> {
    let root = tempfile::tempdir()?;
    let ran = burn_in(
        &root,
        &[
            "--yes",
            "--only",
            "memory",
            "--memory-share",
            "50%",
            "--for",
            "100ms",
        ],
    )?;
    assert_eq!(ran.code(), 3, "{} {}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("incomplete"), "{}", ran.stdout);
    Ok(())
}

#[test]
fn what_cannot_be_understood_is_refused_with_what_is_wanted() -> Result<()> {
    let root = tempfile::tempdir()?;
    for (args, want) in [
        (["--only", "disk"], "memory"),
        (["--plan", "slow"], "standard"),
        (["--for", "soon"], "30s"),
        (["--memory-share", "120%"], "95%"),
    ] {
        let ran = burn_in(&root, &args)?;
        assert_eq!(ran.code(), 2, "{args:?}");
        assert!(ran.stderr.contains(want), "{args:?}: {}", ran.stderr);
    }
    Ok(())
}

#[test]
fn a_signal_ends_it_at_once() -> Result<()> {
    use nix::sys::signal::{Signal, kill};
    use nix::unistd::Pid;

    let root = tempfile::tempdir()?;
    #[expect(
        clippy::disallowed_methods,
        reason = "a test starts the program that it tests; nothing of it ships"
    )]
    let mut child = std::process::Command::new(program("cupel")?)
        .args(["burn-in", "--yes", "--only", "cpu", "--for", "1h", "--root"])
        .arg(root.path())
        .stderr(std::process::Stdio::piped())
        .spawn()?;
    // Signals are caught before the first line about a stage.
    let mut stderr = std::io::BufReader::new(child.stderr.take().expect("piped"));
    let mut line = String::new();
    while !line.contains("burn-in, cpu") {
        line.clear();
        assert_ne!(std::io::BufRead::read_line(&mut stderr, &mut line)?, 0);
    }
    let began = Instant::now();
    kill(Pid::from_raw(i32::try_from(child.id())?), Signal::SIGINT)?;
    let status = child.wait()?;
    assert!(began.elapsed() < Duration::from_secs(20));
    assert_eq!(status.code(), Some(3));
    Ok(())
}
