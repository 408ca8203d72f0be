//! `cupel push`: installs or upgrades many nodes at once, from a technician's machine, over ssh.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use cupel_installer::Architecture;
use cupel_installer::push::{self, Done, Failed, Load, News, Rack, Ssh, Stage};
use cupel_installer::release::{LARGEST, program};
use cupel_installer::version::Hash;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde_json::json;

use crate::context::Context;
use crate::exit::Exit;
use crate::install::read;
use crate::output::{Format, note, printable, stderr_is_terminal};
use crate::render::table::Grid;

/// Longest RACK.toml, in bytes.
const RACK: u64 = 4 << 20;

/// Options of `cupel push`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
RACK.toml:
  program = \"cupel-x86_64\"           its signature beside it, for nodes that are upgraded
  inventory = \"https://inventory.example:8470\"
  token_file = \"token\"
  release_keys = [\"cupel.pub\"]
  [[node]]
  name = \"rack7-n01\"                 address and port where they differ
  address = \"10.7.0.1\"

join = \"rack7.join\" instead of inventory and token_file: each node gets an identity of its own.
Further keys: signature, with_bringup, user, sudo, ssh_arguments, at_once (16), retries (2).
Keys and agents of ssh are used as they are; nothing is asked on the way. Files travel over
standard input; a token is on no command line. Run it again: only what is missing is done.

Exit codes: 0 every node has it, 2 wrong usage, or some do not, 4 some refused and the rest has it")]
pub struct Args {
    /// The nodes, and what they get
    #[arg(value_name = "RACK.toml")]
    rack: PathBuf,
    /// Where each node's log is written
    #[arg(long, value_name = "DIR", default_value = "cupel-push")]
    logs: PathBuf,
    /// The program that is run as ssh
    #[arg(
        long,
        value_name = "PROGRAM",
        default_value = "/usr/bin/ssh",
        hide = true
    )]
    ssh: PathBuf,
}

/// Pushes.
pub fn run(args: &Args, context: &mut Context) -> anyhow::Result<Exit> {
    let rack = rack(&args.rack)?;
    let bytes = read(&rack.program, LARGEST)?;
    let architecture = [Architecture::X86_64, Architecture::Aarch64]
        .into_iter()
        .find(|architecture| program(&bytes, *architecture).is_ok())
        .ok_or_else(|| anyhow!("{} is no program for Linux servers", rack.program.display()))?;
    let files = rack.token_file.iter().chain(&rack.join);
    for path in files.chain(&rack.release_keys) {
        read(path, RACK)?;
    }
    let names: Vec<String> = rack.nodes.iter().map(|node| node.name.clone()).collect();
    let remote = Ssh {
        program: args.ssh.clone(),
        user: rack.user.clone(),
        arguments: rack.ssh_arguments.clone(),
    };
    let load = Load {
        rack,
        hash: Hash::of(&bytes),
        architecture,
    };
    let (news, told) = channel();
    let results = std::thread::scope(|scope| {
        let names = &names;
        let viewer = scope.spawn(move || view(names, &told));
        let results = push::push(&load, &remote, &args.logs, &news);
        drop(news);
        let _ = viewer.join();
        results
    })
    .with_context(|| format!("cannot write logs to {}", args.logs.display()))?;
    summary(&names, &results, &args.logs, context)?;
    let is_refusal = |result: &Result<Done, Failed>| matches!(result, Err(Failed::Refused(_)));
    Ok(if results.iter().all(Result::is_ok) {
        Exit::Fine
    } else if results.iter().all(|one| one.is_ok() || is_refusal(one)) {
        Exit::Refused
    } else {
        Exit::Error
    })
}

fn rack(path: &Path) -> anyhow::Result<Rack> {
    let text = String::from_utf8(read(path, RACK)?)
        .with_context(|| format!("{} is no text", path.display()))?;
    let rack = push::parse(&text).with_context(|| format!("cannot use {}", path.display()))?;
    let directory = path.parent().unwrap_or(Path::new("."));
    Ok(rack.beside(directory))
}

fn doing(stage: Stage) -> &'static str {
    match stage {
        Stage::Look => "looks",
        Stage::Copy => "copies",
        Stage::Install => "installs",
        Stage::Upgrade => "upgrades, and is watched",
        Stage::Confirm => "is asked",
        Stage::Enrol => "gets an identity",
    }
}

fn ended(result: &Result<Done, Failed>) -> String {
    match result {
        Ok(Done::Already) => "has it already".to_owned(),
        Ok(Done::Installed) => "installed".to_owned(),
        Ok(Done::Upgraded) => "upgraded".to_owned(),
        Err(error) => printable(&error.to_string()).into_owned(),
    }
}

/// Shows what happens: a line a node on a terminal, a note each change elsewhere.
fn view(names: &[String], told: &Receiver<News>) {
    let bars = stderr_is_terminal().then(|| bars(names));
    for news in told {
        let (index, text, over) = match news {
            News::At(index, stage) => (index, doing(stage).to_owned(), false),
            News::Again(index, why) => (index, format!("tries again: {}", printable(&why)), false),
            News::Over(index, result) => (index, ended(&result), true),
        };
        let name = &names[index];
        match &bars {
            None => note(&format!("{name}: {text}")),
            Some((_all, bars)) if over => bars[index].finish_with_message(text),
            Some((_all, bars)) => {
                bars[index].enable_steady_tick(Duration::from_millis(200));
                bars[index].set_message(text);
            }
        }
    }
}

fn bars(names: &[String]) -> (MultiProgress, Vec<ProgressBar>) {
    let width = names.iter().map(String::len).max().unwrap_or_default();
    let style = ProgressStyle::with_template("{spinner} {prefix} {wide_msg}")
        .unwrap_or_else(|_| ProgressStyle::default_spinner());
    let all = MultiProgress::new();
    let bars = names
        .iter()
        .map(|name| {
            let bar = all.add(ProgressBar::new_spinner().with_style(style.clone()));
            bar.set_prefix(format!("{name:width$}"));
            bar.set_message("waits");
            bar
        })
        .collect();
    (all, bars)
}

fn summary(
    names: &[String],
    results: &[Result<Done, Failed>],
    logs: &Path,
    context: &mut Context,
) -> anyhow::Result<()> {
    let rows = names.iter().zip(results);
    if context.format != Format::Text {
        let nodes: Vec<_> = rows
            .map(|(name, result)| {
                let (word, why) = match result {
                    Ok(Done::Already) => ("already", None),
                    Ok(Done::Installed) => ("installed", None),
                    Ok(Done::Upgraded) => ("upgraded", None),
                    Err(error @ Failed::Refused(_)) => ("refused", Some(error.to_string())),
                    Err(error @ (Failed::Remote { .. } | Failed::Unfit(_))) => {
                        ("failed", Some(error.to_string()))
                    }
                };
                json!({ "name": name, "result": word, "why": why })
            })
            .collect();
        let all = json!({ "schema_version": cupel_model::SCHEMA_VERSION, "nodes": nodes });
        return Ok(context.out.json(&all, context.format)?);
    }
    let mut grid = Grid::new(&["Node", "Result"]);
    for (name, result) in rows {
        grid.row([name.clone(), ended(result)]);
    }
    let text = context.layout().grid(&grid, 0);
    context.out.text(&text)?;
    let good = results.iter().filter(|result| result.is_ok()).count();
    context.out.line(&format!(
        "{good} of {} nodes have it; logs are in {}",
        results.len(),
        logs.display()
    ))?;
    Ok(())
}
