//! The load generator, small: what it sends is taken, and every node of it is there.

use anyhow::{Result, ensure};
use cupel_fleet::Inventory;
use cupel_fleet::load::{Plan, Template, first_reports, heartbeats};
use cupel_rack::scratch;

#[test]
fn a_small_fleet_reports_and_is_there() -> Result<()> {
    let directory = scratch()?;
    let template = Template::of("dgx-h100", &directory.path().join("node"))?;
    let inventory = Inventory::start(&directory.path().join("inventory"), &[])?;
    let api = inventory.api();
    let reporter = api.with(&inventory.token("load", "report", None)?);
    let plan = Plan {
        nodes: 100,
        connections: 8,
        rounds: 2,
    };
    let full = first_reports(&template, &plan, &reporter)?;
    ensure!(full.latencies.len() == 100, "{full:?}");
    let beats = heartbeats(&template, &plan, &reporter)?;
    ensure!(beats.latencies.len() == 200, "{beats:?}");

    let summary = api.json("/v1/summary")?;
    ensure!(summary["fleet"]["all"]["nodes"] == 100, "{summary}");
    let page = api.json("/v1/nodes?limit=500")?;
    let nodes = page["items"].as_array().map_or(0, Vec::len);
    ensure!(nodes == 100 && page["next"].is_null(), "{nodes} nodes");
    // Each has parts of its own, and two of each hundred told of a finding in each round.
    let chassis = template.chassis(100);
    let found = api.json(&format!("/v1/nodes?q={chassis}"))?;
    ensure!(
        found["items"].as_array().map_or(0, Vec::len) == 1,
        "{found}"
    );
    let findings = api.json("/v1/findings?limit=500&code=gpu.xid")?;
    let findings = findings["items"].as_array().map_or(0, Vec::len);
    ensure!(findings == 4, "{findings} findings");
    Ok(())
}
