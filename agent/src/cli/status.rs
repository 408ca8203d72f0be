//! `cupel status`: what the service says of this node.

use crate::context::Context;
use crate::exit::Exit;
use crate::output::Format;
use crate::render;
use crate::service::client;
use crate::service::protocol::Ask;
use crate::status::Status;

/// Options of `cupel status`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cupel status                           verdict, findings, what to do, and how reporting goes
  cupel status --short                   one line, for scripts
  cupel status --output json | jq .verdict

Exit codes:
  0  nothing blocks allocation
  1  a finding blocks allocation
  2  wrong usage, or no service answers
  3  the verdict is unknown: a check that applies here could not be determined")]
pub struct Args {
    /// One line: the verdict, and the worst finding
    #[arg(long)]
    short: bool,
}

/// Asks the service.
pub fn run(args: &Args, context: &mut Context) -> anyhow::Result<Exit> {
    let status: Status = client::document(&client::path(&context.root), &Ask::Status {})?;
    if context.format != Format::Text {
        context.out.json(&status, context.format)?;
    } else if args.short {
        context.out.line(&render::status::line(&status))?;
    } else {
        let text = render::status::text(&status, context.layout());
        context.out.text(&text)?;
    }
    Ok(Exit::from_report(status.exit_code()))
}
