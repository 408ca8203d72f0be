//! The program itself: first start, refusals, commands beside a running server, and its death.

#[path = "process/program.rs"]
mod program;
mod support;

use std::io::{BufRead as _, BufReader, Read as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cupel_inventory::clock::Clock;
use cupel_inventory::web::Limits;
use cupel_model::Verdict;
use program::{Serving, run, text};
use support::{Inventory, Node};

impl Serving {
    /// Waits for its end; what it wrote to standard output.
    fn ended(mut self) -> (Option<i32>, String) {
        let status = self.child.wait().expect("status");
        let mut out = String::new();
        let stdout = self.child.stdout.as_mut().expect("stdout");
        stdout.read_to_string(&mut out).expect("text");
        if let Some(drain) = self.drain.take() {
            drain.join().expect("drained");
        }
        (status.code(), out)
    }
}

#[tokio::test]
async fn the_first_start_gives_a_token_and_a_link_once() {
    let data = tempfile::tempdir().expect("directory");
    let data = &data.path().join("inventory");
    let mut server = Serving::start(data, &[]);
    let mut out = BufReader::new(server.child.stdout.take().expect("stdout"));
    let (mut token, mut link) = (String::new(), String::new());
    while link.is_empty() {
        let mut line = String::new();
        assert!(out.read_line(&mut line).expect("line") > 0);
        let line = line.trim();
        if line.starts_with("cupel_") {
            line.clone_into(&mut token);
        }
        if line.starts_with(&server.origin) {
            line.clone_into(&mut link);
        }
    }
    let client = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .expect("client");
    let summary = format!("{}/v1/summary", server.origin);
    let read = client
        .get(&summary)
        .bearer_auth(&token)
        .send()
        .await
        .expect("answer");
    assert_eq!(read.status(), 200);
    let signed_in = client.get(&link).send().await.expect("answer");
    assert_eq!(signed_in.status(), 303);
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &std::fs::metadata(data.join("inventory.sqlite"))
            .expect("file")
            .permissions(),
    );
    assert_eq!(mode & 0o777, 0o600);

    let second = run(data, &["serve", "--listen", "127.0.0.1:0"]);
    assert_eq!(second.status.code(), Some(4), "{}", text(&second.stderr));

    server.child.stdout = Some(out.into_inner());
    let told = Instant::now();
    server.signal("TERM");
    let (code, _) = server.ended();
    assert_eq!(code, Some(0));
    assert!(told.elapsed() < Duration::from_secs(10));

    let server = Serving::start(data, &[]);
    server.signal("INT");
    assert_eq!(
        server.ended(),
        (Some(0), String::new()),
        "no token is shown again"
    );
}

#[tokio::test]
async fn a_link_signs_in_once() {
    let data = tempfile::tempdir().expect("directory");
    let server = Serving::start(data.path(), &[]);
    let report = run(
        data.path(),
        &["token", "create", "k07", "--scope", "report"],
    );
    assert_eq!(report.status.code(), Some(0));
    let refused = run(data.path(), &["link", "--token", "k07"]);
    assert_eq!(refused.status.code(), Some(2));
    let why = text(&refused.stderr);
    assert!(why.contains("k07") && why.contains("token list"), "{why}");

    let made = run(data.path(), &["link", "--url", &server.origin]);
    assert_eq!(made.status.code(), Some(0), "{}", text(&made.stderr));
    assert!(text(&made.stderr).contains("first admin"));
    let link = text(&made.stdout);
    let client = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .expect("client");
    let mut answers = Vec::new();
    for _ in 0..2 {
        let answer = client.get(link.trim()).send().await.expect("answer");
        answers.push(answer.status().as_u16());
    }
    assert_eq!(answers[0], 303);
    assert_ne!(answers[1], 303, "it works once");
}

#[test]
fn anything_but_loopback_needs_tls() {
    let data = tempfile::tempdir().expect("directory");
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
        let refused = run(data.path(), &["serve", "--listen", address]);
        assert_eq!(refused.status.code(), Some(4), "{address}");
        let why = text(&refused.stderr);
        assert!(
            ["--tls-names", "--tls-cert", "127.0.0.1"]
                .iter()
                .all(|part| why.contains(part)),
            "{why}"
        );
    }
    let half = run(data.path(), &["serve", "--tls-cert", "x.pem"]);
    assert_eq!(half.status.code(), Some(2));
    let no_file = [
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--tls-cert",
        "no.pem",
        "--tls-key",
        "no.pem",
    ];
    let no_file = run(data.path(), &no_file);
    assert_eq!(no_file.status.code(), Some(2));
    assert!(text(&no_file.stderr).contains("no.pem"));
}

#[tokio::test]
async fn with_tls_it_answers_https_alone() {
    let data = tempfile::tempdir().expect("directory");
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).expect("certificate");
    let (certificate, key) = (data.path().join("cert.pem"), data.path().join("key.pem"));
    std::fs::write(&certificate, made.cert.pem()).expect("written");
    std::fs::write(&key, made.signing_key.serialize_pem()).expect("written");
    let server = Serving::start(
        &data.path().join("inventory"),
        &[
            "--tls-cert",
            certificate.to_str().expect("path"),
            "--tls-key",
            key.to_str().expect("path"),
        ],
    );
    assert!(server.origin.starts_with("https://"), "{}", server.origin);
    let root = reqwest::Certificate::from_pem(made.cert.pem().as_bytes()).expect("certificate");
    let client = reqwest::Client::builder()
        .tls_certs_only([root])
        .build()
        .expect("client");
    let health = client
        .get(format!("{}/healthz", server.origin))
        .send()
        .await;
    assert_eq!(health.expect("answer").status(), 200);
    let plain = server.origin.replace("https:", "http:");
    assert!(client.get(format!("{plain}/healthz")).send().await.is_err());
    server.signal("HUP");
    let health = client
        .get(format!("{}/healthz", server.origin))
        .send()
        .await;
    assert_eq!(health.expect("answer").status(), 200);
}

#[tokio::test]
async fn commands_work_beside_a_running_server() {
    let data = tempfile::tempdir().expect("directory");
    let dir = data.path().join("inventory");
    let made = run(&dir, &["token", "create", "reader", "--scope", "read"]);
    assert_eq!(made.status.code(), Some(0), "{}", text(&made.stderr));
    let reader = text(&made.stdout).trim().to_owned();
    let server = Serving::start(&dir, &[]);
    let client = reqwest::Client::new();
    let get = |path: &str, token: &str| {
        let request = client
            .get(format!("{}{path}", server.origin))
            .bearer_auth(token);
        request.send()
    };
    assert_eq!(
        get("/v1/expected", &reader).await.expect("answer").status(),
        200
    );

    let list = data.path().join("racks.csv");
    std::fs::write(&list, "chassis_serial,unit\nC0001,1\nC0002,two\n").expect("written");
    let list = list.to_str().expect("path");
    let wrong = run(&dir, &["import", list]);
    assert_eq!(wrong.status.code(), Some(2));
    let why = text(&wrong.stderr);
    assert!(why.contains("line 3, unit, \"two\": is no number"), "{why}");
    std::fs::write(list, "chassis_serial,unit\nC0001,1\nC0002,2\n").expect("written");
    let right = run(&dir, &["import", list]);
    assert_eq!(
        text(&right.stdout),
        "2 added, 0 changed, 0 removed, 2 in all\n"
    );
    let body = get("/v1/expected", &reader)
        .await
        .expect("answer")
        .text()
        .await
        .expect("text");
    assert!(body.contains("\"missing\":2"), "{body}");

    let twice = run(&dir, &["token", "create", "reader", "--scope", "read"]);
    assert_eq!(twice.status.code(), Some(2));
    for bad in [
        &[
            "token",
            "create",
            "x",
            "--scope",
            "read",
            "--node",
            "node-0001",
        ][..],
        &[
            "token", "create", "x", "--scope", "report", "--node", "No Id",
        ],
        &["token", "create", "", "--scope", "read"],
        &["token", "revoke", "nobody"],
        &["import", "no-such-file.csv"],
        &["backup"],
    ] {
        assert_eq!(run(&dir, bad).status.code(), Some(2), "{bad:?}");
    }
    let listed = text(&run(&dir, &["token", "list", "--output", "json"]).stdout);
    assert!(
        listed.contains("\"reader\"") && !listed.contains(&reader),
        "{listed}"
    );
    assert_eq!(
        run(&dir, &["token", "revoke", "reader"]).status.code(),
        Some(0)
    );
    tokio::time::sleep(Duration::from_millis(2100)).await;
    assert_eq!(
        get("/v1/expected", &reader).await.expect("answer").status(),
        401
    );

    let copy = data.path().join("copy.sqlite");
    let copy = copy.to_str().expect("path");
    assert_eq!(run(&dir, &["backup", copy]).status.code(), Some(0));
    assert_eq!(
        run(&dir, &["backup", copy]).status.code(),
        Some(4),
        "never over a file"
    );
    assert_eq!(run(&dir, &["prune"]).status.code(), Some(0));
    let done = run(&dir, &["migrate"]);
    assert!(text(&done.stdout).contains("nothing to do"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_made_while_reports_come_is_whole() {
    let inventory = Arc::new(Inventory::start().await);
    let mut writing = Vec::new();
    for number in 1..=4 {
        let inventory = Arc::clone(&inventory);
        writing.push(tokio::spawn(async move {
            let mut node = Node::number(&inventory.clock, number);
            inventory.take(&node.full()).await;
            for _ in 0..60 {
                inventory.take(&node.heartbeat(Verdict::Healthy)).await;
            }
        }));
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    let data = tempfile::tempdir().expect("directory");
    let copy = data.path().join("inventory.sqlite");
    inventory.store.backup(&copy).await.expect("copied");
    for one in writing {
        one.await.expect("written");
    }
    let other = Inventory::open(data.path(), Clock::system(), Limits::default()).await;
    let page = other
        .store
        .nodes(
            &cupel_inventory::store::NodeFilter::default(),
            cupel_inventory::store::Want {
                after: None,
                limit: 10,
            },
        )
        .await
        .expect("nodes");
    assert!(page.items.len() <= 4);
    other.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_has_what_it_acknowledged_and_nothing_twice() {
    let data = tempfile::tempdir().expect("directory");
    let dir = data.path().join("inventory");
    let made = run(&dir, &["token", "create", "nodes", "--scope", "report"]);
    let token = text(&made.stdout).trim().to_owned();
    let made = run(&dir, &["token", "create", "reader", "--scope", "read"]);
    let reader = text(&made.stdout).trim().to_owned();
    let clock = Clock::system();
    let mut nodes: Vec<Node> = (1..=8).map(|n| Node::number(&clock, n)).collect();
    let mut acknowledged = Vec::new();
    for round in 0..3_u64 {
        let server = Serving::start(&dir, &[]);
        let url = format!("{}/v1/reports", server.origin);
        let mut sending = Vec::new();
        for mut node in nodes.drain(..) {
            let (url, token) = (url.clone(), token.clone());
            sending.push(tokio::spawn(async move {
                let client = reqwest::Client::new();
                let mut taken = Vec::new();
                loop {
                    let event = cupel_health::testing::xid(3, 79, "", None);
                    let report = node.report(cupel_model::wire::Body::Changes {
                        verdict: Verdict::Healthy,
                        changes: Vec::new(),
                        events: vec![cupel_model::wire::NodeEvent {
                            boot: support::BOOT.to_owned(),
                            event,
                        }],
                    });
                    let body = serde_json::to_vec(&report).expect("json");
                    let sent = client
                        .post(&url)
                        .bearer_auth(&token)
                        .header("content-type", "application/json")
                        .body(body.clone())
                        .send()
                        .await;
                    match sent {
                        Ok(answer) if answer.status() == 200 => taken.push((body, true)),
                        // What became of it is not known: it is sent again.
                        Ok(_) | Err(_) => {
                            taken.push((body, false));
                            return (node, taken);
                        }
                    }
                }
            }));
        }
        tokio::time::sleep(Duration::from_millis(300 + round * 170)).await;
        server.signal("KILL");
        for one in sending {
            let (node, taken) = one.await.expect("task");
            nodes.push(node);
            acknowledged.extend(taken);
        }
        drop(server);
    }
    assert!(acknowledged.len() > 24, "{} reports", acknowledged.len());
    let server = Serving::start(&dir, &[]);
    let client = reqwest::Client::new();
    for (body, was_taken) in &acknowledged {
        let answer = client
            .post(format!("{}/v1/reports", server.origin))
            .bearer_auth(&token)
            .header("content-type", "application/json")
            .body(body.clone())
            .send()
            .await
            .expect("answer");
        let (status, answer) = support::json(answer).await;
        assert_eq!(status, 200, "{answer}");
        if *was_taken {
            assert_eq!(answer["duplicate"], true, "acknowledged and lost");
        }
    }
    // Each report had one event: each is counted once.
    let mut counted = 0;
    for node in &nodes {
        let url = format!(
            "{}/v1/nodes/{}/history?kind=event",
            server.origin,
            node.id()
        );
        let answer = client
            .get(url)
            .bearer_auth(&reader)
            .send()
            .await
            .expect("answer");
        let (_, history) = support::json(answer).await;
        counted += history["items"][0]["event"]["event"]["repeats"]
            .as_u64()
            .expect("count");
    }
    assert_eq!(counted, u64::try_from(acknowledged.len()).expect("few"));
}
