//! `cargo xtask e2e`: real servers with systemd, booted in QEMU.
//!
//! # Invariants
//! - A host that cannot boot machines is told why, and nothing fails; what ran is counted.
//! - One machine at a time but where a scenario itself has two: emulation takes every core.

use anyhow::bail;
use cupel_machines::Prepared;
use cupel_machines::scenarios::{ALL, Bench, Outcome, Scenario};

use crate::workspace::Workspace;

/// Options of `cargo xtask e2e`.
#[derive(clap::Args)]
pub struct Options {
    /// Only these scenarios; the short set without
    scenarios: Vec<String>,
    /// Every scenario, the long ones too
    #[arg(long, conflicts_with = "scenarios")]
    all: bool,
    /// Say which scenarios there are, and run none
    #[arg(long)]
    list: bool,
}

/// Builds what machines run; all of it, so that a test run's build serves here too.
pub fn build(workspace: &Workspace) -> anyhow::Result<()> {
    let args = ["build", "--workspace", "--locked"];
    if !workspace.cargo(&args, &[])? {
        bail!("cargo {} failed; its messages are above", args.join(" "));
    }
    Ok(())
}

/// Runs scenarios.
pub fn run(workspace: &Workspace, options: &Options) -> anyhow::Result<u8> {
    if options.list {
        for scenario in ALL {
            let length = if scenario.short { "short" } else { "long" };
            println!("{:<20} {length:<6} {}", scenario.name, scenario.about);
        }
        return Ok(0);
    }
    let wanted: Vec<&Scenario> = if options.scenarios.is_empty() {
        ALL.iter()
            .filter(|scenario| options.all || scenario.short)
            .collect()
    } else {
        let named = options.scenarios.iter().map(|name| Scenario::named(name));
        named.collect::<anyhow::Result<_>>()?
    };
    let mut count = [0_u32; 3];
    for (_, outcome) in these(workspace, &wanted)? {
        count[match outcome {
            Outcome::Passed(_) => 0,
            Outcome::Failed(_) => 1,
            Outcome::Skipped(_) => 2,
        }] += 1;
    }
    let [passed, failed, skipped] = count;
    println!("{passed} passed, {failed} failed, {skipped} skipped");
    Ok(u8::from(failed > 0))
}

/// The scenarios of every test run.
pub fn short(workspace: &Workspace) -> anyhow::Result<Vec<(&'static str, Outcome)>> {
    let short: Vec<&Scenario> = ALL.iter().filter(|scenario| scenario.short).collect();
    these(workspace, &short)
}

fn these(
    workspace: &Workspace,
    scenarios: &[&'static Scenario],
) -> anyhow::Result<Vec<(&'static str, Outcome)>> {
    build(workspace)?;
    let bench = match Bench::new()? {
        Prepared::Ready(bench) => bench,
        Prepared::Skipped(why) => {
            println!("skipped: booted machines: {why}");
            let skipped =
                |scenario: &&'static Scenario| (scenario.name, Outcome::Skipped(why.clone()));
            return Ok(scenarios.iter().map(skipped).collect());
        }
    };
    let mut done = Vec::new();
    for scenario in scenarios {
        println!("{}: {} …", scenario.name, scenario.about);
        let (outcome, took) = scenario.run(&bench);
        let word = match &outcome {
            Outcome::Passed(figures) => format!("passed, {figures}"),
            Outcome::Failed(why) => format!("FAILED: {why}"),
            Outcome::Skipped(why) => format!("skipped: {why}"),
        };
        println!("{}: {word} ({:.0} s)", scenario.name, took.as_secs_f64());
        done.push((scenario.name, outcome));
    }
    Ok(done)
}
