//! What the inventory finds about identities: shown elsewhere, on another main board, on two machines;
//! who may not have one, and what is told of those that are good no more.

#[path = "enrolment/machine.rs"]
mod machine;
mod support;

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use cupel_inventory::authority::{NodeKey, Policy};
use cupel_inventory::expected::{Format, parse};
use cupel_inventory::record::ExpectedMode;
use cupel_inventory::store::{self, Accepted, Asked, Bound, Enrolled, JoinRefusal, RackPlace};
use cupel_model::Verdict;
use cupel_model::enrolment::{Enrolment, KeyProtection};
use machine::{Life, Machine, enrolled, join, refused};
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
    let token = join(&inventory, "repaired", 1, Bound::Node(node.clone())).await;
    enrolled(&inventory, &token, &Machine::number(1)).await;
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

#[tokio::test]
async fn nothing_is_signed_for_who_is_refused() {
    let inventory = Inventory::start().await;
    let machine = Machine::number(1);
    let token = join(
        &inventory,
        "other",
        1,
        Bound::Node("another-node".to_owned()),
    )
    .await;
    let key = inventory.store.joins().await.expect("tokens")[0].key;
    let asked = Asked {
        node: machine.node.clone(),
        hardware: machine.hardware.clone(),
        key_protection: KeyProtection::File,
        key_digest: [7; 32],
    };
    let signed = AtomicU32::new(0);
    let sign = || {
        signed.fetch_add(1, Ordering::SeqCst);
        Err(store::Error::Busy)
    };
    let answer = inventory.store.enrol(&asked, &sign, key).await;
    let other = JoinRefusal::OtherNode("another-node".to_owned());
    assert_eq!(answer.expect("answer"), Enrolled::Refused(other));
    assert_eq!(signed.load(Ordering::SeqCst), 0);
    refused(
        &inventory,
        &token,
        &machine,
        403,
        "join-token-for-another-node",
    )
    .await;
    // What could not be signed costs no use.
    let token = join(&inventory, "any", 1, Bound::Any).await;
    let key = inventory.store.joins().await.expect("tokens")[1].key;
    let failed = inventory.store.enrol(&asked, &sign, key).await;
    assert!(matches!(failed, Err(store::Error::Busy)), "{failed:?}");
    assert_eq!(signed.load(Ordering::SeqCst), 1);
    enrolled(&inventory, &token, &machine).await;
}

#[tokio::test]
async fn a_node_is_not_taken_over_by_a_machine_that_tells_other_hardware() {
    let inventory = Inventory::start().await;
    let one = Machine::number(1);
    let token = join(&inventory, "first", 1, Bound::Any).await;
    let first = enrolled(&inventory, &token, &one).await;
    let list = "[{\"chassis_serial\": \"CHS0002\", \"rack\": \"k07\"}]";
    let list = parse(Format::Json, list.as_bytes()).expect("list");
    let replace = ExpectedMode::Replace;
    let stored = inventory.store.put_expected(&list, replace, None, false);
    stored.await.expect("stored");

    let mut thief = Machine::number(2);
    thief.node.clone_from(&one.node);
    let kind = "node-with-other-hardware";
    for (name, bound) in [
        ("any", Bound::Any),
        ("rack", Bound::Rack(RackPlace::named("k07"))),
        ("serial", Bound::Serial("CHS0002".to_owned())),
    ] {
        let token = join(&inventory, name, 1, bound).await;
        let detail = refused(&inventory, &token, &thief, 403, kind).await;
        let way = format!("--node {}", one.node);
        assert!(detail.contains(&way), "{detail}");
        // What would be asked for is not told to whoever asks.
        for known in ["BRD0001", "CHS0001", "CRU0001"] {
            assert!(!detail.contains(known), "{detail}");
        }
    }
    // One that differs is enough, and telling none is no way around it.
    let any = join(&inventory, "one more", 1, Bound::Any).await;
    let changes: [fn(&mut Machine); 6] = [
        |machine| machine.hardware.board_serial = Some("BRD0002".to_owned()),
        |machine| machine.hardware.chassis_serial = Some("CHS0002".to_owned()),
        |machine| machine.hardware.serial = Some("CRU0002".to_owned()),
        |machine| machine.hardware.board_serial = None,
        |machine| machine.hardware.serial = Some("Default string".to_owned()),
        |machine| machine.hardware = Default::default(),
    ];
    for change in changes {
        let mut other = Machine::number(1);
        change(&mut other);
        refused(&inventory, &any, &other, 403, kind).await;
    }
    let identities = inventory.store.identities(None).await.expect("identities");
    assert_eq!(identities.len(), 1);
    assert_eq!(identities[0].identity.certificate, first.certificate);
    let joins = inventory.store.joins().await.expect("tokens");
    assert!(joins[1..].iter().all(|join| join.used == 0), "{joins:?}");
    // The same machine is reinstalled; another takes its place by a token that says so.
    enrolled(&inventory, &any, &Machine::number(1)).await;
    let bound = join(&inventory, "bound", 1, Bound::Node(one.node.clone())).await;
    enrolled(&inventory, &bound, &thief).await;

    // What a node that was never enrolled has reported counts as well.
    let mut told = support::Node::number(&inventory.clock, 3);
    inventory.take(&told.full()).await;
    let mut thief = Machine::number(4);
    thief.node = told.id();
    let any = join(&inventory, "three", 1, Bound::Any).await;
    refused(&inventory, &any, &thief, 403, kind).await;
}

/// That the metrics say this of certificates that are not good.
async fn counted(inventory: &Inventory, reason: &str, count: u32) {
    let name = "cupel_inventory_refused_certificates_total";
    let line = format!("{name}{{reason=\"{reason}\"}} {count}\n");
    let (_, metrics) = inventory.get("/metrics").await;
    let metrics = metrics.as_str().expect("text");
    assert!(metrics.contains(&line), "{line}{metrics}");
}

#[tokio::test]
async fn an_older_copy_that_is_still_in_use_is_told() {
    let inventory = Inventory::secured(Policy::default()).await;
    let mut old = Life::begin(&inventory, 1).await;
    let node = old.machine.node.clone();
    let mut new = Life {
        machine: Machine::number(1),
        told: old.told.clone(),
        node: machine::Node::enrol(&inventory, &Machine::number(9)).await,
    };
    new.node = machine::Node::enrol(&inventory, &new.machine).await;
    new.told.sequence += 100;
    // As when the service did not yet know of it.
    inventory.clock.advance(299);
    let superseded = (403, "urn:cupel:identity-superseded".to_owned());
    assert_eq!(old.heartbeat(&inventory).await, superseded);
    assert_eq!(codes(&inventory, &node).await, [""; 0]);
    inventory.clock.advance(2);
    assert_eq!(old.heartbeat(&inventory).await, superseded);
    let found = open(&inventory, &node).await;
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].0, "node.identity-elsewhere");
    let summary = found[0].1["summary"].as_str().expect("summary");
    assert!(
        summary.contains("An older copy") && summary.contains("127.0.0.1"),
        "{summary}"
    );
    counted(&inventory, "superseded", 2).await;
    assert_eq!(new.heartbeat(&inventory).await.0, 200);
    assert!(inventory.store.accept_identity(&node).await.is_ok());
    assert_eq!(codes(&inventory, &node).await, [""; 0]);

    // Enrolled again with the same key, the certificate before is no copy.
    let token = join(&inventory, "again", 1, Bound::Any).await;
    enrolled(&inventory, &token, &new.machine).await;
    inventory.clock.advance(600);
    assert_eq!(new.heartbeat(&inventory).await, superseded);
    assert_eq!(codes(&inventory, &node).await, [""; 0]);
}

#[tokio::test]
async fn certificates_that_are_good_no_more_are_counted_by_reason() {
    let inventory = Inventory::secured(Policy::default()).await;
    let mut one = Life::begin(&inventory, 1).await;
    // Of this authority, and not in its database: as after a backup was put back, or with a key that
    // was stolen.
    let machine = Machine::number(1);
    let authority = inventory.app.authority().await.expect("authority");
    let key = NodeKey::of_request(&machine.asks().request).expect("key");
    let now = inventory.clock.microseconds();
    let forged = authority.issue(&machine.node, &key, &Policy::default(), now);
    let given = Enrolment {
        certificate: forged.expect("issued").certificate,
        ..one.node.given.clone()
    };
    let report = one.told.full();
    let forged = machine::Node::with(&machine, given);
    let (status, value) = forged.report(&inventory, &report).await.expect("answer");
    assert_eq!(
        (status, &value["type"]),
        (403, &json!("urn:cupel:identity-unknown"))
    );
    counted(&inventory, "unknown", 1).await;
    counted(&inventory, "revoked", 0).await;

    let node = &one.machine.node;
    let revoked = inventory.store.revoke_identity(node).await;
    assert!(revoked.expect("revoked"));
    let began = std::time::Instant::now();
    while one.heartbeat(&inventory).await.0 == 200 {
        assert!(began.elapsed() < Duration::from_secs(30), "it works on");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    counted(&inventory, "revoked", 1).await;
}
