//! A server as its kernel shows it: the firmware's strings, a drive, a management controller, and
//! an adapter on a PCI Express port whose link has an error.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::Bench;
use crate::machine::{Drive, Hardware, Machine};

/// Reads the machine with `inspect` and `check`, with an error on a link in between.
pub fn run(bench: &Bench) -> Result<String> {
    let hardware = Hardware {
        manufacturer: "Dell Inc.".to_owned(),
        product: "PowerEdge XE9680".to_owned(),
        serial: "7XKQ2Z3".to_owned(),
        drives: vec![Drive {
            serial: "S6CUPEL0001".to_owned(),
            size: 64,
        }],
        controller: true,
        adapter: true,
        ..Hardware::default()
    };
    let mut machine = bench.machine(&hardware)?;
    machine.put(&bench.cupel, "/usr/local/bin/cupel")?;
    let (before, took) = inspect(&mut machine)?;
    for (pointer, wanted) in [
        ("/node/manufacturer", "Dell Inc."),
        ("/node/product", "PowerEdge XE9680"),
        ("/node/serial", "7XKQ2Z3"),
        ("/nvme/0/serial", "S6CUPEL0001"),
        ("/nvme/0/slot", "11"),
        ("/bmc/ipmi_version", "2.0"),
    ] {
        let seen = before.pointer(pointer).unwrap_or(&Value::Null);
        ensure!(seen == wanted, "{pointer} is {seen}, not {wanted:?}");
    }
    let problems = &before["problems"];
    ensure!(problems == &Value::Array(Vec::new()), "{problems}");
    ensure!(link_errors(&before)? == 0, "a new link has errors");

    // This kernel leaves it to drivers to let a device report errors, and this one does not.
    machine.run("setpci -d 1af4:1041 CAP_EXP+8.w=f:f")?.ok()?;
    machine.link_error("COMP_TIME")?;
    std::thread::sleep(Duration::from_secs(1));
    let (after, _) = inspect(&mut machine)?;
    ensure!(link_errors(&after)? == 1, "the link's error is not counted");

    // Its firmware says that it is a server with eight GPUs, and it has none.
    let checked = machine.run("cupel check")?.ended(1)?;
    for wanted in ["gpu.missing", "Verdict: UNHEALTHY", "dell-xe9680-h200"] {
        ensure!(
            checked.contains(wanted),
            "check says no {wanted}: {checked}"
        );
    }
    Ok(format!(
        "boot {:.0} s, inspect {:.1} s",
        machine.boot.as_secs_f64(),
        took
    ))
}

/// The Snapshot, and how many seconds it took.
fn inspect(machine: &mut Machine) -> Result<(Value, f64)> {
    let ran = machine.run("cupel inspect --output json")?;
    let took = ran.took.as_secs_f64();
    let said = ran.ok()?;
    Ok((
        serde_json::from_str(&said).context("inspect gives no JSON")?,
        took,
    ))
}

/// Completions that the adapter waited for in vain, by the kernel's count.
fn link_errors(snapshot: &Value) -> Result<i64> {
    let devices = snapshot["pci"].as_array().into_iter().flatten();
    devices
        .filter(|device| device["slot"] == "10" && device["device"] == "1041")
        .flat_map(|device| device["aer"].as_array().into_iter().flatten())
        .find(|counter| counter["name"] == "nonfatal/CmpltTO")
        .and_then(|counter| counter["value"].as_i64())
        .context("no adapter with error counters in slot 10")
}
