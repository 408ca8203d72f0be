//! `cupel completions`: a shell's completion script.

use clap_complete::Shell;

use crate::context::Context;
use crate::exit::Exit;

/// Options of `cupel completions`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cupel completions bash > /etc/bash_completion.d/cupel
  cupel completions fish > ~/.config/fish/completions/cupel.fish

Exit codes: 0 written, 2 wrong usage")]
pub struct Args {
    /// Which shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Writes the script to standard output.
pub fn run(args: &Args, context: &mut Context) -> anyhow::Result<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut super::command(), "cupel", &mut script);
    context.out.text(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Fine)
}
