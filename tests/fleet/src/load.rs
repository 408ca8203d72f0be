//! Many nodes at once, as far as an inventory sees them: reports made from those of one simulated
//! node, over a few connections that are kept.
//!
//! # Invariants
//! - Bounded: so many nodes and rounds, then it ends.
//! - Only posting is timed; what is posted was made before.
//! - A report counts once an answer names it. One that is told to come again does, and that is
//!   counted.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use cupel_rack::{Fault, Scenario};
use serde_json::{Value, json};

use crate::http::Api;
use crate::node::{Node, NodeOptions};

/// Stands for a node's number in the template.
const NUMBER: &str = "@NODE@";

/// Stands for a report's number, and for when it was made.
const SEQUENCE: &str = "9007199254740000";
const NOW: &str = "@NOW@";

/// Stands for a signing request, as a text of JSON.
const REQUEST: &str = "@REQUEST@";

/// Bodies that are made before they are sent.
const AT_ONCE: u32 = 500;

/// How often a report that is told to come again is sent.
const ATTEMPTS: u32 = 50;

/// Names of what tells one node from another.
const NAMES: [&str; 6] = [
    "serial",
    "chassis_serial",
    "board_serial",
    "uuid",
    "hostname",
    "boot_id",
];

/// What reports are made from.
#[derive(Clone, Debug)]
pub struct Template {
    full: String,
    heartbeat: String,
    changes: String,
    enrolment: String,
    id: String,
    chassis: String,
}

/// What to send.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Nodes.
    pub nodes: u32,
    /// Connections.
    pub connections: u32,
    /// Rounds of heartbeats after the first full report of each.
    pub rounds: u32,
}

/// What came of sending.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// How long each took to be answered, sorted.
    pub latencies: Vec<Duration>,
    /// How long all of them took.
    pub took: Duration,
    /// Bytes sent, compressed.
    pub bytes: u64,
    /// How often one was told to come again.
    pub again: u64,
}

impl Figures {
    /// Reports a second.
    pub fn rate(&self) -> f64 {
        f64::from(u32::try_from(self.latencies.len()).unwrap_or(u32::MAX)) / self.took.as_secs_f64()
    }

    /// So many of a hundred took no longer.
    pub fn percentile(&self, percent: usize) -> Duration {
        let last = self.latencies.len().saturating_sub(1);
        let at = (self.latencies.len() * percent / 100).min(last);
        self.latencies.get(at).copied().unwrap_or_default()
    }

    /// These and others; what is sorted must be sorted again.
    pub fn add(&mut self, other: Self) {
        self.latencies.extend(other.latencies);
        self.took += other.took;
        self.bytes += other.bytes;
        self.again += other.again;
    }
}

/// Texts of a value that have one of these names, wherever they are.
fn named(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, inner) in fields {
                if let Value::String(text) = inner
                    && NAMES.contains(&name.as_str())
                {
                    found.push(text.clone());
                }
                named(inner, found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| named(item, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn read(node: &Node, args: &[&str]) -> Result<Value> {
    let (_, said) = node.cupel(args)?;
    serde_json::from_str(&said).with_context(|| format!("cupel {args:?}"))
}

impl Template {
    /// From a simulated node of that platform, made below `directory`.
    ///
    /// # Errors
    /// The node cannot be made or read.
    pub fn of(platform: &str, directory: &Path) -> Result<Self> {
        let scenario = Scenario::parse(&format!(
            "title = \"one of many\"\nplatform = \"{platform}\"\nverdict = \"healthy\""
        ))?;
        let mut node = Node::new(&scenario, directory, &NodeOptions::default())?;
        let snapshot = read(&node, &["inspect", "--output", "json"])?;
        let check = read(&node, &["check", "--output", "json"])?;
        node.apply(&Fault::GpuXid {
            gpu: 0,
            code: 95,
            text: "pid=1, name=x, Uncontained".to_owned(),
            times: 1,
        })?;
        let sick = read(&node, &["check", "--output", "json"])?;
        let mut finding = sick["findings"][0].clone();
        finding["since"] = NOW.into();
        let boot = snapshot["node"]["boot_id"].clone();
        let tracked = json!({
            "id": format!("{}/gpu/0", finding["code"].as_str().context("a finding")?),
            "finding": finding, "last_seen": NOW, "boot": boot.clone(),
            "observed": true, "flaps": 0, "waits_for": null,
        });
        let vitals: Vec<Value> = (0..8)
            .map(|index| json!({"index": index, "temperature_celsius": 31.0, "power_watts": 71.25}))
            .collect();
        let bodies = [
            json!({"kind": "full", "hash": "00112233445566778899aabbccddeeff",
                "snapshot": snapshot.clone(), "check": check, "findings": []}),
            json!({"kind": "heartbeat", "hash": "00112233445566778899aabbccddeeff",
                "verdict": "healthy", "gpus": vitals}),
            json!({"kind": "changes", "verdict": "unhealthy", "events": [],
                "changes": [{"at": NOW, "change": "raised", "why": "new", "tracked": tracked}]}),
        ];
        let id = snapshot["node"]["id"].as_str().context("an id")?;
        let mut names = Vec::new();
        named(&snapshot, &mut names);
        names.retain(|name| name.len() >= 6);
        names.sort();
        names.dedup();
        let others = id.get(..id.len().saturating_sub(6)).unwrap_or_default();
        let numbered = |value: &Value| {
            let mut text = value.to_string();
            for name in &names {
                text = text.replace(&format!("\"{name}\""), &format!("\"{name}{NUMBER}\""));
            }
            text.replace(&format!("\"{id}\""), &format!("\"{others}{NUMBER}\""))
        };
        let hardware = &snapshot["node"];
        let enrolment = numbered(&json!({
            "schema_version": snapshot["schema_version"],
            "cupel_version": snapshot["cupel_version"],
            "node": id, "id_source": hardware["id_source"], "hostname": hardware["hostname"],
            "hardware": {
                "serial": hardware["serial"],
                "chassis_serial": hardware["chassis_serial"],
                "board_serial": hardware["board_serial"],
            },
            "key_protection": "file", "request": REQUEST,
        }));
        let made = bodies.map(|body| {
            let report = json!({
                "schema_version": snapshot["schema_version"],
                "cupel_version": snapshot["cupel_version"],
                "node": id, "boot": boot.clone(), "sequence": SEQUENCE,
                "made_at": NOW, "uptime_seconds": 90_000.0, "next_within_seconds": 600.0,
                "wanted": {"etag": null, "refused": null},
                "dropped": {"heartbeats": 0, "fulls": 0, "changes": 0},
                "body": body,
            });
            numbered(&report).replace(&format!("\"{SEQUENCE}\""), SEQUENCE)
        });
        let [full, heartbeat, changes] = made;
        Ok(Self {
            full,
            heartbeat,
            changes,
            enrolment,
            id: format!("{others}{NUMBER}"),
            chassis: snapshot["node"]["chassis_serial"]
                .as_str()
                .context("a chassis serial")?
                .to_owned(),
        })
    }

    fn made(text: &str, node: u32, sequence: u64) -> Result<Vec<u8>> {
        let text = text
            .replace(NUMBER, &format!("{node:06}"))
            .replace(SEQUENCE, &sequence.to_string())
            .replace(NOW, &jiff::Timestamp::now().to_string());
        Ok(zstd::bulk::compress(text.as_bytes(), 3)?)
    }

    /// The full report of a node, compressed.
    ///
    /// # Errors
    /// Compression's.
    pub fn full(&self, node: u32, sequence: u64) -> Result<Vec<u8>> {
        Self::made(&self.full, node, sequence)
    }

    /// A heartbeat of a node, compressed.
    ///
    /// # Errors
    /// Compression's.
    pub fn heartbeat(&self, node: u32, sequence: u64) -> Result<Vec<u8>> {
        Self::made(&self.heartbeat, node, sequence)
    }

    /// What a node asks to be enrolled by, with this signing request (PEM).
    pub fn enrolment(&self, node: u32, request: &str) -> String {
        let quoted = Value::from(request).to_string();
        let text = self.enrolment.replace(NUMBER, &format!("{node:06}"));
        text.replace(&format!("\"{REQUEST}\""), &quoted)
    }

    /// Id of a node of the fleet.
    pub fn id(&self, node: u32) -> String {
        self.id.replace(NUMBER, &format!("{node:06}"))
    }

    /// Chassis serial of a node of the fleet.
    pub fn chassis(&self, node: u32) -> String {
        format!("{}{node:06}", self.chassis)
    }

    /// Size of a full report before compression, in bytes.
    pub fn size(&self) -> usize {
        self.full.len()
    }
}

/// Sends the first full report of each node.
///
/// # Errors
/// A report is refused, or nobody answers.
pub fn first_reports(template: &Template, plan: &Plan, api: &Api) -> Result<Figures> {
    rounds(plan, api, 1, |node| template.full(node, 1000))
}

/// Sends heartbeats of all nodes; two of a hundred tell of a finding instead, one of everything.
///
/// # Errors
/// As [`first_reports`].
pub fn heartbeats(template: &Template, plan: &Plan, api: &Api) -> Result<Figures> {
    let mut all = Figures::default();
    for round in 0..plan.rounds {
        let sequence = 2000 + u64::from(round);
        all.add(rounds(plan, api, 1, |node| {
            let text = match node.wrapping_add(round * 7) % 100 {
                0 | 1 => &template.changes,
                2 => &template.full,
                _ => &template.heartbeat,
            };
            Template::made(text, node, sequence)
        })?);
    }
    all.latencies.sort();
    Ok(all)
}

fn rounds(
    plan: &Plan,
    api: &Api,
    first: u32,
    body: impl Fn(u32) -> Result<Vec<u8>>,
) -> Result<Figures> {
    let mut all = Figures::default();
    let end = first + plan.nodes;
    let mut next = first;
    while next < end {
        let until = end.min(next + AT_ONCE);
        let bodies = (next..until).map(&body).collect::<Result<Vec<_>>>()?;
        all.add(post(plan.connections, api, bodies)?);
        next = until;
    }
    all.latencies.sort();
    Ok(all)
}

/// Sends these over so many connections.
fn post(connections: u32, api: &Api, bodies: Vec<Vec<u8>>) -> Result<Figures> {
    let bytes = bodies.iter().map(Vec::len).sum::<usize>();
    let queue = Mutex::new(bodies.into_iter());
    let again = AtomicU64::new(0);
    let began = Instant::now();
    let latencies = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..connections)
            .map(|_| {
                scope.spawn(|| -> Result<Vec<Duration>> {
                    // Connections are a client's own.
                    let api = api.apart();
                    let mut took = Vec::new();
                    loop {
                        let next = queue.lock().ok().and_then(|mut queue| queue.next());
                        let Some(body) = next else { return Ok(took) };
                        let began = Instant::now();
                        again.fetch_add(one(&api, &body)?, Ordering::Relaxed);
                        took.push(began.elapsed());
                    }
                })
            })
            .collect();
        let mut all = Vec::new();
        for worker in workers {
            let took = worker
                .join()
                .map_err(|_| anyhow::anyhow!("a sender fell"))?;
            all.extend(took?);
        }
        anyhow::Ok(all)
    })?;
    Ok(Figures {
        latencies,
        took: began.elapsed(),
        bytes: u64::try_from(bytes)?,
        again: again.into_inner(),
    })
}

/// Sends one until it is taken; how often it was told to come again.
fn one(api: &Api, body: &[u8]) -> Result<u64> {
    let headers = [
        ("content-type", "application/json"),
        ("content-encoding", "zstd"),
    ];
    for attempt in 0..ATTEMPTS {
        let answer = api.send("POST", "/v1/reports", &headers, body)?;
        match answer.status {
            200 => return Ok(attempt.into()),
            503 => std::thread::sleep(Duration::from_millis(50)),
            other => bail!("POST /v1/reports: {other} {}", answer.text()),
        }
    }
    bail!("a report was told {ATTEMPTS} times to come again")
}
