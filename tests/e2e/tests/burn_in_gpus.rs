//! `cupel burn-in` on a simulated server with eight GPUs: the schedule that is shown, GPUs that are
//! not ours, and ends by signal in the middle of a stage.

use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use cupel_burnin::{BurnInResult, Detector, Outcome, Schedule};
use cupel_e2e::{Server, program};
use cupel_fake_driver::state::{Process, State};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

fn server() -> Result<Server> {
    Server::healthy("dgx-h100")
}

#[test]
fn the_schedule_says_why_what_runs_when_and_loads_nothing() -> Result<()> {
    let server = server()?;
    let ran = server.cupel(&["burn-in", "--dry-run", "--plan", "standard"])?;
    assert_eq!(ran.code(), 0, "{}", ran.stderr);
    let said: String = ran.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    for words in [
        "cpu: verified arithmetic",
        "gpu-memory gpu0-gpu7:",
        "each after gpu-memory on the same part",
        "after memory-bandwidth",
        "gpu-links:",
        "stages at once",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    let ran = server.cupel(&["burn-in", "--dry-run", "--output", "json"])?;
    let schedule: Schedule = serde_json::from_str(&ran.stdout)?;
    let begins = |name: &str| {
        let slot = schedule
            .slots
            .iter()
            .find(|slot| slot.stage.to_string() == name);
        slot.map(|slot| slot.begins_seconds.get())
    };
    for index in 1..8 {
        let (first, other) = (
            begins("gpu-memory/gpu0"),
            begins(&format!("gpu-memory/gpu{index}")),
        );
        assert!(first.is_some() && first == other, "gpu{index}");
    }
    assert!(schedule.most_at_once() >= 9, "eight GPUs and the host");
    assert!(schedule.lasts().get() <= 120.0, "{}", schedule.lasts());
    Ok(())
}

#[test]
fn gpus_with_processes_are_somebodys() -> Result<()> {
    let server = server()?;
    let library = server.rack.library();
    let directory = library.parent().context("a directory")?;
    let mut state = State::read(&directory.join(cupel_fake_driver::state::FILE_NAME))?;
    state.gpus[3].processes = Some(vec![Process {
        pid: 4711,
        memory: None,
    }]);
    state.write_beside(directory)?;
    let ran = server.cupel(&["burn-in", "--only", "gpu-memory", "--yes", "--for", "1s"])?;
    assert_eq!(ran.code(), 4, "{}", ran.stderr);
    assert!(
        ran.stderr.contains("GPU 3 (process 4711)"),
        "{}",
        ran.stderr
    );
    assert!(ran.stderr.contains("--even-if-busy"), "{}", ran.stderr);
    let ran = server.cupel(&[
        "burn-in",
        "--only",
        "gpu-memory",
        "--gpu",
        "0",
        "--yes",
        "--for",
        "1s",
    ])?;
    assert_eq!(ran.code(), 0, "{} {}", ran.stdout, ran.stderr);
    let ran = server.cupel(&[
        "burn-in",
        "--only",
        "gpu-memory",
        "--gpu",
        "9",
        "--yes",
        "--for",
        "1s",
    ])?;
    assert_eq!(ran.code(), 3, "{}", ran.stderr);
    assert!(ran.stdout.contains("no such GPU"), "{}", ran.stdout);
    Ok(())
}

/// A burn-in that runs in the background.
struct Running {
    child: std::process::Child,
    stderr: std::io::BufReader<std::process::ChildStderr>,
    reports: PathBuf,
}

impl Running {
    /// Starts it and waits until the stage says that it goes on.
    fn start(server: &Server, stage: &str) -> Result<Self> {
        let reports = server.directory().join(format!("reports-{stage}"));
        #[expect(
            clippy::disallowed_methods,
            reason = "a test starts the program that it tests; nothing of it ships"
        )]
        let mut child = std::process::Command::new(program("cupel")?)
            .args(["burn-in", "--yes", "--for", "10m", "--memory-share", "2%"])
            .args(["--gpu", "0,1", "--only", stage, "--report"])
            .arg(&reports)
            .env_clear()
            .envs(server.rack.environment())
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::piped())
            .spawn()?;
        let mut stderr = std::io::BufReader::new(child.stderr.take().context("piped")?);
        let mut line = String::new();
        while !line.starts_with(&format!("burn-in, {stage}")) {
            line.clear();
            if stderr.read_line(&mut line)? == 0 {
                bail!("{stage} did not begin");
            }
        }
        // In the middle of it, not at its begin.
        std::thread::sleep(Duration::from_millis(400));
        Ok(Self {
            child,
            stderr,
            reports,
        })
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap_or(i32::MAX))
    }

    /// Processes that it started, by what they are called.
    fn children(&self) -> Vec<(i32, String)> {
        let mut found = Vec::new();
        let Ok(tasks) = std::fs::read_dir(format!("/proc/{}/task", self.child.id())) else {
            return found;
        };
        for task in tasks.flatten() {
            let list = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
            for pid in list.split_whitespace().filter_map(|pid| pid.parse().ok()) {
                let name = std::fs::read_to_string(format!("/proc/{pid}/comm"));
                found.push((pid, name.unwrap_or_default().trim().to_owned()));
            }
        }
        found
    }

    fn result(&self) -> Result<BurnInResult> {
        let bytes = std::fs::read(self.reports.join("burn-in.json"))?;
        Ok(serde_json::from_slice(&bytes)?)
    }
}

/// Whether a process is there and is no zombie.
fn lives(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !stat.is_empty() && !stat.contains(") Z ")
}

fn wait(what: &str, is: impl Fn() -> bool) -> Result<()> {
    let began = Instant::now();
    while !is() {
        if began.elapsed() > Duration::from_secs(30) {
            bail!("waited in vain: {what}");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// What must hold of a result that was cut short in the middle of its only stages.
fn assert_cut_short(result: &BurnInResult, stage: &str, reports: &Path) {
    assert!(!result.in_progress, "{stage}");
    assert_eq!(result.verdict, Outcome::Incomplete, "{stage}: {result:#?}");
    assert_ne!(result.detector, Detector::Broken, "{stage}");
    assert!(
        !result.counters.is_empty(),
        "{stage}: counters were not read"
    );
    let page = std::fs::read_to_string(reports.join("burn-in.html")).unwrap_or_default();
    assert!(page.contains("INCOMPLETE"), "{stage}: no page");
    assert!(!reports.join("burn-in-before.json").exists(), "{stage}");
}

/// Stages in which a burn-in is ended; all of them with `CUPEL_REPEATS`.
fn stages() -> &'static [&'static str] {
    if std::env::var_os("CUPEL_REPEATS").is_some() {
        &[
            "cpu",
            "memory-bandwidth",
            "memory",
            "gpu-host-links",
            "gpu-memory",
            "gpu-compute",
            "gpu-power",
            "gpu-links",
            "gpu-all-reduce",
        ]
    } else {
        &["memory", "gpu-memory", "gpu-links"]
    }
}

#[test]
fn a_kill_leaves_nothing_running_and_an_incomplete_result_with_counters() -> Result<()> {
    let server = server()?;
    for stage in stages() {
        let mut running = Running::start(&server, stage)?;
        let children = running.children();
        let workers = children
            .iter()
            .filter(|(_, name)| name.contains("gpu-worke"));
        assert_eq!(
            workers.count() > 0,
            stage.starts_with("gpu"),
            "{stage}: {children:?}"
        );
        kill(running.pid(), Signal::SIGKILL)?;
        running.child.wait()?;
        wait("the guardian finishes the result", || {
            running.result().is_ok_and(|result| !result.in_progress)
        })?;
        wait("all processes end", || {
            !children.iter().any(|(pid, _)| lives(*pid))
        })?;
        let result = running.result()?;
        assert_cut_short(&result, stage, &running.reports);
        assert!(
            result.notes.iter().any(|note| note.contains("killed")),
            "{:?}",
            result.notes
        );
    }
    Ok(())
}

#[test]
fn a_signal_ends_every_stage_at_once_with_counters_read() -> Result<()> {
    let server = server()?;
    for stage in stages() {
        let mut running = Running::start(&server, stage)?;
        let children = running.children();
        let began = Instant::now();
        kill(running.pid(), Signal::SIGTERM)?;
        let mut rest = String::new();
        std::io::Read::read_to_string(&mut running.stderr, &mut rest)?;
        let status = running.child.wait()?;
        assert!(
            began.elapsed() < Duration::from_secs(30),
            "{stage}: {:?}",
            began.elapsed()
        );
        assert_eq!(status.code(), Some(3), "{stage}: {rest}");
        let result = running.result()?;
        assert!(result.cancelled, "{stage}");
        assert_cut_short(&result, stage, &running.reports);
        assert!(
            !children.iter().any(|(pid, _)| lives(*pid)),
            "{stage}: {children:?}"
        );
    }
    Ok(())
}

#[test]
fn a_worker_that_dies_costs_its_gpu_and_the_others_go_on() -> Result<()> {
    let server = server()?;
    let mut running = Running::start(&server, "gpu-memory")?;
    let children = running.children();
    let worker = children.iter().find(|(_, name)| name.contains("gpu-worke"));
    kill(
        Pid::from_raw(worker.context("a worker")?.0),
        Signal::SIGKILL,
    )?;
    std::thread::sleep(Duration::from_millis(300));
    let others = running.children();
    assert!(
        others.iter().any(|(_, name)| name.contains("gpu-worke")),
        "{others:?}"
    );
    kill(running.pid(), Signal::SIGTERM)?;
    running.child.wait()?;
    let result = running.result()?;
    let lost: Vec<_> = result
        .stages
        .iter()
        .filter(|stage| !stage.lost.is_empty())
        .collect();
    assert_eq!(lost.len(), 1, "{:#?}", result.stages);
    assert_ne!(result.verdict, Outcome::Pass);
    assert!(!result.counters.is_empty());
    Ok(())
}

/// The errors that a committed schema finds in a document.
fn misfits(schema: &str, text: &str) -> Result<Vec<String>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/schemas");
    let committed = std::fs::read_to_string(folder.join(format!("{schema}.schema.json")))?;
    let validator = jsonschema::validator_for(&serde_json::from_str(&committed)?)?;
    let json = serde_json::from_str(text)?;
    Ok(validator
        .iter_errors(&json)
        .map(|error| error.to_string())
        .collect())
}

#[test]
fn a_clean_run_on_eight_gpus_passes_fits_its_schema_and_can_be_compared_and_shown() -> Result<()> {
    let server = server()?;
    let run = |name: &str| -> Result<String> {
        let reports = server.directory().join(name).to_string_lossy().into_owned();
        let ran = server.cupel(&[
            "burn-in",
            "--yes",
            "--for",
            "2s",
            "--memory-share",
            "1%",
            "--output",
            "json",
            "--only",
            "cpu,memory-bandwidth,gpu-host-links,gpu-memory,gpu-links,gpu-all-reduce",
            "--report",
            &reports,
        ])?;
        assert_eq!(ran.code(), 0, "{} {}", ran.stdout, ran.stderr);
        assert_eq!(misfits("burn-in", &ran.stdout)?, Vec::<String>::new());
        let result: BurnInResult = serde_json::from_str(&ran.stdout)?;
        assert_eq!(result.verdict, Outcome::Pass);
        assert_eq!(result.detector, Detector::Proven);
        assert!(result.peers.iter().any(|peers| peers.members.len() == 8));
        // All eight at once, and the host beside them.
        let memory: Vec<_> = result
            .stages
            .iter()
            .filter(|stage| stage.name.to_string().starts_with("gpu-memory/"))
            .collect();
        assert_eq!(memory.len(), 8);
        assert!(
            memory.iter().all(|stage| stage.beside.len() >= 7),
            "{memory:#?}"
        );
        Ok(format!("{reports}/burn-in.json"))
    };
    let (a, b) = (run("a")?, run("b")?);
    let ran = server.cupel(&["burn-in", "compare", &a, &b, "--output", "json"])?;
    assert_eq!(ran.code(), 0, "{}", ran.stderr);
    assert_eq!(
        misfits("burn-in-comparison", &ran.stdout)?,
        Vec::<String>::new()
    );
    let ran = server.cupel(&["burn-in", "compare", &a, &b])?;
    assert!(
        ran.stdout.contains("gpu-memory/gpu7: pass, then pass"),
        "{}",
        ran.stdout
    );
    let ran = server.cupel(&["burn-in", "page", &a])?;
    assert!(ran.stdout.starts_with("<!DOCTYPE html>"), "{}", ran.stderr);
    for part in ["<svg", "What ran when", "PASS", "GPU 7", "Schedule"] {
        assert!(ran.stdout.contains(part), "{part}");
    }
    for outside in ["<script", "http://", "https://", "src="] {
        assert!(!ran.stdout.contains(outside), "{outside}");
    }
    let ran = server.cupel(&["burn-in", "page", "/nonexistent.json"])?;
    assert_eq!(ran.code(), 2, "{}", ran.stderr);
    Ok(())
}
