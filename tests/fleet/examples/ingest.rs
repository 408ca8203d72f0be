//! A fleet reports to an inventory: `ingest NODES CONNECTIONS ROUNDS`. The last lines are figures;
//! the exit code is 1 where a page takes longer than it may.

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use cupel_fleet::load::{Figures, Plan, Template, first_reports, heartbeats};
use cupel_fleet::{Api, Inventory};
use cupel_rack::scratch;
use serde_json::{Value, json};

/// How long the page of the fleet may take.
const PAGE: Duration = Duration::from_millis(300);

/// How often a page is asked for.
const ASKED: usize = 15;

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn told(what: &str, figures: &Figures) -> String {
    format!(
        "{what}: {} in {:.1} s, {:.0}/s, p50 {:.1} ms, p99 {:.1} ms, {} B each, {} told to come again",
        figures.latencies.len(),
        figures.took.as_secs_f64(),
        figures.rate(),
        milliseconds(figures.percentile(50)),
        milliseconds(figures.percentile(99)),
        figures.bytes / u64::try_from(figures.latencies.len().max(1)).unwrap_or(1),
        figures.again,
    )
}

/// Racks of four, rows of twenty racks.
fn expect(template: &Template, plan: &Plan, api: &Api) -> Result<()> {
    let list: Vec<Value> = (1..=plan.nodes)
        .map(|node| {
            let rack = (node - 1) / 4;
            json!({
                "chassis_serial": template.chassis(node),
                "platform": "dgx-h100",
                "region": format!("region-{}", rack / 1000 + 1),
                "site": format!("site-{}", rack / 500 + 1),
                "row": format!("row-{:02}", rack / 20 % 25 + 1),
                "rack": format!("rack-{:04}", rack + 1),
                "unit": (node - 1) % 4 * 10 + 1,
            })
        })
        .collect();
    let headers = [("content-type", "application/json")];
    let answer = api.send("PUT", "/v1/expected", &headers, &serde_json::to_vec(&list)?)?;
    if answer.status >= 300 {
        bail!("PUT /v1/expected: {} {}", answer.status, answer.text());
    }
    Ok(())
}

/// Median, slowest, and size of an answer.
fn asked(api: &Api, path: &str) -> Result<(Duration, Duration, usize)> {
    let mut took = Vec::new();
    let mut size = 0;
    for _ in 0..ASKED {
        let began = Instant::now();
        let answer = api.get(path)?;
        took.push(began.elapsed());
        if answer.status != 200 {
            bail!("GET {path}: {} {}", answer.status, answer.text());
        }
        size = answer.body.len();
    }
    took.sort();
    let slowest = took.last().copied().unwrap_or_default();
    Ok((
        took.get(ASKED / 2).copied().unwrap_or_default(),
        slowest,
        size,
    ))
}

fn bytes(directory: &Path) -> Result<u64> {
    let mut sum = 0;
    for entry in std::fs::read_dir(directory)? {
        sum += entry?.metadata()?.len();
    }
    Ok(sum)
}

#[expect(clippy::print_stdout, reason = "an example talks on the terminal")]
fn main() -> Result<ExitCode> {
    let mut args = std::env::args().skip(1).map(|text| text.parse::<u32>());
    let mut number = |what: &str| args.next().with_context(|| format!("want {what}"));
    let plan = Plan {
        nodes: number("nodes")??,
        connections: number("connections")??,
        rounds: number("rounds")??,
    };
    let simulated = scratch()?;
    let template = Template::of("dgx-h100", simulated.path())?;
    // On a disk: a commit waits for it.
    let directory = tempfile::tempdir()?;
    let inventory = Inventory::start(directory.path(), &[])?;
    let api = inventory.api();
    expect(&template, &plan, &api)?;
    println!("full report before compression: {} B", template.size());
    let reporter = api.with(&inventory.token("load", "report", None)?);
    println!(
        "{}",
        told("full", &first_reports(&template, &plan, &reporter)?)
    );
    let size = bytes(&inventory.data)?;
    println!("database: {} B a node", size / u64::from(plan.nodes.max(1)));
    if plan.rounds > 0 {
        println!(
            "{}",
            told("heartbeat", &heartbeats(&template, &plan, &reporter)?)
        );
    }
    let mut code = ExitCode::SUCCESS;
    for path in [
        "/",
        "/v1/nodes?limit=100",
        "/v1/summary",
        "/v1/summary?by=rack",
        "/v1/findings?limit=100",
    ] {
        let (median, slowest, size) = asked(&api, path)?;
        println!(
            "GET {path}: median {:.1} ms, slowest {:.1} ms, {size} B",
            milliseconds(median),
            milliseconds(slowest)
        );
        if path == "/" && median > PAGE {
            code = ExitCode::FAILURE;
        }
    }
    Ok(code)
}
