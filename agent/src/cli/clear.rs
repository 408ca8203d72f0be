//! `cupel clear`: a person says that a finding is over.

use crate::context::Context;
use crate::exit::Exit;
use crate::service::client;
use crate::service::protocol::Ask;

/// Options of `cupel clear`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
For findings that wait for a person, such as a part that was repaired in place. One that is still
observed comes back at once, but a part that was taken out on purpose is not
waited for any longer. Who cleared what, and why, is kept in the node's history.

Examples:
  cupel status                           shows each finding with its id
  cupel clear gpu.row-remap-failed/gpu/1650123000003 --because 'RMA 4711, new module'

Exit codes: 0 cleared, 2 wrong usage, no such finding, or no service answers, 4 refused: only root
may")]
pub struct Args {
    /// The finding's id, as `cupel status` shows it
    #[arg(value_name = "ID")]
    id: String,
    /// Why it is over
    #[arg(long, value_name = "TEXT", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    because: String,
}

/// Tells the service.
pub fn run(args: &Args, context: &mut Context) -> anyhow::Result<Exit> {
    let question = Ask::Clear {
        id: args.id.clone(),
        because: args.because.clone(),
    };
    let done = client::done(&client::path(&context.root), &question)?;
    context.out.line(&done)?;
    Ok(Exit::Fine)
}
