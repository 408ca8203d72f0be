//! Reports that come late, of this boot or an older one, with right and wrong clocks.

mod support;

use cupel_inventory::store::Retention;
use cupel_model::Verdict;
use cupel_model::wire::{ChangeKind, NodeEvent, Report};
use serde_json::json;
use std::time::Duration;
use support::{BOOT, Inventory, Node, change, off_bus};

const NEXT: &str = "22222222-0000-4000-8000-000000000002";

#[tokio::test]
async fn a_late_report_of_this_boot_changes_nothing_that_is_newer() {
    let inventory = Inventory::start().await;
    let mut node = Node::number(&inventory.clock, 1);
    inventory.take(&node.full()).await;
    let id = node.id();
    let begun = inventory.clock.now();
    let raised = node.changes(
        Verdict::Unhealthy,
        vec![change(begun, ChangeKind::Raised, &off_bus(3, begun))],
    );
    inventory.clock.advance(60);
    let full = node.full();
    inventory.take(&full).await;
    // The full report without it came first: the finding is history, and closed.
    let answer = inventory.take(&raised).await;
    assert!(!answer.duplicate);
    let record = inventory.ok(&format!("/v1/nodes/{id}")).await;
    assert_eq!(record["verdict"], "healthy");
    assert_eq!(record["sequence"], json!(full.sequence));
    let findings = inventory.ok("/v1/findings").await;
    assert_eq!(findings["items"].as_array().map(Vec::len), Some(1));
    assert_ne!(findings["items"][0]["closed_at"], json!(null));
    let history = inventory
        .ok(&format!("/v1/nodes/{id}/history?kind=finding"))
        .await;
    assert_eq!(history["items"].as_array().map(Vec::len), Some(1));

    // Late among changes, with no full report after it: it counts.
    let second = node.changes(
        Verdict::Unhealthy,
        vec![change(begun, ChangeKind::Raised, &off_bus(4, begun))],
    );
    let third = node.changes(
        Verdict::Unhealthy,
        vec![change(begun, ChangeKind::Raised, &off_bus(5, begun))],
    );
    inventory.take(&third).await;
    inventory.take(&second).await;
    let open = inventory.ok("/v1/findings?state=open").await;
    assert_eq!(open["items"].as_array().map(Vec::len), Some(2), "{open}");
    let record = inventory.ok(&format!("/v1/nodes/{id}")).await;
    assert_eq!(record["findings"]["critical"], 2);
    // And its clearing, late, is believed as long as nothing newer said otherwise.
    let fourth = node.changes(
        Verdict::Healthy,
        vec![change(begun, ChangeKind::Cleared, &off_bus(4, begun))],
    );
    let fifth = node.heartbeat(Verdict::Healthy);
    inventory.take(&fifth).await;
    inventory.take(&fourth).await;
    let open = inventory.ok("/v1/findings?state=open").await;
    assert_eq!(open["items"].as_array().map(Vec::len), Some(1), "{open}");
}

#[tokio::test]
async fn a_reboot_is_seen_and_the_rest_of_the_old_boot_is_history() {
    let inventory = Inventory::start().await;
    let mut node = Node::number(&inventory.clock, 1);
    inventory.take(&node.full()).await;
    let id = node.id();
    let left = node.heartbeat(Verdict::Unhealthy);
    inventory.clock.advance(300);
    let mut again = node.clone();
    NEXT.clone_into(&mut again.boot);
    again.uptime = 60.0;
    again.sequence = 5;
    inventory.take(&again.full()).await;
    let answer = inventory.take(&left).await;
    assert_eq!((answer.duplicate, answer.send), (false, None));
    let record = inventory.ok(&format!("/v1/nodes/{id}")).await;
    assert_eq!(
        (record["boot"].as_str(), &record["verdict"]),
        (Some(NEXT), &json!("healthy"))
    );
    let boots = inventory
        .ok(&format!("/v1/nodes/{id}/history?kind=boot"))
        .await;
    assert_eq!(boots["items"][0]["previous"], BOOT);
    assert_eq!(boots["items"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn a_late_full_report_of_an_old_boot_keeps_its_snapshot_and_changes_nothing() {
    let inventory = Inventory::start().await;
    let mut node = Node::number(&inventory.clock, 1);
    inventory.take(&node.heartbeat(Verdict::Healthy)).await;
    let mut old = node.clone();
    old.snapshot.node.hostname = "old-name".to_owned().into();
    old.hash = "old".to_owned();
    let begun = inventory.clock.now();
    old.findings = vec![off_bus(2, begun)];
    let late = old.full();
    inventory.clock.advance(600);
    let mut again = node.clone();
    NEXT.clone_into(&mut again.boot);
    again.uptime = 30.0;
    inventory.take(&again.full()).await;
    inventory.take(&late).await;
    let record = inventory.ok(&format!("/v1/nodes/{}", node.id())).await;
    assert_eq!(record["hostname"], "gpu001");
    assert_eq!(record["snapshot"]["hash"], "h1");
    assert_eq!(record["findings"]["critical"], 0);
    let all = inventory.ok("/v1/findings").await;
    assert_ne!(all["items"][0]["closed_at"], json!(null), "{all}");
    let beat = inventory.take(&again.heartbeat(Verdict::Healthy)).await;
    assert_eq!(
        beat.send, None,
        "the hash is still that of the newest full report"
    );
}

#[tokio::test]
async fn a_clock_set_back_at_boot_costs_one_heartbeat() {
    let inventory = Inventory::start().await;
    let mut node = Node::number(&inventory.clock, 1);
    inventory.take(&node.full()).await;
    let mut again = node.clone();
    NEXT.clone_into(&mut again.boot);
    again.uptime = 60.0;
    let wrong = |report: Report| Report {
        made_at: "2019-01-01T00:00:00Z".parse().expect("time"),
        ..report
    };
    inventory.clock.advance(120);
    inventory
        .take(&wrong(again.heartbeat(Verdict::Degraded)))
        .await;
    let record = inventory.ok(&format!("/v1/nodes/{}", node.id())).await;
    assert_eq!(record["boot"], BOOT);
    inventory.clock.advance(60);
    again.uptime = 120.0;
    inventory
        .take(&wrong(again.heartbeat(Verdict::Degraded)))
        .await;
    let record = inventory.ok(&format!("/v1/nodes/{}", node.id())).await;
    assert_eq!(record["boot"], NEXT);
    assert_eq!(record["verdict"], "degraded");
}

#[tokio::test]
async fn a_forgotten_name_is_let_go_of_and_counts_nothing_twice() {
    let inventory = Inventory::start().await;
    let mut node = Node::number(&inventory.clock, 1);
    inventory.take(&node.full()).await;
    let event = NodeEvent {
        boot: BOOT.to_owned(),
        event: cupel_health::testing::xid(3, 79, "", None),
    };
    let report = node.report(cupel_model::wire::Body::Changes {
        verdict: Verdict::Healthy,
        changes: Vec::new(),
        events: vec![event],
    });
    inventory.take(&report).await;
    inventory.take(&node.heartbeat(Verdict::Healthy)).await;
    inventory.clock.advance(100 * 86_400);
    inventory.store.retain(Retention {
        reports: Duration::from_secs(90 * 86_400),
        ..Retention::default()
    });
    let pruned = inventory.store.prune().await.expect("pruned");
    assert_eq!(pruned.reports, 3, "{pruned:?}");
    inventory.take(&node.heartbeat(Verdict::Healthy)).await;
    let answer = inventory.take(&report).await;
    assert!(
        answer.duplicate,
        "whether it was stored is not known any more"
    );
    let history = inventory
        .ok(&format!("/v1/nodes/{}/history?kind=event", node.id()))
        .await;
    assert_eq!(history["items"][0]["event"]["event"]["repeats"], 1);
}
