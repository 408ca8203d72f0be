//! What is made of a server that is slow, broken, or lies.

use std::net::SocketAddr;
use std::time::Duration;

use cupel_model::wire::{Dropped, Lifecycle};
use cupel_reporting::{Class, Delivered, Delivery, DeliverySettings, Outcome, Spooled, WantedNews};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::support::{NODE, changes, noise, opened};

const BOOT: &str = "0d2c5ab3-5f43-4a6b-8d3b-6e4ed6b0b8f4";

/// What the server does with one connection after the request's head came.
enum Reply {
    /// Reads the whole request and answers.
    Whole(String),
    /// Reads the whole request and answers a byte at a time, with this between two.
    Slow(String, Duration),
    /// Reads the whole request and says nothing.
    Nothing,
    /// Reads the whole request and closes its side without an answer, the other stays open.
    HalfClosed,
    /// Answers so much and closes.
    CutAt(String, usize),
    /// Answers before the body came, and closes.
    Early(String),
    /// Answers without an end.
    Endless,
}

/// A request that came.
struct Request {
    head: String,
    body: Vec<u8>,
}

impl Request {
    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

struct Server {
    address: SocketAddr,
    requests: mpsc::UnboundedReceiver<Request>,
    task: JoinHandle<()>,
}

impl Server {
    /// A reply a connection.
    async fn start(replies: Vec<Reply>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let address = listener.local_addr().expect("address");
        let (send, requests) = mpsc::unbounded_channel();
        let task = tokio::spawn(async move {
            for reply in replies {
                let (stream, _) = listener.accept().await.expect("accept");
                // The other side may go away in the middle of it.
                let _ = one(stream, reply, &send).await;
            }
            std::future::pending::<()>().await;
        });
        Self {
            address,
            requests,
            task,
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn one(
    mut stream: TcpStream,
    reply: Reply,
    requests: &mpsc::UnboundedSender<Request>,
) -> std::io::Result<()> {
    let mut bytes = Vec::new();
    let mut end = None;
    while end.is_none() {
        if stream.read_buf(&mut bytes).await? == 0 {
            return Ok(());
        }
        end = bytes.windows(4).position(|window| window == b"\r\n\r\n");
    }
    let end = end.expect("end of the head");
    let mut request = Request {
        head: String::from_utf8_lossy(&bytes[..end]).into_owned(),
        body: bytes.split_off(end + 4),
    };
    let length: usize = request
        .header("content-length")
        .map_or(0, |text| text.parse().expect("length"));
    if let Reply::Early(answer) = &reply {
        let _ = requests.send(request);
        stream.write_all(answer.as_bytes()).await?;
        return stream.shutdown().await;
    }
    while request.body.len() < length {
        if stream.read_buf(&mut request.body).await? == 0 {
            return Ok(());
        }
    }
    let _ = requests.send(request);
    match reply {
        Reply::Whole(answer) | Reply::Early(answer) => stream.write_all(answer.as_bytes()).await?,
        Reply::Slow(answer, between) => {
            for byte in answer.bytes() {
                stream.write_all(&[byte]).await?;
                tokio::time::sleep(between).await;
            }
        }
        Reply::Nothing => {
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).await?;
        }
        Reply::HalfClosed => {
            stream.shutdown().await?;
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).await?;
        }
        Reply::CutAt(answer, at) => stream.write_all(&answer.as_bytes()[..at]).await?,
        Reply::Endless => {
            let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n";
            stream.write_all(head.as_bytes()).await?;
            loop {
                stream.write_all(&[b' '; 65536]).await?;
            }
        }
    }
    Ok(())
}

fn answer(status: &str, headers: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n{body}",
        body.len()
    )
}

fn accepted(sequence: u64, more: &str) -> String {
    format!(
        r#"{{"schema_version":1,"accepted":{{"node":"{NODE}","boot":"{BOOT}","sequence":{sequence}}},"duplicate":false,"send":null,"wanted":null{more}}}"#
    )
}

fn good(sequence: u64) -> Reply {
    Reply::Whole(answer("200 OK", "", &accepted(sequence, "")))
}

fn spooled(sequence: u64, bytes: Vec<u8>) -> Spooled {
    Spooled {
        node: NODE.to_owned(),
        boot: BOOT.to_owned(),
        sequence,
        class: Class::Changes,
        bytes,
    }
}

fn report(sequence: u64) -> Spooled {
    let mut report = changes("why");
    report.boot = BOOT.to_owned();
    report.sequence = sequence;
    report.dropped = Dropped::default();
    let json = serde_json::to_vec(&report).expect("json");
    spooled(sequence, zstd::bulk::compress(&json, 3).expect("zstd"))
}

struct Node {
    directory: tempfile::TempDir,
    delivery: Delivery,
}

fn node(server: &Server) -> Node {
    node_with(server, Duration::from_secs(20))
}

fn node_with(server: &Server, timeout: Duration) -> Node {
    let directory = tempfile::tempdir().expect("directory");
    let token = directory.path().join("token");
    std::fs::write(&token, "first-token\n").expect("write");
    let mut settings = DeliverySettings::new(format!("http://{}/", server.address), token);
    settings.timeout = timeout;
    Node {
        delivery: Delivery::new(&settings).expect("delivery"),
        directory,
    }
}

/// What comes of report 7 against this reply.
async fn against(reply: Reply) -> Outcome {
    let server = Server::start(vec![reply]).await;
    node(&server).delivery.post(&report(7)).await
}

fn why_later(outcome: Outcome) -> String {
    match outcome {
        Outcome::Later { after: None, why } => why,
        Outcome::Later { .. } | Outcome::Delivered(_) | Outcome::Refused { .. } => {
            panic!("not just later: {outcome:?}")
        }
    }
}

#[tokio::test]
async fn a_report_arrives_and_the_request_is_what_was_agreed() {
    let mut server = Server::start(vec![good(7)]).await;
    let outcome = node(&server).delivery.post(&report(7)).await;
    assert_eq!(outcome, Outcome::Delivered(Delivered::default()));
    let request = server.requests.recv().await.expect("request");
    assert!(
        request.head.starts_with("POST /v1/reports HTTP/1.1"),
        "{}",
        request.head
    );
    for (name, value) in [
        ("authorization", "Bearer first-token"),
        ("content-type", "application/json"),
        ("content-encoding", "zstd"),
        ("user-agent", concat!("cupel/", env!("CARGO_PKG_VERSION"))),
    ] {
        assert_eq!(request.header(name), Some(value), "{name}");
    }
    assert_eq!(opened(&request.body).sequence, 7);
}

#[tokio::test]
async fn only_a_success_that_names_the_report_is_one() {
    let other_node = accepted(7, "").replace(NODE, "another-node");
    let other_boot = accepted(7, "").replace(BOOT, "another-boot");
    let half = accepted(7, "");
    for (name, body) in [
        ("another sequence", accepted(8, "")),
        ("another node", other_node),
        ("another boot", other_boot),
        ("nothing", String::new()),
        ("a page", "<html><body>Welcome</body></html>".to_owned()),
        ("other JSON", r#"{"ok":true}"#.to_owned()),
        ("a list", "[]".to_owned()),
        ("half an answer", half[..half.len() / 2].to_owned()),
        ("an answer and more", format!("{}{{}}", accepted(7, ""))),
        (
            "a sequence in words",
            accepted(7, "").replace(":7}", ":\"7\"}"),
        ),
        ("deep nesting", "[".repeat(200_000)),
        (
            "deep nesting within",
            accepted(7, &format!(",\"x\":{}", "[".repeat(100_000))),
        ),
    ] {
        let outcome = against(Reply::Whole(answer("200 OK", "", &body))).await;
        assert!(
            matches!(outcome, Outcome::Later { .. }),
            "{name}: {outcome:?}"
        );
    }
    let binary = Reply::Whole(answer("200 OK", "", "\u{1}\u{1b}[2J\u{fffd}"));
    let why = why_later(against(binary).await);
    assert!(!why.contains('\u{1b}'), "{why:?}");
}

#[tokio::test]
async fn an_answer_that_does_not_end_well_is_none() {
    let whole = answer("200 OK", "", &accepted(7, ""));
    for at in [0, 10, whole.len() / 2, whole.len() - 1] {
        why_later(against(Reply::CutAt(whole.clone(), at)).await);
    }
    why_later(against(Reply::HalfClosed).await);
    let why = why_later(against(Reply::Endless).await);
    assert!(why.contains("more than 262144 bytes"), "{why}");
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffff\r\n{".to_owned();
    why_later(against(Reply::Whole(chunked)).await);
    why_later(against(Reply::Whole("SSH-2.0-OpenSSH_9.2\r\n".to_owned())).await);
}

#[tokio::test]
async fn a_server_that_takes_for_ever_is_left() {
    let whole = answer("200 OK", "", &accepted(7, ""));
    for reply in [
        Reply::Slow(whole.clone(), Duration::from_millis(100)),
        Reply::Nothing,
    ] {
        let server = Server::start(vec![reply, good(8)]).await;
        let mut node = node_with(&server, Duration::from_millis(400));
        why_later(node.delivery.post(&report(7)).await);
    }
    // Slow, but within the time.
    let slow = Reply::Slow(whole, Duration::from_millis(1));
    let outcome = against(slow).await;
    assert!(matches!(outcome, Outcome::Delivered(_)), "{outcome:?}");
}

#[tokio::test]
async fn nobody_there_is_later() {
    let server = Server::start(Vec::new()).await;
    let mut node = node(&server);
    server.task.abort();
    while TcpStream::connect(server.address).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    why_later(node.delivery.post(&report(7)).await);
}

const PROBLEM: &str =
    r#"{"type":"about:blank","title":"Conflict","status":409,"detail":"seen with other content"}"#;

#[tokio::test]
async fn a_refusal_is_final_only_in_the_inventorys_own_words() {
    for status in [
        "400 Bad Request",
        "409 Conflict",
        "422 Unprocessable Content",
    ] {
        let code = status.split(' ').next().expect("code");
        let body = PROBLEM.replace("409", code);
        let outcome = against(Reply::Whole(answer(status, "", &body))).await;
        let Outcome::Refused { why } = outcome else {
            panic!("{status}: {outcome:?}");
        };
        assert_eq!(
            why,
            format!("the inventory answered {code}: Conflict: seen with other content")
        );
        for other in ["", "<html>400</html>", "{}", &body.replace(code, "500")] {
            let outcome = against(Reply::Whole(answer(status, "", other))).await;
            assert!(
                matches!(outcome, Outcome::Later { .. }),
                "{status} {other:?}: {outcome:?}"
            );
        }
    }
    let page = Reply::Whole(answer(
        "413 Content Too Large",
        "",
        "<html>too large</html>",
    ));
    let outcome = against(page).await;
    assert!(matches!(outcome, Outcome::Refused { .. }), "{outcome:?}");
}

#[tokio::test]
async fn a_report_of_the_node_that_this_machine_was_before_is_out_of_the_way() {
    let kind = "urn:cupel:identity-mismatch";
    let body = PROBLEM.replace("409", "403").replace("about:blank", kind);
    let outcome = against(Reply::Whole(answer("403 Forbidden", "", &body))).await;
    assert!(matches!(outcome, Outcome::Refused { .. }), "{outcome:?}");
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_even_before_it_came() {
    let large = spooled(7, noise(1, 3 << 20).into_bytes());
    let early = Reply::Early(answer("413 Content Too Large", "", ""));
    let server = Server::start(vec![early]).await;
    let outcome = node(&server).delivery.post(&large).await;
    assert!(matches!(outcome, Outcome::Refused { .. }), "{outcome:?}");
}

#[tokio::test]
async fn what_may_pass_is_tried_again() {
    for status in [
        "401 Unauthorized",
        "403 Forbidden",
        "404 Not Found",
        "405 Method Not Allowed",
        "408 Request Timeout",
        "415 Unsupported Media Type",
        "429 Too Many Requests",
        "500 Internal Server Error",
        "502 Bad Gateway",
        "503 Service Unavailable",
        "504 Gateway Timeout",
    ] {
        let code = status.split(' ').next().expect("code");
        let body = PROBLEM.replace("409", code);
        let outcome = against(Reply::Whole(answer(status, "", &body))).await;
        let why = why_later(outcome);
        assert!(why.contains(code), "{why}");
    }
}

#[tokio::test]
async fn retry_after_is_honoured_up_to_a_bound() {
    for (status, given, expected) in [
        ("429 Too Many Requests", "7", Some(7)),
        ("503 Service Unavailable", " 30 ", Some(30)),
        ("429 Too Many Requests", "999999999", Some(600)),
        ("429 Too Many Requests", "-1", None),
        (
            "429 Too Many Requests",
            "Wed, 21 Oct 2026 07:28:00 GMT",
            None,
        ),
        ("500 Internal Server Error", "7", None),
    ] {
        let headers = format!("Retry-After: {given}\r\n");
        let outcome = against(Reply::Whole(answer(status, &headers, ""))).await;
        let Outcome::Later { after, .. } = outcome else {
            panic!("{status}: {outcome:?}");
        };
        assert_eq!(after, expected.map(Duration::from_secs), "{status} {given}");
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let mut elsewhere = Server::start(vec![good(7)]).await;
    for status in ["301 Moved", "302 Found", "307 Temporary", "308 Permanent"] {
        let headers = format!("Location: http://{}/v1/reports\r\n", elsewhere.address);
        let why = why_later(against(Reply::Whole(answer(status, &headers, ""))).await);
        assert!(why.contains(&elsewhere.address.to_string()), "{why}");
    }
    assert!(elsewhere.requests.try_recv().is_err(), "it was followed");
}

#[tokio::test]
async fn what_is_wanted_comes_as_it_was_sent() {
    let document = r#"{ "etag" : "7",  "lifecycle":"in-service","baseline":null,"n":1e400}"#;
    let body = accepted(7, "").replace("\"wanted\":null", &format!("\"wanted\":{document}"));
    let outcome = against(Reply::Whole(answer("200 OK", "", &body))).await;
    let Outcome::Delivered(delivered) = outcome else {
        panic!("{outcome:?}");
    };
    // A number that no computer holds is kept, and makes the wishes none that are understood.
    let Some(WantedNews::Refused { .. }) = delivered.wanted else {
        panic!("{:?}", delivered.wanted);
    };
    let document = document.replace("1e400", "1.50");
    let body = accepted(7, "").replace("\"wanted\":null", &format!("\"wanted\":{document}"));
    let outcome = against(Reply::Whole(answer("200 OK", "", &body))).await;
    let Outcome::Delivered(Delivered {
        wanted:
            Some(WantedNews::Understood {
                wanted,
                document: kept,
            }),
        ..
    }) = outcome
    else {
        panic!("{outcome:?}");
    };
    assert_eq!(kept.json, document, "byte for byte");
    assert_eq!(kept.etag, "7");
    assert_eq!(wanted.lifecycle, Lifecycle::InService);
    assert_eq!(wanted.more["n"], 1.5);
}

#[tokio::test]
async fn what_is_not_understood_does_not_undo_the_delivery() {
    let body = accepted(7, ",\"weather\":\"fine\"")
        .replace("\"send\":null", "\"send\":\"diff\"")
        .replace("\"duplicate\":false", "\"duplicate\":true")
        .replace(
            "\"wanted\":null",
            r#""wanted":{"etag":"8","lifecycle":"levitating","baseline":null}"#,
        );
    let outcome = against(Reply::Whole(answer("202 Accepted", "", &body))).await;
    let Outcome::Delivered(delivered) = outcome else {
        panic!("{outcome:?}");
    };
    assert!(delivered.duplicate && !delivered.send_full);
    assert_eq!(delivered.not_understood, ["send: \"diff\""]);
    let Some(WantedNews::Refused { why }) = delivered.wanted else {
        panic!("{:?}", delivered.wanted);
    };
    assert!(why.contains("levitating"), "{why}");

    let body = r#"{"accepted":{"node":"N","boot":"B","sequence":7},"send":"full"}"#
        .replace("\"N\"", &format!("{NODE:?}"))
        .replace("\"B\"", &format!("{BOOT:?}"));
    let outcome = against(Reply::Whole(answer("200 OK", "", &body))).await;
    let Outcome::Delivered(delivered) = outcome else {
        panic!("{outcome:?}");
    };
    assert!(delivered.send_full);
}

#[tokio::test]
async fn a_token_that_was_exchanged_is_used_at_once() {
    let no = || Reply::Whole(answer("401 Unauthorized", "", ""));
    let mut server = Server::start(vec![no(), no(), good(7)]).await;
    let mut node = node(&server);
    let why = why_later(node.delivery.post(&report(7)).await);
    assert!(!why.contains("first-token"), "{why}");
    std::fs::write(node.directory.path().join("token"), "second-token").expect("write");
    // Whether the old token is still in memory or not: one call is enough.
    let outcome = node.delivery.post(&report(7)).await;
    let outcome = match outcome {
        Outcome::Later { .. } => node.delivery.post(&report(7)).await,
        Outcome::Delivered(_) | Outcome::Refused { .. } => outcome,
    };
    assert!(matches!(outcome, Outcome::Delivered(_)), "{outcome:?}");
    let mut tokens = Vec::new();
    while let Ok(request) = server.requests.try_recv() {
        tokens.push(request.header("authorization").map(str::to_owned));
    }
    assert_eq!(
        tokens.last(),
        Some(&Some("Bearer second-token".to_owned())),
        "{tokens:?}"
    );
}

#[tokio::test]
async fn without_a_token_nothing_is_sent() {
    let mut server = Server::start(vec![good(7)]).await;
    let mut node = node(&server);
    let token = node.directory.path().join("token");
    std::fs::remove_file(&token).expect("remove");
    let why = why_later(node.delivery.post(&report(7)).await);
    assert!(why.contains("cannot read the token"), "{why}");
    assert!(server.requests.try_recv().is_err());
    std::fs::write(&token, "comes later").expect("write");
    let why = why_later(node.delivery.post(&report(7)).await);
    assert!(why.contains("holds no token"), "{why}");
    assert!(!why.contains("comes later"), "{why}");
    std::fs::write(&token, "at-last").expect("write");
    let outcome = node.delivery.post(&report(7)).await;
    assert!(matches!(outcome, Outcome::Delivered(_)), "{outcome:?}");
    assert!(!format!("{:?}", node.delivery).contains("at-last"));
}
