//! `cupel bringup` as a program: killed at every journaled step it comes to the same verdict; a
//! torn journal is told and kept; two do not run at once.

use std::ffi::OsString;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};
use cupel_e2e::{Ran, Server, program};
use nix::sys::ptrace;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use serde_json::Value;

/// The steps before each of which the journal is written, as its state names them.
const STEPS: [&str; 5] = ["inspect", "check-before", "burn-in", "check-after", "judge"];
/// A burn-in of half a second.
const SHORT: [&str; 6] = ["--yes", "--only", "cpu", "--for", "500ms", "--report"];

/// How often every step is killed; `CUPEL_REPEATS` asks for more.
fn repeats() -> u32 {
    std::env::var("CUPEL_REPEATS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(1)
}

struct Bringup {
    server: Server,
    state: PathBuf,
    reports: PathBuf,
}

impl Bringup {
    fn on(server: Server) -> Self {
        Self {
            state: server.directory().join("state"),
            reports: server.directory().join("reports"),
            server,
        }
    }

    fn arguments(&self, more: &[&str]) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = vec!["bringup".into()];
        arguments.extend(SHORT.map(Into::into));
        arguments.push(self.reports.clone().into());
        arguments.push("--state-dir".into());
        arguments.push(self.state.clone().into());
        arguments.extend(more.iter().map(Into::into));
        arguments
    }

    fn run(&self, more: &[&str]) -> Result<Ran> {
        let arguments = self.arguments(more);
        let texts: Vec<_> = arguments.iter().map(|a| a.to_string_lossy()).collect();
        self.server
            .cupel(&texts.iter().map(AsRef::as_ref).collect::<Vec<_>>())
    }

    fn spawn(&self) -> Result<Child> {
        #[expect(
            clippy::disallowed_methods,
            reason = "a test starts the program that it tests; nothing of it ships"
        )]
        let mut command = Command::new(program("cupel")?);
        command
            .args(self.arguments(&[]))
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .envs(self.server.rack.environment())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command.spawn().context("cannot start cupel")
    }

    fn journal(&self) -> PathBuf {
        self.state.join("bringup/journal.json")
    }

    /// The step that the journal on disk names.
    fn step(&self) -> Result<String> {
        let text = std::fs::read(self.journal())?;
        let journal: Value = serde_json::from_slice(&text)?;
        let state = journal["state"].as_object().context("no state")?;
        Ok(state.keys().next().context("no step")?.clone())
    }

    fn report(&self) -> Result<Value> {
        let text = std::fs::read(self.reports.join("bringup.json"))?;
        Ok(serde_json::from_slice(&text)?)
    }

    fn begin_anew(&self) {
        for directory in [&self.state, &self.reports] {
            let _ = std::fs::remove_dir_all(directory);
        }
    }

    /// Kills it with SIGKILL when the journal says that `step` is about to begin, before its main
    /// thread does anything else.
    fn kill_at(&self, step: &str) -> Result<()> {
        let child = self.spawn()?;
        let pid = Pid::from_raw(i32::try_from(child.id())?);
        ptrace::seize(pid, ptrace::Options::PTRACE_O_TRACESYSGOOD)
            .context("cannot trace a child of this test")?;
        ptrace::interrupt(pid)?;
        let mut seen = None;
        loop {
            let signal = match waitpid(pid, Some(WaitPidFlag::__WALL))? {
                WaitStatus::Exited(_, code) => {
                    bail!("ended with {code} before {step} was journaled")
                }
                WaitStatus::Signaled(_, signal, _) => bail!("killed by {signal} before {step}"),
                WaitStatus::Stopped(_, signal) => Some(signal),
                WaitStatus::PtraceEvent(..)
                | WaitStatus::PtraceSyscall(_)
                | WaitStatus::Continued(_)
                | WaitStatus::StillAlive => None,
            };
            // The journal is replaced as a whole: another inode is another state.
            let now = std::fs::metadata(self.journal())
                .map(|file| file.ino())
                .ok();
            if now.is_some() && now != seen {
                seen = now;
                if self.step()? == step {
                    nix::sys::signal::kill(pid, Signal::SIGKILL)?;
                    break;
                }
            }
            ptrace::syscall(pid, signal)?;
        }
        loop {
            match waitpid(pid, Some(WaitPidFlag::__WALL)) {
                Ok(WaitStatus::Signaled(..) | WaitStatus::Exited(..)) => return Ok(()),
                Ok(
                    WaitStatus::Stopped(..)
                    | WaitStatus::PtraceEvent(..)
                    | WaitStatus::PtraceSyscall(_)
                    | WaitStatus::Continued(_)
                    | WaitStatus::StillAlive,
                ) => {}
                Err(errno) => bail!("waiting: {errno}"),
            }
        }
    }
}

/// What a report says, without times and rates.
fn gist(report: &Value) -> Value {
    let findings = |check: &str| report[check]["findings"].clone();
    serde_json::json!({
        "verdict": report["verdict"],
        "exit_code": report["exit_code"],
        "reasons": report["reasons"],
        "platform": report["platform"],
        "burn_in": report["burn_in"]["verdict"],
        "detector": report["burn_in"]["detector"],
        "before": findings("before"),
        "after": findings("after"),
    })
}

fn steps(report: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    report["steps"]
        .as_array()
        .map(|steps| {
            steps
                .iter()
                .map(|step| (text(&step["name"]), text(&step["state"])))
                .collect()
        })
        .unwrap_or_default()
}

#[test]
fn killed_at_every_step_it_comes_to_the_same_verdict() -> Result<()> {
    let bringup = Bringup::on(Server::healthy("dgx-h100")?);
    let whole = bringup.run(&[])?;
    assert_eq!(whole.code(), 0, "{} {}", whole.stdout, whole.stderr);
    let expected = gist(&bringup.report()?);
    assert_eq!(expected["verdict"], "healthy");
    assert_eq!(expected["detector"], "proven");
    for _ in 0..repeats() {
        for step in STEPS {
            bringup.begin_anew();
            bringup.kill_at(step)?;
            assert_eq!(bringup.step()?, step);
            let ran = bringup.run(&[])?;
            assert_eq!(ran.code(), whole.code(), "{step}: {}", ran.stderr);
            assert!(
                ran.stderr.contains("going on with"),
                "{step}: {}",
                ran.stderr
            );
            let report = bringup.report()?;
            assert_eq!(gist(&report), expected, "{step}");
            assert!(
                steps(&report).contains(&(step.to_owned(), "interrupted".to_owned())),
                "{step}: {:?}",
                steps(&report)
            );
            assert_eq!(bringup.step()?, "finished");
        }
    }
    Ok(())
}

#[test]
fn a_chain_of_kills_still_comes_to_the_verdict() -> Result<()> {
    let bringup = Bringup::on(Server::healthy("dgx-h100")?);
    for step in STEPS {
        bringup.kill_at(step)?;
    }
    let ran = bringup.run(&[])?;
    assert_eq!(ran.code(), 0, "{}", ran.stderr);
    let report = bringup.report()?;
    assert_eq!(report["verdict"], "healthy");
    let interrupted = steps(&report)
        .iter()
        .filter(|(_, state)| state == "interrupted")
        .count();
    assert_eq!(interrupted, STEPS.len(), "{:?}", steps(&report));
    let page = std::fs::read_to_string(bringup.reports.join("bringup.html"))?;
    assert!(page.starts_with("<!DOCTYPE html>"));
    for outside in ["src=\"http", "href=\"http", "<script"] {
        assert!(!page.contains(outside), "{outside}");
    }
    Ok(())
}

#[test]
fn a_torn_journal_is_told_and_kept_and_can_be_given_up() -> Result<()> {
    let bringup = Bringup::on(Server::healthy("dgx-h100")?);
    bringup.kill_at("check-after")?;
    let whole = std::fs::read(bringup.journal())?;
    for torn in [&whole[..whole.len() / 2], b"", b"\0\xff{garbage"] {
        std::fs::write(bringup.journal(), torn)?;
        let ran = bringup.run(&[])?;
        assert_eq!(ran.code(), 2, "{}", ran.stderr);
        assert!(
            ran.stderr.contains("journal.json: line 1:"),
            "{}",
            ran.stderr
        );
        assert!(ran.stderr.contains("--start-over"), "{}", ran.stderr);
        assert_eq!(std::fs::read(bringup.journal())?, torn);
    }
    let ran = bringup.run(&["--start-over"])?;
    assert_eq!(ran.code(), 0, "{}", ran.stderr);
    assert_eq!(kept(&bringup.state)?.len(), 1);
    Ok(())
}

#[test]
fn another_boot_begins_anew_and_keeps_the_old_journal() -> Result<()> {
    let bringup = Bringup::on(Server::healthy("dgx-h100")?);
    bringup.kill_at("burn-in")?;
    let text = std::fs::read_to_string(bringup.journal())?;
    let mut journal: Value = serde_json::from_str(&text)?;
    journal["identity"]["boot_id"] = "00000000-0000-0000-0000-000000000000".into();
    std::fs::write(bringup.journal(), serde_json::to_vec(&journal)?)?;
    let ran = bringup.run(&[])?;
    assert_eq!(ran.code(), 0, "{}", ran.stderr);
    assert!(ran.stderr.contains("beginning anew"), "{}", ran.stderr);
    let kept = kept(&bringup.state)?;
    assert_eq!(kept.len(), 1);
    assert_eq!(
        serde_json::from_slice::<Value>(&std::fs::read(&kept[0])?)?,
        journal
    );
    Ok(())
}

/// Journals that were set aside.
fn kept(state: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(state.join("bringup"))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with("journal-") {
            found.push(path.clone());
        }
    }
    Ok(found)
}

#[test]
fn two_do_not_run_at_once_and_nobody_is_disturbed_unasked() -> Result<()> {
    let bringup = Bringup::on(Server::healthy("dgx-h100")?);
    std::fs::create_dir_all(bringup.state.join("bringup"))?;
    let lock = std::fs::File::create(bringup.state.join("bringup/lock"))?;
    lock.lock()?;
    let ran = bringup.run(&[])?;
    assert_eq!(ran.code(), 4, "{}", ran.stderr);
    assert!(ran.stderr.contains("another bring-up"), "{}", ran.stderr);
    drop(lock);
    let state = bringup.state.to_string_lossy().into_owned();
    let ran = bringup.server.cupel(&["bringup", "--state-dir", &state])?;
    assert_eq!(ran.code(), 4, "{}", ran.stderr);
    assert!(!bringup.journal().exists());
    Ok(())
}

#[test]
fn a_broken_machine_is_unhealthy_and_says_why() -> Result<()> {
    let scenarios = cupel_e2e::scenarios()?;
    let Some((_, scenario)) = scenarios.iter().find(|(name, _)| name == "gpu-off-bus") else {
        bail!("the scenario gpu-off-bus is gone");
    };
    let bringup = Bringup::on(Server::of(scenario)?);
    let ran = bringup.run(&["--output", "json"])?;
    assert_eq!(ran.code(), 1, "{}", ran.stderr);
    let report: Value = serde_json::from_str(&ran.stdout)?;
    assert_eq!(report["verdict"], "unhealthy");
    assert_eq!(report["exit_code"], 1);
    assert!(!report["reasons"].as_array().context("reasons")?.is_empty());
    assert_eq!(report, bringup.report()?);
    Ok(())
}
