//! From nothing to a service that comes up by itself, and back to nothing.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::Bench;
use super::installed::Installed;
use crate::machine::Hardware;

/// Highest exposure by `systemd-analyze security`.
const EXPOSURE: f64 = 4.0;

/// Longest that the service may take to end, of the guest's own emulated time.
const STOP: Duration = Duration::from_secs(2);

/// Installs, looks, reboots, removes.
pub fn run(bench: &Bench) -> Result<String> {
    let began = Instant::now();
    let mut node = Installed::new(bench, &Hardware::default())?;
    let installed = began.elapsed() - node.machine.boot;
    let first = node.first.version.clone();
    node.settled_on(&first)?;

    // Once is enough, and nothing is disturbed by asking twice.
    let before = node.serving()?;
    node.machine
        .run("/root/cupel-x86_64 install --yes")?
        .ended(4)?;
    ensure!(
        node.serving()? == before,
        "a refused installation restarted the service"
    );

    let units = "cupel.service cupel-upgrade.service cupel-recover.service cupel-bringup.service \
                 cupel-wish.service";
    // Manual pages come with packages alone.
    let verified = node
        .machine
        .run(&format!("systemd-analyze verify --man=no {units}"))?;
    ensure!(
        verified.code == 0 && verified.stderr.is_empty(),
        "{verified:?}"
    );
    let exposure = exposure(
        &node
            .machine
            .run("systemd-analyze security cupel.service")?
            .ok()?,
    )?;
    ensure!(
        exposure <= EXPOSURE,
        "exposure {exposure}, at most {EXPOSURE}"
    );

    let socket = node.machine.run("stat -c %a /run/cupel/cupel.sock")?.ok()?;
    ensure!(socket.trim() == "666", "the socket's mode is {socket}");
    refused_configuration(&mut node)?;
    let stopped = stop(&mut node)?;
    ensure!(stopped <= STOP, "it took {stopped:?} to stop");

    node.machine.reboot()?;
    let up = Instant::now();
    node.settled_on(&first)?;
    let healthy = up.elapsed();

    node.machine.run("cupel uninstall --yes --purge")?.ok()?;
    let rest = node.machine.run(
        "ls -d /usr/bin/cupel /usr/lib/cupel /etc/cupel /var/lib/cupel /run/cupel \
         /usr/lib/systemd/system/cupel* 2>/dev/null; systemctl -q is-active cupel && echo active; \
         true",
    )?;
    let rest = rest.ok()?;
    ensure!(rest.is_empty(), "after a removal there is still: {rest}");
    Ok(format!(
        "install {:.0} s, exposure {exposure}, stop {:.2} s, healthy {:.0} s after a reboot of {:.0} s",
        installed.as_secs_f64(),
        stopped.as_secs_f64(),
        healthy.as_secs_f64(),
        node.machine.boot.as_secs_f64(),
    ))
}

/// A configuration that is refused changes nothing, and the service says so.
fn refused_configuration(node: &mut Installed) -> Result<()> {
    let before = node.serving()?;
    let bad = "echo 'no_such_key = 1' >/etc/cupel/bad.toml && systemctl reload cupel";
    node.machine.run(bad)?.ok()?;
    let told = "cupel status | grep -q no_such_key";
    node.machine.until(
        "the refused configuration in the status",
        told,
        Duration::from_secs(20),
    )?;
    ensure!(
        node.serving()? == before,
        "a refused configuration restarted the service"
    );
    node.machine
        .run("rm /etc/cupel/bad.toml && systemctl reload cupel")?
        .ok()?;
    Ok(())
}

/// Stops the service and says how long that took, by the guest's clock.
fn stop(node: &mut Installed) -> Result<Duration> {
    let command = "a=$(date +%s%N) && systemctl stop cupel && b=$(date +%s%N) && \
                   echo $(((b - a) / 1000)) && systemctl show -P Result cupel";
    let said = node.machine.run(command)?.ok()?;
    let mut lines = said.lines();
    let microseconds = lines.next().and_then(|line| line.parse().ok());
    ensure!(
        lines.next() == Some("success"),
        "the service did not end well: {said}"
    );
    Ok(Duration::from_micros(microseconds.context("no time")?))
}

/// From `→ Overall exposure level for cupel.service: 3.1 OK`.
fn exposure(said: &str) -> Result<f64> {
    let line = said
        .lines()
        .rev()
        .find(|line| line.contains("exposure level"));
    let value = line
        .and_then(|line| line.split(": ").nth(1))
        .and_then(|rest| rest.split(' ').next())
        .and_then(|value| serde_json::from_str::<Value>(value).ok())
        .and_then(|value| value.as_f64());
    value.with_context(|| format!("no exposure in {said}"))
}
