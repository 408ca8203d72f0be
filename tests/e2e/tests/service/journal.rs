//! Findings in systemd's journal, with fields that can be searched for.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use cupel_fleet::NodeOptions;

use super::node::{SOON, Server, beside_others, wait_until};

#[test]
fn what_happens_to_a_finding_is_in_the_journal_with_its_part() -> Result<()> {
    let _guard = beside_others();
    let mut server = Server::new(NodeOptions {
        every: Some(0.3),
        ..NodeOptions::default()
    })?;
    let directory = server.node.rack.root().join("run/systemd/journal");
    fs::create_dir_all(&directory)?;
    let journal = UnixDatagram::bind(directory.join("socket"))?;
    journal.set_read_timeout(Some(Duration::from_millis(50)))?;
    server.node.start()?;
    server.judged()?;
    server.apply_scenario("gpu-row-remap-failed")?;
    let finding = server.finding("gpu.row-remap-failed")?;
    let mut records = Vec::new();
    wait_until("it is in the journal", SOON, || {
        let mut buffer = [0_u8; 65536];
        while let Ok(count) = journal.recv(&mut buffer) {
            records.push(String::from_utf8(buffer[..count].to_vec())?);
        }
        Ok(records
            .iter()
            .any(|record| record.contains("\nCODE=gpu.row-remap-failed\n")))
    })?;
    let record = records
        .iter()
        .find(|record| record.contains("\nCODE=gpu.row-remap-failed\n"))
        .context("record")?;
    let field = |name: &str| {
        let lead = format!("{name}=");
        let mut found = record.lines().filter_map(|line| line.strip_prefix(&lead));
        found.next().map(str::to_owned).context(lead.clone())
    };
    let part = &finding["finding"]["component"];
    ensure!(
        Some(field("PCI")?.as_str()) == part["pci"].as_str(),
        "{record}"
    );
    ensure!(
        Some(field("SERIAL")?.as_str()) == part["serial"].as_str(),
        "{record}"
    );
    ensure!(
        Some(field("FINDING_ID")?.as_str()) == finding["id"].as_str(),
        "{record}"
    );
    ensure!(field("CHANGE")? == "raised", "{record}");
    let id = field("MESSAGE_ID")?;
    let catalogue = concat!(env!("CARGO_MANIFEST_DIR"), "/../../systemd/cupel.catalog");
    ensure!(
        fs::read_to_string(catalogue)?.contains(&format!("-- {id}\nSubject: gpu.row-remap-failed")),
        "the catalogue explains it"
    );
    Ok(())
}
