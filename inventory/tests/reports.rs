//! Reports: stored once, applied in order, answered with what is wanted.

mod support;

use cupel_model::wire::{Body, ChangeKind, Dropped, NodeEvent, Send, UpgradeOutcome, UpgradeState};
use cupel_model::{Confidence, Verdict};
use serde_json::json;
use support::{Inventory, Node, change, off_bus, time};

#[tokio::test]
async fn a_report_is_stored_once_however_often_it_comes() {
    let inventory = Inventory::start().await;
    let mut node = Node::number(&inventory.clock, 1);
    let full = node.full();
    let first = inventory.take(&full).await;
    assert!(!first.duplicate);
    assert!(first.wanted.is_some(), "the node has no wishes yet");
    let again = inventory.take(&full).await;
    assert!(again.duplicate);
    assert_eq!(again.wanted, first.wanted);

    let mut other = full.clone();
    other.cupel_version = "9.9.9".to_owned();
    let (status, problem) = inventory.post(&other).await;
    assert_eq!(status, 409, "{problem}");
    assert_eq!(problem["type"], "urn:cupel:other-content");

    let record = inventory.ok(&format!("/v1/nodes/{}", node.id())).await;
    assert_eq!(record["verdict"], "healthy");
    assert_eq!(record["hostname"], "gpu001");
    assert_eq!(record["gpu_count"], 8);
    assert_eq!(record["cupel_version"], "0.1.0");
    let history = inventory
        .ok(&format!("/v1/nodes/{}/history?kind=verdict", node.id()))
        .await;
    assert_eq!(history["items"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn each_encoding_is_the_same_report() {
    let inventory = Inventory::start().await;
    let mut node = Node::number(&inventory.clock, 1);
    let bytes = serde_json::to_vec(&node.full()).expect("json");
    let (status, answer) = inventory.post_bytes(bytes.clone(), None).await;
    assert_eq!((status, &answer["duplicate"]), (200, &json!(false)));
    let zstd = zstd::bulk::compress(&bytes, 19).expect("memory");
    let (status, answer) = inventory.post_bytes(zstd, Some("zstd")).await;
    assert_eq!((status, &answer["duplicate"]), (200, &json!(true)));
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gzip, &bytes).expect("memory");
    let gzip = gzip.finish().expect("memory");
    let (status, answer) = inventory.post_bytes(gzip, Some("gzip")).await;
    assert_eq!((status, &answer["duplicate"]), (200, &json!(true)));
}

#[tokio::test]
async fn an_unknown_hash_is_answered_with_send_full() {
    let inventory = Inventory::start().await;
    let mut node = Node::number(&inventory.clock, 1);
    let answer = inventory.take(&node.heartbeat(Verdict::Degraded)).await;
    assert_eq!(answer.send, Some(Send::Full), "nothing is known of it");
    let record = inventory.ok(&format!("/v1/nodes/{}", node.id())).await;
    assert_eq!(record["verdict"], "degraded");
    assert_eq!(record["gpu_count"], json!(null));

    assert_eq!(inventory.take(&node.full()).await.send, None);
    let beat = inventory.take(&node.heartbeat(Verdict::Healthy)).await;
    assert_eq!(beat.send, None);
    node.hash = "h2".to_owned();
    let beat = inventory.take(&node.heartbeat(Verdict::Healthy)).await;
    assert_eq!(beat.send, Some(Send::Full));
}

#[tokio::test]
async fn wishes_come_until_the_node_has_them() {
    let inventory = Inventory::start().await;
    let mut node = Node::number(&inventory.clock, 1);
    let first = inventory.take(&node.full()).await.wanted.expect("wishes");
    assert_eq!(first["lifecycle"], "provisioning");
    let mut beat = node.heartbeat(Verdict::Healthy);
    beat.wanted.etag = first["etag"].as_str().map(str::to_owned);
    beat.wanted.refused = Some("no such baseline".to_owned());
    assert_eq!(inventory.take(&beat).await.wanted, None);
    let record = inventory.ok(&format!("/v1/nodes/{}", node.id())).await;
    assert_eq!(record["wanted_state"]["refused"], "no such baseline");

    let set = json!({ "lifecycle": "in-service", "baseline": "b7" });
    assert_eq!(inventory.patch(&node.id(), set).await.0, 200);
    let mut beat = node.heartbeat(Verdict::Healthy);
    beat.wanted.etag = first["etag"].as_str().map(str::to_owned);
    let wanted = inventory.take(&beat).await.wanted.expect("new wishes");
    assert_eq!(wanted["lifecycle"], "in-service");
    assert_eq!(wanted["baseline"], "b7");
    assert_ne!(wanted["etag"], first["etag"]);
}

#[tokio::test]
async fn a_version_is_wished_until_it_is_unset_and_what_came_of_it_is_in_the_record() {
    let inventory = Inventory::start().await;
    let mut node = Node::number(&inventory.clock, 1);
    inventory.take(&node.full()).await;
    let wish = json!({ "version": "0.2.0", "url": "https://releases.example/cupel-x86_64" });
    let set = json!({ "upgrade": wish });
    assert_eq!(inventory.patch(&node.id(), set).await.0, 200);
    // What is set of other things leaves it as it is.
    let set = json!({ "baseline": "b7" });
    assert_eq!(inventory.patch(&node.id(), set).await.0, 200);
    let beat = node.heartbeat(Verdict::Healthy);
    let wanted = inventory.take(&beat).await.wanted.expect("wishes");
    assert_eq!(wanted["upgrade"]["version"], "0.2.0");
    assert_eq!(wanted["upgrade"]["downgrade"], false);

    let mut beat = node.heartbeat(Verdict::Healthy);
    beat.wanted.upgrade = Some(UpgradeState {
        version: "0.2.0".to_owned(),
        outcome: UpgradeOutcome::Reverted,
        why: Some("it ended by itself".to_owned()),
        at: beat.made_at,
    });
    inventory.take(&beat).await;
    let record = inventory.ok(&format!("/v1/nodes/{}", node.id())).await;
    assert_eq!(record["wanted"]["upgrade"]["version"], "0.2.0");
    let told = &record["wanted_state"]["upgrade"];
    assert_eq!(told["outcome"], "reverted");
    assert_eq!(told["why"], "it ended by itself");
    let (_, page) = inventory.get(&format!("/nodes/{}", node.id())).await;
    let page = page.as_str().expect("a page");
    assert!(
        page.contains("0.2.0 - put back: it ended by itself"),
        "{page}"
    );

    let bad = json!({ "upgrade": { "version": "0.2.0", "url": "http://releases.example/cupel" } });
    let (status, problem) = inventory.patch(&node.id(), bad).await;
    assert_eq!(status, 400, "{problem}");
    let unset = json!({ "upgrade": null });
    assert_eq!(inventory.patch(&node.id(), unset).await.0, 200);
    let beat = node.heartbeat(Verdict::Healthy);
    let wanted = inventory.take(&beat).await.wanted.expect("wishes");
    assert_eq!(wanted["upgrade"], json!(null));
    assert_eq!(wanted["baseline"], "b7");
    let record = inventory.ok(&format!("/v1/nodes/{}", node.id())).await;
    assert_eq!(record["wanted_state"]["upgrade"], json!(null));
}

#[tokio::test]
async fn what_is_wrong_with_a_report_is_named() {
    let inventory = Inventory::start().await;
    let mut node = Node::number(&inventory.clock, 1);
    let good = serde_json::to_value(node.full()).expect("json");
    let with = |pointer: &str, value: serde_json::Value| {
        let mut bad = good.clone();
        *bad.pointer_mut(pointer).expect(pointer) = value;
        bad
    };
    for (bad, path) in [
        (with("/schema_version", json!(2)), "schema_version"),
        (with("/node", json!("Not An Id")), "node"),
        (with("/boot", json!("../../etc")), "boot"),
        (
            with("/sequence", json!(9_007_199_254_740_993_u64)),
            "sequence",
        ),
        (with("/uptime_seconds", json!(-1.0)), "uptime_seconds"),
        (
            with("/next_within_seconds", json!(0.0)),
            "next_within_seconds",
        ),
        (with("/body/kind", json!("levitating")), "body.kind"),
        (
            with("/body/snapshot/node/id", json!("another-node-0001")),
            "body.snapshot.node.id",
        ),
        (
            with("/body/snapshot/gpus/3/pci", json!("nonsense")),
            "body.snapshot.gpus[3].pci",
        ),
        (
            with("/body/check/verdict", json!("fine")),
            "body.check.verdict",
        ),
    ] {
        let (status, problem) = inventory
            .post_bytes(bad.to_string().into_bytes(), None)
            .await;
        assert_eq!(status, 400, "{path}: {problem}");
        assert_eq!(problem["errors"][0]["column"], path, "{problem}");
    }
    for bad in ["", "[1, 2", "\"text\"", "nonsense", "{}", "\u{0}"] {
        let (status, problem) = inventory.post_bytes(bad.as_bytes().to_vec(), None).await;
        assert_eq!(status, 400, "{bad:?}: {problem}");
    }
    let (status, _) = inventory.get(&format!("/v1/nodes/{}", node.id())).await;
    assert_eq!(status, 404, "nothing of a refused report is kept");
}

#[tokio::test]
async fn fields_that_are_not_known_here_stay_in_the_snapshot() {
    let inventory = Inventory::start().await;
    let mut node = Node::number(&inventory.clock, 1);
    let mut report = serde_json::to_value(node.full()).expect("json");
    report["body"]["snapshot"]["colour"] = json!({ "of": "tomorrow" });
    report["tomorrow"] = json!([1, 2, 3]);
    let (status, _) = inventory
        .post_bytes(report.to_string().into_bytes(), None)
        .await;
    assert_eq!(status, 200);
    let snapshot = inventory
        .ok(&format!("/v1/nodes/{}/snapshot", node.id()))
        .await;
    assert_eq!(snapshot, report["body"]["snapshot"]);
}

#[tokio::test]
async fn findings_are_raised_confirmed_and_cleared_and_a_full_report_is_the_truth() {
    let inventory = Inventory::start().await;
    let mut node = Node::number(&inventory.clock, 1);
    inventory.take(&node.full()).await;
    let id = node.id();
    let at = |minutes: u32| time(&format!("2026-03-01T11:{minutes:02}:00Z"));
    let mut lost = off_bus(3, at(0));
    let raised = change(at(0), ChangeKind::Raised, &lost);
    inventory
        .take(&node.changes(Verdict::Unhealthy, vec![raised]))
        .await;
    let open = inventory.ok("/v1/findings?state=open").await;
    assert_eq!(open["items"].as_array().map(Vec::len), Some(1));
    assert_eq!(
        open["items"][0]["tracked"]["finding"]["confidence"],
        "provisional"
    );
    let ticket = open["items"][0]["ticket"].clone();
    let record = inventory.ok(&format!("/v1/nodes/{id}")).await;
    assert_eq!(record["verdict"], "unhealthy");
    assert_eq!(record["blocks_allocation"], true);
    assert_eq!(record["findings"]["critical"], 1);

    lost.finding.confidence = Confidence::Confirmed;
    let confirmed = change(at(1), ChangeKind::Confirmed, &lost);
    inventory
        .take(&node.changes(Verdict::Unhealthy, vec![confirmed]))
        .await;
    // The full report that follows says nothing new.
    node.findings = vec![lost.clone()];
    inventory.take(&node.full()).await;
    let history = inventory
        .ok(&format!("/v1/nodes/{id}/history?kind=finding"))
        .await;
    let changes: Vec<_> = history["items"]
        .as_array()
        .expect("items")
        .iter()
        .map(|entry| entry["change"].as_str().expect("change"))
        .collect();
    assert_eq!(changes, ["confirmed", "raised"], "{history}");

    // A full report without it clears it; one with another raises that.
    node.findings = vec![off_bus(5, at(9))];
    inventory.take(&node.full()).await;
    let all = inventory.ok("/v1/findings").await;
    let items = all["items"].as_array().expect("items");
    assert_eq!(items.len(), 2);
    assert_eq!(items[1]["ticket"], ticket);
    assert_ne!(items[1]["closed_at"], json!(null));
    assert_eq!(items[0]["closed_at"], json!(null));

    // The same condition later is another occurrence.
    node.findings = vec![off_bus(3, at(20))];
    inventory.take(&node.full()).await;
    let third = inventory.ok("/v1/findings?code=gpu.off-bus").await;
    assert_eq!(third["items"].as_array().map(Vec::len), Some(3));
    assert_ne!(third["items"][0]["ticket"], ticket);
}

#[tokio::test]
async fn events_are_summed_over_reports_and_not_over_deliveries() {
    let inventory = Inventory::start().await;
    let mut node = Node::number(&inventory.clock, 1);
    inventory.take(&node.full()).await;
    let event = |repeats, minute: u32| {
        let mut event = cupel_health::testing::xid(3, 79, "", None);
        let at = time(&format!("2026-03-01T10:{minute:02}:00Z"));
        event.repeats = repeats;
        event.first = Some(at);
        event.last = Some(at);
        NodeEvent {
            boot: support::BOOT.to_owned(),
            event,
        }
    };
    let told = |node: &mut Node, events| {
        node.report(Body::Changes {
            verdict: Verdict::Healthy,
            changes: Vec::new(),
            events,
        })
    };
    let first = told(&mut node, vec![event(2, 10)]);
    let second = told(&mut node, vec![event(5, 3), event(1, 20)]);
    for report in [&first, &second, &second, &first] {
        inventory.take(report).await;
    }
    let history = inventory
        .ok(&format!("/v1/nodes/{}/history?kind=event", node.id()))
        .await;
    let items = history["items"].as_array().expect("items");
    assert_eq!(items.len(), 1, "{history}");
    let sum = &items[0]["event"]["event"];
    assert_eq!(sum["repeats"], 8);
    assert_eq!(sum["first"], "2026-03-01T10:03:00.000000Z");
    assert_eq!(sum["last"], "2026-03-01T10:20:00.000000Z");
    assert_eq!(items[0]["at"], "2026-03-01T10:20:00.000000Z");
}

#[tokio::test]
async fn what_was_dropped_is_added_up_once() {
    let inventory = Inventory::start().await;
    let mut node = Node::number(&inventory.clock, 1);
    inventory.take(&node.full()).await;
    let mut beat = node.heartbeat(Verdict::Healthy);
    beat.dropped = Dropped {
        heartbeats: 7,
        fulls: 0,
        changes: 1,
    };
    inventory.take(&beat).await;
    inventory.take(&beat).await;
    let mut beat = node.heartbeat(Verdict::Healthy);
    beat.dropped.heartbeats = u64::MAX;
    inventory.take(&beat).await;
    let record = inventory.ok(&format!("/v1/nodes/{}", node.id())).await;
    assert_eq!(record["dropped"]["changes"], 1);
    assert_eq!(record["dropped"]["heartbeats"], 7 + (1_u64 << 40));
}
