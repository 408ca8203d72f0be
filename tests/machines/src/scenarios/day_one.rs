//! Day one of one server: it has nothing, and the documented commands alone bring it to its page at
//! the inventory.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::Bench;
use super::installed::Installed;
use crate::authority::Authority;
use crate::machine::Hardware;

/// Longest that a bring-up of a minute may take, on emulated processors.
const BRINGUP: Duration = Duration::from_secs(600);

/// Longest until the inventory has all of it.
const SEEN: Duration = Duration::from_secs(240);

/// The machine.
const NODE: &str = "4c4c4544-0037-5810-8051-b3c04f373301";
const SERIAL: &str = "DAY-ONE-01";

/// Installs, enrols, brings up, and looks at the page.
pub fn run(bench: &Bench) -> Result<String> {
    let directory = tempfile::tempdir()?;
    let inventory = Authority::start(directory.path(), &[])?;
    let join = inventory.join("day-one", 1)?;
    let hardware = Hardware {
        memory: 768,
        serial: SERIAL.to_owned(),
        uuid: Some(NODE.to_owned()),
        ..Hardware::default()
    };
    let mut machine = bench.machine(&hardware)?;
    machine.put(&join, "/root/day-one.join")?;
    machine.run("chmod 600 /root/day-one.join")?.ok()?;
    let mut node = Installed::on(bench, machine, "--join /root/day-one.join")?;
    let bringup = "rm /root/day-one.join && \
                   cupel bringup --yes --for 60s --report /root/report";
    let ran = node.machine.run_within(bringup, BRINGUP)?;
    let took = ran.took;
    let said = ran.ok()?;
    ensure!(said.contains("HEALTHY"), "no verdict: {said}");

    let path = format!("/v1/nodes/{NODE}");
    let record = inventory.until("the node that was brought up", &path, SEEN, |record| {
        record["bringup"]["verdict"] == "healthy" && record["verdict"] == "healthy"
    })?;
    ensure!(
        record["identity"]["state"] == "active",
        "it reports without an identity: {}",
        record["identity"]
    );
    let page = inventory.page(&format!("/nodes/{NODE}"))?;
    for wanted in [SERIAL, "Bring-up", "certificate until"] {
        ensure!(page.contains(wanted), "no {wanted:?} on its page: {page}");
    }
    Ok(format!(
        "installed, enrolled, brought up in {:.0} s, and on its page",
        took.as_secs_f64()
    ))
}
