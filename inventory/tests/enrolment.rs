//! Enrolment: join tokens, certificates, and what they are good for.

#[path = "enrolment/machine.rs"]
mod machine;
#[path = "enrolment/sessions.rs"]
mod sessions;
mod support;

use std::time::Duration;

use cupel_inventory::auth::TokenText;
use cupel_inventory::authority::Policy;
use cupel_inventory::expected::{Format, parse};
use cupel_inventory::record::ExpectedMode;
use cupel_inventory::store::{Bound, RackPlace};
use cupel_model::Verdict;
use cupel_model::enrolment::Enrolment;
use machine::{Life, Machine, enrol, enrolled, join, refused};
use rcgen::KeyPair;
use reqwest::Method;
use serde_json::json;
use support::Inventory;

#[tokio::test]
async fn a_join_token_lets_as_many_join_as_it_says() {
    let inventory = Inventory::start().await;
    let token = join(&inventory, "one", 1, Bound::Any).await;
    let (one, two) = (Machine::number(1), Machine::number(2));
    let first = enrolled(&inventory, &token, &one).await;
    assert_eq!(first.node, one.node);
    let now = inventory.clock.now();
    assert_eq!(first.not_after.seconds_since(now), 30.0 * 86_400.0);
    assert_eq!(first.renew_after.seconds_since(now), 0.66 * 30.0 * 86_400.0);
    assert_eq!(first.not_before.seconds_since(now), -300.0);
    // Its answer was lost: it asks again, and that costs nothing.
    let again = enrolled(&inventory, &token, &one).await;
    assert_eq!(first, again);
    let detail = refused(&inventory, &token, &two, 403, "join-token-used-up").await;
    assert!(detail.contains("1 node"), "{detail}");
    // With another key it would be another identity.
    let reinstalled = Machine::number(1);
    refused(&inventory, &token, &reinstalled, 403, "join-token-used-up").await;

    let token = join(&inventory, "more", 2, Bound::Any).await;
    let anew = enrolled(&inventory, &token, &reinstalled).await;
    assert_ne!(anew.certificate, first.certificate);
    enrolled(&inventory, &token, &two).await;
    let joins = inventory.store.joins().await.expect("tokens");
    let used: Vec<_> = joins.iter().map(|join| (join.used, join.uses)).collect();
    assert_eq!(used, [(1, 1), (2, 2)]);
}

#[tokio::test]
async fn tokens_that_are_not_good_are_refused_and_say_why() {
    let inventory = Inventory::start().await;
    let machine = Machine::number(1);
    let token = join(&inventory, "gone", 1, Bound::Any).await;
    for bad in [
        "nonsense",
        &inventory.report,
        &inventory.admin,
        &TokenText::joining().expect("random").reveal(),
        &format!("{}0", &token[..token.len() - 1]),
    ] {
        if bad != token {
            refused(&inventory, bad, &machine, 401, "join-token-unknown").await;
        }
    }
    let nothing = inventory
        .request(Method::POST, "/v1/enrolments")
        .send()
        .await
        .expect("answer");
    assert_eq!(nothing.status(), 401);
    assert!(inventory.store.revoke_join("gone").await.expect("revoked"));
    refused(&inventory, &token, &machine, 401, "join-token-revoked").await;
    let token = join(&inventory, "late", 1, Bound::Any).await;
    inventory.clock.advance(3601);
    let detail = refused(&inventory, &token, &machine, 401, "join-token-expired").await;
    assert!(detail.contains("join create"), "{detail}");
    // It opens nothing else.
    let token = join(&inventory, "good", 1, Bound::Any).await;
    for path in ["/v1/nodes", "/metrics"] {
        let answer = inventory
            .request(Method::GET, path)
            .bearer_auth(&token)
            .send()
            .await
            .expect("answer");
        assert_eq!(answer.status(), 401, "{path}");
    }
}

#[tokio::test]
async fn a_bound_token_lets_nobody_else_join() {
    let inventory = Inventory::start().await;
    let (one, two, three) = (Machine::number(1), Machine::number(2), Machine::number(3));
    let list = "[
        {\"chassis_serial\": \"CHS0001\", \"region\": \"eu\", \"rack\": \"k07\"},
        {\"chassis_serial\": \"CRU0002\", \"region\": \"eu\", \"row\": \"r1\", \"rack\": \"k08\"},
        {\"chassis_serial\": \"CHS0005\", \"site\": \"s1\", \"row\": \"r1\", \"rack\": \"k09\"},
        {\"chassis_serial\": \"CHS0006\", \"site\": \"s2\", \"row\": \"r1\", \"rack\": \"k09\"}
    ]";
    let list = parse(Format::Json, list.as_bytes()).expect("list");
    inventory
        .store
        .put_expected(&list, ExpectedMode::Replace, None, false)
        .await
        .expect("stored");

    let rack = join(&inventory, "k07", 8, Bound::Rack(RackPlace::named("k07"))).await;
    enrolled(&inventory, &rack, &one).await;
    let detail = refused(&inventory, &rack, &two, 403, "machine-expected-elsewhere").await;
    for part in ["eu", "r1", "k08", "k07", "CRU0002"] {
        assert!(detail.contains(part), "{detail}");
    }
    let detail = refused(&inventory, &rack, &three, 403, "machine-not-expected").await;
    assert!(
        detail.contains("CHS0003") && detail.contains("import"),
        "{detail}"
    );

    // A rack of the same name in another hall is another rack.
    let place = RackPlace {
        site: Some("s2".to_owned()),
        row: Some("r1".to_owned()),
        ..RackPlace::named("k09")
    };
    let hall = join(&inventory, "k09", 8, Bound::Rack(place)).await;
    let (five, six) = (Machine::number(5), Machine::number(6));
    let detail = refused(&inventory, &hall, &five, 403, "machine-expected-elsewhere").await;
    for part in ["site s2, row r1", "site s1, row r1"] {
        assert!(detail.contains(part), "{detail}");
    }
    enrolled(&inventory, &hall, &six).await;

    let node = join(&inventory, "node", 1, Bound::Node(two.node.clone())).await;
    let detail = refused(&inventory, &node, &one, 403, "join-token-for-another-node").await;
    assert!(detail.contains(&two.node), "{detail}");
    enrolled(&inventory, &node, &two).await;

    for serial in ["CHS0003", "CRU0003"] {
        let token = join(&inventory, serial, 1, Bound::Serial(serial.to_owned())).await;
        let kind = "join-token-for-another-machine";
        let detail = refused(&inventory, &token, &one, 403, kind).await;
        assert!(
            detail.contains(serial) && detail.contains("CHS0001"),
            "{detail}"
        );
        enrolled(&inventory, &token, &three).await;
    }
}

#[tokio::test]
async fn a_key_is_one_nodes_and_must_be_the_askers() {
    let inventory = Inventory::start().await;
    let token = join(&inventory, "many", 9, Bound::Any).await;
    let one = Machine::number(1);
    enrolled(&inventory, &token, &one).await;
    let mut copy = Machine::number(2);
    copy.key = KeyPair::from_pem(&one.key.serialize_pem()).expect("key");
    let detail = refused(&inventory, &token, &copy, 403, "key-of-another-node").await;
    assert!(detail.contains(&one.node), "{detail}");

    let two = Machine::number(2);
    let mut asks = two.asks();
    let rsa = "-----BEGIN CERTIFICATE REQUEST-----\nMIIB\n-----END CERTIFICATE REQUEST-----\n";
    asks.request = rsa.to_owned();
    let (status, value) = enrol(&inventory, &token, &asks).await;
    assert_eq!(
        (status, value["type"].as_str()),
        (400, Some("urn:cupel:bad-signing-request")),
        "{value}"
    );
    for (column, change) in [("node", "UPPER"), ("schema_version", "")] {
        let mut asks = two.asks();
        if column == "node" {
            asks.node = change.to_owned();
        } else {
            asks.schema_version += 1;
        }
        let (status, value) = enrol(&inventory, &token, &asks).await;
        assert_eq!(
            (status, value["errors"][0]["column"].as_str()),
            (400, Some(column)),
            "{value}"
        );
    }
}

#[tokio::test]
async fn a_node_reports_by_its_certificate_and_may_nothing_else() {
    let inventory = Inventory::secured(Policy::default()).await;
    let mut one = Life::begin(&inventory, 1).await;
    assert_eq!(one.heartbeat(&inventory).await, (200, String::new()));
    for path in ["/v1/nodes", "/metrics", "/openapi.json"] {
        let answer = one.node.client.get(inventory.url(path)).send().await;
        assert_eq!(answer.expect("answer").status(), 403, "{path}");
    }
    // Without a certificate there is a connection, and nothing is taken.
    let report = one.told.heartbeat(Verdict::Healthy);
    let nobody = inventory
        .request(Method::POST, "/v1/reports")
        .header("content-type", "application/json")
        .body(serde_json::to_vec(&report).expect("json"))
        .send()
        .await;
    assert_eq!(nobody.expect("answer").status(), 401);
    // A certificate of another authority gives no connection.
    let other = Inventory::secured(Policy::default()).await;
    let stranger = machine::Node::enrol(&other, &one.machine).await;
    let pretends = machine::Node::with(
        &one.machine,
        Enrolment {
            authority: one.node.given.authority.clone(),
            ..stranger.given
        },
    );
    pretends
        .report(&inventory, &report)
        .await
        .expect_err("handshake");

    let record = inventory
        .ok(&format!("/v1/nodes/{}", one.machine.node))
        .await;
    assert_eq!(record["identity"]["state"], "active");
    assert_eq!(record["identity"]["key_protection"], "file");
    assert_eq!(record["identity"]["board_serial"], "BRD0001");
    let (_, metrics) = inventory.get("/metrics").await;
    let metrics = metrics.as_str().expect("text");
    let ends = one.node.given.not_after.microseconds() / 1_000_000;
    for line in [
        "cupel_inventory_identities{state=\"active\"} 1\n".to_owned(),
        format!("cupel_inventory_identity_earliest_expiry_timestamp_seconds {ends}\n"),
    ] {
        assert!(metrics.contains(&line), "{metrics}");
    }
    let page = format!("/nodes/{}", one.machine.node);
    let (status, page) = inventory.get(&page).await;
    let page = page.as_str().expect("text");
    assert!(
        status == 200 && page.contains("certificate until"),
        "{page}"
    );
    let history = format!("/v1/nodes/{}/history?kind=identity", one.machine.node);
    let history = inventory.ok(&history).await;
    assert_eq!(history["items"][0]["step"], "enrolled", "{history}");
}

#[tokio::test]
async fn a_certificate_is_renewed_in_time_and_refused_after_it() {
    let policy = Policy {
        life: Duration::from_secs(3600),
        renew_at: 50,
    };
    let inventory = Inventory::secured(policy).await;
    let mut one = Life::begin(&inventory, 1).await;
    let (status, early) = one.node.renew(&inventory, &one.machine).await;
    assert_eq!(status, 201, "{early}");
    assert_eq!(early["certificate"], one.node.given.certificate, "not yet");
    inventory.clock.advance(1801);
    let (status, next) = one.node.renew(&inventory, &one.machine).await;
    assert_eq!(status, 201, "{next}");
    assert_ne!(next["certificate"], one.node.given.certificate);
    // Its answer was lost: the one before is still good, and gets the same.
    let (_, again) = one.node.renew(&inventory, &one.machine).await;
    assert_eq!(next["certificate"], again["certificate"]);
    let mut other_key = Machine::number(1);
    other_key.node.clone_from(&one.machine.node);
    let (status, refused) = one.node.renew(&inventory, &other_key).await;
    assert_eq!(
        (status, &refused["type"]),
        (403, &json!("urn:cupel:key-changed"))
    );

    let next: Enrolment = serde_json::from_value(next).expect("enrolment");
    let renewed = machine::Node::with(&one.machine, next);
    inventory.clock.advance(1801);
    // The connection is older than the end of the certificate.
    let (status, kind) = one.heartbeat(&inventory).await;
    assert_eq!((status, kind.as_str()), (403, "urn:cupel:identity-expired"));
    let fresh = machine::Node::with(&one.machine, one.node.given.clone());
    let report = one.told.heartbeat(Verdict::Healthy);
    fresh
        .report(&inventory, &report)
        .await
        .expect_err("handshake");
    let refused = "cupel_inventory_refused_certificates_total{reason=\"expired\"} 2\n";
    let began = std::time::Instant::now();
    loop {
        let (_, metrics) = inventory.get("/metrics").await;
        if metrics.as_str().expect("text").contains(refused) {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(30), "{metrics}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let (status, value) = renewed.report(&inventory, &report).await.expect("answer");
    assert_eq!(status, 200, "{value}");
    inventory.clock.advance(1801);
    renewed
        .report(&inventory, &report)
        .await
        .expect("answered as expired");
    let record = inventory
        .ok(&format!("/v1/nodes/{}", one.machine.node))
        .await;
    assert_eq!(record["identity"]["state"], "expired");
}

#[tokio::test]
async fn what_was_revoked_or_superseded_is_refused_in_two_seconds() {
    let inventory = Inventory::secured(Policy::default()).await;
    let mut one = Life::begin(&inventory, 1).await;
    // Enrolled anew here: refused at once.
    let mut reinstalled = Life {
        machine: Machine::number(1),
        told: one.told.clone(),
        node: machine::Node::enrol(&inventory, &Machine::number(9)).await,
    };
    reinstalled.node = machine::Node::enrol(&inventory, &reinstalled.machine).await;
    let (status, kind) = one.heartbeat(&inventory).await;
    assert_eq!(
        (status, kind.as_str()),
        (403, "urn:cupel:identity-superseded")
    );
    reinstalled.told.sequence += 10;
    assert_eq!(reinstalled.heartbeat(&inventory).await.0, 200);

    // Revoked as by another process, which this one is not told of.
    let node = reinstalled.machine.node.clone();
    assert!(
        inventory
            .store
            .revoke_identity(&node)
            .await
            .expect("revoked")
    );
    assert!(
        !inventory
            .store
            .revoke_identity(&node)
            .await
            .expect("not twice")
    );
    let began = std::time::Instant::now();
    let refused = loop {
        let (status, kind) = reinstalled.heartbeat(&inventory).await;
        if status != 200 {
            break (status, kind);
        }
        assert!(began.elapsed() < Duration::from_secs(30), "it works on");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(refused, (403, "urn:cupel:identity-revoked".to_owned()));
    let (status, value) = reinstalled
        .node
        .renew(&inventory, &reinstalled.machine)
        .await;
    assert_eq!(
        (status, &value["type"]),
        (403, &json!("urn:cupel:identity-revoked"))
    );
    // The key does not come back, whatever token it is shown with.
    let token = join(&inventory, "another", 1, Bound::Any).await;
    machine::refused(&inventory, &token, &reinstalled.machine, 403, "key-revoked").await;
    let history = inventory
        .ok(&format!("/v1/nodes/{node}/history?kind=identity"))
        .await;
    let steps: Vec<_> = history["items"]
        .as_array()
        .expect("items")
        .iter()
        .map(|entry| entry["step"].as_str().expect("step"))
        .collect();
    assert_eq!(steps, ["revoked", "enrolled", "enrolled"]);
}

#[tokio::test]
async fn of_many_that_ask_at_once_as_many_join_as_may() {
    let inventory = Inventory::start().await;
    let token = join(&inventory, "three", 3, Bound::Any).await;
    let machines: Vec<_> = (1..=12).map(Machine::number).collect();
    let asked = machines.iter().map(|machine| {
        let (inventory, token, asks) = (&inventory, &token, machine.asks());
        async move { enrol(inventory, token, &asks).await.0 }
    });
    let mut answers = futures_util::future::join_all(asked).await;
    answers.sort_unstable();
    assert_eq!(answers[..4], [201, 201, 201, 403]);
    assert_eq!(answers[11], 403);
    let identities = inventory.store.identities(None).await.expect("identities");
    assert_eq!(identities.len(), 3);
}

#[tokio::test]
async fn bodies_that_are_no_enrolment_are_refused_and_cost_no_use() {
    let inventory = Inventory::start().await;
    let token = join(&inventory, "one", 1, Bound::Any).await;
    let machine = Machine::number(1);
    let whole = serde_json::to_vec(&machine.asks()).expect("json");
    let with = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut value = serde_json::to_value(machine.asks()).expect("json");
        change(&mut value);
        serde_json::to_vec(&value).expect("json")
    };
    let cases: Vec<(&str, Vec<u8>, u16)> = vec![
        ("text/plain", whole.clone(), 415),
        ("application/json", Vec::new(), 400),
        ("application/json", whole[..whole.len() / 2].to_vec(), 400),
        ("application/json", b"[".repeat(60_000), 400),
        ("application/json", vec![b' '; 4 << 20], 413),
        (
            "application/json",
            with(&|value| value["node"] = json!(7)),
            400,
        ),
        (
            "application/json",
            with(&|value| value["node"] = json!("../../etc/x")),
            400,
        ),
        (
            "application/json",
            with(&|value| value["key_protection"] = json!("spell")),
            400,
        ),
        (
            "application/json",
            with(&|value| value["request"] = json!("\u{0}")),
            400,
        ),
        (
            "application/json",
            with(&|value| value["request"] = json!("A".repeat(20_000))),
            400,
        ),
    ];
    for (kind, body, want) in cases {
        let start: String = String::from_utf8_lossy(&body).chars().take(60).collect();
        let response = inventory
            .request(Method::POST, "/v1/enrolments")
            .bearer_auth(&token)
            .header("content-type", kind)
            .body(body)
            .send()
            .await
            .expect("answer");
        let (status, problem) = support::json(response).await;
        assert_eq!(status, want, "{start}: {problem}");
        assert!(problem["detail"].is_string(), "{problem}");
    }
    // Serial numbers that name nothing are not kept, and hurt nobody.
    let mut placeholders = Machine::number(1);
    placeholders.hardware.board_serial = Some("Default string".to_owned());
    placeholders.hardware.serial = Some("\u{7}".repeat(9));
    enrolled(&inventory, &token, &placeholders).await;
    let identities = inventory.store.identities(None).await.expect("identities");
    assert_eq!(identities[0].identity.hardware.board_serial, None);
    assert_eq!(identities[0].identity.hardware.serial, None);
}
