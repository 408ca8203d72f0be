//! `cargo xtask demo`: an inventory and a simulated rack, sick in places, to be looked at and broken.
//!
//! # Invariants
//! - Everything runs on this machine and on loopback, below one temporary directory, and ends with
//!   the demo.
//! - With `--once` it ends by itself, and its exit code says whether the inventory shows what is so.

mod console;
mod rack;

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use cupel_fleet::Inventory;
use cupel_rack::scratch;

use crate::workspace::Workspace;
use rack::DemoRack;

/// Options of `cargo xtask demo`.
#[derive(clap::Args)]
pub struct Options {
    /// End by itself once every node is on the pages as it is; for machines without a person
    #[arg(long)]
    once: bool,
    /// Where the inventory listens
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8470")]
    listen: String,
    /// Keep what was written, and say where it is
    #[arg(long)]
    keep: bool,
}

/// How long the nodes may take until all of them are seen as they are.
const SETTLED: Duration = Duration::from_secs(240);

/// Runs the demo.
pub fn run(workspace: &Workspace, options: &Options) -> anyhow::Result<u8> {
    workspace.build(&[
        "cupel",
        "cupel-gpu-worker",
        "cupel-fake-driver",
        "cupel-inventory",
    ])?;
    let mut directory = scratch()?;
    directory.disable_cleanup(options.keep);
    if options.keep {
        println!("what is written is kept in {}", directory.path().display());
    }
    let inventory = Inventory::start_at(directory.path(), &options.listen, &[])
        .with_context(|| format!("cannot start the inventory at {}", options.listen))?;
    println!("inventory at {}", inventory.url);
    let mut rack = DemoRack::start(directory.path(), &inventory)?;
    if options.once {
        return once(&mut rack, &inventory);
    }
    println!("\nOpen this once in a browser:\n  {}\n", inventory.link()?);
    console::run(&mut rack, &inventory)?;
    Ok(0)
}

/// Waits until the pages show what is so, breaks a node, and waits for that too.
fn once(rack: &mut DemoRack, inventory: &Inventory) -> anyhow::Result<u8> {
    let began = Instant::now();
    let api = inventory.api();
    loop {
        let wrong = rack.differences(&api)?;
        if wrong.is_empty() {
            break;
        }
        if began.elapsed() > SETTLED {
            bail!("not within {SETTLED:?}:\n  {}", wrong.join("\n  "));
        }
        std::thread::sleep(Duration::from_millis(500));
    }
    println!(
        "every node is shown as it is, after {:.0} s",
        began.elapsed().as_secs_f64()
    );
    println!("{}", rack.table(&api)?);
    let (node, code) = rack.break_one()?;
    let broken = Instant::now();
    while !rack.shows(&api, &node, code)? {
        if broken.elapsed() > SETTLED {
            bail!("{node} was broken and the inventory does not show {code}");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    println!(
        "{node} was broken; {code} was shown {:.1} s later",
        broken.elapsed().as_secs_f64()
    );
    Ok(0)
}
