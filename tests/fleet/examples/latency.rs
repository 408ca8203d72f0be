//! From a line of the kernel log to the inventory: `latency`. The last lines are figures; the exit
//! code is 1 where one takes longer than it may.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use cupel_fleet::{Inventory, Node, NodeOptions};
use cupel_rack::{Fault, Scenario, scratch};
use serde_json::Value;

/// How long it may take.
const MOST: Duration = Duration::from_secs(2);

/// How long is waited.
const LIMIT: Duration = Duration::from_secs(60);

/// Nodes, and GPUs of each: a GPU has one finding for all its XIDs.
const NODES: u32 = 3;
const GPUS: u32 = 7;

/// XIDs that someone must act on.
const XIDS: [(u32, &str); 3] = [
    (
        48,
        "pid='<unknown>', name=<unknown>, DBE (double bit error) ECC Error",
    ),
    (
        95,
        "pid=71002, name=train, Uncontained: LTC TAG (0x2,0x0). RST: Yes, D-RST: No",
    ),
    (
        119,
        "pid=1683099, name=nvidia-smi, Timeout after 6s of waiting for RPC response from GPU0 GSP!",
    ),
];

fn told(what: &str, mut times: Vec<Duration>) -> (String, bool) {
    times.sort();
    let at = |percent: usize| {
        let last = times.len().saturating_sub(1);
        times
            .get((times.len() * percent / 100).min(last))
            .copied()
            .unwrap_or_default()
    };
    let slowest = at(100);
    let milliseconds = |time: Duration| time.as_secs_f64() * 1000.0;
    let text = format!(
        "kernel line to {what}: {} repeats, median {:.0} ms, p95 {:.0} ms, slowest {:.0} ms",
        times.len(),
        milliseconds(at(50)),
        milliseconds(at(95)),
        milliseconds(slowest)
    );
    (text, slowest <= MOST)
}

#[expect(clippy::print_stdout, reason = "an example talks on the terminal")]
fn main() -> Result<ExitCode> {
    let directory = scratch()?;
    let inventory = Inventory::start(directory.path(), &[])?;
    let api = inventory.api();
    let token = inventory.token("nodes", "report", None)?;
    let mut lists = Vec::new();
    let mut events = Vec::new();
    for number in 1..=NODES {
        let scenario = Scenario::parse(&format!(
            "title = \"timed\"\nplatform = \"dgx-h100\"\nnode = {number}\nverdict = \"healthy\""
        ))?;
        let options = NodeOptions {
            inventory: Some(inventory.url.clone()),
            token: token.clone(),
            // Its own cadences: a line of the log waits for none of them.
            every: None,
            heartbeat: 60.0,
            ..NodeOptions::default()
        };
        let own = directory.path().join(format!("node{number}"));
        let mut node = Node::new(&scenario, &own, &options)?;
        node.start()?;
        node.wait_for("everything to be told", LIMIT, |status| {
            status["inventory"]["state"] == "delivered" && !status["judged_at"].is_null()
        })?;
        let (_, said) = node.cupel(&["inspect", "--output", "json"])?;
        let snapshot: Value = serde_json::from_str(&said).context("cupel inspect")?;
        let id = snapshot["node"]["id"].as_str().context("an id")?;
        let path = format!("/v1/findings?node={id}&state=open&code=gpu.xid");
        let heard = inventory.listen(id)?;
        for gpu in 0..GPUS {
            std::thread::sleep(Duration::from_millis(1500 + u64::from(gpu) * 137));
            let which = usize::try_from(gpu + number)? % XIDS.len();
            let (code, text) = XIDS.get(which).context("an XID")?;
            let fault = Fault::GpuXid {
                gpu,
                code: *code,
                text: (*text).to_owned(),
                times: 1,
            };
            let began = Instant::now();
            node.apply(&fault)?;
            loop {
                let list = api.json(&path)?;
                let items = list["items"].as_array().context("items")?;
                let index =
                    |item: &Value| item["tracked"]["finding"]["component"]["index"].as_u64();
                if items.iter().any(|item| index(item) == Some(gpu.into())) {
                    lists.push(began.elapsed());
                    break;
                }
                if began.elapsed() > LIMIT {
                    bail!("no finding of GPU {gpu} within {LIMIT:?}");
                }
                std::thread::sleep(Duration::from_millis(5));
            }
            let name = format!("GPU {gpu} ");
            loop {
                let one = heard.recv_timeout(LIMIT).context("no event")?;
                let summary = one.data["finding"]["summary"].as_str().unwrap_or_default();
                if one.kind == "finding" && summary.starts_with(&name) {
                    events.push(one.at.saturating_duration_since(began));
                    break;
                }
            }
        }
        node.stop()?;
    }
    let (list, soon) = told("GET /v1/findings", lists);
    let (stream, also) = told("/v1/events", events);
    println!("{list}\n{stream}");
    Ok(if soon && also {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
