//! `cupel run`: the service.

use crate::config::Listen;
use crate::context::Context;
use crate::exit::Exit;
use crate::service;

/// Options of `cupel run`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
It reads each source at its own cadence, follows the kernel log, keeps what it finds over restarts,
and reports to the inventory that is configured ([inventory] url) or enrolled this node (cupel
enrol). It changes nothing on the machine. systemd is told when it is ready, how it goes, and that it is alive.

  cupel status                   what it says
  cupel events --follow          what happens
  curl http://127.0.0.1:9477/metrics

SIGHUP loads the configuration again, after checking it; SIGTERM ends the service within 2 s.

Exit codes: 0 it was told to end, 2 wrong usage, or it cannot run; with --once: 0 the machine was
judged and, where an inventory is configured, reported, 2 it was not")]
pub struct Args {
    /// Read and judge once, report it, and end
    #[arg(long)]
    once: bool,
    /// Where metrics and status are served, on loopback, or off [default: service.listen]
    #[arg(long, value_name = "ADDRESS", value_parser = str::parse::<Listen>)]
    listen: Option<Listen>,
    /// Hold the machine against this platform: a name of `cupel platform list`, or a file
    #[arg(long, value_name = "NAME")]
    platform: Option<String>,
}

/// Runs the service.
pub fn run(args: &Args, context: &mut Context) -> anyhow::Result<Exit> {
    let options = service::Options {
        once: args.once,
        listen: args.listen,
        platform: args.platform.clone(),
    };
    service::run(context, &options)
}
