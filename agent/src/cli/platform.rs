//! `cupel platform`: what known servers should be, and a new one from a node that is known good.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use cupel_health::platform::{derive, to_toml};
use cupel_model::{Platform, SCHEMA_VERSION, Snapshot};

use crate::cli::COLUMNS;
use crate::context::Context;
use crate::exit::Exit;
use crate::gather::{self, SourceArgs};
use crate::output::{Format, note, printable};
use crate::platforms;
use crate::render::table::{Grid, wrap};
use crate::state::replace;

/// Options of `cupel platform`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List the platforms that Cupel knows
    #[command(after_help = "\
Built-in platforms and *.toml of /usr/lib/cupel/platforms, /run/cupel/platforms and
/etc/cupel/platforms; a later file replaces a platform of the same name.

Exit codes: 0 listed, 2 a platform file is refused (the error names file, line and key)")]
    List,
    /// Show one platform, each number with its source; without a name the one of this machine
    #[command(after_help = "\
Examples:
  cupel platform show dgx-h100
  cupel platform show --from capture.json.zst

Exit codes: 0 shown, 2 there is none of that name, or none matches")]
    Show {
        /// Name of `cupel platform list`, or a file
        name: Option<String>,
        #[command(flatten)]
        source: SourceArgs,
    },
    /// Write a platform file from a node that is known to be good
    #[command(after_help = "\
Examples:
  cupel platform derive --write rack7-h200.toml
  cupel platform derive --name rack7-h200 --from capture.json.zst > rack7-h200.toml

Put the file into /etc/cupel/platforms; read it first: it says what this node has, not what it
should have.

Exit codes: 0 written, 2 no platform can be made of this machine")]
    Derive {
        /// Name of the new platform (default: the stem of --write, else the product's name)
        #[arg(long)]
        name: Option<String>,
        /// File to write instead of standard output; one that is there is not replaced
        #[arg(long, value_name = "FILE")]
        write: Option<PathBuf>,
        #[command(flatten)]
        source: SourceArgs,
    },
}

/// Lists, shows or derives.
pub fn run(args: &Args, context: &mut Context) -> anyhow::Result<Exit> {
    match &args.command {
        Command::List => list(context)?,
        Command::Show { name, source } => show(context, name.as_deref(), source)?,
        Command::Derive {
            name,
            write,
            source,
        } => make(context, name.as_deref(), write.as_deref(), source)?,
    }
    Ok(Exit::Fine)
}

fn list(context: &mut Context) -> anyhow::Result<()> {
    let known = platforms::known(&context.root)?;
    match context.format {
        Format::Json => {
            let json = serde_json::json!({ "schema_version": SCHEMA_VERSION, "platforms": known });
            context.out.json(&json, Format::Json)?;
        }
        Format::Jsonl => {
            for one in &known {
                context.out.json(one, Format::Jsonl)?;
            }
        }
        Format::Text => {
            let mut grid = Grid::new(&["Name", "Server", "GPUs", "Origin"]);
            for one in &known {
                let gpu = &one.platform.gpu;
                grid.row([
                    one.platform.name.clone(),
                    printable(&one.platform.title).into_owned(),
                    printable(&format!("{} x {}", gpu.count.value, gpu.name.value)).into_owned(),
                    one.origin.clone(),
                ]);
            }
            let text = context.layout().grid(&grid, 0);
            context.out.text(&text)?;
        }
    }
    Ok(())
}

fn show(context: &mut Context, name: Option<&str>, source: &SourceArgs) -> anyhow::Result<()> {
    let platform = match name {
        Some(name) => platforms::named(&context.root, name)?,
        None => {
            let settings = context.settings()?;
            let snapshot = gather::snapshot(context, &settings, source)?;
            platforms::choose(&context.root, &settings, None, &snapshot)?.with_context(|| {
                let product = crate::render::words::told(&snapshot.node.product);
                format!("no platform matches this machine ({product}); cupel platform list has all")
            })?
        }
    };
    put(context, &platform)
}

fn put(context: &mut Context, platform: &Platform) -> anyhow::Result<()> {
    match context.format {
        Format::Text => context.out.text(&fitted(&to_toml(platform)?))?,
        Format::Json | Format::Jsonl => context.out.json(platform, context.format)?,
    }
    Ok(())
}

/// The same TOML in lines that fit: a long source goes on in lines of its own.
fn fitted(toml: &str) -> String {
    let mut text = String::new();
    for line in toml.lines() {
        let parts = line
            .strip_suffix("\" }")
            .and_then(|line| line.split_once("source = \""));
        match parts {
            Some((before, source)) if line.chars().count() > COLUMNS => {
                text.push_str(&format!("{before}source = \"\"\"\\\n    "));
                let lines = wrap(source, COLUMNS - 9).join(" \\\n    ");
                text.push_str(&format!("{lines}\"\"\" }}\n"));
            }
            Some(_) | None => {
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    text
}

fn make(
    context: &mut Context,
    name: Option<&str>,
    write: Option<&Path>,
    source: &SourceArgs,
) -> anyhow::Result<()> {
    if let Some(file) = write.filter(|file| file.exists()) {
        bail!("{} is there already; write to another file", file.display());
    }
    let settings = context.settings()?;
    let snapshot = gather::snapshot(context, &settings, source)?;
    let stem = write
        .and_then(Path::file_stem)
        .map(|stem| stem.to_string_lossy().into_owned());
    let name = name
        .map(str::to_owned)
        .or(stem)
        .unwrap_or_else(|| product_name(&snapshot));
    let platform = derive(&snapshot, &name).context("cannot derive a platform")?;
    match write {
        None => put(context, &platform),
        Some(file) => {
            replace(file, to_toml(&platform)?.as_bytes())
                .with_context(|| format!("cannot write {}", file.display()))?;
            note(&format!("wrote {}", file.display()));
            Ok(())
        }
    }
}

/// The product's name as a platform's: `PowerEdge XE9680` becomes `poweredge-xe9680`.
fn product_name(snapshot: &Snapshot) -> String {
    let product = snapshot.node.product.value().map_or("", String::as_str);
    let mut name = String::new();
    for c in product.chars() {
        if c.is_ascii_alphanumeric() {
            name.push(c.to_ascii_lowercase());
        } else if !name.is_empty() && !name.ends_with('-') {
            name.push('-');
        }
    }
    let name = name.trim_end_matches('-');
    if name.is_empty() { "derived" } else { name }.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_fits_and_reads_back() {
        for platform in cupel_health::platform::embedded() {
            let text = fitted(&to_toml(platform).expect("TOML"));
            for line in text.lines() {
                assert!(line.chars().count() <= COLUMNS, "{line}");
            }
            let file = format!("{}.toml", platform.name);
            let read = cupel_health::platform::parse(&text, &file).expect("reads back");
            assert_eq!(&read, platform);
        }
    }
}
