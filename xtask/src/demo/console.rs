//! The demo's command line: break nodes, heal them, and see it on the pages.

use std::io::{BufRead, Write};

use cupel_fleet::Inventory;

use super::rack::{DemoRack, scenario_names, wait};

const HELP: &str = "\
  nodes                  how each node is shown
  scenarios NODE         what can go wrong with it
  break NODE SCENARIO    let it happen now
  heal NODE              a repaired server comes back after a reboot
  stop NODE              end its service in good order; start NODE begins it again
  kill NODE              kill -9 its service
  quit";

/// Reads commands until the end of input.
pub fn run(rack: &mut DemoRack, inventory: &Inventory) -> anyhow::Result<()> {
    println!("{HELP}");
    let mut lines = std::io::stdin().lock().lines();
    loop {
        print!("demo> ");
        std::io::stdout().flush()?;
        let Some(line) = lines.next() else {
            println!();
            return Ok(());
        };
        let line = line?;
        let words: Vec<&str> = line.split_whitespace().collect();
        if words == ["quit"] {
            return Ok(());
        }
        match obey(rack, inventory, &words) {
            Ok(told) => println!("{told}"),
            Err(error) => println!("{error:#}"),
        }
    }
}

fn obey(rack: &mut DemoRack, inventory: &Inventory, words: &[&str]) -> anyhow::Result<String> {
    Ok(match words {
        [] => String::new(),
        ["nodes"] => rack.table(&inventory.api())?,
        ["scenarios", name] => {
            let platform = rack.node(name)?.platform;
            format!("  {}", scenario_names(platform)?.join("\n  "))
        }
        ["break", name, scenario] => {
            let node = rack.node(name)?;
            node.fall_sick(scenario)?;
            format!("{}/nodes/{}", inventory.url, node.id)
        }
        ["heal", name] => {
            let node = rack.node(name)?;
            node.heal()?;
            format!(
                "{name} judged again after {:.1} s",
                wait(&node.node)?.as_secs_f64()
            )
        }
        ["stop", name] => {
            let took = rack.node(name)?.node.stop()?;
            format!("ended in {:.1} s", took.as_secs_f64())
        }
        ["kill", name] => {
            rack.node(name)?.node.kill()?;
            "killed".to_owned()
        }
        ["start", name] => {
            let node = rack.node(name)?;
            node.node.start()?;
            format!("judged after {:.1} s", wait(&node.node)?.as_secs_f64())
        }
        _ => HELP.to_owned(),
    })
}
