//! The program itself: first start, refusals, commands beside a running server, and its death.

mod support;

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cupel_inventory::clock::Clock;
use cupel_inventory::web::Limits;
use cupel_model::Verdict;
use support::{Inventory, Node};

#[expect(
    clippy::disallowed_methods,
    reason = "the program under test is a process; tests may start one"
)]
fn program(data: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cupel-inventory"));
    command
        .arg("--data")
        .arg(data)
        .env_remove("CUPEL_INVENTORY_LISTEN")
        .env_remove("CUPEL_LOG");
    command
}

fn run(data: &Path, arguments: &[&str]) -> Output {
    program(data).args(arguments).output().expect("started")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A server in a process of its own; it dies with this value.
struct Serving {
    child: Child,
    origin: String,
    /// Everything that it writes to standard error is read, so that it never waits.
    drain: Option<std::thread::JoinHandle<()>>,
}

impl Serving {
    fn start(data: &Path, more: &[&str]) -> Self {
        let mut child = program(data)
            .args(["serve", "--listen", "127.0.0.1:0"])
            .args(more)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("started");
        let mut lines = BufReader::new(child.stderr.take().expect("stderr"));
        let mut line = String::new();
        let origin = loop {
            line.clear();
            let read = lines.read_line(&mut line).expect("line");
            assert!(read > 0, "it ended before it listened");
            if let Some(origin) = line.trim().strip_prefix("listening on ") {
                break origin.to_owned();
            }
        };
        let drain = std::thread::spawn(move || {
            let mut rest = String::new();
            let _ = lines.read_to_string(&mut rest);
        });
        Self {
            child,
            origin,
            drain: Some(drain),
        }
    }

    fn signal(&self, name: &str) {
        #[expect(
            clippy::disallowed_methods,
            reason = "std can only kill; `kill` sends what is asked for"
        )]
        let sent = Command::new("kill")
            .args(["-s", name, &self.child.id().to_string()])
            .status()
            .expect("kill");
        assert!(sent.success());
    }

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

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
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
async fn a_site_without_a_pki_needs_the_documented_commands_alone() {
    use cupel_model::enrolment::{
        Enrolment, EnrolmentRequest, HardwareIdentity, JoinFile, KeyProtection,
    };
    let data = tempfile::tempdir().expect("directory");
    let dir = data.path().join("inventory");
    let file = data.path().join("one.join");
    let file = file.to_str().expect("path");
    let server = Serving::start(
        &dir,
        &[
            "--tls-names",
            "localhost,127.0.0.1",
            "--certificate-life",
            "1h",
            "--renew-at",
            "50",
        ],
    );
    assert!(
        server.origin.starts_with("https://localhost:"),
        "{}",
        server.origin
    );
    let create = |more: &[&str]| {
        let mut all = vec!["join", "create", "one", "--url", &server.origin];
        all.extend(more);
        run(&dir, &all)
    };
    let made = create(&["--file", file]);
    assert_eq!(made.status.code(), Some(0), "{}", text(&made.stderr));
    assert_eq!(create(&[]).status.code(), Some(2), "the name is taken");
    assert_eq!(create(&["--file", file]).status.code(), Some(2));
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &std::fs::metadata(file).expect("file").permissions(),
    );
    assert_eq!(mode & 0o777, 0o600);
    let join: JoinFile =
        toml::from_str(&std::fs::read_to_string(file).expect("text")).expect("join file");
    assert_eq!(join.inventory, server.origin);
    let root = join.authority.expect("authority");
    let root = reqwest::Certificate::from_pem(root.as_bytes()).expect("certificate");

    let key = rcgen::KeyPair::generate().expect("key");
    let request = rcgen::CertificateParams::default()
        .serialize_request(&key)
        .and_then(|request| request.pem())
        .expect("request");
    let asks = EnrolmentRequest {
        schema_version: cupel_model::SCHEMA_VERSION,
        cupel_version: "0.1.0".to_owned(),
        node: support::NODE.to_owned(),
        id_source: None,
        hostname: None,
        hardware: HardwareIdentity::default(),
        key_protection: KeyProtection::File,
        request,
    };
    let asks = serde_json::to_vec(&asks).expect("json");
    let client = reqwest::Client::builder()
        .tls_certs_only([root.clone()])
        .build()
        .expect("client");
    let answer = client
        .post(format!("{}/v1/enrolments", server.origin))
        .bearer_auth(&join.token)
        .header("content-type", "application/json")
        .body(asks.clone())
        .send()
        .await
        .expect("answer");
    assert_eq!(answer.status(), 201);
    let given: Enrolment =
        serde_json::from_slice(&answer.bytes().await.expect("body")).expect("enrolment");
    assert_eq!(given.not_after.seconds_since(given.not_before), 3900.0);

    let pem = format!("{}{}", given.certificate, key.serialize_pem());
    let node = reqwest::Client::builder()
        .tls_certs_only([root])
        .identity(reqwest::Identity::from_pem(pem.as_bytes()).expect("identity"))
        .build()
        .expect("client");
    let renew = || {
        node.post(format!("{}/v1/enrolments/renewal", server.origin))
            .header("content-type", "application/json")
            .body(asks.clone())
            .send()
    };
    assert_eq!(renew().await.expect("answer").status(), 201);
    let listed = text(&run(&dir, &["identity", "list"]).stdout);
    assert!(
        listed.contains(support::NODE) && listed.contains("active"),
        "{listed}"
    );
    let joins = text(&run(&dir, &["join", "list"]).stdout);
    assert!(
        joins.contains("1/1") && joins.contains("used up"),
        "{joins}"
    );
    let accepted = run(&dir, &["identity", "accept", support::NODE]);
    assert_eq!(accepted.status.code(), Some(2), "it never reported");
    let revoked = run(&dir, &["identity", "revoke", support::NODE]);
    assert_eq!(revoked.status.code(), Some(0), "{}", text(&revoked.stderr));
    let again = run(&dir, &["identity", "revoke", support::NODE]);
    assert_eq!(again.status.code(), Some(2));
    let listed = text(&run(&dir, &["identity", "list", "--output", "json"]).stdout);
    assert!(listed.contains("\"revoked\""), "{listed}");
    let told = Instant::now();
    while renew().await.expect("answer").status() != 403 {
        assert!(told.elapsed() < Duration::from_secs(30), "it works on");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for bad in [
        &["join", "create", "x", "--url", "http://inventory.example"][..],
        &["join", "create", "x", "--url", "inventory.example"],
        &["join", "create", "x"],
        &["join", "revoke", "nobody"],
        &["identity", "revoke", "nobody"],
    ] {
        assert_eq!(run(&dir, bad).status.code(), Some(2), "{bad:?}");
    }
    let other = data.path().join("other");
    let bad = run(
        &other,
        &["serve", "--listen", "127.0.0.1:0", "--tls-names", "a b"],
    );
    assert_eq!(bad.status.code(), Some(2));
    assert!(
        text(&bad.stderr).contains("host name"),
        "{}",
        text(&bad.stderr)
    );
    server.signal("HUP");
    assert_eq!(renew().await.expect("answer").status(), 403);
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
