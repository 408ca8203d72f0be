//! Nodes that do not report: found, excused, and found again.

mod support;

use cupel_inventory::record::{Presence, State};
use cupel_inventory::web::Limits;
use cupel_model::Verdict;
use serde_json::{Value, json};
use support::{Inventory, Node};

async fn node(inventory: &Inventory, id: &str) -> Value {
    inventory.ok(&format!("/v1/nodes/{id}")).await
}

fn word(value: impl serde::Serialize) -> Value {
    serde_json::to_value(value).expect("json")
}

#[tokio::test]
async fn a_silent_node_is_a_warning_then_critical_and_ends_with_its_next_report() {
    let inventory = Inventory::start().await;
    let mut one = Node::number(&inventory.clock, 1);
    let mut two = Node::number(&inventory.clock, 2);
    inventory.take(&one.full()).await;
    inventory.take(&two.full()).await;
    inventory
        .patch(&one.id(), json!({ "lifecycle": "in-service" }))
        .await;
    for _ in 0..3 {
        inventory.clock.advance(60);
        inventory.take(&two.heartbeat(Verdict::Healthy)).await;
    }
    inventory.app.sweep().await;
    let silent = node(&inventory, &one.id()).await;
    assert_eq!(silent["presence"], word(Presence::Late));
    assert_eq!(
        silent["verdict"], "unknown",
        "what is not heard is not healthy"
    );
    assert_eq!(silent["state"], word(State::Degraded));
    assert_eq!(
        silent["open_findings"][0]["tracked"]["finding"]["code"],
        "node.silent"
    );
    assert_eq!(
        silent["open_findings"][0]["tracked"]["finding"]["severity"],
        "warning"
    );
    assert_eq!(silent["open_findings"][0]["source"], "inventory");
    assert_eq!(node(&inventory, &two.id()).await["verdict"], "healthy");

    inventory.clock.advance(15 * 60);
    inventory.app.sweep().await;
    inventory.app.sweep().await;
    let lost = node(&inventory, &one.id()).await;
    assert_eq!(lost["presence"], word(Presence::Lost));
    assert_eq!(lost["verdict"], "unhealthy");
    assert_eq!(lost["blocks_allocation"], true);
    assert_eq!(
        lost["open_findings"].as_array().map(Vec::len),
        Some(1),
        "one occurrence"
    );
    assert_eq!(
        lost["open_findings"][0]["tracked"]["finding"]["severity"],
        "critical"
    );

    inventory.take(&one.heartbeat(Verdict::Healthy)).await;
    let back = node(&inventory, &one.id()).await;
    assert_eq!(back["verdict"], "healthy");
    assert_eq!(back["state"], word(State::Running));
    assert_eq!(back["open_findings"], json!([]));
    let history = inventory
        .ok(&format!("/v1/nodes/{}/history?kind=finding", one.id()))
        .await;
    let changes: Vec<_> = history["items"]
        .as_array()
        .expect("items")
        .iter()
        .map(|entry| entry["change"].as_str().expect("change"))
        .collect();
    assert_eq!(changes, ["cleared", "changed", "raised"]);
}

#[tokio::test]
async fn a_full_report_does_not_clear_what_the_inventory_found() {
    let inventory = Inventory::start().await;
    let mut one = Node::number(&inventory.clock, 1);
    inventory.take(&one.full()).await;
    inventory.clock.advance(600);
    inventory.app.sweep().await;
    let late = {
        // Made before the silence, sent after it: the node is heard again all the same.
        let mut report = one.full();
        report.made_at = support::time(support::BEGIN);
        report
    };
    inventory.take(&late).await;
    let open = inventory.ok("/v1/findings?state=open").await;
    assert_eq!(open["items"], json!([]));
    let closed = inventory
        .ok("/v1/findings?state=closed&code=node.silent")
        .await;
    assert_eq!(closed["items"][0]["closed_why"], "the node reported again");
}

#[tokio::test]
async fn expected_silence_is_no_finding() {
    let inventory = Inventory::start().await;
    let mut nodes: Vec<Node> = (1..=4).map(|n| Node::number(&inventory.clock, n)).collect();
    for node in &mut nodes {
        inventory.take(&node.full()).await;
    }
    let [repaired, retired, planned, stopped] = &mut nodes[..] else {
        panic!("four nodes");
    };
    for (id, set) in [
        (repaired.id(), json!({ "lifecycle": "maintenance" })),
        (retired.id(), json!({ "lifecycle": "retired" })),
        (
            planned.id(),
            json!({ "lifecycle": "in-service", "silence_until": "2026-03-01T14:00:00Z" }),
        ),
        (stopped.id(), json!({ "lifecycle": "in-service" })),
    ] {
        assert_eq!(inventory.patch(&id, set).await.0, 200);
    }
    inventory.clock.advance(30);
    inventory.take(&stopped.stopping()).await;
    let saying = node(&inventory, &stopped.id()).await;
    assert_eq!(saying["state"], word(State::Stopping));
    assert_eq!(saying["stopped"]["why"], "SIGTERM");
    inventory.clock.advance(14 * 60);
    inventory.app.sweep().await;
    for one in [&*repaired, &*retired, &*planned, &*stopped] {
        let record = node(&inventory, &one.id()).await;
        assert_eq!(record["presence"], word(Presence::Quiet), "{record}");
        assert_eq!(record["open_findings"], json!([]));
    }
    assert_eq!(
        node(&inventory, &retired.id()).await["state"],
        word(State::Terminated)
    );
    inventory.clock.advance(2 * 60);
    inventory.app.sweep().await;
    let gone = node(&inventory, &stopped.id()).await;
    assert_eq!(gone["state"], word(State::Stopped));
    assert_eq!(
        gone["open_findings"][0]["tracked"]["finding"]["code"],
        "node.silent"
    );

    // Two hours later the plan has ended, and nothing was heard.
    inventory.clock.advance(2 * 3600);
    inventory.app.sweep().await;
    assert_eq!(
        node(&inventory, &planned.id()).await["presence"],
        word(Presence::Lost)
    );
    // Whoever takes it into maintenance excuses it.
    let (_, excused) = inventory
        .patch(&planned.id(), json!({ "lifecycle": "maintenance" }))
        .await;
    assert_eq!(excused["presence"], word(Presence::Quiet));
    assert_eq!(excused["open_findings"], json!([]));
    let closed = inventory
        .ok(&format!("/v1/findings?state=closed&node={}", planned.id()))
        .await;
    let why = closed["items"][0]["closed_why"].as_str().expect("why");
    assert!(why.contains("maintenance"), "{why}");
}

#[tokio::test]
async fn a_server_that_was_away_waits_before_it_calls_anybody_silent() {
    let data = tempfile::tempdir().expect("directory");
    let first = Inventory::open(
        data.path(),
        cupel_inventory::clock::Clock::set_to(support::time(support::BEGIN)),
        Limits::default(),
    )
    .await;
    let clock = first.clock.clone();
    let mut one = Node::number(&clock, 1);
    first.take(&one.full()).await;
    let read = first.read.clone();
    first.end().await;

    clock.advance(6 * 3600);
    let mut second = Inventory::open(data.path(), clock.clone(), Limits::default()).await;
    second.read = read;
    clock.advance(100);
    second.app.sweep().await;
    assert_eq!(
        node(&second, &one.id()).await["presence"],
        word(Presence::Reporting)
    );
    clock.advance(100);
    second.app.sweep().await;
    assert_eq!(
        node(&second, &one.id()).await["presence"],
        word(Presence::Late)
    );
    second.end().await;
}
