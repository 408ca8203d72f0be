//! `cupel hook`: may this node be given work? For prologs and health checks of schedulers.

use cupel_hardware::{clock, node};

use crate::context::Context;
use crate::exit::Exit;
use crate::output::{Format, note};
use crate::service::gate::{self, Word};

/// Options of `cupel hook`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
It reads what the service last said (a small file in /run/cupel) and never asks the machine.

Examples:
  cupel hook                             exit code 0: give it work
  reason=$(cupel hook) || scontrol update NodeName=$SLURMD_NODENAME \\
      State=DRAIN Reason=\"$reason\"
  cupel hook --strict                    before a node joins: only when it is known to be well

Exit codes:
  0  nothing forbids work; also when the service is silent, which is told on standard error: a
     broken agent must not drain a cluster
  1  a confirmed finding forbids work; the reason is one line on standard output
     (--strict: also when the service is silent or a check could not be determined)
  2  wrong usage")]
pub struct Args {
    /// End with 1 also when the service is silent, or a check could not be determined
    #[arg(long)]
    strict: bool,
}

/// Says what the service last said.
pub fn run(args: &Args, context: &mut Context) -> anyhow::Result<Exit> {
    let boot = node::boot_id(&context.root).value().cloned();
    let word = gate::ask(
        &gate::path(&context.root),
        boot.as_deref(),
        clock::since_boot(),
    );
    let (allowed, known, why) = match word {
        Word::Open => (true, true, None),
        Word::Closed(why) => (false, true, Some(why)),
        Word::Unsure(why) => (!args.strict, true, Some(why)),
        Word::None(why) => (!args.strict, false, Some(format!("cupel: no word: {why}"))),
    };
    if context.format != Format::Text {
        let answer = serde_json::json!({
            "schema_version": cupel_model::SCHEMA_VERSION,
            "allowed": allowed,
            "known": known,
            "reason": why,
        });
        context.out.json(&answer, context.format)?;
    } else if let Some(why) = &why {
        if allowed {
            note(why);
        } else {
            context.out.line(why)?;
        }
    }
    Ok(if allowed { Exit::Fine } else { Exit::Blocked })
}
