//! The command line.
//!
//! # Invariants
//! - A command is a file with `Args` and `run`. Data goes to standard output, all else to standard
//!   error.
//! - Exit codes mean the same as `cupel`'s: 0 done, 2 wrong usage or it failed, 4 refused.

mod backup;
mod duration;
mod exit;
mod identity;
mod import;
mod join;
mod link;
mod migrate;
mod output;
mod prune;
mod retention;
mod serve;
mod token;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::clock::Clock;
use crate::store::{self, Options, Store};
use exit::Exit;
use output::Format;

/// Columns that help texts fit into.
const COLUMNS: usize = 80;

const EXAMPLES: &str = "\
Examples:
  cupel-inventory serve --data ./inventory
  cupel-inventory token create rack-7 --scope report
  cupel-inventory import racks.csv
  cupel-inventory join create k07 --url https://inventory.example:8470 \\
      --rack k07 --uses 8 --file k07.join
  cupel-inventory backup /backup/inventory.sqlite";

/// Knows every GPU node: takes their reports, keeps them, shows them.
#[derive(Debug, Parser)]
#[command(
    name = "cupel-inventory",
    version,
    max_term_width = COLUMNS,
    after_help = format!("{EXAMPLES}\n\n{}", exit::EXIT_CODES),
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
    /// Directory of the database
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        env = "CUPEL_INVENTORY_DATA",
        hide_env_values = true,
        default_value = "/var/lib/cupel-inventory"
    )]
    pub data: PathBuf,
    /// How results are written
    #[arg(
        long,
        global = true,
        value_enum,
        value_name = "FORMAT",
        default_value_t
    )]
    pub output: Format,
    /// Log more to standard error (CUPEL_LOG sets a filter)
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Take reports, answer questions, show pages
    Serve(Box<serve::Args>),
    /// Bring the database to this version's schema
    Migrate(migrate::Args),
    /// Make, list and revoke tokens
    Token(token::Args),
    /// Make a link that signs a person in, once
    Link(link::Args),
    /// Let nodes join: make, list and revoke join files
    Join(join::Args),
    /// Identities of nodes: list, revoke, accept
    Identity(identity::Args),
    /// Say what should arrive: a list as CSV or JSON
    Import(import::Args),
    /// Copy the database to a file, also while it is in use
    Backup(backup::Args),
    /// Forget now what is older than it must be kept
    Prune(prune::Args),
}

/// The tree of commands, for completions and manual pages.
pub fn command() -> clap::Command {
    <Cli as clap::CommandFactory>::command()
}

/// Opens the store for a command beside a server that may be running.
async fn open(global: &GlobalArgs) -> anyhow::Result<Store> {
    let options = Options {
        data: global.data.clone(),
        clock: Clock::system(),
        migrate: false,
    };
    let (store, _) = Store::open(&options).await.map_err(refused)?;
    Ok(store)
}

/// Schemas of other versions are refused, not failed.
fn refused(error: store::Error) -> anyhow::Error {
    if matches!(
        error,
        store::Error::Newer { .. } | store::Error::Older { .. }
    ) {
        return exit::Refused(error.to_string()).into();
    }
    error.into()
}

fn logging(verbosity: u8) -> anyhow::Result<()> {
    use tracing_subscriber::EnvFilter;
    let filter = match std::env::var("CUPEL_LOG") {
        Ok(text) => EnvFilter::try_new(&text)
            .map_err(|error| anyhow::anyhow!("CUPEL_LOG={text:?} is no log filter: {error}"))?,
        Err(_) => EnvFilter::new(match verbosity {
            0 => "info",
            1 => "debug",
            _ => "trace",
        }),
    };
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .with_target(verbosity > 0)
        .finish();
    // Set already only where one process runs several commands (tests): the first one stands.
    let _ = tracing::subscriber::set_global_default(subscriber);
    Ok(())
}

fn run(cli: &Cli) -> anyhow::Result<Exit> {
    logging(cli.global.verbose)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let global = &cli.global;
    let result = runtime.block_on(async {
        match &cli.command {
            Command::Serve(args) => serve::run(args, global).await,
            Command::Migrate(args) => migrate::run(args, global).await,
            Command::Token(args) => token::run(args, global).await,
            Command::Link(args) => link::run(args, global).await,
            Command::Join(args) => join::run(args, global).await,
            Command::Identity(args) => identity::run(args, global).await,
            Command::Import(args) => import::run(args, global).await,
            Command::Backup(args) => backup::run(args, global).await,
            Command::Prune(args) => prune::run(args, global).await,
        }
    });
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    result
}

/// Parses the command line, runs the command, tells what went wrong.
pub fn main() -> ExitCode {
    crate::clock::uptime();
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
    match run(&cli) {
        Ok(exit) => exit.into(),
        Err(error) => {
            output::note(exit::chain(&error).trim_end());
            exit::of_error(&error).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_is_sound_and_its_help_is_narrow() {
        command().debug_assert();
        let mut root = command();
        root.build();
        let mut all = vec![root];
        while let Some(mut one) = all.pop() {
            all.extend(one.get_subcommands().cloned());
            let help = one.render_long_help().to_string();
            for line in help.lines() {
                assert!(line.chars().count() <= COLUMNS, "{line}");
            }
        }
    }
}
