//! Everything that is run by hand or by CI: `cargo xtask COMMAND`.
//!
//! # Invariants
//! - One file a subcommand.
//! - Processes are started in [`process`] alone.
//! - What a command claims at its end (counts, "up to date") is what it has seen.
//!
//! # What is absent
//! Nothing here ships: the programs that users run never depend on it.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a tool for developers: it talks on the terminal"
)]

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod acceptance_kit;
mod bringup;
mod demo;
mod dist;
mod docs;
mod e2e;
mod fuzz_replay;
mod kernels;
mod process;
mod schemas;
mod sim;
mod soak;
mod test;
mod tidy;
mod workspace;

use workspace::Workspace;

/// Build, test, bring up, and keep the promises of docs/architecture.md.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", max_term_width = 80)]
struct Cli {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Build Cupel and bring up this very machine; the report goes to out/bringup
    Bringup(bringup::Options),
    /// Everything that must pass: format, lints, tidy, generated files, build, tests
    Test(test::Options),
    /// Prove the architecture's promises from cargo metadata and the sources
    Tidy,
    /// Write the JSON Schemas under docs/schemas
    Schemas {
        /// Change nothing; fail when a file is out of date
        #[arg(long)]
        check: bool,
    },
    /// Write docs/checks from the text of the checks
    Docs {
        /// Change nothing; fail when a file is out of date
        #[arg(long)]
        check: bool,
    },
    /// Run a command inside a simulated server
    Sim {
        /// A scenario: a name under tests/scenarios, or a file
        scenario: String,
        /// Keep the server's directory and say where it is
        #[arg(long)]
        keep: bool,
        /// The command and its arguments, after `--`
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
    /// An inventory and a simulated rack of eight nodes, to be looked at and broken
    Demo(demo::Options),
    /// Real servers with systemd, booted in QEMU
    E2e(e2e::Options),
    /// The long repeats; figures go to docs/measurements
    Soak(soak::Options),
    /// Build the GPU images that the worker carries, from crates/gpu-worker/kernels
    Kernels(kernels::Options),
    /// Make a release in target/dist: programs, packages, bills of materials, sums, signatures
    Dist(dist::Options),
    /// Run what target/dist has in roots of Debian, in an empty root, and as aarch64 under qemu
    TryRelease(dist::elsewhere::Options),
    /// Make the pair of keys that releases are signed with and verified by
    ReleaseKey(dist::seal::KeyOptions),
    /// Run every fuzz target's body over its seeds, on the stable compiler
    FuzzReplay,
    /// Build what tests/gpu-acceptance/run.sh needs, to be carried to a GPU machine
    AcceptanceKit(acceptance_kit::Options),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli.command) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(task: Task) -> anyhow::Result<u8> {
    let workspace = Workspace::find()?;
    match task {
        Task::Bringup(options) => bringup::run(&workspace, &options),
        Task::Test(options) => test::run(&workspace, &options),
        Task::Tidy => tidy::run(&workspace),
        Task::Schemas { check } => schemas::run(&workspace, check),
        Task::Docs { check } => docs::run(&workspace, check),
        Task::Sim {
            scenario,
            keep,
            command,
        } => {
            workspace.build(&["cupel", "cupel-gpu-worker", "cupel-fake-driver"])?;
            sim::run(&scenario, &command, keep)
        }
        Task::Demo(options) => demo::run(&workspace, &options),
        Task::E2e(options) => e2e::run(&workspace, &options),
        Task::Soak(options) => soak::run(&workspace, &options),
        Task::Kernels(options) => kernels::run(&workspace, &options),
        Task::Dist(options) => dist::run(&workspace, &options),
        Task::TryRelease(options) => dist::elsewhere::run(&workspace, &options),
        Task::ReleaseKey(options) => dist::seal::make_key(&options),
        Task::FuzzReplay => fuzz_replay::run(&workspace),
        Task::AcceptanceKit(options) => acceptance_kit::run(&workspace, &options),
    }
}
