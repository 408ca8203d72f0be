//! One simulated node with its service, for looking at it: `service SCENARIO SECONDS`.
//!
//! Prints the environment to ask it with (`cupel status`), applies the scenario's faults after two
//! seconds, and ends by itself.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use cupel_fleet::{Node, NodeOptions};
use cupel_rack::{Scenario, scratch};

#[expect(clippy::print_stdout, reason = "an example talks on the terminal")]
fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let name = args.next().context("want a scenario")?;
    let seconds: u64 = args.next().context("want a time in seconds")?.parse()?;
    let own: Vec<String> = args.collect();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios");
    let scenario = Scenario::load(&folder.join(format!("{name}.toml")))?;
    let directory = scratch()?;
    let options = NodeOptions {
        listen: "127.0.0.1:19477".to_owned(),
        every: own.is_empty().then_some(1.0),
        ..NodeOptions::default()
    };
    let mut node = Node::new(&scenario, directory.path(), &options)?;
    node.start()?;
    for (name, value) in node.rack.environment() {
        println!("export {}={}", name.display(), value.display());
    }
    if let Some(service) = &node.service {
        println!("export PID={}", service.pid());
    }
    std::thread::sleep(Duration::from_secs(2));
    node.rack.apply_all(&scenario.faults)?;
    println!("echo faults applied");
    std::thread::sleep(Duration::from_secs(seconds));
    let took = node.stop()?;
    println!("echo ended in {took:?}");
    Ok(())
}
