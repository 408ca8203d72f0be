//! The node's disk is full, and then it is not.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::Bench;
use super::installed::Installed;
use crate::machine::Hardware;

/// Longest until the service has noticed.
const NOTICE: Duration = Duration::from_secs(180);

/// The finding that comes while the disk is full.
const CODE: &str = "pcie.aer-uncorrected";

/// Fills the disk, lets a fault happen, empties it, restarts.
pub fn run(bench: &Bench) -> Result<String> {
    let hardware = Hardware {
        adapter: true,
        ..Hardware::default()
    };
    let mut node = Installed::new(bench, &hardware)?;
    node.machine
        .run("setpci -d 1af4:1041 CAP_EXP+8.w=f:f")?
        .ok()?;
    node.lay(&bench.releases.good("second")?)?;
    let before = node.serving()?;
    let fill = "head -c 4G /dev/zero >/var/filler 2>/dev/null; head -c 1M /dev/zero >/var/more";
    let filled = node.machine.run_within(fill, NOTICE)?;
    ensure!(filled.code != 0, "the disk is not full");
    node.machine.link_error("COMP_TIME")?;
    let found = format!("cupel status | grep -q {CODE}");
    node.machine
        .until("the finding while the disk is full", &found, NOTICE)?;
    // systemd's journal makes room by removing its oldest files: that is filled too. Whether what
    // the service remembers still fits depends on the room within its own files.
    let saved = "cupel status --output json | tr -d ' \\n' | grep -q '\"saved\":true'";
    let fill = format!("head -c 64M /dev/zero >>/var/more 2>/dev/null; {saved}");
    let kept = if node.machine.run(&fill)?.code == 0 {
        "within its files"
    } else {
        "in memory"
    };
    let refused = node.machine.run("cupel upgrade --yes /root/new")?;
    refused.ended(4)?;

    node.machine
        .run("rm -f /var/filler /var/more /root/new*")?
        .ok()?;
    node.machine
        .until("what was kept in memory on disk", saved, NOTICE)?;
    ensure!(node.serving()? == before, "the service was restarted");
    node.machine.run("systemctl restart cupel")?.ok()?;
    node.machine
        .until("the finding after a restart", &found, NOTICE)?;
    Ok(format!(
        "a finding made on a full disk ({kept}) outlives a restart after it"
    ))
}
