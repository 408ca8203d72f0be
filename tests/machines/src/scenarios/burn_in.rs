//! A burn-in, and what must not disturb it.

use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};

use super::Bench;
use super::installed::Installed;
use crate::machine::Hardware;

/// Longest that it may take, on emulated processors.
const LIMIT: Duration = Duration::from_secs(400);

/// The service is restarted in the middle of a burn-in, and an upgrade is asked for.
pub fn run(bench: &Bench) -> Result<String> {
    let mut node = Installed::new(bench, &Hardware::default())?;
    let second = bench.releases.good("second")?;
    node.lay(&second)?;
    let running = node
        .machine
        .start("cupel burn-in --yes --only cpu --for 60s")?;
    let unit = "systemctl list-units --no-legend 'cupel-burn-in-*' | grep -q running";
    node.machine.until("the burn-in's own unit", unit, LIMIT)?;
    node.machine.run("systemctl restart cupel")?.ok()?;
    let refused = node.upgrade(&second, "5s")?;
    ensure!(
        refused.stderr.contains("cupel-burn-in"),
        "the refusal names no burn-in: {}",
        refused.stderr
    );
    refused.ended(4)?;
    let began = Instant::now();
    let ran = loop {
        if let Some(ran) = node.machine.ended(&running)? {
            break ran;
        }
        if began.elapsed() > LIMIT {
            bail!("the burn-in does not end");
        }
        std::thread::sleep(Duration::from_millis(500));
    };
    let took = ran.took.as_secs_f64();
    ran.ok()?;
    node.healthy()?;
    node.upgrade(&second, "5s")?.ok()?;
    node.settled_on(&second.version)?;
    Ok(format!("a burn-in of {took:.0} s went on to its end"))
}
