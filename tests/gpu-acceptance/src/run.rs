//! The whole acceptance, one step after the other, within ten minutes.
//!
//! # Invariants
//! - A step that cannot be run is reported and the next one is taken.
//! - A missing kernel log or systemd is a note, not a failure: containers have neither.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde_json::Value;

use crate::compare::{self, Outcome, Row};
use crate::cuda;
use crate::program::{self, Ended};
use crate::report::{self, Step, StepResult};
use crate::service;
use crate::smi::Smi;

const SHORT: Duration = Duration::from_secs(60);
const LONG: Duration = Duration::from_secs(240);

/// What the steps after the GPU's own take.
const REST: Duration = Duration::from_secs(230);

/// Between two questions while the machine is under load.
const UNDER_LOAD: Duration = Duration::from_secs(2);

/// Reads a Snapshot as the current schema, and gives it back as plain JSON.
///
/// # Errors
/// Where it does not fit.
pub fn snapshot(text: &str) -> anyhow::Result<Value> {
    serde_json::from_str::<cupel_model::Snapshot>(text)
        .context("the Snapshot does not fit its schema")?;
    Ok(serde_json::from_str(text)?)
}

struct Acceptance {
    cupel: PathBuf,
    smi: PathBuf,
    out: PathBuf,
    steps: Vec<Step>,
    /// The stages of the bring-up's burn-in, for the report.
    stages: String,
}

/// Runs it; the exit code.
///
/// # Errors
/// When not even a report could be written.
pub fn run(kit: &Path, out: &Path, minutes: f64, cuda_only: bool) -> anyhow::Result<u8> {
    let driver = fs::read_to_string("/proc/driver/nvidia/version");
    let Some(smi) = program::nvidia_smi() else {
        println!("no NVIDIA driver here: there is no nvidia-smi; nothing was tested");
        return Ok(3);
    };
    fs::create_dir_all(out).with_context(|| format!("create {}", out.display()))?;
    let mut acceptance = Acceptance {
        cupel: kit.join("cupel"),
        smi,
        out: out.to_owned(),
        steps: Vec::new(),
        stages: String::new(),
    };
    let began = Instant::now();
    let Ok(before) = acceptance.nvidia_smi("smi-before") else {
        println!("no NVIDIA driver here: nvidia-smi does not work; nothing was tested");
        return Ok(3);
    };
    let first = acceptance.inspect(&before);
    let rows = match &first {
        Some((snapshot, after)) => compare::compare(snapshot, &before, after),
        None => Vec::new(),
    };
    let differ = rows
        .iter()
        .filter(|row| row.outcome == Outcome::Mismatch)
        .count();
    acceptance.step("compare with nvidia-smi -q -x", || {
        if rows.is_empty() {
            return Ok(StepResult::NotRun("no Snapshot".to_owned()));
        }
        let agree = rows
            .iter()
            .filter(|row| row.outcome == Outcome::Match)
            .count();
        let seen = format!("{agree} values agree, {differ} differ");
        Ok(if differ == 0 {
            StepResult::Passed(seen)
        } else {
            StepResult::Failed(seen)
        })
    });
    let snapshot = first.map(|(snapshot, _)| snapshot);
    // What needs the GPU's time comes first; the rest has to make do with what is left.
    let limit = Duration::try_from_secs_f64(minutes.max(1.0) * 60.0)?;
    let rest = if cuda_only { Duration::ZERO } else { REST };
    let measured = acceptance.cuda(kit, snapshot.as_ref(), limit.saturating_sub(rest));
    let about = About {
        began,
        driver: driver.ok(),
        snapshot: snapshot.as_ref(),
        measured: &measured,
        rows: &rows,
    };
    // Whoever ends it from here on has the figures.
    acceptance.write(&about)?;
    if !cuda_only {
        acceptance.check();
        acceptance.replay();
        acceptance.memfd(snapshot.as_ref());
        acceptance.fallback(snapshot.as_ref());
        acceptance.write(&about)?;
        if began.elapsed() + REST / 2 < limit {
            acceptance.bringup(snapshot.as_ref());
            acceptance.write(&about)?;
        }
        let steps = service::run(&acceptance.cupel, kit, out);
        acceptance.steps.extend(steps);
    }

    let path = acceptance.write(&about)?;
    println!("{}", report::steps(&acceptance.steps));
    println!("report: {}", path.display());
    let failed = acceptance
        .steps
        .iter()
        .any(|step| matches!(step.result, StepResult::Failed(_)));
    Ok(u8::from(failed))
}

/// What the report tells beside the steps.
struct About<'a> {
    began: Instant,
    driver: Option<String>,
    snapshot: Option<&'a Value>,
    measured: &'a str,
    rows: &'a [Row],
}

/// What a reader of the report wants to know of the machine, and what could not be read.
fn about(snapshot: &Value) -> String {
    let mut text = String::new();
    for gpu in snapshot["gpus"].as_array().into_iter().flatten() {
        text.push_str(&format!(
            "- GPU: {} {} {}\n",
            gpu["pci"], gpu["name"], gpu["slot"]
        ));
    }
    text.push_str(&format!(
        "- kernel log records: {}\n",
        snapshot["kernel_log_records"]
    ));
    for problem in snapshot["problems"].as_array().into_iter().flatten() {
        text.push_str(&format!(
            "- not read: {}: {}\n",
            problem["source"], problem["why"]
        ));
    }
    text
}

/// The UUIDs of the GPUs that the driver lists.
fn uuids(snapshot: &Value) -> BTreeSet<String> {
    let gpus = snapshot["gpus"].as_array().into_iter().flatten();
    gpus.filter_map(|gpu| gpu["uuid"].as_str().map(str::to_owned))
        .collect()
}

/// Why a Snapshot is not what the first one was; none when it is.
fn differs(first: Option<&Value>, ended: &Ended) -> Option<String> {
    if ended.code != Some(0) {
        return Some(format!("exit code {:?}", ended.code));
    }
    let again = match snapshot(&ended.stdout) {
        Ok(again) => again,
        Err(error) => return Some(format!("{error:#}")),
    };
    let hung = again["gpus"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|gpu| !gpu["hung"].is_null());
    if let Some(gpu) = hung {
        return Some(format!("a driver call hung: {}", gpu["hung"]));
    }
    let seen = uuids(&again);
    if seen.is_empty() {
        return Some(format!(
            "no GPU was read; worker: {}",
            again["driver"]["worker"]
        ));
    }
    match first.map(uuids) {
        Some(expected) if expected != seen => {
            Some(format!("other GPUs: {seen:?}, not {expected:?}"))
        }
        Some(_) | None => None,
    }
}

impl Acceptance {
    /// Writes the report, with the steps so far; where it is.
    fn write(&self, is: &About<'_>) -> anyhow::Result<PathBuf> {
        let mut text = "# GPU acceptance\n\n".to_owned();
        text.push_str(&format!(
            "- time: {:.0} s\n",
            is.began.elapsed().as_secs_f64()
        ));
        if let Some(driver) = &is.driver {
            text.push_str(&format!(
                "- driver: {}\n",
                driver.lines().next().unwrap_or_default()
            ));
        }
        if let Some(snapshot) = is.snapshot {
            text.push_str(&about(snapshot));
        }
        text.push('\n');
        text.push_str(&report::steps(&self.steps));
        text.push_str("\n## Burn-in beside PyTorch\n\n");
        text.push_str(is.measured);
        if !self.stages.is_empty() {
            text.push_str("\n## Burn-in of the bring-up\n\n");
            text.push_str(&self.stages);
        }
        text.push_str("\n## Comparison\n\n");
        text.push_str(&report::comparison(is.rows));
        let path = self.out.join("report.md");
        fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
        Ok(path)
    }

    fn step(&mut self, name: &'static str, work: impl FnOnce() -> anyhow::Result<StepResult>) {
        let result = work().unwrap_or_else(|error| StepResult::Failed(format!("{error:#}")));
        println!("{name}: {}", result.line());
        self.steps.push(Step { name, result });
    }

    fn nvidia_smi(&self, name: &str) -> anyhow::Result<Smi> {
        let ended = program::run(&self.smi, &["-q", "-x"], &self.out, name, SHORT)?;
        Smi::parse(&ended.stdout)
    }

    fn cupel(&self, args: &[&str], name: &str, limit: Duration) -> anyhow::Result<Ended> {
        program::run(&self.cupel, args, &self.out, name, limit)
    }

    fn inspect(&mut self, before: &Smi) -> Option<(Value, Smi)> {
        let ended = self.cupel(&["inspect", "--output", "json"], "inspect", SHORT);
        let after = self.nvidia_smi("smi-after");
        let mut kept = None;
        let gpus = before.gpus.len();
        self.step("inspect", || {
            let ended = ended?;
            if let Some(why) = differs(None, &ended) {
                return Ok(StepResult::Failed(why));
            }
            let snapshot = snapshot(&ended.stdout)?;
            let seen = format!(
                "{} of {gpus} GPUs in {:.2} s",
                uuids(&snapshot).len(),
                ended.took.as_secs_f64()
            );
            let all = uuids(&snapshot).len() == gpus;
            kept = Some((snapshot, after?));
            Ok(if all {
                StepResult::Passed(seen)
            } else {
                StepResult::Failed(seen)
            })
        });
        kept
    }

    /// The burn-in's worker beside PyTorch, on the first GPU.
    fn cuda(&mut self, kit: &Path, snapshot: Option<&Value>, limit: Duration) -> String {
        let gpu = snapshot
            .and_then(|snapshot| snapshot["gpus"].as_array()?.first())
            .and_then(|gpu| gpu["pci"].as_str()?.parse().ok());
        let Some(gpu) = gpu else {
            self.step("burn-in on the GPU", || {
                Ok(StepResult::NotRun("no GPU was read".to_owned()))
            });
            return String::new();
        };
        let came = cuda::run(&cuda::Options::new(kit, &self.out, gpu, limit));
        self.steps.extend(came.steps);
        came.text
    }

    fn check(&mut self) {
        let ended = self.cupel(&["check", "--output", "json"], "check", SHORT);
        self.step("check", || {
            let ended = ended?;
            let report: Value = serde_json::from_str(&ended.stdout).context("its JSON")?;
            let count = |list: &str| report["coverage"][list].as_array().map_or(0, Vec::len);
            let seen = format!(
                "exit {:?}, verdict {}, {} findings; {} checks ran, {} skipped, {} unknown",
                ended.code,
                report["verdict"],
                report["findings"].as_array().map_or(0, Vec::len),
                count("ran"),
                count("skipped"),
                count("unknown")
            );
            // Whether this machine is well is not the question; whether Cupel could tell is.
            Ok(
                if matches!(ended.code, Some(0 | 1 | 3)) && count("ran") > 0 {
                    StepResult::Passed(seen)
                } else {
                    StepResult::Failed(seen)
                },
            )
        });
    }

    /// The Snapshot judged again from its file gives one answer, however often.
    fn replay(&mut self) {
        let from = self.out.join("inspect.out").display().to_string();
        let args = ["check", "--from", &from, "--output", "json"];
        let runs = (
            self.cupel(&args, "check-from-1", SHORT),
            self.cupel(&args, "check-from-2", SHORT),
        );
        self.step("check --from", || {
            let (one, two) = (runs.0?, runs.1?);
            Ok(
                if one.stdout == two.stdout && one.code == two.code && one.code != Some(2) {
                    StepResult::Passed(format!("the same answer twice, exit {:?}", one.code))
                } else {
                    StepResult::Failed(format!("exit {:?} and {:?}", one.code, two.code))
                },
            )
        });
    }

    fn memfd(&mut self, first: Option<&Value>) {
        let ended = self.cupel(&["inspect", "--output", "json"], "memfd", SHORT);
        self.step("worker from a memfd", || {
            let ended = ended?;
            if let Some(why) = differs(first, &ended) {
                return Ok(StepResult::Failed(why));
            }
            let seen = format!("workers ran from {:?}", ended.workers);
            let memfd = ended.workers.iter().any(|exe| exe.starts_with("/memfd:"));
            Ok(if memfd {
                StepResult::Passed(seen)
            } else {
                StepResult::Failed(seen)
            })
        });
    }

    fn fallback(&mut self, first: Option<&Value>) {
        let ended = std::env::current_exe().map_err(Into::into).and_then(|own| {
            let cupel = self.cupel.display().to_string();
            let args = ["without-memfd", "--", &cupel, "inspect", "--output", "json"];
            program::run(&own, &args, &self.out, "fallback", SHORT)
        });
        self.step("worker from a private file, memfd forbidden", || {
            let ended = ended?;
            if let Some(why) = differs(first, &ended) {
                return Ok(StepResult::Failed(why));
            }
            // A child between fork and exec still shows its parent's program.
            let workers: Vec<_> = ended
                .workers
                .iter()
                .filter(|exe| exe.contains("cupel-gpu-worker"))
                .collect();
            let seen = format!("workers ran from {workers:?}");
            let memfd = workers.iter().any(|exe| exe.starts_with("/memfd:"));
            let left = workers
                .iter()
                .map(|exe| exe.trim_end_matches(" (deleted)"))
                .find(|exe| Path::new(exe).is_file());
            Ok(match left {
                _ if memfd || workers.is_empty() => StepResult::Failed(seen),
                Some(file) => StepResult::Failed(format!("{file} was left behind")),
                None => StepResult::Passed(seen),
            })
        });
    }

    /// The bring-up, while the worker is asked again and again and nvidia-smi asks the driver at the
    /// same time.
    fn bringup(&mut self, first: Option<&Value>) {
        let report = self.out.join("bringup-report").display().to_string();
        let state = self.out.join("state").display().to_string();
        let args = [
            "bringup",
            "--yes",
            "--report",
            &report,
            "--state-dir",
            &state,
        ];
        let began = Instant::now();
        let mut child = match program::start(&self.cupel, &args, &self.out, "bringup") {
            Ok(child) => child,
            Err(error) => {
                let why = format!("{error:#}");
                self.step("bringup", || Ok(StepResult::Failed(why)));
                return;
            }
        };
        let mut took = Vec::new();
        let mut trouble = None;
        let ended = loop {
            match child.try_wait() {
                Ok(Some(status)) => break Ok(status.code()),
                Ok(None) if began.elapsed() < LONG => {}
                Ok(None) | Err(_) => {
                    // It is ended, so that the machine is left as it was found.
                    let _ = child.kill();
                    let _ = child.wait();
                    break Err(format!("no end after {} s", LONG.as_secs()));
                }
            }
            let smi = program::start(&self.smi, &["-q", "-x"], &self.out, "smi-load");
            match self.cupel(&["inspect", "--output", "json"], "load", SHORT) {
                Ok(ended) => {
                    took.push(ended.took);
                    let why = differs(first, &ended);
                    trouble = trouble.or(why.map(|why| format!("round {}: {why}", took.len())));
                }
                Err(error) => trouble = trouble.or(Some(format!("{error:#}"))),
            }
            if let Ok(mut smi) = smi {
                // Its own result is of no interest here: it was load.
                let _ = smi.wait();
            }
            std::thread::sleep(UNDER_LOAD);
        };
        let seconds = began.elapsed().as_secs_f64();
        self.step("bringup", || {
            Ok(match ended {
                Ok(Some(code @ (0 | 1 | 3))) => {
                    StepResult::Passed(format!("exit {code} after {seconds:.0} s"))
                }
                Ok(code) => StepResult::Failed(format!("exit {code:?} after {seconds:.0} s")),
                Err(why) => StepResult::Failed(why),
            })
        });
        self.burn_in(&report);
        self.step("worker under load", || {
            took.sort();
            let seen = format!(
                "{} inspections, median {:.2} s, slowest {:.2} s",
                took.len(),
                took.get(took.len() / 2).map_or(0.0, Duration::as_secs_f64),
                took.last().map_or(0.0, Duration::as_secs_f64)
            );
            Ok(match trouble {
                None => StepResult::Passed(seen),
                Some(why) => StepResult::Failed(format!("{why}; {seen}")),
            })
        });
    }

    /// What the burn-in of the bring-up said, stage by stage.
    fn burn_in(&mut self, report: &str) {
        let text = fs::read_to_string(Path::new(report).join("bringup.json"));
        let mut told = String::new();
        self.step("burn-in of the bring-up", || {
            let report: Value = serde_json::from_str(&text?).context("bringup.json")?;
            let reasons = &report["reasons"];
            let burn_in = &report["burn_in"];
            told = report::stages(burn_in);
            let mut unwell = Vec::new();
            let mut gpu = 0;
            for stage in burn_in["stages"].as_array().into_iter().flatten() {
                let kind = stage["stage"].as_str().unwrap_or_default();
                let outcome = stage["outcome"].as_str().unwrap_or_default();
                gpu += usize::from(kind.starts_with("gpu") && outcome == "pass");
                if !matches!(outcome, "pass" | "skipped" | "unsupported") {
                    unwell.push(format!(
                        "{}: {outcome}, {}",
                        stage["name"], stage["reasons"]
                    ));
                }
            }
            let seen = format!(
                "burn-in {}, {gpu} stages of GPUs passed; verdict {}, {reasons}; {}",
                burn_in["verdict"],
                report["verdict"],
                unwell.join("; ")
            );
            Ok(if gpu > 0 && unwell.is_empty() {
                StepResult::Passed(seen)
            } else {
                StepResult::Failed(seen)
            })
        });
        self.stages = told;
    }
}
