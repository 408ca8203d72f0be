//! `cupel release`: let go of the GPU driver for a while.

use std::time::Duration;

use cupel_burnin::parse_duration;

use crate::context::Context;
use crate::exit::Exit;
use crate::service::client;
use crate::service::protocol::Ask;

/// Options of `cupel release`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A GPU cannot be reset while a program holds its driver open, and the service does. This lets go of
every handle, reads no GPU for that time, and takes the driver up again by itself.

Examples:
  cupel release --for 10m && nvidia-smi --gpu-reset -i 3
  cupel release --end                    take the driver up again now

Exit codes: 0 done, 2 wrong usage, or no service answers, 4 refused: only root may")]
pub struct Args {
    /// For how long (such as 90s, 10m; at most 24h)
    #[arg(long = "for", value_name = "TIME", value_parser = parse_duration, required_unless_present = "end")]
    time: Option<Duration>,
    /// Take the driver up again before the time is over
    #[arg(long, conflicts_with = "time")]
    end: bool,
}

/// Asks the service to let go.
pub fn run(args: &Args, context: &mut Context) -> anyhow::Result<Exit> {
    let question = match args.time {
        Some(time) => Ask::Release {
            seconds: time.as_secs_f64(),
        },
        None => Ask::Resume {},
    };
    let done = client::done(&client::path(&context.root), &question)?;
    context.out.line(&done)?;
    Ok(Exit::Fine)
}
