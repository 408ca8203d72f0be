//! `cupel-inventory backup`.

use std::path::PathBuf;

use super::exit::{Exit, Refused};
use super::{GlobalArgs, open, output};
use crate::authority::{CERTIFICATE_FILE, KEY_FILE};

/// Options of `backup`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The copy; a file that does not exist yet
    #[arg(value_name = "FILE")]
    to: PathBuf,
}

/// Copies the database.
pub async fn run(args: &Args, global: &GlobalArgs) -> anyhow::Result<Exit> {
    if args.to.exists() {
        let path = args.to.display();
        return Err(Refused(format!("{path} exists; name a new file")).into());
    }
    let store = open(global).await?;
    store.backup(&args.to).await?;
    let size = std::fs::metadata(&args.to)?.len();
    output::note(&format!("{} bytes in {}", size, args.to.display()));
    if global.data.join(KEY_FILE).exists() {
        output::note(&format!(
            "Keep {KEY_FILE} and {CERTIFICATE_FILE} of {} with it: without them every node must be \
             enrolled anew.",
            global.data.display()
        ));
    }
    Ok(Exit::Fine)
}
