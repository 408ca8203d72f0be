//! Whoever means harm is refused with a reason, and memory stays bounded.

mod support;

use std::io::Write as _;
use std::time::Duration;

use cupel_inventory::web::Limits;
use cupel_model::Verdict;
use cupel_model::wire::{REPORT_BYTES, REPORT_BYTES_EXPANDED};
use support::{Inventory, Node};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Most memory that this process ever had, in KiB.
fn most_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.and_then(|rest| rest.split_whitespace().next());
    number.and_then(|text| text.parse().ok()).expect("memory")
}

fn bomb(bytes: usize) -> Vec<u8> {
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 3).expect("encoder");
    let zeros = vec![b' '; 1 << 20];
    for _ in 0..bytes >> 20 {
        encoder.write_all(&zeros).expect("memory");
    }
    encoder.finish().expect("memory")
}

fn gzip_bomb(bytes: usize) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let zeros = vec![b' '; 1 << 20];
    for _ in 0..bytes >> 20 {
        encoder.write_all(&zeros).expect("memory");
    }
    encoder.finish().expect("memory")
}

#[tokio::test(flavor = "multi_thread")]
async fn bombs_are_refused_early_and_memory_stays_bounded() {
    let inventory = std::sync::Arc::new(Inventory::start().await);
    let bombs = [(bomb(512 << 20), "zstd"), (gzip_bomb(48 << 20), "gzip")];
    for (bomb, encoding) in &bombs {
        assert!(bomb.len() < REPORT_BYTES);
        let (status, problem) = inventory.post_bytes(bomb.clone(), Some(encoding)).await;
        assert_eq!(status, 413, "{problem}");
        assert_eq!(problem["type"], "urn:cupel:too-large");
    }
    // As large as may be, all at once: texts, and very many values where a reading takes anything.
    let mut node = Node::number(&inventory.clock, 1);
    let mut report = serde_json::to_value(node.full()).expect("json");
    report["body"]["snapshot"]["node"]["hostname"] = "HERE".into();
    let values = format!("[{}0]", "0,".repeat(900_000));
    let many = report.to_string().replace("\"HERE\"", &values);
    let many = zstd::bulk::compress(many.as_bytes(), 1).expect("memory");
    let spaces = bomb(REPORT_BYTES_EXPANDED - (1 << 20));
    let before = most_memory();
    let mut all = tokio::task::JoinSet::new();
    for index in 0..16 {
        let inventory = std::sync::Arc::clone(&inventory);
        let body = if index % 2 == 0 {
            many.clone()
        } else {
            spaces.clone()
        };
        all.spawn(async move { inventory.post_bytes(body, Some("zstd")).await.0 });
    }
    while let Some(status) = all.join_next().await {
        let status = status.expect("answer");
        assert!([400, 503].contains(&status), "{status}");
    }
    let grown = most_memory().saturating_sub(before) / 1024;
    assert!(grown < 700, "{grown} MiB more");
    inventory.take(&node.full()).await;
}

#[tokio::test]
async fn what_is_too_large_is_refused_before_it_is_read() {
    let inventory = Inventory::start().await;
    let mut stream = TcpStream::connect(inventory.address)
        .await
        .expect("connected");
    let head = format!(
        "POST /v1/reports HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n\
         content-type: application/json\r\ncontent-length: 1073741824\r\n\r\n",
        inventory.report
    );
    stream.write_all(head.as_bytes()).await.expect("sent");
    let mut answer = vec![0; 4096];
    let read = stream.read(&mut answer).await.expect("answer");
    let text = String::from_utf8_lossy(&answer[..read]);
    assert!(text.starts_with("HTTP/1.1 413"), "{text}");

    // Without a length, by chunks: stopped at the limit.
    let chunk = vec![b' '; 1 << 20];
    let mut stream = TcpStream::connect(inventory.address)
        .await
        .expect("connected");
    let head = format!(
        "POST /v1/reports HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n\
         content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n",
        inventory.report
    );
    stream.write_all(head.as_bytes()).await.expect("sent");
    let mut sent = 0_usize;
    while sent < 64 << 20 {
        let mut piece = format!("{:x}\r\n", chunk.len()).into_bytes();
        piece.extend(&chunk);
        piece.extend(b"\r\n");
        if stream.write_all(&piece).await.is_err() {
            break;
        }
        sent += chunk.len();
    }
    assert!(sent < 32 << 20, "{sent} bytes were taken");
}

#[tokio::test]
async fn deep_nesting_and_very_many_values_are_refused() {
    let inventory = Inventory::start().await;
    for (body, status) in [
        ("[".repeat(100_000), 400),
        ("{\"a\":".repeat(100_000), 400),
        (format!("[{}0]", "0,".repeat(1_100_000)), 413),
    ] {
        let (got, problem) = inventory.post_bytes(body.into_bytes(), None).await;
        assert_eq!(got, status, "{problem}");
    }
}

#[tokio::test]
async fn the_slow_are_not_waited_for() {
    let limits = Limits {
        head_deadline: Duration::from_millis(300),
        body_deadline: Duration::from_millis(300),
        ..Limits::default()
    };
    let inventory = Inventory::with(limits).await;
    // A head that never ends.
    let mut stream = TcpStream::connect(inventory.address)
        .await
        .expect("connected");
    stream
        .write_all(b"POST /v1/reports HTTP/1.1\r\nhost: x\r\n")
        .await
        .expect("sent");
    let mut answer = Vec::new();
    let closed = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut answer));
    assert!(closed.await.is_ok(), "closed by the server");
    // A connection that says nothing at all.
    let mut stream = TcpStream::connect(inventory.address)
        .await
        .expect("connected");
    let closed = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut answer));
    assert!(closed.await.is_ok(), "closed by the server");
    // A body that never ends.
    let mut stream = TcpStream::connect(inventory.address)
        .await
        .expect("connected");
    let head = format!(
        "POST /v1/reports HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n\
         content-type: application/json\r\ncontent-length: 1000\r\n\r\n{{",
        inventory.report
    );
    stream.write_all(head.as_bytes()).await.expect("sent");
    let mut answer = vec![0; 4096];
    let read = tokio::time::timeout(Duration::from_secs(20), stream.read(&mut answer));
    let read = read.await.expect("in time").expect("answer");
    let text = String::from_utf8_lossy(&answer[..read]);
    assert!(text.starts_with("HTTP/1.1 408"), "{text}");
}

#[tokio::test]
async fn connections_are_bounded_and_places_are_given_back() {
    let limits = Limits {
        connections: 4,
        ..Limits::default()
    };
    let inventory = Inventory::with(limits).await;
    let mut held = Vec::new();
    for _ in 0..4 {
        let mut stream = TcpStream::connect(inventory.address)
            .await
            .expect("connected");
        stream
            .write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
            .await
            .expect("sent");
        let mut answer = vec![0; 1024];
        let read = stream.read(&mut answer).await.expect("answer");
        assert!(answer[..read].starts_with(b"HTTP/1.1 200"));
        held.push(stream);
    }
    let mut fifth = TcpStream::connect(inventory.address)
        .await
        .expect("connected");
    let _ = fifth
        .write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
        .await;
    let mut answer = Vec::new();
    let _ = fifth.read_to_end(&mut answer).await;
    assert!(answer.is_empty(), "there is no room for a fifth");
    held.clear();
    for attempt in 0.. {
        if inventory
            .request(reqwest::Method::GET, "/healthz")
            .send()
            .await
            .is_ok()
        {
            break;
        }
        assert!(attempt < 100, "no place was given back");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_script_in_a_host_name_is_shown_and_not_run() {
    let inventory = Inventory::start().await;
    let mut node = Node::number(&inventory.clock, 1);
    let script = "<script>alert(1)</script>";
    node.snapshot.node.hostname = script.to_owned().into();
    let mut lost = support::off_bus(3, inventory.clock.now());
    lost.finding.summary = format!("{script} fell off");
    node.findings = vec![lost];
    inventory.take(&node.full()).await;
    inventory.take(&node.heartbeat(Verdict::Unhealthy)).await;
    for path in [
        "/",
        "/racks/-/-/-/-",
        &format!("/nodes/{}", node.id()),
        "/parts/16501230000031",
        "/search?q=%3Cscript%3E",
    ] {
        let page = inventory
            .request(reqwest::Method::GET, path)
            .bearer_auth(&inventory.read)
            .send()
            .await
            .expect("answer");
        assert_eq!(page.status(), 200, "{path}");
        assert!(page.headers().contains_key("content-security-policy"));
        let text = page.text().await.expect("text");
        assert!(!text.contains(script), "{path}");
        assert!(text.contains("&lt;script&gt;"), "{path}");
        assert!(text.len() < 100 << 10, "{path}: {} bytes", text.len());
    }
}
