//! The command line: the tree of commands, the options that all of them have, and the way out.
//!
//! # Invariants
//! - A command is a file with `Args` and `run`; `run` gets a [`Context`] and returns an [`Exit`].
//! - Only commands that exist are listed.

mod bringup;
mod burn_in;
mod capture;
mod check;
mod clear;
mod completions;
mod config;
mod decode;
mod enrol;
mod events;
mod explain;
mod firmware;
mod hook;
mod inspect;
mod install;
mod plan_args;
mod platform;
mod push;
mod release;
mod rollback;
mod run;
mod self_test;
mod status;
mod uninstall;
mod upgrade;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::context::Context;
use crate::exit::{self, Exit};
use crate::logging;
use crate::output::{Format, note};

/// Columns that help texts and tables must fit into.
pub const COLUMNS: usize = 100;

const EXAMPLES: &str = "\
Examples:
  cupel inspect                       what this machine is
  cupel check                         what is wrong with it, and what to do
  cupel bringup                       all of it, with a burn-in and a report
  cupel run                           the service; cupel status asks it
  dmesg | cupel decode                what the kernel said about the hardware
  cupel explain 79                    what XID 79 means
  cupel capture --scrub case.json.zst
  cupel check --from case.json.zst    the same answer, anywhere else";

/// Proves bare metal: finds out what a GPU server is, checks it, and says what to do.
#[derive(Debug, Parser)]
#[command(
    name = "cupel",
    version,
    max_term_width = COLUMNS,
    after_help = format!("{EXAMPLES}\n\n{}", exit::EXIT_CODES),
    propagate_version = false,
    disable_help_subcommand = true,
    arg_required_else_help = true,
)]
pub struct Cli {
    #[command(flatten)]
    global: GlobalArgs,
    #[command(subcommand)]
    command: Command,
}

/// Options that every command has.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Options of every command")]
pub struct GlobalArgs {
    /// How results are written
    #[arg(
        long,
        global = true,
        value_enum,
        value_name = "FORMAT",
        default_value_t
    )]
    pub output: Format,
    /// Directory that stands for the machine: /sys, /proc, /dev, /etc, /run and /var in it
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        env = "CUPEL_ROOT",
        hide_env_values = true
    )]
    pub root: Option<PathBuf>,
    /// Where remembered parts and bring-up journals are kept [default: ROOT/var/lib/cupel]
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        env = "CUPEL_STATE_DIR",
        hide_env_values = true
    )]
    pub state_dir: Option<PathBuf>,
    /// Log more to standard error (-v notes, -vv details; CUPEL_LOG sets a filter)
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Say what this machine is
    Inspect(inspect::Args),
    /// Find what is wrong, say what to do, and give a verdict
    Check(check::Args),
    /// Explain a finding or an XID
    Explain(explain::Args),
    /// Decode a kernel log: XIDs, PCIe, memory, NVMe and more
    Decode(decode::Args),
    /// Load the machine and verify every bit
    BurnIn(Box<burn_in::Args>),
    /// Guard a burn-in
    #[command(hide = true)]
    BurnInGuard(burn_in::GuardArgs),
    /// List firmware versions
    Firmware(firmware::Args),
    /// Inspect, check, burn in, check again, and give a verdict
    Bringup(bringup::Args),
    /// Watch this machine for years, and report
    Run(run::Args),
    /// Ask the service how this machine is
    Status(status::Args),
    /// Ask the service what happened, and follow it
    Events(events::Args),
    /// May this node be given work? For schedulers
    Hook(hook::Args),
    /// Let go of the GPU driver for a while, so that a GPU can be reset
    Release(release::Args),
    /// Say that a finding is over
    Clear(clear::Args),
    /// Put this program on this server, and start the service
    Install(install::Args),
    /// Get this node an identity of its own, with a join file of the inventory
    Enrol(enrol::Args),
    /// Exchange the installed version for another
    Upgrade(upgrade::Args),
    /// Go back to the version before
    Rollback(rollback::Args),
    /// Remove Cupel from this server
    Uninstall(uninstall::Args),
    /// Install or upgrade many nodes at once, over ssh
    Push(push::Args),
    /// Find out whether this version works here
    #[command(hide = true)]
    SelfTest(self_test::Args),
    /// Write the files of the system that belong to this version
    #[command(hide = true)]
    SystemFiles(self_test::FilesArgs),
    /// Write a support bundle that --from reads anywhere
    Capture(capture::Args),
    /// List known servers, show one, or write a new one from a good node
    Platform(platform::Args),
    /// Show every setting and where its value comes from
    Config(config::Args),
    /// Write a shell's completion script
    Completions(completions::Args),
}

/// The tree of commands, for completions and manual pages.
pub fn command() -> clap::Command {
    Cli::command()
}

fn dispatch(cli: Cli) -> anyhow::Result<Exit> {
    logging::start(cli.global.verbose)?;
    let mut context = Context::new(&cli.global)?;
    let exit = match &cli.command {
        Command::Inspect(args) => inspect::run(args, &mut context),
        Command::Check(args) => check::run(args, &mut context),
        Command::Explain(args) => explain::run(args, &mut context),
        Command::Decode(args) => decode::run(args, &mut context),
        Command::Platform(args) => platform::run(args, &mut context),
        Command::BurnIn(args) => burn_in::run(args, &mut context),
        Command::BurnInGuard(args) => burn_in::run_guard(args, &context),
        Command::Bringup(args) => bringup::run(args, &mut context),
        Command::Firmware(args) => firmware::run(args, &mut context),
        Command::Run(args) => run::run(args, &mut context),
        Command::Status(args) => status::run(args, &mut context),
        Command::Events(args) => events::run(args, &mut context),
        Command::Hook(args) => hook::run(args, &mut context),
        Command::Release(args) => release::run(args, &mut context),
        Command::Clear(args) => clear::run(args, &mut context),
        Command::Install(args) => install::run(args, &mut context),
        Command::Enrol(args) => enrol::run(args, &mut context),
        Command::Upgrade(args) => upgrade::run(args, &mut context),
        Command::Rollback(args) => rollback::run(args, &mut context),
        Command::Uninstall(args) => uninstall::run(args, &mut context),
        Command::Push(args) => push::run(args, &mut context),
        Command::SelfTest(self_test::Args {}) => self_test::run(&mut context),
        Command::SystemFiles(self_test::FilesArgs {}) => self_test::system_files(&mut context),
        Command::Capture(args) => capture::run(args, &mut context),
        Command::Config(args) => config::run(args, &mut context),
        Command::Completions(args) => completions::run(args, &mut context),
    }?;
    context.out.flush()?;
    Ok(exit)
}

/// Parses the command line, runs the command, tells what went wrong.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() {
                Exit::Error.into()
            } else {
                Exit::Fine.into()
            };
        }
    };
    match dispatch(cli) {
        Ok(exit) => exit.into(),
        Err(error) => {
            note(exit::chain(&error).trim_end());
            exit::of_error(&error).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_is_sound() {
        command().debug_assert();
    }
}
