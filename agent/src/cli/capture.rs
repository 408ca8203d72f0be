//! `cupel capture`: a support bundle that answers elsewhere as this machine does here.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use cupel_model::Snapshot;

use crate::context::Context;
use crate::exit::Exit;
use crate::gather::{self, SourceArgs};
use crate::json;
use crate::output::Format;
use crate::scrub::scrub;
use crate::state::replace;

/// Compression of `.zst` captures; level 3 is zstd's own default.
const ZSTD_LEVEL: i32 = 3;

/// Options of `cupel capture`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A capture is a snapshot: every command with --from reads it and answers as it does here.

Examples:
  cupel capture                          cupel-HOST-TIME.json.zst in this directory
  cupel capture --interval 5s node.json  two samples, not compressed
  cupel capture --scrub case.json.zst    serials, UUIDs, GUIDs, MACs and host name hidden
  cupel capture - | ssh desk 'cupel check --from -'

Exit codes: 0 written, 2 wrong usage or not written")]
pub struct Args {
    /// File to write, compressed when its name ends in .zst; - is standard output
    file: Option<PathBuf>,
    #[command(flatten)]
    source: SourceArgs,
    /// Replace serials, UUIDs, GUIDs, MAC addresses and the host name by pseudonyms
    #[arg(long)]
    scrub: bool,
    /// Replace FILE when it is there
    #[arg(long)]
    force: bool,
}

/// Reads the machine and writes the capture; its name goes to standard output.
pub fn run(args: &Args, context: &mut Context) -> anyhow::Result<Exit> {
    if let Some(file) = &args.file {
        refuse_existing(file, args.force)?;
    }
    let settings = context.settings()?;
    let mut snapshot = gather::snapshot(context, &settings, &args.source)?;
    if args.scrub {
        snapshot = scrub(&snapshot).context("cannot hide names")?;
    }
    if args.file.as_deref() == Some(Path::new("-")) {
        context.out.json(&snapshot, Format::Jsonl)?;
        return Ok(Exit::Fine);
    }
    let file = args.file.clone().unwrap_or_else(|| default_name(&snapshot));
    refuse_existing(&file, args.force)?;
    let bytes = encode(&snapshot, &file)?;
    replace(&file, &bytes).with_context(|| format!("cannot write {}", file.display()))?;
    match context.format {
        Format::Text => context.out.line(&file.display().to_string())?,
        Format::Json | Format::Jsonl => {
            let written = serde_json::json!({ "file": file.display().to_string() });
            context.out.json(&written, context.format)?;
        }
    }
    Ok(Exit::Fine)
}

fn refuse_existing(file: &Path, force: bool) -> anyhow::Result<()> {
    if !force && file != Path::new("-") && file.exists() {
        bail!("{} is there already; --force replaces it", file.display());
    }
    Ok(())
}

/// `cupel-HOST-20260131T120000Z.json.zst`
fn default_name(snapshot: &Snapshot) -> PathBuf {
    let host: String = snapshot
        .node
        .hostname
        .value()
        .map_or("node", String::as_str)
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || *c == '-')
        .take(64)
        .collect();
    let time: String = snapshot.taken_at.to_string()[..19]
        .chars()
        .filter(|c| !matches!(c, '-' | ':'))
        .collect();
    PathBuf::from(format!("cupel-{host}-{time}Z.json.zst"))
}

fn encode(snapshot: &Snapshot, file: &Path) -> anyhow::Result<Vec<u8>> {
    let compressed = file.extension().is_some_and(|extension| extension == "zst");
    if !compressed {
        let mut json = json::pretty(snapshot)?;
        json.push(b'\n');
        return Ok(json);
    }
    let mut json = serde_json::to_vec(snapshot)?;
    json.push(b'\n');
    Ok(zstd::encode_all(json.as_slice(), ZSTD_LEVEL)?)
}
