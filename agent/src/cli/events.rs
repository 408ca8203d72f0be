//! `cupel events`: what the kernel log told in this boot, and what happens now.

use crate::context::Context;
use crate::exit::Exit;
use crate::output::Format;
use crate::render;
use crate::service::client;
use crate::service::protocol::{Ask, Happened};

/// Options of `cupel events`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cupel events                           the events of this boot, folded
  cupel events --follow                  then each event and each change of a finding as it comes
  cupel events --follow --output jsonl   the same for programs: one object a line

Exit codes: 0 the service answered, 2 wrong usage, or no service answers")]
pub struct Args {
    /// Go on with what comes, until ^C
    #[arg(short, long)]
    follow: bool,
}

/// Asks the service.
pub fn run(args: &Args, context: &mut Context) -> anyhow::Result<Exit> {
    let question = Ask::Events {
        follow: args.follow,
    };
    let mut asked = client::ask(&client::path(&context.root), &question)?;
    if args.follow {
        asked.patient()?;
    }
    while let Some(line) = asked.line()? {
        let happened: Happened = serde_json::from_slice(line.as_bytes())?;
        match context.format {
            Format::Json | Format::Jsonl => context.out.json(&happened, Format::Jsonl)?,
            Format::Text => {
                let text = match &happened {
                    Happened::Event { event } => render::status::event(event),
                    Happened::Finding { change } => render::status::change(change),
                    Happened::Missed { count } => {
                        format!("({count} were left out: this terminal is too slow)")
                    }
                };
                context.out.line(&text)?;
            }
        }
        context.out.flush()?;
        if context.out.is_closed() {
            break;
        }
    }
    Ok(Exit::Fine)
}
