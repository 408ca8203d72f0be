//! `cupel uninstall`: removes Cupel from this server.

use anyhow::Context as _;
use cupel_installer::journal::State;
use cupel_installer::{Applier, Journal, System as _, plan};

use crate::context::Context;
use crate::exit::Exit;
use crate::install::{Machine, agreed, lines, refused};

/// Options of `cupel uninstall`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Stops the service and removes every version, the units and the links. Configuration (/etc/cupel)
and what is remembered (/var/lib/cupel) stay, unless --purge is said.

Exit codes: 0 done, 2 wrong usage, or it failed: run it again, 4 refused: nothing was changed")]
pub struct Args {
    /// Remove /etc/cupel and /var/lib/cupel too, with everything in them
    #[arg(long)]
    purge: bool,
    /// Show what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

/// Removes.
pub fn run(args: &Args, context: &mut Context) -> anyhow::Result<Exit> {
    let machine = Machine::of(context);
    let planned = || plan::uninstall(&machine.facts(), args.purge).map_err(|no| refused(&no));
    if args.dry_run {
        for line in lines(&planned()?) {
            context.out.line(&line)?;
        }
        return Ok(Exit::Fine);
    }
    let (plan, _lock) = agreed(&machine, planned, |plan| plan, args.yes)?;
    let (purge, since) = (args.purge, machine.system.now());
    // A journal that cannot be read is removed with the rest.
    let journal = machine
        .journal()
        .ok()
        .flatten()
        .unwrap_or_else(|| Journal::new(State::Removing { purge, since }));
    let mut tell = |text: &str| tracing::info!("{text}");
    Applier::new(&machine.disk, &machine.system, &mut tell, journal, None)
        .uninstall(&plan, purge)
        .context("cannot remove everything")?;
    context.out.line(if purge {
        "Cupel is removed, with its configuration and what it remembered"
    } else {
        "Cupel is removed; /etc/cupel and /var/lib/cupel are left"
    })?;
    Ok(Exit::Fine)
}
