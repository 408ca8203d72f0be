//! Parts keep their record across slots and nodes.

mod support;

use cupel_model::Reading;
use serde_json::{Value, json};
use support::{Inventory, Node};

fn serial(node: &Node, gpu: usize) -> String {
    let serial = node.snapshot.gpus[gpu].identity.serial.value();
    serial.cloned().expect("serial")
}

async fn part(inventory: &Inventory, serial: &str) -> Value {
    let parts = inventory.ok(&format!("/v1/parts/{serial}")).await;
    assert_eq!(parts["parts"].as_array().map(Vec::len), Some(1), "{parts}");
    parts["parts"][0].clone()
}

fn moves(history: &Value) -> Vec<(&str, &str)> {
    let items = history["items"].as_array().expect("items");
    items
        .iter()
        .map(|entry| {
            let text = |key: &str| entry[key].as_str().expect("text");
            (text("serial"), text("moved"))
        })
        .collect()
}

#[tokio::test]
async fn a_part_keeps_its_record_when_it_moves_to_another_node() {
    let inventory = Inventory::start().await;
    let mut one = Node::number(&inventory.clock, 1);
    let mut two = Node::number(&inventory.clock, 2);
    inventory.take(&one.full()).await;
    inventory.take(&two.full()).await;
    let moving = serial(&one, 3);
    let other = serial(&two, 5);
    let before = part(&inventory, &moving).await;
    assert_eq!(before["kind"], "gpu");
    assert_eq!(before["place"]["node"], one.id());
    assert_eq!(before["place"]["slot"], "SXM 4");

    // The GPU of slot 4 of the first node goes into slot 6 of the second one.
    inventory.clock.advance(3600);
    two.snapshot.gpus[5].identity.serial = moving.clone().into();
    inventory.take(&two.full()).await;
    let after = part(&inventory, &moving).await;
    assert_eq!(after["first_seen"], before["first_seen"]);
    assert_eq!(after["place"]["node"], two.id());
    assert_eq!(after["place"]["slot"], "SXM 6");
    let places = after["placements"].as_array().expect("places");
    assert_eq!(places.len(), 2);
    assert_eq!(places[1]["node"], one.id());
    assert_eq!(places[1]["until"], after["place"]["from"]);
    let replaced = part(&inventory, &other).await;
    assert_ne!(replaced["place"]["until"], json!(null));

    let history = inventory
        .ok(&format!("/v1/nodes/{}/history?kind=part", two.id()))
        .await;
    assert_eq!(
        moves(&history),
        [(moving.as_str(), "arrived"), (&other, "left")]
    );
    let history = inventory
        .ok(&format!("/v1/nodes/{}/history?kind=part", one.id()))
        .await;
    assert_eq!(moves(&history), [(moving.as_str(), "left")]);
    // The first node, which does not see it any more, does not take it back.
    one.snapshot.gpus[3].identity.serial = Reading::absent("empty");
    inventory.take(&one.full()).await;
    assert_eq!(part(&inventory, &moving).await["place"]["node"], two.id());
}

#[tokio::test]
async fn a_part_that_is_not_seen_stays_in_its_place_until_another_is_there() {
    let inventory = Inventory::start().await;
    let mut one = Node::number(&inventory.clock, 1);
    inventory.take(&one.full()).await;
    let lost = serial(&one, 3);
    inventory.clock.advance(60);
    one.snapshot.gpus[3].identity.serial = Reading::failed("off the bus");
    inventory.take(&one.full()).await;
    let missing = part(&inventory, &lost).await;
    assert_eq!(missing["place"]["until"], json!(null));
    assert_ne!(missing["place"]["missing_since"], json!(null));

    inventory.clock.advance(60);
    one.snapshot.gpus[3].identity.serial = lost.clone().into();
    inventory.take(&one.full()).await;
    assert_eq!(
        part(&inventory, &lost).await["place"]["missing_since"],
        json!(null)
    );

    inventory.clock.advance(60);
    one.snapshot.gpus[3].identity.serial = "1999999999999".to_owned().into();
    inventory.take(&one.full()).await;
    let gone = part(&inventory, &lost).await;
    assert_ne!(gone["place"]["until"], json!(null));
    let history = inventory
        .ok(&format!("/v1/nodes/{}/history?kind=part", one.id()))
        .await;
    let told = [
        ("1999999999999", "arrived"),
        (lost.as_str(), "left"),
        (&lost, "back"),
        (&lost, "missing"),
    ];
    assert_eq!(moves(&history), told);
}

#[tokio::test]
async fn a_part_shows_its_findings_and_is_found_by_a_piece_of_its_serial() {
    let inventory = Inventory::start().await;
    let mut one = Node::number(&inventory.clock, 1);
    let mut lost = support::off_bus(3, inventory.clock.now());
    lost.finding.component.serial = Some(serial(&one, 3));
    one.findings = vec![lost];
    inventory.take(&one.full()).await;
    let part = part(&inventory, &serial(&one, 3)).await;
    assert_eq!(
        part["findings"][0]["tracked"]["finding"]["code"],
        "gpu.off-bus"
    );
    let found = inventory
        .store
        .search_parts("1650123", 5)
        .await
        .expect("parts");
    assert_eq!(found.len(), 5);
    let (status, problem) = inventory.get("/v1/parts/NOSUCH").await;
    assert_eq!((status, problem["status"].as_u64()), (404, Some(404)));
}
