//! What operators ask of a fleet: lists, summaries, deliveries, maintenance, topology.

mod support;

use cupel_model::Verdict;
use reqwest::Method;
use serde_json::{Value, json};
use support::{Inventory, Node, off_bus};

async fn rack(inventory: &Inventory, count: u32) -> Vec<Node> {
    let mut nodes: Vec<Node> = (1..=count)
        .map(|number| Node::number(&inventory.clock, number))
        .collect();
    for node in &mut nodes {
        inventory.take(&node.full()).await;
    }
    nodes
}

fn ids(page: &Value) -> Vec<String> {
    let items = page["items"].as_array().expect("items");
    let id = |item: &Value| item["id"].as_str().expect("id").to_owned();
    items.iter().map(id).collect()
}

#[tokio::test]
async fn nodes_come_in_pages_and_every_one_once() {
    let inventory = Inventory::start().await;
    let mut nodes = rack(&inventory, 7).await;
    inventory
        .take(&nodes[4].heartbeat(Verdict::Unhealthy))
        .await;
    inventory.take(&nodes[2].heartbeat(Verdict::Degraded)).await;
    for sort in ["first-seen", "worst"] {
        let mut seen = Vec::new();
        let mut cursor = String::new();
        loop {
            let page = inventory
                .ok(&format!("/v1/nodes?limit=3&sort={sort}{cursor}"))
                .await;
            seen.extend(ids(&page));
            match page["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        let mut want: Vec<String> = nodes.iter().map(Node::id).collect();
        if sort == "worst" {
            assert_eq!(seen[..2], [nodes[4].id(), nodes[2].id()]);
            seen.sort();
            want.sort();
        }
        assert_eq!(seen, want, "{sort}");
    }
    let sick = inventory.ok("/v1/nodes?verdict=unhealthy").await;
    assert_eq!(ids(&sick), [nodes[4].id()]);
    let named = inventory.ok("/v1/nodes?q=GPU003").await;
    assert_eq!(ids(&named), [nodes[2].id()]);
    let none = inventory.ok("/v1/nodes?q=%25").await;
    assert_eq!(
        ids(&none),
        Vec::<String>::new(),
        "a per cent sign is itself"
    );
    let state = inventory
        .ok("/v1/nodes?state=provisioning&platform=crucible-8")
        .await;
    assert_eq!(ids(&state).len(), 7);
}

#[tokio::test]
async fn what_is_known_already_is_not_sent_again() {
    let inventory = Inventory::start().await;
    let mut nodes = rack(&inventory, 1).await;
    let id = nodes[0].id();
    for path in [
        "/v1/nodes".to_owned(),
        format!("/v1/nodes/{id}"),
        format!("/v1/nodes/{id}/snapshot"),
        "/v1/findings".to_owned(),
        "/v1/summary?by=rack".to_owned(),
        "/v1/expected".to_owned(),
    ] {
        let ask = |etag: Option<String>| {
            let mut request = inventory
                .request(Method::GET, &path)
                .bearer_auth(&inventory.read);
            if let Some(etag) = etag {
                request = request.header("if-none-match", etag);
            }
            request.send()
        };
        let first = ask(None).await.expect("answer");
        assert_eq!(first.status(), 200, "{path}");
        let etag = first.headers()["etag"].to_str().expect("text").to_owned();
        let again = ask(Some(etag.clone())).await.expect("answer");
        assert_eq!(again.status(), 304, "{path}");
        assert_eq!(again.headers()["etag"].to_str().expect("text"), etag);
        assert!(again.bytes().await.expect("body").is_empty());
    }
    let ask = |etag: String| {
        let request = inventory
            .request(Method::GET, "/v1/nodes")
            .bearer_auth(&inventory.read)
            .header("if-none-match", etag);
        request.send()
    };
    let first = ask("\"x\"".to_owned()).await.expect("answer");
    let etag = first.headers()["etag"].to_str().expect("text").to_owned();
    inventory.take(&nodes[0].heartbeat(Verdict::Degraded)).await;
    assert_eq!(ask(etag).await.expect("answer").status(), 200);
}

#[tokio::test]
async fn settings_want_a_revision_and_are_kept_through_reinstallation() {
    let inventory = Inventory::start().await;
    let mut nodes = rack(&inventory, 1).await;
    let id = nodes[0].id();
    let patch = |if_match: Option<String>, body: Value| {
        let mut request = inventory
            .request(Method::PATCH, &format!("/v1/nodes/{id}"))
            .bearer_auth(&inventory.admin)
            .header("content-type", "application/json")
            .body(body.to_string());
        if let Some(etag) = if_match {
            request = request.header("if-match", etag);
        }
        request.send()
    };
    let account = json!({ "account": "acme" });
    assert_eq!(
        patch(None, account.clone()).await.expect("answer").status(),
        428
    );
    let read = inventory
        .request(Method::GET, &format!("/v1/nodes/{id}"))
        .bearer_auth(&inventory.read)
        .send()
        .await
        .expect("answer");
    let etag = read.headers()["etag"].to_str().expect("text").to_owned();
    // A report meanwhile is no obstacle, another setting is.
    inventory.take(&nodes[0].heartbeat(Verdict::Degraded)).await;
    let set = patch(Some(etag.clone()), account.clone())
        .await
        .expect("answer");
    assert_eq!(set.status(), 200);
    let next = set.headers()["etag"].to_str().expect("text").to_owned();
    assert_eq!(
        patch(Some(etag), account).await.expect("answer").status(),
        412
    );
    let set = json!({ "project": "p", "instance": "i-1", "in_use": true, "row": "r2", "unit": 3 });
    assert_eq!(patch(Some(next), set).await.expect("answer").status(), 200);
    for bad in [
        json!({ "colour": "red" }),
        json!({ "unit": 0 }),
        json!({ "lifecycle": null }),
        json!({ "lifecycle": "levitating" }),
        json!({ "switch_path": [] }),
        json!([1]),
    ] {
        let (status, problem) = inventory.patch(&id, bad.clone()).await;
        assert_eq!(status, 400, "{bad}: {problem}");
    }
    // Reinstalled: another host name, another boot; the same node.
    let mut again = nodes[0].clone();
    again.boot = "33333333-0000-4000-8000-000000000003".to_owned();
    again.uptime = 10.0;
    again.snapshot.node.hostname = "fresh".to_owned().into();
    inventory.clock.advance(3600);
    inventory.take(&again.full()).await;
    let record = inventory.ok(&format!("/v1/nodes/{id}")).await;
    assert_eq!(record["hostname"], "fresh");
    for (field, value) in [
        ("account", json!("acme")),
        ("project", json!("p")),
        ("instance", json!("i-1")),
        ("in_use", json!(true)),
        ("row", json!("r2")),
        ("unit", json!(3)),
        ("region", json!(null)),
        ("handover_at", json!(null)),
    ] {
        assert_eq!(record[field], value, "{field}");
    }
    let history = inventory
        .ok(&format!("/v1/nodes/{id}/history?kind=record"))
        .await;
    assert_eq!(history["items"][0]["by"], "admin");
    assert_eq!(history["items"][0]["set"]["project"], "p");
    let (status, _) = inventory.patch("no-such-node", json!({})).await;
    assert_eq!(status, 404);
}

#[tokio::test]
async fn capacity_is_counted_and_grouped() {
    let inventory = Inventory::start().await;
    let mut nodes = rack(&inventory, 4).await;
    let handed = "2026-02-01T00:00:00Z";
    for (index, set) in [
        json!({ "handover_at": handed, "account": "acme", "in_use": true, "lifecycle": "in-service",
                "region": "eu", "rack": "k1", "nvlink_domain": "d1",
                "switch_path": ["leaf-1", "spine-1"] }),
        json!({ "handover_at": handed, "account": "acme", "lifecycle": "in-service",
                "region": "eu", "rack": "k1", "switch_path": ["leaf-2", "spine-1"] }),
        json!({ "handover_at": "2036-01-01T00:00:00Z", "region": "us", "rack": "k1" }),
        json!({ "handover_at": handed, "lifecycle": "retired" }),
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(inventory.patch(&nodes[index].id(), set).await.0, 200);
    }
    nodes[1].findings = vec![off_bus(3, inventory.clock.now())];
    inventory.take(&nodes[1].full()).await;
    let summary = inventory.ok("/v1/summary").await;
    let fleet = &summary["fleet"];
    assert_eq!(fleet["all"], json!({ "nodes": 3, "gpus": 24 }));
    assert_eq!(fleet["delivered"], json!({ "nodes": 2, "gpus": 16 }));
    assert_eq!(fleet["healthy"], json!({ "nodes": 1, "gpus": 8 }));
    assert_eq!(fleet["reserved"], json!({ "nodes": 2, "gpus": 16 }));
    assert_eq!(fleet["in_use"], json!({ "nodes": 1, "gpus": 8 }));
    assert_eq!(fleet["verdicts"]["unhealthy"], 1);
    assert_eq!(
        (&summary["by"], &summary["groups"]),
        (&json!(null), &json!([]))
    );

    let groups = |by: &'static str| {
        let inventory = &inventory;
        async move {
            let summary = inventory.ok(&format!("/v1/summary?by={by}")).await;
            let groups = summary["groups"].as_array().expect("groups").clone();
            let name = |group: &Value| {
                let key = &group["key"];
                let text = |field: &str| key[field].as_str().unwrap_or("-").to_owned();
                let place = [text("region"), text("rack"), text("name")].join("/");
                (
                    place,
                    group["numbers"]["all"]["nodes"].as_u64(),
                    group["numbers"]["worst"].clone(),
                )
            };
            groups.iter().map(name).collect::<Vec<_>>()
        }
    };
    let named = |place: &str, nodes, worst: &str| (place.to_owned(), Some(nodes), json!(worst));
    assert_eq!(
        groups("rack").await,
        [
            named("eu/k1/-", 2, "unhealthy"),
            named("us/k1/-", 1, "healthy")
        ]
    );
    assert_eq!(
        groups("switch").await,
        [
            named("-/-/-", 1, "healthy"),
            named("-/-/leaf-1", 1, "healthy"),
            named("-/-/leaf-2", 1, "unhealthy"),
            named("-/-/spine-1", 2, "unhealthy"),
        ]
    );
    assert_eq!(
        groups("nvlink-domain").await,
        [
            named("-/-/-", 2, "unhealthy"),
            named("-/-/d1", 1, "healthy")
        ]
    );
    assert_eq!(groups("account").await.len(), 2);
    for by in ["region", "site", "row", "platform"] {
        assert!(!groups(by).await.is_empty(), "{by}");
    }
}

#[tokio::test]
async fn deliveries_tell_new_nodes_from_repaired_ones() {
    let inventory = Inventory::start().await;
    let nodes = rack(&inventory, 2).await;
    let one = nodes[0].id();
    let handed = json!({ "handover_at": "2026-03-01T00:00:00Z", "lifecycle": "in-service" });
    inventory.patch(&one, handed.clone()).await;
    inventory.patch(&one, handed).await;
    let first = inventory.ok("/v1/deliveries").await;
    assert_eq!(
        first["items"].as_array().map(Vec::len),
        Some(1),
        "polled twice, told once"
    );
    assert_eq!(first["items"][0]["reason"], "fulfilment");
    inventory
        .patch(&one, json!({ "lifecycle": "maintenance" }))
        .await;
    inventory
        .patch(&one, json!({ "lifecycle": "in-service" }))
        .await;
    inventory
        .patch(
            &nodes[1].id(),
            json!({ "handover_at": "2026-03-01T00:00:00Z" }),
        )
        .await;
    let all = inventory.ok("/v1/deliveries").await;
    let told: Vec<_> = all["items"]
        .as_array()
        .expect("items")
        .iter()
        .map(|item| {
            (
                item["node"].clone(),
                item["reason"].as_str().expect("reason"),
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            (json!(one), "fulfilment"),
            (json!(one), "rma-return"),
            (json!(nodes[1].id()), "fulfilment"),
        ]
    );
    let page = inventory.ok("/v1/deliveries?limit=2").await;
    let next = page["next"].as_str().expect("next");
    let rest = inventory.ok(&format!("/v1/deliveries?cursor={next}")).await;
    assert_eq!(rest["items"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn maintenance_events_keep_the_account_of_their_time() {
    let inventory = Inventory::start().await;
    let mut nodes = rack(&inventory, 1).await;
    let id = nodes[0].id();
    let set = json!({ "account": "acme", "handover_at": "2026-02-01T00:00:00Z" });
    inventory.patch(&id, set).await;
    let begun = inventory.clock.now();
    nodes[0].findings = vec![off_bus(3, begun)];
    inventory.take(&nodes[0].full()).await;
    inventory.patch(&id, json!({ "account": "other" })).await;
    inventory.clock.advance(600);
    nodes[0].findings.clear();
    inventory.take(&nodes[0].full()).await;
    let events = inventory.ok("/v1/maintenance?state=closed").await;
    let event = &events["items"][0];
    assert_eq!(event["account"], "acme");
    assert_eq!(event["hardware_category"], "gpu");
    assert_eq!(event["hardware_id"], "16501230000031");
    assert_eq!(event["fault_description"], "GPU 3 fell off the bus");
    assert_eq!(event["action_category"], "reset-gpu");
    assert_eq!(event["opened_at"], begun.to_string());
    assert_eq!(event["closed_at"], inventory.clock.now().to_string());
    assert_eq!(event["handover_at"], "2026-02-01T00:00:00.000000Z");
    assert_eq!(
        event["ticket_id"],
        inventory.ok("/v1/findings").await["items"][0]["ticket"]
    );
    let none = inventory.ok("/v1/maintenance?state=open").await;
    assert_eq!(none["items"], json!([]));
    let of = inventory.ok("/v1/maintenance?account=acme").await;
    assert_eq!(of["items"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn the_topology_is_what_schedulers_read() {
    let inventory = Inventory::start().await;
    let nodes = rack(&inventory, 3).await;
    let path = json!(["leaf-1", "spine-2", "core-3"]);
    let set = json!({ "instance": "i-1", "switch_path": path, "nvlink_domain": "d1" });
    inventory.patch(&nodes[0].id(), set).await;
    inventory
        .patch(
            &nodes[1].id(),
            json!({ "instance": "i-2", "switch_path": path }),
        )
        .await;
    inventory
        .patch(&nodes[2].id(), json!({ "instance": "i-3" }))
        .await;
    let first = inventory.ok("/v1/topology?limit=1&offset=0").await;
    assert_eq!(
        first,
        json!({ "results": [{
            "instance_id": "i-1",
            "network_node_path": ["core-3", "spine-2", "leaf-1"],
            "block_id": "d1"
        }] })
    );
    let second = inventory.ok("/v1/topology?limit=1&offset=1").await;
    assert_eq!(
        second,
        json!({ "results": [{
            "instance_id": "i-2",
            "network_node_path": ["core-3", "spine-2", "leaf-1"]
        }] })
    );
    let end = inventory.ok("/v1/topology?limit=1&offset=2").await;
    assert_eq!(end, json!({ "results": [] }));
}

#[tokio::test]
async fn the_description_is_of_what_there_is() {
    let inventory = Inventory::start().await;
    let document = inventory.ok("/openapi.json").await;
    assert_eq!(document["openapi"], "3.1.0");
    let mut names = Vec::new();
    for (path, operations) in document["paths"].as_object().expect("paths") {
        for (method, operation) in operations.as_object().expect("operations") {
            let name = operation["operationId"].as_str().expect("name");
            names.push(name.to_owned());
            assert!(
                operation["responses"]
                    .as_object()
                    .is_some_and(|all| !all.is_empty())
            );
            assert!(
                !operation["summary"].as_str().unwrap_or_default().is_empty(),
                "{name}"
            );
            assert!(path.starts_with('/') && method.len() > 2);
        }
    }
    let count = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), count, "operation ids are unique");
    assert!(count >= 17, "{names:?}");
    // Every reference points at something.
    let text = document.to_string();
    let schemas = document["components"]["schemas"]
        .as_object()
        .expect("schemas");
    for part in text.split("\"$ref\":\"").skip(1) {
        let target = part.split('"').next().expect("target");
        let name = target.strip_prefix("#/components/schemas/").expect(target);
        assert!(schemas.contains_key(name), "{target}");
    }
    let metrics = inventory
        .request(Method::GET, "/metrics")
        .bearer_auth(&inventory.read)
        .send()
        .await
        .expect("answer")
        .text()
        .await
        .expect("text");
    assert!(
        metrics.contains("cupel_inventory_nodes{verdict=\"healthy\"} 0\n"),
        "{metrics}"
    );
}
