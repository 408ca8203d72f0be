//! `cupel rollback`: back to the version before.

use std::time::Duration;

use anyhow::Context as _;
use cupel_burnin::parse_duration;
use cupel_installer::{Applier, plan};

use super::upgrade::end;
use crate::context::Context;
use crate::exit::Exit;
use crate::install::{Machine, agreed, follow, refused};

/// Options of `cupel rollback`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The version before is on the disk still. It is switched to, watched and, if it is not healthy,
left again, exactly as with 'cupel upgrade'.

Exit codes: 0 the version before runs, 2 wrong usage, or it was put back, 4 refused: nothing was
changed")]
pub struct Args {
    /// How long it is watched before it is kept
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "60s")]
    probation: Duration,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

/// Goes back.
pub fn run(args: &Args, context: &mut Context) -> anyhow::Result<Exit> {
    let machine = Machine::of(context);
    let probation = args.probation.as_secs();
    let planned = || plan::rollback(&machine.facts(), probation).map_err(|no| refused(&no));
    let ((plan, to), lock) = agreed(&machine, planned, |(plan, _)| plan, args.yes)?;
    let journal = machine.journal()?.context("nothing is installed here")?;
    let before = journal.last.clone();
    let mut tell = |text: &str| tracing::info!("{text}");
    Applier::new(&machine.disk, &machine.system, &mut tell, journal, None)
        .rollback(&plan, &to)
        .context("cannot go back")?;
    drop(lock);
    end(&follow(&machine, before.as_ref())?, context)
}
