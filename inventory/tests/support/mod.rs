//! A server on a port of its own with tokens of every scope, and reports as nodes make them.

// Each test file uses a part of this.
#![expect(dead_code, reason = "each test file uses a part of this")]

use std::net::SocketAddr;
use std::time::Duration;

use cupel_inventory::auth::{Scope, TokenText};
use cupel_inventory::authority::Policy;
use cupel_inventory::clock::Clock;
use cupel_inventory::store::{NewToken, Options, Store};
use cupel_inventory::web::{App, Bound, Limits, Secured, Server, Setup, Tls};
use cupel_model::finding::{
    Clears, Component, ComponentKind, Confidence, Finding, Impact, Mode, Performer, Remedy,
    RemedyAction, Scope as Reach, Severity, Urgency,
};
use cupel_model::units::{Celsius, Seconds, Watts};
use cupel_model::wire::{
    Answer, Body, ChangeKind, Dropped, FindingChange, GpuVitals, Report, Tracked, WantedState,
};
use cupel_model::{CheckReport, Coverage, SCHEMA_VERSION, Snapshot, Timestamp, Verdict};
use serde_json::Value;

/// When the tests' clock begins.
pub const BEGIN: &str = "2026-03-01T12:00:00Z";

/// The node of `cupel_health::testing`.
pub const NODE: &str = "4c4c4544-0000-0000-0000-000000000001";

/// Its boot.
pub const BOOT: &str = "11111111-0000-4000-8000-000000000001";

pub fn time(text: &str) -> Timestamp {
    text.parse().expect("time")
}

/// A running server.
pub struct Inventory {
    scheme: &'static str,
    pub address: SocketAddr,
    pub clock: Clock,
    pub store: Store,
    pub report: String,
    pub read: String,
    pub admin: String,
    pub client: reqwest::Client,
    pub app: App,
    server: Option<Server>,
    _data: Option<tempfile::TempDir>,
}

pub async fn token(store: &Store, name: &str, scope: Scope, node: Option<&str>) -> String {
    let text = TokenText::new().expect("random");
    let new = NewToken {
        id: text.id().to_owned(),
        name: name.to_owned(),
        scope,
        node: node.map(str::to_owned),
        hash: text.hash(),
    };
    store.create_token(&new).await.expect("token");
    text.reveal()
}

impl Inventory {
    pub async fn start() -> Self {
        Self::with(Limits::default()).await
    }

    pub async fn with(limits: Limits) -> Self {
        let data = tempfile::tempdir().expect("directory");
        let clock = Clock::set_to(time(BEGIN));
        let mut inventory = Self::open(data.path(), clock, limits).await;
        inventory._data = Some(data);
        inventory
    }

    /// With TLS, for 127.0.0.1, by its own authority. Its clock begins at the time of day, which
    /// its clients go by.
    pub async fn secured(policy: Policy) -> Self {
        let data = tempfile::tempdir().expect("directory");
        let clock = Clock::set_to(Clock::system().now());
        let names = Some(Tls::Names(vec!["127.0.0.1".to_owned()]));
        let mut inventory =
            Self::opened(data.path(), clock, Limits::default(), policy, names).await;
        inventory._data = Some(data);
        inventory
    }

    pub async fn open(data: &std::path::Path, clock: Clock, limits: Limits) -> Self {
        Self::opened(data, clock, limits, Policy::default(), None).await
    }

    async fn opened(
        data: &std::path::Path,
        clock: Clock,
        limits: Limits,
        policy: Policy,
        tls: Option<Tls>,
    ) -> Self {
        // Tests look for silent nodes when they mean to.
        let limits = Limits {
            sweep_every: None,
            ..limits
        };
        let options = Options {
            data: data.to_path_buf(),
            clock: clock.clone(),
            migrate: true,
        };
        let (store, _) = Store::open(&options).await.expect("store");
        let mut tokens = Vec::new();
        if store.tokens().await.expect("tokens").is_empty() {
            for (name, scope) in [
                ("reporter", Scope::Report),
                ("reader", Scope::Read),
                ("admin", Scope::Admin),
            ] {
                tokens.push(token(&store, name, scope, None).await);
            }
        }
        let mut tokens = tokens.into_iter();
        let setup = Setup {
            secure: tls.is_some(),
            policy,
        };
        let app = App::new(store.clone(), clock.clone(), limits, setup);
        let scheme = if tls.is_some() { "https" } else { "http" };
        let authority = app.authority().await.expect("authority");
        let client = client(authority.certificate()).build().expect("client");
        let secured =
            tls.map(|tls| Secured::new(tls, authority, clock.clone()).expect("certificate"));
        let bound = Bound::new("127.0.0.1:0".parse().expect("address"), secured).expect("bound");
        let server = bound.serve(app.clone()).expect("serving");
        Self {
            scheme,
            address: server.address(),
            clock,
            store,
            report: tokens.next().unwrap_or_default(),
            read: tokens.next().unwrap_or_default(),
            admin: tokens.next().unwrap_or_default(),
            client,
            app,
            server: Some(server),
            _data: None,
        }
    }

    /// Ends the server in good order.
    pub async fn end(mut self) {
        if let Some(server) = self.server.take() {
            server.end().await.expect("ended");
        }
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}://{}{path}", self.scheme, self.address)
    }

    pub fn request(&self, method: reqwest::Method, path: &str) -> reqwest::RequestBuilder {
        self.client.request(method, self.url(path))
    }

    /// A GET with the token that may read.
    pub async fn get(&self, path: &str) -> (u16, Value) {
        let response = self
            .request(reqwest::Method::GET, path)
            .bearer_auth(&self.read)
            .send()
            .await
            .expect("answer");
        json(response).await
    }

    /// A GET that must succeed.
    pub async fn ok(&self, path: &str) -> Value {
        let (status, value) = self.get(path).await;
        assert_eq!(status, 200, "{path}: {value}");
        value
    }

    pub async fn patch(&self, id: &str, body: Value) -> (u16, Value) {
        let response = self
            .request(reqwest::Method::PATCH, &format!("/v1/nodes/{id}"))
            .bearer_auth(&self.admin)
            .header("if-match", "*")
            .header("content-type", "application/merge-patch+json")
            .body(body.to_string())
            .send()
            .await
            .expect("answer");
        json(response).await
    }

    /// Posts bytes as a report.
    pub async fn post_bytes(&self, bytes: Vec<u8>, encoding: Option<&str>) -> (u16, Value) {
        let mut request = self
            .request(reqwest::Method::POST, "/v1/reports")
            .bearer_auth(&self.report)
            .header("content-type", "application/json")
            .body(bytes);
        if let Some(encoding) = encoding {
            request = request.header("content-encoding", encoding);
        }
        json(request.send().await.expect("answer")).await
    }

    /// Posts a report.
    pub async fn post(&self, report: &Report) -> (u16, Value) {
        let bytes = serde_json::to_vec(report).expect("json");
        let packed = zstd::bulk::compress(&bytes, 3).expect("memory");
        self.post_bytes(packed, Some("zstd")).await
    }

    /// Posts a report that must be taken.
    pub async fn take(&self, report: &Report) -> Answer {
        let (status, value) = self.post(report).await;
        assert_eq!(status, 200, "{value}");
        let answer: Answer = serde_json::from_value(value).expect("answer");
        assert_eq!(answer.accepted.node, report.node);
        assert_eq!(answer.accepted.boot, report.boot);
        assert_eq!(answer.accepted.sequence, report.sequence);
        answer
    }
}

/// A client that trusts this authority alone.
pub fn client(authority: &str) -> reqwest::ClientBuilder {
    let root = reqwest::Certificate::from_pem(authority.as_bytes()).expect("certificate");
    reqwest::Client::builder()
        .tls_certs_only([root])
        .redirect(reqwest::redirect::Policy::none())
        .timeout(Duration::from_secs(60))
}

pub async fn json(response: reqwest::Response) -> (u16, Value) {
    let status = response.status().as_u16();
    let text = response.text().await.expect("body");
    let value = serde_json::from_str(&text).unwrap_or(Value::String(text));
    (status, value)
}

/// What a node tells over its life.
#[derive(Clone)]
pub struct Node {
    pub snapshot: Snapshot,
    pub boot: String,
    pub sequence: u64,
    pub uptime: f64,
    pub clock: Clock,
    pub findings: Vec<Tracked>,
    pub hash: String,
}

impl Node {
    /// The node in good order of `cupel_health::testing`, with this number at the end of its id.
    pub fn number(clock: &Clock, number: u32) -> Self {
        let mut snapshot = cupel_health::testing::good();
        let id = format!("4c4c4544-0000-0000-0000-{number:012}");
        snapshot.node.id = id.into();
        snapshot.node.hostname = format!("gpu{number:03}").into();
        snapshot.node.serial = format!("CRU{number:04}").into();
        snapshot.node.chassis_serial = format!("CHS{number:04}").into();
        for gpu in &mut snapshot.gpus {
            let serial = gpu.identity.serial.value().cloned().expect("serial");
            gpu.identity.serial = format!("{serial}{number}").into();
        }
        for drive in &mut snapshot.nvme {
            let serial = drive.serial.value().cloned().expect("serial");
            drive.serial = format!("{serial}{number}").into();
        }
        for dimm in &mut snapshot.memory.dimms {
            let serial = dimm.serial.value().cloned().expect("serial");
            dimm.serial = format!("{serial}{number}").into();
        }
        for adapter in &mut snapshot.rdma {
            let serial = adapter.serial.value().cloned().expect("serial");
            adapter.serial = format!("{serial}{number}").into();
        }
        Self {
            snapshot,
            boot: BOOT.to_owned(),
            sequence: 100,
            uptime: 86_400.0,
            clock: clock.clone(),
            findings: Vec::new(),
            hash: "h1".to_owned(),
        }
    }

    pub fn id(&self) -> String {
        self.snapshot.node.id.value().cloned().expect("id")
    }

    /// A report with the next sequence.
    pub fn report(&mut self, body: Body) -> Report {
        self.sequence += 1;
        Report {
            schema_version: SCHEMA_VERSION,
            cupel_version: "0.1.0".to_owned(),
            node: self.id(),
            boot: self.boot.clone(),
            sequence: self.sequence,
            made_at: self.clock.now(),
            uptime_seconds: Seconds::new(self.uptime).expect("finite"),
            next_within_seconds: Seconds::new(60.0).expect("finite"),
            wanted: WantedState::default(),
            dropped: Dropped::default(),
            body,
        }
    }

    pub fn full(&mut self) -> Report {
        let findings: Vec<Finding> = self
            .findings
            .iter()
            .map(|tracked| tracked.finding.clone())
            .collect();
        let verdict = Verdict::of(&findings, false);
        self.snapshot.taken_at = self.clock.now();
        let check = CheckReport {
            schema_version: SCHEMA_VERSION,
            node: self.snapshot.node.clone(),
            platform: Some("crucible-8".to_owned()),
            verdict,
            findings,
            events: Vec::new(),
            coverage: Coverage {
                ran: vec!["gpu.off-bus".to_owned()],
                ..Coverage::default()
            },
        };
        let body = Body::Full {
            hash: self.hash.clone(),
            snapshot: Box::new(self.snapshot.clone()),
            check: Box::new(check),
            findings: self.findings.clone(),
        };
        self.report(body)
    }

    pub fn heartbeat(&mut self, verdict: Verdict) -> Report {
        let gpus = (0..8)
            .map(|index| GpuVitals {
                index,
                temperature_celsius: Some(Celsius::new(31.0).expect("finite")),
                power_watts: Some(Watts::new(76.5).expect("finite")),
            })
            .collect();
        let hash = self.hash.clone();
        self.report(Body::Heartbeat {
            hash,
            verdict,
            gpus,
        })
    }

    pub fn changes(&mut self, verdict: Verdict, changes: Vec<FindingChange>) -> Report {
        self.report(Body::Changes {
            verdict,
            changes,
            events: Vec::new(),
        })
    }

    pub fn stopping(&mut self) -> Report {
        self.report(Body::Stopping {
            why: "SIGTERM".to_owned(),
        })
    }
}

/// A finding of the GPU with this index.
pub fn off_bus(index: u32, since: Timestamp) -> Tracked {
    let finding = Finding {
        code: "gpu.off-bus".to_owned(),
        component: Component {
            kind: ComponentKind::Gpu,
            index: Some(index),
            serial: Some(format!("165012300000{index}1")),
            pci: None,
            slot: Some(format!("SXM {}", index + 1)),
        },
        severity: Severity::Critical,
        impact: Impact::BlocksAllocation,
        urgency: Urgency::Now,
        scope: Reach::Gpu,
        confidence: Confidence::Provisional,
        mode: Mode::Enforce,
        summary: format!("GPU {index} fell off the bus"),
        evidence: Vec::new(),
        remedy: vec![Remedy {
            action: RemedyAction::ResetGpu,
            by: Performer::Human,
            text: "Reset it".to_owned(),
        }],
        since: Some(since),
        clears: Clears::Reboot,
    };
    Tracked {
        id: format!("gpu.off-bus/gpu/SXM {}", index + 1),
        finding,
        last_seen: since,
        boot: BOOT.to_owned(),
        observed: true,
        flaps: 0,
        waits_for: None,
    }
}

pub fn change(at: Timestamp, change: ChangeKind, tracked: &Tracked) -> FindingChange {
    FindingChange {
        at,
        change,
        why: "the test says so".to_owned(),
        tracked: tracked.clone(),
    }
}
