//! A rack of three on one network: one machine pushes to all of them, itself too, over real ssh;
//! each gets an identity with one join file, and reports to one inventory with TLS.

use std::net::UdpSocket;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::Bench;
use crate::authority::Authority;
use crate::machine::{Hardware, Machine};

/// How many.
const NODES: u8 = 3;

/// Longest that a push may take, over emulated machines that install all at once.
const PUSH: Duration = Duration::from_secs(900);

/// Longest until a node is seen, and judged, at the inventory.
const SEEN: Duration = Duration::from_secs(240);

/// From three machines that have nothing to three nodes of an inventory; and again.
pub fn run(bench: &Bench) -> Result<String> {
    let directory = tempfile::tempdir()?;
    let inventory = Authority::start(directory.path(), &[])?;
    let join = inventory.join("rack7", u32::from(NODES))?;
    // Free for others than multicast too, so for whoever may try.
    let port = UdpSocket::bind("127.0.0.1:0")?.local_addr()?.port();
    let mut machines = Vec::new();
    for number in 1..=NODES {
        let hardware = Hardware {
            memory: 640,
            serial: format!("RACK7-N0{number}"),
            uuid: Some(format!("4c4c4544-0037-5810-8051-b3c04f37310{number}")),
            rack: Some((port, number)),
            ..Hardware::default()
        };
        let mut machine = bench.machine(&hardware)?;
        machine.run(&plugged(number))?.ok()?;
        machines.push(machine);
    }
    let release = bench.releases.good("rack")?;
    let technician = machines.first_mut().context("a machine")?;
    technician.run("mkdir -p /root/rack /root/.ssh")?.ok()?;
    technician.put(&bench.cupel, "/root/cupel")?;
    technician.put(&release.file, "/root/rack/cupel-x86_64")?;
    technician.put(&release.signature, "/root/rack/cupel-x86_64.minisig")?;
    technician.put(&bench.releases.key()?, "/root/rack/test.pub")?;
    technician.put(&join, "/root/rack/rack7.join")?;
    let key = "chmod 755 /root/cupel && chmod 600 /root/rack/rack7.join && \
               ssh-keygen -q -t ed25519 -N '' -f /root/.ssh/id_ed25519 && \
               cat /root/.ssh/id_ed25519.pub";
    let key = technician.run(key)?.ok()?;
    technician
        .run(&format!("cat >/root/rack/RACK.toml <<'END'\n{}END", rack()))?
        .ok()?;
    for machine in &mut machines {
        let known = format!(
            "mkdir -p /root/.ssh && echo '{}' >>/root/.ssh/authorized_keys",
            key.trim()
        );
        machine.run(&known)?.ok()?;
    }
    let technician = machines.first_mut().context("a machine")?;
    let (first, took) = push(technician)?;
    for node in &first {
        ensure!(node["result"] == "installed", "{node}");
    }
    // The inventory has all three, by the identities that they got.
    let all = inventory.until("three nodes", "/v1/nodes", SEEN, |page| {
        let nodes = page["items"].as_array();
        nodes.is_some_and(|nodes| {
            nodes.len() == usize::from(NODES)
                && nodes.iter().all(|node| node["verdict"] == "healthy")
        })
    })?;
    let ids = all["items"].as_array().into_iter().flatten();
    for id in ids.filter_map(|node| node["id"].as_str()) {
        let record = inventory.get(&format!("/v1/nodes/{id}"))?;
        ensure!(
            record["identity"]["state"] == "active",
            "{}",
            record["identity"]
        );
    }
    let used = inventory.used("rack7")?;
    ensure!(
        used == u64::from(NODES),
        "the join file was used {used} times"
    );

    // Only what is missing: one of them has lost everything.
    let lost = machines.last_mut().context("a machine")?;
    lost.run("cupel uninstall --yes")?.ok()?;
    let technician = machines.first_mut().context("a machine")?;
    let (again, repeated) = push(technician)?;
    let results: Vec<&str> = again
        .iter()
        .filter_map(|node| node["result"].as_str())
        .collect();
    ensure!(results == ["already", "already", "installed"], "{again:?}");
    let used = inventory.used("rack7")?;
    ensure!(
        used == u64::from(NODES),
        "the join file was used {used} times"
    );
    Ok(format!(
        "three nodes from nothing in {:.0} s, again with one missing in {:.0} s",
        took.as_secs_f64(),
        repeated.as_secs_f64()
    ))
}

/// The network that the machines share.
fn plugged(number: u8) -> String {
    format!(
        "cat >/etc/systemd/network/20-rack.network <<'END'\n\
         [Match]\nPermanentMACAddress=52:54:00:00:07:{number:02x}\n\n\
         [Network]\nAddress=10.7.0.{number}/24\nLinkLocalAddressing=no\nEND\n\
         networkctl reload && hostnamectl hostname rack7-n0{number} && \
         for i in $(seq 50); do ip -br addr | grep -q 10.7.0.{number}/ && exit 0; sleep 0.2; done; \
         exit 1"
    )
}

fn rack() -> String {
    let mut text = "program = \"cupel-x86_64\"\n\
                    release_keys = [\"test.pub\"]\n\
                    join = \"rack7.join\"\n\
                    ssh_arguments = [\"-o\", \"StrictHostKeyChecking=accept-new\"]\n"
        .to_owned();
    for number in 1..=NODES {
        text += &format!("[[node]]\nname = \"rack7-n0{number}\"\naddress = \"10.7.0.{number}\"\n");
    }
    text
}

/// Pushes by the documented command; what came of each node.
fn push(technician: &mut Machine) -> Result<(Vec<Value>, Duration)> {
    let command = "cd /root/rack && /root/cupel push RACK.toml --output json || \
                   { tail -n 20 cupel-push/*.log >&2; exit 1; }";
    let ran = technician.run_within(command, PUSH)?;
    let took = ran.took;
    let said: Value = serde_json::from_str(&ran.ok()?).context("push gives no JSON")?;
    let nodes = said["nodes"].as_array().context("nodes")?.clone();
    ensure!(nodes.len() == usize::from(NODES), "{said}");
    Ok((nodes, took))
}
