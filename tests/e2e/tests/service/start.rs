//! It starts, tells systemd, and answers whoever asks.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use cupel_fleet::{Api, NodeOptions, Running, program};
use serde_json::json;

use super::node::{SOON, Server, beside_others, wait_until};

/// What systemd is told.
struct Systemd {
    socket: UnixDatagram,
    heard: Vec<String>,
}

impl Systemd {
    fn new(path: &std::path::Path) -> Result<Self> {
        let socket = UnixDatagram::bind(path)?;
        socket.set_read_timeout(Some(Duration::from_millis(50)))?;
        Ok(Self {
            socket,
            heard: Vec::new(),
        })
    }

    fn listen(&mut self) {
        let mut buffer = [0_u8; 4096];
        while let Ok(count) = self.socket.recv(&mut buffer) {
            let text = String::from_utf8_lossy(&buffer[..count]).into_owned();
            self.heard.push(text);
        }
    }

    /// Waits until it was told this so many times.
    fn wait(&mut self, what: &str, times: usize) -> Result<()> {
        wait_until(&format!("{what} x{times}"), SOON, || {
            self.listen();
            Ok(self.count(what) >= times)
        })
        .with_context(|| format!("it was told {:?}", self.heard))
    }

    fn count(&self, what: &str) -> usize {
        let told = self.heard.iter().flat_map(|text| text.lines());
        told.filter(|line| line.starts_with(what)).count()
    }
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

#[test]
fn systemd_is_told_how_it_goes() -> Result<()> {
    let _guard = beside_others();
    let directory = cupel_rack::scratch()?;
    let path = directory.path().join("notify");
    let mut systemd = Systemd::new(&path)?;
    let mut server = Server::new(NodeOptions {
        environment: vec![
            ("NOTIFY_SOCKET".to_owned(), path.display().to_string()),
            ("WATCHDOG_USEC".to_owned(), "900000".to_owned()),
        ],
        ..NodeOptions::default()
    })?;
    server.node.start()?;
    systemd.wait("READY=1", 1)?;
    systemd.wait("STATUS=healthy", 1)?;
    ensure!(
        systemd
            .heard
            .iter()
            .position(|told| told.starts_with("READY=1"))
            < systemd
                .heard
                .iter()
                .rposition(|told| told.contains("healthy")),
        "{:?}",
        systemd.heard
    );
    systemd.wait("WATCHDOG=1", 4)?;

    server.xid(3, 48, "DBE")?;
    systemd.wait("STATUS=unhealthy", 1)?;
    let told = systemd.count("STATUS=");
    std::thread::sleep(Duration::from_millis(1500));
    systemd.listen();
    ensure!(
        systemd.count("STATUS=") <= told + 1,
        "what is the same is told once"
    );

    server.reconfigure(|_| {})?;
    systemd.wait("RELOADING=1", 1)?;
    systemd.wait("MONOTONIC_USEC=", 1)?;
    systemd.wait("READY=1", 2)?;
    let took = server.node.stop()?;
    systemd.wait("STOPPING=1", 1)?;
    println!("it ended in {took:?}");
    Ok(())
}

#[test]
fn ready_is_told_only_once_the_machine_was_judged() -> Result<()> {
    let _guard = beside_others();
    let directory = cupel_rack::scratch()?;
    let path = directory.path().join("notify");
    let mut systemd = Systemd::new(&path)?;
    let mut server = Server::new(NodeOptions {
        environment: vec![("NOTIFY_SOCKET".to_owned(), path.display().to_string())],
        more: "[deadlines]\ngpu_initialisation_seconds = 4.0\n".to_owned(),
        ..NodeOptions::default()
    })?;
    server.apply_scenario("driver-hung-init")?;
    server.node.start()?;
    wait_until("the socket", SOON, || Ok(server.status().is_ok()))?;
    let status = server.status()?;
    ensure!(status["verdict"] == "unknown" && status["judged_at"].is_null());
    // Loading the configuration again before that is not being ready.
    server.service()?.hang_up()?;
    systemd.wait("STATUS=unknown: not judged yet", 1)?;
    ensure!(systemd.count("READY=1") == 0, "{:?}", systemd.heard);
    systemd.wait("READY=1", 1)?;
    server.judged()?;
    ensure!(systemd.count("RELOADING=1") == 0, "{:?}", systemd.heard);
    Ok(())
}

#[test]
fn everything_that_can_be_asked_is_answered() -> Result<()> {
    let _guard = beside_others();
    let port = free_port()?;
    let mut server = Server::running(NodeOptions {
        listen: format!("127.0.0.1:{port}"),
        ..NodeOptions::default()
    })?;
    server.xid(2, 13, "Graphics Exception")?;
    server.wait_for_events(&[("xid.13", 1)])?;

    let (code, said) = server.node.cupel(&["status"])?;
    ensure!(code == 0 && said.starts_with("HEALTHY"), "{code} {said}");
    let (code, said) = server.node.cupel(&["status", "--short"])?;
    ensure!((code, said.lines().count()) == (0, 1), "{code} {said}");
    let (code, said) = server.node.cupel(&["hook"])?;
    ensure!((code, said.as_str()) == (0, ""), "{code} {said}");
    let snapshot = server.node.ask(&json!({"ask": "snapshot"}))?;
    ensure!(snapshot["gpus"].as_array().map(Vec::len) == Some(8));

    let api = Api::new(&format!("http://127.0.0.1:{port}"), None);
    let status = api.json("/v1/status")?;
    ensure!(status["verdict"] == "healthy" && status["inventory"]["state"] == "not-configured");
    ensure!(api.json("/v1/snapshot")?["node"]["serial"] == snapshot["node"]["serial"]);
    let metrics = api.get("/metrics")?;
    let text = metrics.text();
    ensure!(
        metrics
            .header("content-type")
            .is_some_and(|kind| kind.contains("0.0.4") || kind.contains("openmetrics")),
        "{:?}",
        metrics.headers
    );
    for wanted in [
        "cupel_gpu_workers_replaced_total 0",
        "cupel_judgements_total ",
        "cupel_state_saved 1",
    ] {
        ensure!(text.contains(wanted), "no {wanted:?} in {text}");
    }
    // It is read-only, and answers only to a name of loopback.
    ensure!(api.send("POST", "/v1/status", &[], b"{}")?.status == 405);
    ensure!(api.get("/no-such")?.status == 404);
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream
        .write_all(b"GET /v1/status HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    ensure!(answer.starts_with("HTTP/1.1 421"), "{answer}");

    server.node.stop()?;
    let (code, said) = server.node.cupel(&["status"])?;
    ensure!((code, said.as_str()) == (2, ""), "{code} {said}");
    Ok(())
}

#[test]
fn a_second_service_is_refused_and_harms_nothing() -> Result<()> {
    let _guard = beside_others();
    let server = Server::running(NodeOptions::default())?;
    let log = server.directory().join("second.log");
    let environment = server.node.environment();
    let mut second = Running::start(&program("cupel")?, &["run"], &environment, &log)?;
    wait_until("the second one gives up", SOON, || Ok(!second.runs()?))?;
    ensure!(second.code()? == 2, "{}", second.told());
    ensure!(second.told().contains("another"), "{}", second.told());
    ensure!(server.status()?["verdict"] == "healthy");
    let (code, said) = server.node.cupel(&["hook", "--strict"])?;
    ensure!(code == 0, "the first one's word was taken away: {said}");
    Ok(())
}

#[test]
fn once_is_one_judgement() -> Result<()> {
    let _guard = beside_others();
    let mut server = Server::new(NodeOptions {
        arguments: vec!["--once".to_owned()],
        ..NodeOptions::default()
    })?;
    let began = Instant::now();
    server.node.start()?;
    let service = server.service()?;
    wait_until("it ends by itself", SOON, || Ok(!service.runs()?))?;
    ensure!(service.code()? == 0, "{}", service.told());
    println!("cupel run --once: {:?}", began.elapsed());
    Ok(())
}

/// A program of another user that wants to keep root out.
#[test]
fn those_who_share_the_machine_cannot_keep_root_out() -> Result<()> {
    let _guard = beside_others();
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: only root can be two users");
        return Ok(());
    }
    let port = free_port()?;
    let server = Server::running(NodeOptions {
        listen: format!("127.0.0.1:{port}"),
        ..NodeOptions::default()
    })?;
    let socket = server.node.rack.root().join("run/cupel/cupel.sock");
    // Root's own places are taken by silent clients until they have had their time.
    let silent = |count: usize| -> Result<Vec<UnixStream>> {
        let clients = (0..count).map(|_| Ok(UnixStream::connect(&socket)?));
        clients.collect()
    };
    let held = silent(100)?;
    let connections: Vec<TcpStream> = (0..100)
        .map(|_| Ok(TcpStream::connect(("127.0.0.1", port))?))
        .collect::<Result<_>>()?;
    std::thread::sleep(Duration::from_millis(300));
    let descriptors = super::node::holds(server.pid()?)?.descriptors;
    ensure!(descriptors < 160, "{descriptors} descriptors");
    // Whoever has not asked within five seconds is let go.
    wait_until("a place", SOON, || Ok(server.status().is_ok()))?;
    drop((held, connections));
    wait_until("HTTP", SOON, || {
        let api = Api::new(&format!("http://127.0.0.1:{port}"), None);
        Ok(api
            .get("/v1/status")
            .is_ok_and(|answer| answer.status == 200))
    })?;
    Ok(())
}
