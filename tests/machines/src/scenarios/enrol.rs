//! A node's identity: sealed to its TPM, renewed by itself, worth nothing on another machine, and
//! noticed where it is on two. Join files that are used up or expired are refused.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::installed::Installed;
use super::{Bench, NotHere};
use crate::authority::Authority;
use crate::image::installed;
use crate::machine::{Hardware, Machine, TPM_PROGRAM};

/// Longest until what was done on a node is seen at the inventory, and the other way round.
const SEEN: Duration = Duration::from_secs(300);

/// How long nothing must come: more than one heartbeat.
const SILENCE: Duration = Duration::from_secs(100);

/// A certificate's life, and after which part of it the next is asked for.
const LIFE: [&str; 4] = ["--certificate-life", "20m", "--renew-at", "5"];

/// The service itself can open the key, and reports with it.
const USED: &str = "cupel enrol --status && cupel status | grep -A3 -i identity && \
    cupel status | grep -q 'identity *good'";

/// The UUIDs of the machine and of another one.
const OWN: &str = "4c4c4544-0037-5810-8051-b3c04f373201";
const OTHER: &str = "4c4c4544-0037-5810-8051-b3c04f373202";

/// From a join file to a machine that was copied.
pub fn run(bench: &Bench) -> Result<String> {
    let directory = tempfile::tempdir()?;
    installed(
        &[(TPM_PROGRAM, TPM_PROGRAM)],
        &directory.path().join("apt.log"),
    )
    .map_err(NotHere)?;
    let tpms = tempfile::tempdir()?;
    let inventory = Authority::start(directory.path(), &LIFE)?;
    let own = tpms.path().join("own");
    let hardware = Hardware {
        memory: 640,
        serial: "ENROL-01".to_owned(),
        uuid: Some(OWN.to_owned()),
        tpm: Some(own.clone()),
        ..Hardware::default()
    };
    let mut node = Installed::new(bench, &hardware)?;
    let join = inventory.join("rack7", 2)?;
    enrol(&mut node.machine, &join, "")?.ok()?;
    let path = format!("/v1/nodes/{OWN}");
    node.machine.until("an identity that is used", USED, SEEN)?;
    let record = inventory.until("the enrolled node", &path, SEEN, |record| {
        record["verdict"] == "healthy"
    })?;
    ensure!(
        record["identity"]["key_protection"] == "tpm",
        "the key is not sealed: {}",
        record["identity"]
    );
    // The key is nowhere in the clear.
    let files = node
        .machine
        .run("cd /var/lib/cupel/identity && ls && ! grep -l 'PRIVATE KEY' -r .")?
        .ok()?;
    ensure!(files.contains(".cred"), "no sealed key: {files}");
    let first = record["identity"]["not_after"].clone();
    inventory.until("a renewed certificate", &path, SEEN, |record| {
        record["identity"]["not_after"] != first
    })?;

    node.machine.run("sync")?.ok()?;
    node.machine.power_cut()?;
    stolen(&mut node.machine, &inventory, &tpms.path().join("thief"))?;
    node.machine.rebuilt(|hardware| hardware.tpm = Some(own));
    let before = inventory.get(&path)?["boot"].clone();
    node.machine.power_on()?;
    inventory.until("the node with its own TPM", &path, SEEN, |record| {
        record["boot"] != before
    })?;

    // The same without a TPM: a copy of the disk has the key.
    let join = inventory.join("again", 1)?;
    enrol(&mut node.machine, &join, "--anew --seal none")?.ok()?;
    ensure!(
        inventory.get(&path)?["identity"]["key_protection"] == "file",
        "the key is not in a file"
    );
    node.machine.run("sync")?.ok()?;
    node.machine.power_cut()?;
    let elsewhere = Hardware {
        uuid: Some(OTHER.to_owned()),
        serial: "ENROL-02".to_owned(),
        tpm: None,
        ..hardware.clone()
    };
    let mut copy = node.machine.copied(&elsewhere)?;
    told(&mut copy, "other-node")?;
    for (name, uses, life) in [("again", None, None), ("short", Some(1), Some("1s"))] {
        refused(&mut copy, &inventory, (name, uses, life))?;
    }
    copy.power_cut()?;

    // Two machines that call themselves the same.
    copy.rebuilt(|other| {
        other.uuid = Some(OWN.to_owned());
        other.serial = hardware.serial.clone();
    });
    copy.power_on()?;
    let before = inventory.get(&path)?["boot"].clone();
    inventory.until("the copy", &path, SEEN, |record| record["boot"] != before)?;
    // What it had to say as the other node is told apart, and stands in nobody's way.
    finding(&inventory, "node.identity-elsewhere")?;
    node.machine.power_on()?;
    finding(&inventory, "node.identity-shared")?;
    Ok(format!(
        "sealed and renewed; silent without its TPM for {:.0} s; a copy refused, and two noticed",
        SILENCE.as_secs_f64()
    ))
}

/// Waits until the inventory has this finding of the node.
fn finding(inventory: &Authority, code: &str) -> Result<()> {
    let open = format!("/v1/findings?node={OWN}&state=open&limit=500");
    inventory.until(code, &open, SEEN, |page| {
        let all = page["items"].as_array().into_iter().flatten();
        all.map(|one| &one["tracked"]["finding"])
            .any(|finding| finding["code"] == code)
    })?;
    Ok(())
}

/// Enrols by the documented command.
fn enrol(machine: &mut Machine, join: &Path, options: &str) -> Result<crate::machine::Ran> {
    machine.put(join, "/root/join")?;
    machine.run(&format!(
        "chmod 600 /root/join && cupel enrol /root/join --yes {options}; \
         code=$?; rm /root/join; exit $code"
    ))
}

/// What the service says of its identity.
fn identity(machine: &mut Machine) -> Result<Value> {
    let said = machine.run("cupel status --output json")?.stdout;
    let status: Value = serde_json::from_str(&said).context("cupel status gives no JSON")?;
    Ok(status["identity"].clone())
}

/// Waits until the service, which runs, says this of its identity and what to do.
fn told(machine: &mut Machine, state: &str) -> Result<()> {
    machine.until(
        "what the service says of its identity",
        &format!("cupel status --output json | tr -d ' \\n' | grep -q '\"state\":\"{state}\"'"),
        SEEN,
    )?;
    let identity = identity(machine)?;
    ensure!(
        identity["state"] == state
            && identity["why"]
                .as_str()
                .is_some_and(|why| why.contains("enrol")),
        "{identity}"
    );
    // It runs and watches, whatever its identity is worth.
    machine.until("the service", "systemctl -q is-active cupel", SEEN)?;
    machine.run("cupel enrol --status")?.ended(2)?;
    Ok(())
}

/// The disk in a machine that has another TPM and gives itself out for the same: it watches, and can
/// tell nobody.
fn stolen(machine: &mut Machine, inventory: &Authority, tpm: &Path) -> Result<()> {
    let path = format!("/v1/nodes/{OWN}");
    machine.rebuilt(|hardware| hardware.tpm = Some(tpm.to_owned()));
    machine.power_on()?;
    told(machine, "sealed")?;
    let before = inventory.get(&path)?;
    std::thread::sleep(SILENCE);
    let after = inventory.get(&path)?;
    for key in ["boot", "sequence"] {
        ensure!(
            before[key] == after[key],
            "it reports without its TPM: {after}"
        );
    }
    machine.power_cut()
}

/// A join file that lets nobody in.
fn refused(
    machine: &mut Machine,
    inventory: &Authority,
    (name, uses, life): (&str, Option<u32>, Option<&str>),
) -> Result<()> {
    let join = match (uses, life) {
        (Some(uses), Some(life)) => {
            let join = inventory.join_for(name, uses, Some(life))?;
            std::thread::sleep(Duration::from_secs(3));
            join
        }
        _ => inventory.joined(name),
    };
    let ran = enrol(machine, &join, "--anew --seal none")?;
    let said = ran.stderr.clone();
    ran.ended(4)?;
    ensure!(!said.is_empty(), "no reason is told");
    Ok(())
}
