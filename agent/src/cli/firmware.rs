//! `cupel firmware`: firmware versions.

use cupel_model::SCHEMA_VERSION;

use crate::context::Context;
use crate::exit::Exit;
use crate::gather::{self, Depth, SourceArgs};
use crate::output::Format;
use crate::render::inventory;

/// Options of `cupel firmware`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List every firmware version that is visible from the running system
    #[command(after_help = "\
Examples:
  cupel firmware status
  cupel firmware status --output jsonl
  cupel firmware status --from capture.json.zst

Exit codes: 0 listed (what could not be read says so), 2 wrong usage or input")]
    Status(SourceArgs),
}

/// Lists versions.
pub fn run(args: &Args, context: &mut Context) -> anyhow::Result<Exit> {
    let Command::Status(source) = &args.command;
    let settings = context.settings()?;
    let snapshot = gather::snapshot_of_depth(context, &settings, source, Depth::WithoutBmcDetails)?;
    match context.format {
        Format::Json => {
            let versions = serde_json::json!({
                "schema_version": SCHEMA_VERSION,
                "node": snapshot.node,
                "firmware": snapshot.firmware,
            });
            context.out.json(&versions, Format::Json)?;
        }
        Format::Jsonl => {
            for version in &snapshot.firmware {
                context.out.json(version, Format::Jsonl)?;
            }
        }
        Format::Text => {
            let text = inventory::text(&inventory::firmware_section(&snapshot), context.layout());
            context.out.text(&text)?;
        }
    }
    Ok(Exit::Fine)
}
