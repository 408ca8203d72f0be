//! `cupel check`: findings and verdict.

use crate::context::Context;
use crate::exit::Exit;
use crate::gather::{self, Depth, SourceArgs};
use crate::output::Format;
use crate::platforms;
use crate::render;

/// Options of `cupel check`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cupel check                            this machine
  cupel check --interval 5s              with two samples, so that rates can be told
  cupel check --from capture.json.zst    a machine somewhere else
  cupel check --platform dgx-h100        hold it against a platform that you name
  cupel check --output jsonl | jq -c '.findings[] | [.code, .component.slot]'

Exit codes:
  0  nothing blocks allocation
  1  a finding blocks allocation (--strict: any enforced finding of warning or above)
  2  wrong usage, unusable input, or the tool failed
  3  the verdict is unknown: a check that applies here could not be determined")]
pub struct Args {
    #[command(flatten)]
    source: SourceArgs,
    /// Hold the machine against this platform: a name of `cupel platform list`, or a file
    #[arg(long, value_name = "NAME")]
    platform: Option<String>,
    /// End with 1 for any enforced finding of warning or above
    #[arg(long)]
    strict: bool,
}

/// Judges the machine and writes what was found.
pub fn run(args: &Args, context: &mut Context) -> anyhow::Result<Exit> {
    let settings = context.settings()?;
    let modes = settings.modes()?;
    let snapshot =
        gather::snapshot_of_depth(context, &settings, &args.source, Depth::WithoutBmcDetails)?;
    let platform = platforms::choose(
        &context.root,
        &settings,
        args.platform.as_deref(),
        &snapshot,
    )?;
    let report = cupel_health::evaluate(&snapshot, platform.as_ref(), &modes);
    match context.format {
        Format::Json | Format::Jsonl => context.out.json(&report, context.format)?,
        Format::Text => {
            let text = render::check::report(&report, context.layout());
            context.out.text(&text)?;
        }
    }
    Ok(Exit::from_report(report.exit_code(args.strict)))
}
