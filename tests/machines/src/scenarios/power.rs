//! The power goes in the middle of an upgrade.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use sha2::{Digest as _, Sha256};

use super::Bench;
use super::installed::{EXCHANGE, Installed};
use crate::machine::Hardware;

/// How long new versions are watched here.
const PROBATION: &str = "5s";

/// Longest from a boot until an exchange that was cut short is over.
const SETTLED: Duration = Duration::from_secs(240);

/// How many cuts the long scenario makes.
const CUTS: u32 = 20;

/// The power goes while the new version is watched: the boot finishes the exchange.
pub fn one(bench: &Bench) -> Result<String> {
    let mut node = Installed::new(bench, &Hardware::default())?;
    let second = bench.releases.good("second")?;
    node.lay(&second)?;
    let command = format!("cupel upgrade --yes --probation {PROBATION} /root/new");
    let _running = node.machine.start(&command)?;
    let watched = "grep -q '\"state\": \"probation\"' /var/lib/cupel/install.json";
    node.machine.until("a probation", watched, EXCHANGE)?;
    node.machine.power_cut()?;
    node.machine.power_on()?;
    let up = Instant::now();
    let version = settle(&mut node)?;
    ensure!(
        version == second.version,
        "{version} serves: the new one was well"
    );
    Ok(format!(
        "boot {:.0} s, then {:.0} s until the new version was kept",
        node.machine.boot.as_secs_f64(),
        up.elapsed().as_secs_f64()
    ))
}

/// The power goes at random moments, from before the first write to after the last.
#[expect(
    clippy::print_stdout,
    reason = "it takes half an hour: each cut is told to whoever waits"
)]
pub fn many(bench: &Bench) -> Result<String> {
    let seed = std::env::var("CUPEL_SEED").unwrap_or_else(|_| {
        let id: String =
            std::fs::read_to_string("/proc/sys/kernel/random/uuid").unwrap_or_default();
        id.trim().to_owned()
    });
    let mut node = Installed::new(bench, &Hardware::default())?;
    // One undisturbed, for the time that it takes.
    let ran = node.upgrade(&bench.releases.good("undisturbed")?, PROBATION)?;
    let whole = ran.took;
    ran.ok()?;
    let mut old = node.serving()?.version;
    let mut kept = 0;
    for number in 0..CUTS {
        let next = bench.releases.good(&format!("cut-{number}"))?;
        node.lay(&next)?;
        let command = format!("cupel upgrade --yes --probation {PROBATION} /root/new");
        let _running = node.machine.start(&command)?;
        let at = whole.mul_f64(share(&seed, number));
        std::thread::sleep(at);
        let state = node
            .machine
            .run("grep -m1 '\"state\"' /var/lib/cupel/install.json")?;
        node.machine.power_cut()?;
        node.machine.power_on()?;
        let told = || {
            format!(
                "cut {number} of seed {seed}, {:.1} s after the begin, {}",
                at.as_secs_f64(),
                state.stdout.trim()
            )
        };
        let version = settle(&mut node).with_context(told)?;
        ensure!(
            version == old || version == next.version,
            "{}: {version} serves, which is neither the old nor the new one",
            told()
        );
        println!("{}: {version} serves", told());
        kept += u32::from(version == next.version);
        old = version;
    }
    Ok(format!(
        "{CUTS} cuts within {:.0} s: every boot served; {kept} times the new version (seed {seed})",
        whole.as_secs_f64()
    ))
}

/// After a boot: a version serves at once, and the exchange comes to its end. Gives the version.
fn settle(node: &mut Installed) -> Result<String> {
    node.healthy()?;
    let settled = "grep -q '\"state\": \"settled\"' /var/lib/cupel/install.json";
    node.machine
        .until("the end of the exchange", settled, SETTLED)?;
    let version = node.serving()?.version;
    node.settled_on(&version)?;
    Ok(version)
}

/// A number from 0 to 1 that the seed and the number of the cut decide.
fn share(seed: &str, number: u32) -> f64 {
    let hash = Sha256::digest(format!("{seed} {number}"));
    let value = u16::from_be_bytes([hash[0], hash[1]]);
    f64::from(value) / f64::from(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::share;

    #[test]
    fn moments_are_spread_and_repeatable() {
        let all: Vec<f64> = (0..20).map(|number| share("a", number)).collect();
        let again: Vec<f64> = (0..20).map(|number| share("a", number)).collect();
        assert_eq!(all, again);
        assert!(all.iter().all(|share| (0.0..=1.0).contains(share)));
        assert!(all.iter().any(|share| *share < 0.3) && all.iter().any(|share| *share > 0.7));
    }
}
