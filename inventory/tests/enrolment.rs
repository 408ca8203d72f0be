//! Enrolment: join tokens, certificates, and what they are good for.

mod support;

use cupel_inventory::auth::TokenText;
use cupel_inventory::expected::{Format, parse};
use cupel_inventory::record::ExpectedMode;
use cupel_inventory::store::{Bound, NewJoin};
use cupel_model::SCHEMA_VERSION;
use cupel_model::enrolment::{Enrolment, EnrolmentRequest, HardwareIdentity, KeyProtection};
use rcgen::{CertificateParams, KeyPair};
use reqwest::Method;
use serde_json::Value;
use support::Inventory;

/// A machine that wants to join.
struct Machine {
    node: String,
    hardware: HardwareIdentity,
    key: KeyPair,
}

impl Machine {
    fn number(number: u32) -> Self {
        Self {
            node: format!("4c4c4544-0000-0000-0000-{number:012}"),
            hardware: HardwareIdentity {
                serial: Some(format!("CRU{number:04}")),
                chassis_serial: Some(format!("CHS{number:04}")),
                board_serial: Some(format!("BRD{number:04}")),
            },
            key: KeyPair::generate().expect("key"),
        }
    }

    fn asks(&self) -> EnrolmentRequest {
        let request = CertificateParams::default().serialize_request(&self.key);
        EnrolmentRequest {
            schema_version: SCHEMA_VERSION,
            cupel_version: "0.1.0".to_owned(),
            node: self.node.clone(),
            id_source: None,
            hostname: Some("gpu001".to_owned()),
            hardware: self.hardware.clone(),
            key_protection: KeyProtection::File,
            request: request.and_then(|request| request.pem()).expect("request"),
        }
    }
}

/// A join token that is good for an hour.
async fn join(inventory: &Inventory, name: &str, uses: u32, bound: Bound) -> String {
    let token = TokenText::joining().expect("random");
    let new = NewJoin {
        id: token.id().to_owned(),
        name: name.to_owned(),
        hash: token.hash(),
        uses,
        bound,
        expires_at: inventory.clock.microseconds() + 3600 * 1_000_000,
    };
    inventory.store.create_join(&new).await.expect("token");
    token.reveal()
}

async fn enrol(inventory: &Inventory, token: &str, asks: &EnrolmentRequest) -> (u16, Value) {
    let response = inventory
        .request(Method::POST, "/v1/enrolments")
        .bearer_auth(token)
        .header("content-type", "application/json")
        .body(serde_json::to_vec(asks).expect("json"))
        .send()
        .await
        .expect("answer");
    let challenged = response.headers().contains_key("www-authenticate");
    let (status, value) = support::json(response).await;
    assert_eq!(challenged, status == 401, "{value}");
    (status, value)
}

async fn enrolled(inventory: &Inventory, token: &str, machine: &Machine) -> Enrolment {
    let (status, value) = enrol(inventory, token, &machine.asks()).await;
    assert_eq!(status, 201, "{value}");
    serde_json::from_value(value).expect("enrolment")
}

/// That it is refused with this status and type, and what the refusal says.
async fn refused(
    inventory: &Inventory,
    token: &str,
    machine: &Machine,
    status: u16,
    kind: &str,
) -> String {
    let (was, value) = enrol(inventory, token, &machine.asks()).await;
    assert_eq!(
        (was, value["type"].as_str()),
        (status, Some(format!("urn:cupel:{kind}").as_str())),
        "{value}"
    );
    value["detail"].as_str().expect("detail").to_owned()
}

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
        {\"chassis_serial\": \"CRU0002\", \"region\": \"eu\", \"row\": \"r1\", \"rack\": \"k08\"}
    ]";
    let list = parse(Format::Json, list.as_bytes()).expect("list");
    inventory
        .store
        .put_expected(&list, ExpectedMode::Replace, None, false)
        .await
        .expect("stored");

    let rack = join(&inventory, "k07", 8, Bound::Rack("k07".to_owned())).await;
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
