//! What the inventory finds about identities: shown elsewhere, on another main board, on two machines.

#[path = "enrolment/machine.rs"]
mod machine;
mod support;

use std::time::Duration;

use cupel_inventory::authority::Policy;
use cupel_inventory::store::{Accepted, Bound};
use cupel_model::Verdict;
use machine::{Life, Machine, join, refused};
use rcgen::KeyPair;
use serde_json::{Value, json};
use support::Inventory;

/// Codes of the open findings of a node that the inventory made.
async fn open(inventory: &Inventory, node: &str) -> Vec<(String, Value)> {
    let record = inventory.ok(&format!("/v1/nodes/{node}")).await;
    let findings = record["open_findings"].as_array().expect("findings");
    let own = findings
        .iter()
        .filter(|finding| finding["source"] == "inventory");
    own.map(|finding| {
        let code = finding["tracked"]["finding"]["code"]
            .as_str()
            .expect("code");
        (code.to_owned(), finding["tracked"]["finding"].clone())
    })
    .collect()
}

async fn codes(inventory: &Inventory, node: &str) -> Vec<String> {
    let open = open(inventory, node).await;
    open.into_iter().map(|(code, _)| code).collect()
}

#[tokio::test]
async fn an_identity_that_is_shown_by_another_machine_is_told() {
    let inventory = Inventory::secured(Policy::default()).await;
    let one = Life::begin(&inventory, 1).await;
    assert_eq!(one.node.given.node, one.machine.node);
    let mut two = support::Node::number(&inventory.clock, 2);
    let stolen = two.full();
    let (status, value) = one.node.report(&inventory, &stolen).await.expect("answer");
    assert_eq!(
        (status, &value["type"]),
        (403, &json!("urn:cupel:identity-mismatch"))
    );
    assert_eq!(
        inventory.get(&format!("/v1/nodes/{}", two.id())).await.0,
        404
    );

    let node = &one.machine.node;
    let found = open(&inventory, node).await;
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].0, "node.identity-elsewhere");
    let summary = found[0].1["summary"].as_str().expect("summary");
    assert!(
        summary.contains(&two.id()) && summary.contains("127.0.0.1"),
        "{summary}"
    );
    assert_eq!(
        inventory.ok(&format!("/v1/nodes/{node}")).await["verdict"],
        "degraded"
    );
    // It goes on: one finding, not many.
    inventory.clock.advance(90);
    one.node.report(&inventory, &stolen).await.expect("answer");
    assert_eq!(open(&inventory, node).await.len(), 1);
    // So it does when it asks for the next certificate, or to join with that key.
    assert!(inventory.store.accept_identity(node).await.is_ok());
    let mut copy = Machine::number(2);
    copy.key = KeyPair::from_pem(&one.machine.key.serialize_pem()).expect("key");
    let (status, value) = one.node.renew(&inventory, &copy).await;
    assert_eq!(
        (status, &value["type"]),
        (403, &json!("urn:cupel:identity-mismatch"))
    );
    assert_eq!(codes(&inventory, node).await, ["node.identity-elsewhere"]);
    assert!(inventory.store.accept_identity(node).await.is_ok());
    assert_eq!(codes(&inventory, node).await, [""; 0]);
    let token = join(&inventory, "copied", 1, Bound::Any).await;
    refused(&inventory, &token, &copy, 403, "key-of-another-node").await;
    assert_eq!(codes(&inventory, node).await, ["node.identity-elsewhere"]);
    // Whoever takes that name for himself settles nothing of another node: a person does.
    machine::Node::enrol(&inventory, &Machine::number(2)).await;
    assert_eq!(codes(&inventory, node).await, ["node.identity-elsewhere"]);
    assert!(inventory.store.accept_identity(node).await.is_ok());
    assert_eq!(codes(&inventory, node).await, [""; 0]);
    assert_eq!(
        inventory.ok(&format!("/v1/nodes/{node}")).await["verdict"],
        "healthy"
    );
    // Again, and the identity is taken away.
    one.node.report(&inventory, &stolen).await.expect("answer");
    assert_eq!(codes(&inventory, node).await, ["node.identity-elsewhere"]);
    assert!(
        inventory
            .store
            .revoke_identity(node)
            .await
            .expect("revoked")
    );
    assert_eq!(codes(&inventory, node).await, [""; 0]);
}

#[tokio::test]
async fn another_main_board_is_told_and_a_person_decides() {
    let policy = Policy {
        life: Duration::from_secs(3600),
        renew_at: 50,
    };
    let inventory = Inventory::secured(policy).await;
    let mut one = Life::begin(&inventory, 1).await;
    let node = one.machine.node.clone();
    one.told.snapshot.node.board_serial = "BRD9999".to_owned().into();
    one.machine.hardware.board_serial = Some("BRD9999".to_owned());
    let report = one.told.full();
    assert_eq!(one.report(&inventory, &report).await, 200, "it is accepted");
    let found = open(&inventory, &node).await;
    assert_eq!(found[0].0, "node.board-replaced");
    let summary = found[0].1["summary"].as_str().expect("summary");
    assert!(
        summary.contains("BRD9999") && summary.contains("BRD0001"),
        "{summary}"
    );
    assert_eq!(found[0].1["severity"], "warning");
    inventory.clock.advance(1801);
    let (status, value) = one.node.renew(&inventory, &one.machine).await;
    assert_eq!(
        (status, &value["type"]),
        (403, &json!("urn:cupel:board-replaced"))
    );

    let accepted = inventory
        .store
        .accept_identity(&node)
        .await
        .expect("accepted");
    assert_eq!(accepted, Accepted::Done(Some("BRD9999".to_owned())));
    let again = inventory
        .store
        .accept_identity(&node)
        .await
        .expect("accepted");
    assert_eq!(again, Accepted::Nothing);
    assert_eq!(codes(&inventory, &node).await, [""; 0]);
    assert_eq!(one.node.renew(&inventory, &one.machine).await.0, 201);
    assert_eq!(one.heartbeat(&inventory).await.0, 200);
    let report = one.told.full();
    assert_eq!(one.report(&inventory, &report).await, 200);
    assert_eq!(codes(&inventory, &node).await, [""; 0]);

    // The old board comes back, and the node is enrolled anew with it.
    one.told.snapshot.node.board_serial = "BRD0001".to_owned().into();
    let report = one.told.full();
    assert_eq!(one.report(&inventory, &report).await, 200);
    assert_eq!(codes(&inventory, &node).await, ["node.board-replaced"]);
    machine::Node::enrol(&inventory, &Machine::number(1)).await;
    assert_eq!(codes(&inventory, &node).await, [""; 0]);
    let unknown = inventory.store.accept_identity("no-such-node").await;
    assert_eq!(unknown.expect("answer"), Accepted::NoNode);
}

#[tokio::test]
async fn two_running_machines_with_one_id_are_told_until_one_is_left() {
    let inventory = Inventory::start().await;
    let mut one = support::Node::number(&inventory.clock, 1);
    let mut two = one.clone();
    two.boot = "22222222-0000-4000-8000-000000000002".to_owned();
    two.uptime = 60.0;
    let node = one.id();
    inventory.take(&one.full()).await;
    inventory.clock.advance(30);
    two.uptime += 30.0;
    inventory.take(&two.full()).await;
    let beat = async |who: &mut support::Node| {
        let report = who.heartbeat(Verdict::Healthy);
        inventory.take(&report).await;
    };
    for _ in 0..5 {
        inventory.clock.advance(30);
        one.uptime += 60.0;
        beat(&mut one).await;
        inventory.clock.advance(30);
        two.uptime += 60.0;
        beat(&mut two).await;
    }
    let found = open(&inventory, &node).await;
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].0, "node.identity-shared");
    assert_eq!(found[0].1["severity"], "critical");
    let summary = found[0].1["summary"].as_str().expect("summary");
    assert!(
        summary.contains(&one.boot) && summary.contains(&two.boot),
        "{summary}"
    );
    let record = inventory.ok(&format!("/v1/nodes/{node}")).await;
    assert_eq!(record["verdict"], "unhealthy");
    assert_eq!(record["blocks_allocation"], true);
    let listed = inventory.ok("/v1/nodes?verdict=unhealthy").await;
    assert_eq!(listed["items"].as_array().expect("items").len(), 1);

    // One is switched off; an hour later it is over.
    for minute in 1..=61 {
        inventory.clock.advance(60);
        two.uptime += 60.0;
        beat(&mut two).await;
        inventory.app.sweep().await;
        let open = !codes(&inventory, &node).await.is_empty();
        assert_eq!(open, minute < 60, "{minute}");
    }
    assert_eq!(
        inventory.ok(&format!("/v1/nodes/{node}")).await["verdict"],
        "healthy"
    );
}

#[tokio::test]
async fn what_waited_on_one_machine_is_never_two() {
    let inventory = Inventory::start().await;
    let mut before = support::Node::number(&inventory.clock, 1);
    inventory.take(&before.full()).await;
    // The network is away; the node reports into its spool, once a minute, and boots.
    let mut waiting = Vec::new();
    for _ in 0..20 {
        inventory.clock.advance(60);
        before.uptime += 60.0;
        waiting.push(before.heartbeat(Verdict::Healthy));
    }
    inventory.clock.advance(90);
    let mut after = before.clone();
    after.boot = "22222222-0000-4000-8000-000000000002".to_owned();
    after.uptime = 30.0;
    inventory.take(&after.full()).await;
    // What waited comes as slowly as it was made, between reports of the boot that runs.
    for report in waiting {
        inventory.clock.advance(30);
        inventory.take(&report).await;
        inventory.clock.advance(30);
        after.uptime += 60.0;
        inventory.take(&after.heartbeat(Verdict::Healthy)).await;
    }
    let record = inventory.ok(&format!("/v1/nodes/{}", after.id())).await;
    assert_eq!(record["boot"], after.boot);
    assert_eq!(codes(&inventory, &after.id()).await, [""; 0]);
}
