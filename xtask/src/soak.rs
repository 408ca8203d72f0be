//! `cargo xtask soak`: the long repeats, and their figures under docs/measurements.
//!
//! # Invariants
//! - A job that passed for this commit is not run again: an interrupted soak goes on where it was.
//! - The report is written anew after each job; it holds what was run and nothing else.
//! - A tool that is missing is said, and its jobs are reported as not run.

mod drivers;
mod fleet;
mod fuzz;
mod machines;
mod overhead;
mod report;
mod timing;

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::process;
use crate::workspace::Workspace;

/// Options of `cargo xtask soak`.
#[derive(clap::Args)]
pub struct Options {
    /// Only these; all without
    jobs: Vec<Kind>,
    /// Minutes for each fuzz target
    #[arg(long, default_value_t = 10)]
    minutes: u64,
    /// Only these fuzz targets
    #[arg(long, value_delimiter = ',')]
    targets: Vec<String>,
    /// Fuzz targets that run at the same time
    #[arg(long = "jobs", default_value_t = 1)]
    at_once: usize,
    /// How often a repeated test runs
    #[arg(long, default_value_t = 200)]
    repeats: u32,
    /// Seconds between two scrapes of the overhead job; 15 is the usual
    #[arg(long, default_value_t = 1.0)]
    scrape_every: f64,
    /// Seconds that the overhead job measures; 7200 shows whether it is flat
    #[arg(long, default_value_t = 60)]
    scrape_for: u64,
    /// The program that the overhead job measures, e.g. the one in target/dist;
    /// the release build without
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// Run again what has passed for this commit
    #[arg(long)]
    again: bool,
}

/// Kinds of jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// Each fuzz target for a while, under the address sanitizer
    Fuzz,
    /// End-to-end tests that repeat themselves: healthy scenarios, kills, clean burn-ins
    Repeats,
    /// The decoder's throughput and the time of `cupel check`
    Timing,
    /// From a line of the kernel log to the inventory
    Latency,
    /// Reports of 12,500 nodes, and the pages afterwards
    Ingest,
    /// What nodes' certificates cost the inventory: enrolment, handshakes, heartbeats
    Certificates,
    /// What the service costs, beside prometheus-node-exporter
    Overhead,
    /// NVIDIA's own driver libraries without a GPU, in roots of three releases of Debian
    Drivers,
    /// Booted machines: power cuts, slow failures, network away, disk full
    Machines,
}

/// What came of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Nothing was found.
    Passed,
    /// Something was found.
    Failed,
    /// It could not be run here.
    NotRun,
}

/// A job that has ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Done {
    /// Its name, e.g. `fuzz smbios`.
    pub job: String,
    /// What came of it.
    pub outcome: Outcome,
    /// How long it took.
    pub seconds: f64,
    /// What was measured, or why it was not run.
    pub figures: String,
}

/// What has been done for one commit; kept under out/soak.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Journal {
    done: Vec<Done>,
}

/// End-to-end tests that read `CUPEL_REPEATS`: test program, name, and how many of the repeats that
/// were asked for make one of this test, which takes that much longer.
const REPEATED: &[(&str, &str, u32)] = &[
    ("scenarios", "healthy", 1),
    ("bringup", "kill", 10),
    ("burn_in", "clean", 10),
    ("fleet_chaos", "killed", 1),
    // More than ten repeats are their long counts.
    ("service", "every_state", 1),
    ("service", "recovers", 1),
    ("service", "storm", 1),
];

/// Runs the jobs and writes the report.
pub fn run(workspace: &Workspace, options: &Options) -> anyhow::Result<u8> {
    let mut soak = Soak::open(workspace, options.again)?;
    let wanted = |kind| options.jobs.is_empty() || options.jobs.contains(&kind);
    if wanted(Kind::Repeats) {
        for (program, name, share) in REPEATED {
            let repeats = (options.repeats / share).max(1);
            let job = format!("{program}::{name} x{repeats}");
            soak.take(&job, || repeat(workspace, program, name, repeats))?;
        }
    }
    if wanted(Kind::Timing) {
        soak.take("decode throughput", || timing::decode(workspace))?;
        soak.take("check, 8 simulated GPUs", || timing::check(workspace))?;
    }
    if wanted(Kind::Latency) {
        soak.take("latency", || fleet::latency(workspace))?;
    }
    if wanted(Kind::Ingest) {
        soak.take("ingest, 12500 nodes", || fleet::ingest(workspace))?;
    }
    if wanted(Kind::Certificates) {
        soak.take("certificates, 500 nodes", || fleet::certificates(workspace))?;
    }
    if wanted(Kind::Overhead) {
        let plan = overhead::Plan {
            every: options.scrape_every,
            time: Duration::from_secs(options.scrape_for),
            program: options.program.clone(),
        };
        soak.take(&plan.to_string(), || overhead::measure(workspace, &plan))?;
    }
    if wanted(Kind::Drivers) {
        for suite in drivers::SUITES {
            soak.take(&format!("driver libraries of {suite}"), || {
                drivers::run(workspace, suite)
            })?;
        }
    }
    if wanted(Kind::Machines) {
        machines::run(workspace, &mut soak)?;
    }
    if wanted(Kind::Fuzz) {
        fuzz::run(
            workspace,
            &mut soak,
            options.minutes,
            &options.targets,
            options.at_once,
        )?;
    }
    let failed = soak
        .journal
        .done
        .iter()
        .filter(|done| done.outcome == Outcome::Failed)
        .count();
    println!("{}", soak.report.display());
    Ok(u8::from(failed > 0))
}

/// A soak that goes on.
pub struct Soak<'a> {
    workspace: &'a Workspace,
    journal: Journal,
    /// Where the journal is kept.
    path: PathBuf,
    /// The report.
    report: PathBuf,
    commit: String,
}

impl<'a> Soak<'a> {
    fn open(workspace: &'a Workspace, again: bool) -> anyhow::Result<Self> {
        let commit = workspace.git(&["describe", "--always", "--dirty", "--abbrev=12"])?;
        let commit = commit.trim().to_owned();
        let directory = workspace.root.join("out/soak");
        fs::create_dir_all(&directory)?;
        let path = directory.join(format!("{commit}.json"));
        let journal = match fs::read(&path) {
            Ok(text) if !again => serde_json::from_slice(&text)
                .with_context(|| format!("{}: remove it to begin anew", path.display()))?,
            Ok(_) | Err(_) => Journal::default(),
        };
        let today = jiff::Timestamp::now().strftime("%Y-%m-%d").to_string();
        let report = workspace
            .root
            .join(format!("docs/measurements/soak-{today}-{commit}.md"));
        Ok(Self {
            workspace,
            journal,
            path,
            report,
            commit,
        })
    }

    /// Whether a job has passed for this commit.
    pub fn has_passed(&self, job: &str) -> bool {
        let passed = |done: &Done| done.job == job && done.outcome == Outcome::Passed;
        self.journal.done.iter().any(passed)
    }

    /// Runs a job unless it has passed.
    fn take(
        &mut self,
        job: &str,
        work: impl FnOnce() -> anyhow::Result<(Outcome, String)>,
    ) -> anyhow::Result<()> {
        if self.has_passed(job) {
            println!("{job}: passed before for this commit");
            return Ok(());
        }
        println!("{job} …");
        let began = Instant::now();
        let (outcome, figures) = work()?;
        self.record(Done {
            job: job.to_owned(),
            outcome,
            seconds: began.elapsed().as_secs_f64(),
            figures,
        })
    }

    /// Keeps what came of a job: in the journal, then in the report.
    pub fn record(&mut self, done: Done) -> anyhow::Result<()> {
        println!("{}: {:?}, {}", done.job, done.outcome, done.figures);
        self.journal.done.retain(|before| before.job != done.job);
        self.journal.done.push(done);
        let next = self.path.with_extension("next");
        fs::write(&next, serde_json::to_vec_pretty(&self.journal)?)?;
        fs::rename(&next, &self.path)?;
        if let Some(directory) = self.report.parent() {
            fs::create_dir_all(directory)?;
        }
        let text = report::text(self.workspace, &self.commit, &self.journal.done)?;
        fs::write(&self.report, text).with_context(|| format!("write {}", self.report.display()))
    }
}

fn repeat(
    workspace: &Workspace,
    program: &str,
    name: &str,
    repeats: u32,
) -> anyhow::Result<(Outcome, String)> {
    workspace.cargo(&["build", "--workspace", "--locked"], &[])?;
    let repeats = repeats.to_string();
    let args = [
        "test",
        "--locked",
        "--workspace",
        "--test",
        program,
        "--",
        "--nocapture",
        name,
    ];
    let env = [("CUPEL_REPEATS", repeats.as_str())];
    let output = process::output(&process::cargo(), &args, &env, &workspace.root)?;
    let text = String::from_utf8_lossy(&output.stdout);
    let result = text.lines().rfind(|line| line.starts_with("test result:"));
    let ran = result.is_some_and(|line| !line.contains(" 0 passed; 0 failed"));
    let skipped = text.lines().find(|line| line.starts_with("skipped:"));
    Ok(match (output.status.success(), ran, skipped) {
        (true, true, None) => (Outcome::Passed, format!("{repeats} repeats, no failure")),
        (true, _, Some(why)) => (Outcome::NotRun, why.to_owned()),
        (true, false, None) => (Outcome::NotRun, "no such test".to_owned()),
        (false, _, _) => {
            let tail = text
                .lines()
                .rev()
                .find(|line| line.contains("panicked"))
                .unwrap_or("see its output");
            (Outcome::Failed, tail.to_owned())
        }
    })
}
