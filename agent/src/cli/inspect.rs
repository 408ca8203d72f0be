//! `cupel inspect`: what this machine is.

use crate::context::Context;
use crate::exit::Exit;
use crate::gather::{self, SourceArgs};
use crate::output::Format;
use crate::render::inventory::{self, Detail};

/// Options of `cupel inspect`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cupel inspect                          what this machine is
  cupel inspect --full                   every DIMM, socket and firmware version
  cupel inspect --output json > node.json
  cupel inspect --from node.json         the same, anywhere else

Exit codes: 0 the machine was read (what could not be read is listed), 2 wrong usage or input")]
pub struct Args {
    #[command(flatten)]
    source: SourceArgs,
    /// List every DIMM, socket, firmware version and event log record
    #[arg(long)]
    full: bool,
}

/// Reads the machine and writes what it is.
pub fn run(args: &Args, context: &mut Context) -> anyhow::Result<Exit> {
    let settings = context.settings()?;
    let snapshot = gather::snapshot(context, &settings, &args.source)?;
    match context.format {
        Format::Json | Format::Jsonl => context.out.json(&snapshot, context.format)?,
        Format::Text => {
            let detail = if args.full {
                Detail::Full
            } else {
                Detail::Brief
            };
            let layout = context.layout();
            for (number, section) in inventory::sections(&snapshot, detail).iter().enumerate() {
                if number > 0 {
                    context.out.text("\n")?;
                }
                context.out.text(&inventory::text(section, layout))?;
            }
        }
    }
    Ok(Exit::Fine)
}
