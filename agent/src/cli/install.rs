//! `cupel install`: puts this program on this server.

use std::path::PathBuf;

use anyhow::Context as _;
use cupel_installer::journal::State;
use cupel_installer::layout::{INVENTORY, KEYS, TOKEN};
use cupel_installer::plan::{self, InstallWish};
use cupel_installer::{Applier, Architecture, Journal, Release, System as _};

use crate::context::Context;
use crate::exit::{Exit, Refused};
use crate::identity::Seal;
use crate::identity::enrol::{self, Todo, sentence};
use crate::install::{Machine, agreed, lines, read, refused};
use crate::output::{note, printable};

/// Longest token or key file, in bytes.
const SMALL: u64 = 16 * 1024;

/// Options of `cupel install`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Installs this very program: beside other versions under /usr/lib/cupel/versions, with its units,
and starts the service. What is in /etc/cupel is never overwritten. If the service does not become
healthy, everything is put back.

Examples:
  ./cupel-x86_64 install --dry-run
  ./cupel-x86_64 install --join rack7.join --release-key cupel.pub
  ./cupel-x86_64 install --inventory https://inventory.example:8470 --token-file token \\
      --release-key cupel.pub
  cupel upgrade cupel-x86_64             exchange it for another version later

Exit codes: 0 done, 2 wrong usage, or it failed and was put back, 4 refused: nothing was changed")]
pub struct Args {
    /// Show what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Report to this inventory
    #[arg(long, value_name = "URL")]
    inventory: Option<String>,
    /// Take the inventory's token from this file
    #[arg(long, value_name = "FILE", requires = "inventory")]
    token_file: Option<PathBuf>,
    /// Get the node an identity with this join file of the inventory, as 'cupel enrol' does; remove
    /// the file afterwards
    #[arg(long, value_name = "FILE", conflicts_with_all = ["inventory", "token_file"])]
    join: Option<PathBuf>,
    /// Trust releases that this minisign key signs (may be given again)
    #[arg(long, value_name = "FILE")]
    release_key: Vec<PathBuf>,
    /// Enable the service and do not start it
    #[arg(long)]
    no_start: bool,
    /// Let a bring-up run once, at the next boot, before the scheduler's agent
    #[arg(long)]
    with_bringup: bool,
}

/// Installs.
pub fn run(args: &Args, context: &mut Context) -> anyhow::Result<Exit> {
    let wish = wish(args)?;
    let architecture = Architecture::of_this_program()
        .ok_or_else(|| Refused("there are no releases for this machine's processors".to_owned()))?;
    let program = std::fs::read("/proc/self/exe").context("cannot read this program")?;
    let release = Release::of_running(program, architecture)?;
    let size = u64::try_from(release.bytes().len()).unwrap_or(u64::MAX);
    let machine = Machine::of(context);
    let planned = || plan::install(&machine.facts(), &wish, size).map_err(|no| refused(&no));
    let enrolment = enrolment(args, context)?;
    let then = enrolment.as_ref().map(|plan| plan.lines());
    if args.dry_run {
        for line in lines(&planned()?).iter().chain(then.iter().flatten()) {
            context.out.line(line)?;
        }
        return Ok(Exit::Fine);
    }
    for line in then.iter().flatten() {
        note(line);
    }
    let (plan, _lock) = agreed(&machine, planned, |plan| plan, args.yes)?;
    let since = machine.system.now();
    let journal = machine
        .journal()?
        .unwrap_or_else(|| Journal::new(State::Installing { to: None, since }));
    let mut tell = |text: &str| tracing::info!("{text}");
    let applier = Applier::new(
        &machine.disk,
        &machine.system,
        &mut tell,
        journal,
        Some(&release),
    );
    let version = applier.install(&plan).context("cannot install")?;
    context.out.line(&format!("{version} is installed"))?;
    if let Some(enrolment) = enrolment {
        let document = enrolment.carry_out(context).map_err(|error| {
            // Something was changed: it is installed.
            let why = format!("{error:#}");
            anyhow::Error::msg(why)
                .context("it is installed, and not enrolled: cupel enrol JOINFILE")
        })?;
        context.out.line(&printable(&sentence(&document)))?;
    }
    if !args.no_start {
        note("'cupel status' says how this node is");
    }
    Ok(Exit::Fine)
}

/// What is done for an identity, where one is asked for and there is none.
fn enrolment(args: &Args, context: &Context) -> anyhow::Result<Option<Box<enrol::Plan>>> {
    let Some(join) = &args.join else {
        return Ok(None);
    };
    Ok(match enrol::plan(context, join, Seal::Auto, false)? {
        Todo::Nothing(_) => None,
        Todo::Enrol(plan) => Some(plan),
    })
}

fn wish(args: &Args) -> anyhow::Result<InstallWish> {
    let mut configuration = Vec::new();
    if let Some(url) = &args.inventory {
        cupel_reporting::check_url(url).context("cannot use --inventory")?;
        let mut table = toml::Table::new();
        let mut inventory = toml::Table::new();
        inventory.insert("url".to_owned(), url.as_str().into());
        table.insert("inventory".to_owned(), inventory.into());
        configuration.push((INVENTORY.to_owned(), table.to_string(), 0o644));
    }
    if let Some(path) = &args.token_file {
        let token = String::from_utf8(read(path, SMALL)?).context("the token is no text")?;
        configuration.push((TOKEN.to_owned(), token, 0o600));
    }
    for path in &args.release_key {
        let text = String::from_utf8(read(path, SMALL)?).context("the key is no text")?;
        let name = path
            .file_stem()
            .and_then(|name| name.to_str())
            .filter(|name| {
                name.chars()
                    .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
            })
            .with_context(|| format!("{} is no name for a key", path.display()))?;
        configuration.push((format!("{KEYS}/{name}.pub"), text, 0o644));
    }
    if args.with_bringup {
        let path = "/etc/cupel/bringup-wanted".to_owned();
        configuration.push((path, String::new(), 0o644));
    }
    Ok(InstallWish {
        configuration,
        no_start: args.no_start,
        bringup: args.with_bringup,
    })
}
