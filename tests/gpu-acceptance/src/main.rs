//! GPU acceptance: on a machine with an NVIDIA driver, holds what Cupel says against what
//! `nvidia-smi` says, tries the ways in which a GPU worker is run, and measures the burn-in beside
//! PyTorch on the same GPU.
//!
//! # Invariants
//! - Exit 0: everything agreed; 1: something did not; 2: it could not be run; 3: no driver here.
//! - Static and alone: it needs only `cupel` and its worker, and the driver's own `nvidia-smi`;
//!   without PyTorch the peer's column stays empty.
//!
//! # What is absent
//! Nothing of this ships, and nothing of it knows which GPU it will meet.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test program: it talks on the terminal"
)]

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand};

mod compare;
mod cuda;
mod fields;
mod program;
mod report;
mod run;
mod service;
mod smi;
mod without_memfd;

#[derive(Parser)]
#[command(max_term_width = 80)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// The whole acceptance, with a Markdown report
    Run {
        /// Directory with the program `cupel`
        #[arg(long)]
        kit: PathBuf,
        /// Where the report and everything behind it goes
        #[arg(long)]
        out: PathBuf,
        /// Minutes for all of it
        #[arg(long, default_value_t = 9.5)]
        minutes: f64,
        /// Leave out what needs no CUDA: comparison, worker, bring-up
        #[arg(long)]
        cuda_only: bool,
    },
    /// Only compare: a Snapshot with one or two runs of `nvidia-smi -q -x`
    Compare {
        /// Output of `cupel inspect --output json`
        snapshot: PathBuf,
        /// Output of `nvidia-smi -q -x` before it
        before: PathBuf,
        /// And after it; the same without
        after: Option<PathBuf>,
    },
    /// Become a command for which memfd_create fails with EPERM
    WithoutMemfd {
        /// The command and its arguments, after `--`
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
}

fn main() -> ExitCode {
    let result = match Cli::parse().task {
        Task::Run {
            kit,
            out,
            minutes,
            cuda_only,
        } => run::run(&kit, &out, minutes, cuda_only),
        Task::Compare {
            snapshot,
            before,
            after,
        } => {
            let after = after.as_ref().unwrap_or(&before);
            compare_files(&snapshot, &before, after)
        }
        Task::WithoutMemfd { command } => Err(without_memfd::become_command(&command)),
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn compare_files(snapshot: &PathBuf, before: &PathBuf, after: &PathBuf) -> anyhow::Result<u8> {
    let read = |path: &PathBuf| {
        std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))
    };
    let snapshot = run::snapshot(&read(snapshot)?)?;
    let before = smi::Smi::parse(&read(before)?)?;
    let after = smi::Smi::parse(&read(after)?)?;
    let rows = compare::compare(&snapshot, &before, &after);
    print!("{}", report::comparison(&rows));
    let differ = rows
        .iter()
        .any(|row| row.outcome == compare::Outcome::Mismatch);
    Ok(u8::from(differ))
}
