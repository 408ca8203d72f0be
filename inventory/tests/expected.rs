//! What should arrive: taken whole or not at all, and told apart from what did.

mod support;

use reqwest::Method;
use serde_json::{Value, json};
use support::{Inventory, Node};

async fn put(
    inventory: &Inventory,
    query: &str,
    media: &str,
    list: &str,
    if_match: Option<&str>,
) -> (u16, Value) {
    let mut request = inventory
        .request(Method::PUT, &format!("/v1/expected{query}"))
        .bearer_auth(&inventory.admin)
        .header("content-type", media)
        .body(list.to_owned());
    if let Some(etag) = if_match {
        request = request.header("if-match", etag);
    }
    support::json(request.send().await.expect("answer")).await
}

#[tokio::test]
async fn missing_present_mismatched_and_unexpected_are_told_apart() {
    let inventory = Inventory::start().await;
    let mut one = Node::number(&inventory.clock, 1);
    let mut two = Node::number(&inventory.clock, 2);
    let mut three = Node::number(&inventory.clock, 3);
    inventory.take(&one.full()).await;
    let record = inventory.ok(&format!("/v1/nodes/{}", one.id())).await;
    assert_eq!(record["expectation"], "no-list");

    let list = "chassis_serial,platform,region,site,row,rack,unit,switch_path\n\
                CHS0001,crucible-8,eu,s1,r1,k1,4,leaf-1;spine-1;core-1\n\
                CHS0002,dgx-h100,eu,s1,r1,k1,12,\n\
                CRU0009,crucible-8,eu,s1,r1,k2,1,\n";
    let (status, change) = put(&inventory, "", "text/csv", list, None).await;
    assert_eq!(status, 200, "{change}");
    assert_eq!((&change["added"], &change["total"]), (&json!(3), &json!(3)));
    inventory.take(&two.full()).await;
    inventory.take(&three.full()).await;

    let list = inventory.ok("/v1/expected").await;
    let states: Vec<_> = list["items"]
        .as_array()
        .expect("items")
        .iter()
        .map(|item| {
            (
                item["entry"]["chassis_serial"].as_str(),
                item["state"].as_str(),
            )
        })
        .collect();
    assert_eq!(
        states,
        [
            (Some("CHS0001"), Some("present")),
            (Some("CHS0002"), Some("mismatched")),
            (Some("CRU0009"), Some("missing")),
        ]
    );
    assert_eq!(
        list["items"][1]["differences"],
        json!([{ "field": "platform", "expected": "dgx-h100", "found": "crucible-8" }])
    );
    assert_eq!(list["unexpected_nodes"][0]["node"], three.id());
    assert_eq!(list["unexpected"], 1);
    let missing = inventory.ok("/v1/expected?state=missing").await;
    assert_eq!(missing["items"].as_array().map(Vec::len), Some(1));

    // The list says where a node stands; an operator's word goes before it and is a mismatch.
    let record = inventory.ok(&format!("/v1/nodes/{}", one.id())).await;
    assert_eq!(
        (&record["rack"], &record["unit"]),
        (&json!("k1"), &json!(4))
    );
    assert_eq!(
        record["switch_path"],
        json!(["leaf-1", "spine-1", "core-1"])
    );
    let (_, record) = inventory.patch(&one.id(), json!({ "rack": "k7" })).await;
    assert_eq!(record["rack"], "k7");
    assert_eq!(record["expectation"], "mismatched");
    assert_eq!(record["differences"][0]["field"], "rack");
    let (_, record) = inventory.patch(&one.id(), json!({ "rack": null })).await;
    assert_eq!(
        (&record["rack"], &record["expectation"]),
        (&json!("k1"), &json!("as-expected"))
    );

    // By the system's serial number where the chassis has none.
    let mut nine = Node::number(&inventory.clock, 9);
    nine.snapshot.node.chassis_serial = "Default string".to_owned().into();
    inventory.take(&nine.full()).await;
    let record = inventory.ok(&format!("/v1/nodes/{}", nine.id())).await;
    assert_eq!(record["expectation"], "as-expected");
    let nodes = inventory.ok("/v1/nodes?rack=k1").await;
    assert_eq!(nodes["items"].as_array().map(Vec::len), Some(2));
}

#[tokio::test]
async fn a_list_with_a_mistake_is_refused_whole() {
    let inventory = Inventory::start().await;
    let list = "chassis_serial,rack,unit\nC0001,r1,1\nC0002,r1,hundred\nC0001,r1,2\n";
    let (status, problem) = put(&inventory, "", "text/csv", list, None).await;
    assert_eq!(status, 400);
    assert_eq!(
        problem["errors"],
        json!([
            { "line": 3, "column": "unit", "value": "hundred", "detail": "is no number" },
            { "line": 4, "column": "chassis_serial", "value": "C0001",
              "detail": "stands there already: line 2" },
        ])
    );
    assert_eq!(inventory.ok("/v1/expected").await["total"], 0);
    for (media, list, status) in [
        ("application/json", "{\"entries\": 7}", 400),
        ("application/json", "[{\"rack\": \"r1\"}]", 400),
        ("application/xml", "<list/>", 415),
        ("application/json", "[]", 200),
    ] {
        let (got, problem) = put(&inventory, "", media, list, None).await;
        assert_eq!(got, status, "{media} {list}: {problem}");
    }
}

#[tokio::test]
async fn entries_are_removed_only_by_who_knows_the_list() {
    let inventory = Inventory::start().await;
    let both = r#"[{"chassis_serial":"C0001"},{"chassis_serial":"C0002"}]"#;
    let one = r#"[{"chassis_serial":"C0001","rack":"r1"}]"#;
    let media = "application/json";
    assert_eq!(put(&inventory, "", media, both, None).await.0, 200);
    let (status, problem) = put(&inventory, "", media, one, None).await;
    assert_eq!((status, problem["status"].as_u64()), (428, Some(428)));
    let (status, change) = put(&inventory, "?mode=merge", media, one, None).await;
    assert_eq!(
        (status, &change["changed"], &change["total"]),
        (200, &json!(1), &json!(2))
    );
    assert_eq!(put(&inventory, "", media, one, Some("\"r1\"")).await.0, 412);
    let etag = format!("\"r{}\"", change["revision"]);
    let (status, change) = put(&inventory, "", media, one, Some(&etag)).await;
    assert_eq!((status, &change["removed"]), (200, &json!(1)));
    let (_, same) = put(&inventory, "", media, one, None).await;
    assert_eq!(same["revision"], change["revision"], "nothing changed");
}
