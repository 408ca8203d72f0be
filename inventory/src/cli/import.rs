//! `cupel-inventory import`.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use clap::ValueEnum;

use super::exit::Exit;
use super::output::{self, Format as Output};
use super::{GlobalArgs, open};
use crate::expected::{Format, parse};
use crate::record::ExpectedMode;
use crate::store::ListChanged;

/// Mistakes that are shown.
const SHOWN: usize = 50;

/// Options of `import`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The list; `-` is standard input
    #[arg(value_name = "FILE")]
    from: PathBuf,
    /// How it is written [default: by the file's name]
    #[arg(long, value_enum, value_name = "FORMAT")]
    format: Option<Written>,
    /// Remove entries that are not in this list
    #[arg(long)]
    replace: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Written {
    Csv,
    Json,
}

fn format(args: &Args) -> anyhow::Result<Format> {
    match args.format {
        Some(Written::Csv) => return Ok(Format::Csv),
        Some(Written::Json) => return Ok(Format::Json),
        None => {}
    }
    let extension = args.from.extension().and_then(|name| name.to_str());
    match extension.map(str::to_ascii_lowercase).as_deref() {
        Some("csv") => Ok(Format::Csv),
        Some("json") => Ok(Format::Json),
        Some(_) | None => Err(anyhow!(
            "{} does not say how it is written: name it .csv or .json, or give --format",
            args.from.display()
        )),
    }
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if path == Path::new("-") {
        std::io::stdin().lock().read_to_end(&mut bytes)?;
    } else {
        std::fs::File::open(path)?.read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

/// Takes a list.
pub async fn run(args: &Args, global: &GlobalArgs) -> anyhow::Result<Exit> {
    let format = format(args)?;
    let name = args.from.display();
    let bytes = read(&args.from).with_context(|| format!("cannot read {name}"))?;
    let entries = match parse(format, &bytes) {
        Ok(entries) => entries,
        Err(mistakes) => {
            for mistake in mistakes.iter().take(SHOWN) {
                output::note(&format!("{name}: {mistake}"));
            }
            return Err(anyhow!(
                "{name} has {} mistakes; nothing of it was taken",
                mistakes.len()
            ));
        }
    };
    let store = open(global).await?;
    let mode = if args.replace {
        ExpectedMode::Replace
    } else {
        ExpectedMode::Merge
    };
    let done = store.put_expected(&entries, mode, None, true).await?;
    let ListChanged::Done(change) = done else {
        return Err(anyhow!("the list was changed meanwhile; try again"));
    };
    match global.output {
        Output::Json => output::json(&change)?,
        Output::Text => output::line(&format!(
            "{} added, {} changed, {} removed, {} in all",
            change.added, change.changed, change.removed, change.total
        ))?,
    }
    Ok(Exit::Fine)
}
