//! The network goes while faults keep coming: everything arrives afterwards, once.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use cupel_fleet::Inventory;
use serde_json::Value;

use super::Bench;
use super::installed::Installed;
use crate::machine::Hardware;

/// How long the network is away.
const AWAY: Duration = Duration::from_secs(600);

/// How often an error comes meanwhile.
const EVERY: Duration = Duration::from_secs(15);

/// How long delivery may take once the network is back: a wait of up to five minutes comes first.
const DELIVERY: Duration = Duration::from_secs(420);

/// What the kernel says of each error.
const SAID: &str = "error message received from";

/// The finding that they make.
const CODE: &str = "pcie.aer-uncorrected";

/// Ten minutes without network, errors on a link all the time, the clock set back by an hour, and a
/// restart of the service in the middle.
pub fn run(bench: &Bench) -> Result<String> {
    let directory = tempfile::tempdir()?;
    let inventory = Inventory::start(directory.path(), &[])?;
    let hardware = Hardware {
        adapter: true,
        ..Hardware::default()
    };
    let token = inventory.token("machine", "report", None)?;
    let port = inventory.url.rsplit(':').next().context("a port")?;
    let mut node = Installed::reporting(bench, &hardware, port, &token)?;
    node.machine
        .run("setpci -d 1af4:1041 CAP_EXP+8.w=f:f")?
        .ok()?;
    let id = known(&inventory)?;

    node.machine.network(false)?;
    let began = Instant::now();
    let mut injected = 0_u32;
    while began.elapsed() < AWAY {
        node.machine.link_error("COMP_TIME")?;
        injected += 1;
        if injected == 8 {
            node.machine.run("date --set='1 hour ago'")?.ok()?;
        }
        if injected == 16 {
            node.machine.run("systemctl restart cupel")?.ok()?;
        }
        std::thread::sleep(EVERY);
    }
    let waiting = waiting(&mut node)?;
    ensure!(
        waiting > 0,
        "nothing waits after {AWAY:?} without a network"
    );
    let before = counted(&inventory, &id)?;
    node.machine.network(true)?;
    let back = Instant::now();
    let said = node
        .machine
        .run(&format!("dmesg | grep -c '{SAID}'"))?
        .ok()?;
    let said: u64 = said.trim().parse()?;
    ensure!(
        said >= u64::from(injected),
        "{injected} errors, the kernel told {said}"
    );
    loop {
        let told = counted(&inventory, &id)?;
        ensure!(told <= said, "the inventory counts {told} of {said} errors");
        if told == said && self::waiting(&mut node)? == 0 {
            break;
        }
        if back.elapsed() > DELIVERY {
            bail!("after {DELIVERY:?} the inventory counts {told} of {said} errors");
        }
        std::thread::sleep(Duration::from_secs(1));
    }
    let took = back.elapsed();
    // What is delivered twice comes a little later.
    std::thread::sleep(Duration::from_secs(10));
    let told = counted(&inventory, &id)?;
    ensure!(
        told == said,
        "later the inventory counts {told} of {said} errors"
    );
    let findings = inventory
        .api()
        .json(&format!("/v1/findings?node={id}&limit=500"))?;
    let findings = findings["items"].as_array().into_iter().flatten();
    let ours = findings
        .map(|one| &one["tracked"]["finding"])
        .filter(|finding| finding["code"] == CODE);
    // One for the device, and it may be one for the port that told of it.
    let mut parts: Vec<String> = ours
        .map(|finding| finding["component"]["pci"].to_string())
        .collect();
    parts.sort();
    let count = parts.len();
    parts.dedup();
    ensure!(
        !parts.is_empty() && parts.len() == count,
        "{count} findings {CODE} of {parts:?}"
    );
    Ok(format!(
        "{} s without network: {injected} errors ({said} records), {waiting} reports waited, \
         {before} records known before; all there, once, {:.0} s after the network",
        AWAY.as_secs(),
        took.as_secs_f64()
    ))
}

/// Waits until the inventory knows the node by a full report, and gives its id.
pub fn known(inventory: &Inventory) -> Result<String> {
    let began = Instant::now();
    while began.elapsed() < DELIVERY {
        let nodes = inventory.api().json("/v1/nodes")?;
        let node = nodes["items"].as_array().and_then(|all| all.first());
        if let Some(id) = node.and_then(|node| node["id"].as_str()) {
            let path = format!("/v1/nodes/{id}/snapshot");
            if inventory.api().get(&path)?.status == 200 {
                return Ok(id.to_owned());
            }
        }
        std::thread::sleep(Duration::from_millis(500));
    }
    bail!("the node does not report within {DELIVERY:?}")
}

/// How many reports wait on the node.
fn waiting(node: &mut Installed) -> Result<u64> {
    let said = node.machine.run("cupel status --output json")?.stdout;
    let status: Value = serde_json::from_str(&said).context("cupel status gives no JSON")?;
    status["inventory"]["waiting"]
        .as_u64()
        .with_context(|| format!("no count of what waits: {status}"))
}

/// How many records of such errors the inventory has of the node.
fn counted(inventory: &Inventory, id: &str) -> Result<u64> {
    let mut count = 0;
    let mut cursor = String::new();
    loop {
        let path = format!("/v1/nodes/{id}/history?kind=event&limit=500{cursor}");
        let page = inventory.api().json(&path)?;
        for item in page["items"].as_array().into_iter().flatten() {
            let event = &item["event"]["event"];
            let raw = event["raw"].as_str().unwrap_or_default();
            if raw.contains(SAID) {
                count += event["repeats"].as_u64().context("no count")?;
            }
        }
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return Ok(count),
        }
    }
}
