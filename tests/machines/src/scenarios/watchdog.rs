//! A service that is stuck.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::Bench;
use super::installed::Installed;
use crate::machine::Hardware;

/// Longest until systemd has noticed, ended it and started it again: a minute of silence, ten
/// seconds for its end, two before the start, and the emulator's slowness.
const LIMIT: Duration = Duration::from_secs(150);

/// Stops the process (SIGSTOP), which a driver that hangs in the kernel looks like, and waits.
pub fn run(bench: &Bench) -> Result<String> {
    let mut node = Installed::new(bench, &Hardware::default())?;
    let before = node.serving()?;
    node.machine
        .run(&format!("kill -STOP {}", before.pid))?
        .ok()?;
    let stuck = Instant::now();
    let command = format!(
        "pid=$(systemctl show -P MainPID cupel) && test $pid != 0 && test $pid != {}",
        before.pid
    );
    node.machine.until("another process", &command, LIMIT)?;
    node.healthy()?;
    let took = stuck.elapsed();
    let why = "journalctl -b -u cupel.service --no-pager | grep -q 'Watchdog timeout'";
    node.machine.run(why)?.ok()?;
    ensure!(node.serving()?.version == before.version, "another version");
    Ok(format!(
        "healthy again {:.0} s after it got stuck",
        took.as_secs_f64()
    ))
}
