//! The stream of changes.

mod support;

use std::time::Duration;

use cupel_inventory::store::Retention;
use cupel_inventory::web::Limits;
use cupel_model::Verdict;
use cupel_model::wire::ChangeKind;
use reqwest::{Method, Response};
use serde_json::Value;
use support::{Inventory, Node, change, off_bus};

struct Stream {
    response: Response,
    text: String,
}

/// One event: id, type, data.
type Event = (Option<String>, String, Value);

impl Stream {
    async fn open(inventory: &Inventory, query: &str, last: Option<&str>) -> Self {
        let mut request = inventory
            .request(Method::GET, &format!("/v1/events{query}"))
            .bearer_auth(&inventory.read)
            .header("accept", "text/event-stream");
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let response = request.send().await.expect("answer");
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self {
            response,
            text: String::new(),
        }
    }

    /// The next event; comments are left out. `None`: the stream has ended.
    async fn next(&mut self) -> Option<Event> {
        loop {
            while let Some((block, rest)) = self.text.split_once("\n\n") {
                let block = block.to_owned();
                self.text = rest.to_owned();
                let field = |name: &str| {
                    block
                        .lines()
                        .find_map(|line| line.strip_prefix(&format!("{name}: ")))
                        .map(str::to_owned)
                };
                if let (Some(kind), Some(data)) = (field("event"), field("data")) {
                    let data = serde_json::from_str(&data).expect("json");
                    return Some((field("id"), kind, data));
                }
            }
            let chunk = tokio::time::timeout(Duration::from_secs(20), self.response.chunk());
            let chunk = chunk.await.expect("in time").expect("stream")?;
            self.text.push_str(&String::from_utf8_lossy(&chunk));
        }
    }
}

#[tokio::test]
async fn changes_come_as_they_happen_and_are_resumed() {
    let inventory = Inventory::start().await;
    let mut node = Node::number(&inventory.clock, 1);
    inventory.take(&node.full()).await;
    let mut stream = Stream::open(&inventory, "", None).await;
    let begun = inventory.clock.now();
    let raised = change(begun, ChangeKind::Raised, &off_bus(3, begun));
    inventory
        .take(&node.changes(Verdict::Unhealthy, vec![raised]))
        .await;
    let (id, kind, data) = stream.next().await.expect("event");
    assert_eq!(
        (kind.as_str(), &data["what"]),
        ("finding", &"raised".into())
    );
    assert_eq!(data["finding"]["code"], "gpu.off-bus");
    assert_eq!(data["node"], node.id());
    let (_, kind, data) = stream.next().await.expect("event");
    assert_eq!((kind.as_str(), &data["what"]), ("node", &"verdict".into()));
    assert_eq!(data["verdict"], "unhealthy");
    drop(stream);

    // A heartbeat that changes nothing is no event.
    inventory.take(&node.heartbeat(Verdict::Unhealthy)).await;
    inventory.take(&node.heartbeat(Verdict::Healthy)).await;
    let mut again = Stream::open(&inventory, "", id.as_deref()).await;
    let (_, _, data) = again.next().await.expect("missed");
    assert_eq!(data["verdict"], "unhealthy");
    let (last, _, data) = again.next().await.expect("missed");
    assert_eq!(
        (&data["what"], &data["verdict"]),
        (&"verdict".into(), &"healthy".into())
    );

    // From the beginning, by parameter.
    let mut all = Stream::open(&inventory, "?after=0", None).await;
    let (first, _, data) = all.next().await.expect("first");
    assert_eq!(data["what"], "new");

    // What is no longer kept is said.
    inventory.clock.advance(3 * 86_400);
    inventory.store.retain(Retention::default());
    inventory.store.prune().await.expect("pruned");
    inventory.take(&node.heartbeat(Verdict::Degraded)).await;
    let mut late = Stream::open(&inventory, "", first.as_deref()).await;
    let (_, kind, _) = late.next().await.expect("event");
    assert_eq!(kind, "reset");
    let mut kept = Stream::open(&inventory, "", last.as_deref()).await;
    let (_, kind, data) = kept.next().await.expect("event");
    assert_eq!(
        (kind.as_str(), &data["verdict"]),
        ("node", &"degraded".into())
    );
}

#[tokio::test]
async fn a_watched_node_tells_of_every_report() {
    let inventory = Inventory::start().await;
    let mut one = Node::number(&inventory.clock, 1);
    let mut two = Node::number(&inventory.clock, 2);
    inventory.take(&one.full()).await;
    inventory.take(&two.full()).await;
    let mut stream = Stream::open(&inventory, &format!("?node={}", one.id()), None).await;
    tokio::time::sleep(Duration::from_millis(1100)).await;
    inventory.take(&two.heartbeat(Verdict::Healthy)).await;
    inventory.take(&one.heartbeat(Verdict::Healthy)).await;
    let (id, kind, data) = stream.next().await.expect("event");
    assert_eq!(
        (id, kind.as_str(), &data["what"]),
        (None, "node", &"report".into())
    );
    assert_eq!(data["node"], one.id());
}

#[tokio::test]
async fn listeners_are_bounded_and_told_to_come_again() {
    let limits = Limits {
        listeners: 1,
        stream_lasts: Duration::from_millis(200),
        ..Limits::default()
    };
    let inventory = Inventory::with(limits).await;
    let mut first = Stream::open(&inventory, "", None).await;
    let (status, problem) = inventory.get("/v1/events").await;
    assert_eq!(
        (status, problem["type"].as_str()),
        (503, Some("urn:cupel:busy"))
    );
    assert_eq!(first.next().await, None, "the stream ends by itself");
    drop(first);
    for attempt in 0.. {
        if inventory.app.limits().listeners == 1 && inventory.get("/v1/summary").await.0 == 200 {
            let response = inventory
                .request(Method::GET, "/v1/events")
                .bearer_auth(&inventory.read)
                .send()
                .await
                .expect("answer");
            if response.status() == 200 {
                break;
            }
        }
        assert!(attempt < 100, "the place was not given back");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_server_that_ends_lets_its_listeners_go() {
    let inventory = Inventory::start().await;
    let mut stream = Stream::open(&inventory, "", None).await;
    let ended = tokio::time::timeout(Duration::from_secs(20), inventory.end());
    let (ended, last) = tokio::join!(ended, stream.next());
    ended.expect("in time");
    assert_eq!(last, None);
}
