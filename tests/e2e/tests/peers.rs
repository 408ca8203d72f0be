//! What others wrote against what is here: a real Prometheus scrapes agent and inventory, promtool
//! reads their metrics, and schemathesis holds the inventory's API to its own description.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use cupel_fleet::{Api, Inventory, Node, NodeOptions, Running, program};
use cupel_rack::{Scenario, scratch};
use serde_json::Value;

/// Address of the node's HTTP, by test: they may run at the same time.
const SCRAPED: &str = "127.0.0.1:19301";

/// A node with a fault and the inventory that knows it.
fn fleet(directory: &Path, listen: &str) -> Result<(Inventory, Node)> {
    let inventory = Inventory::start(directory, &[])?;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios");
    let scenario = Scenario::load(&folder.join("gpu-off-bus.toml"))?;
    let options = NodeOptions {
        inventory: Some(inventory.url.clone()),
        token: inventory.token("peers", "report", None)?,
        listen: listen.to_owned(),
        ..NodeOptions::default()
    };
    let mut node = Node::new(&scenario, &directory.join("node"), &options)?;
    node.start()?;
    node.wait_for("a judgement", Duration::from_secs(60), |status| {
        !status["judged_at"].is_null()
    })?;
    node.rack.apply_all(&scenario.faults)?;
    let api = inventory.api();
    let until = Instant::now() + Duration::from_secs(60);
    while api.json("/v1/findings?state=open&code=gpu.off-bus")?["items"]
        .as_array()
        .is_none_or(Vec::is_empty)
    {
        ensure!(Instant::now() < until, "the fault is not in the inventory");
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok((inventory, node))
}

/// Runs a program to its end and gives its exit code, standard output and standard error.
fn run(
    program: &Path,
    args: &[&str],
    directory: &Path,
    limit: Duration,
) -> Result<(i32, String, String)> {
    let name = program.file_name().unwrap_or_default().to_string_lossy();
    let log = directory.join(format!("{name}-{}.log", args.len()));
    for file in [log.clone(), log.with_extension("out")] {
        let _ = fs::remove_file(file);
    }
    let home: Vec<(OsString, OsString)> = vec![("HOME".into(), directory.into())];
    let mut running = Running::start(program, args, &home, &log)?;
    let until = Instant::now() + limit;
    while running.runs()? {
        ensure!(Instant::now() < until, "{name} {args:?} does not end");
        std::thread::sleep(Duration::from_millis(20));
    }
    let code = running.code()?;
    Ok((code, running.said(), running.told()))
}

#[test]
fn a_real_prometheus_scrapes_both_and_promtool_finds_nothing_wrong() -> Result<()> {
    let prometheus = Path::new("/usr/bin/prometheus");
    let promtool = Path::new("/usr/bin/promtool");
    if !prometheus.is_file() || !promtool.is_file() {
        println!("skipped: no Prometheus (apt-get install prometheus)");
        return Ok(());
    }
    let directory = scratch()?;
    let (inventory, _node) = fleet(directory.path(), SCRAPED)?;
    let token = inventory.token("prometheus", "read", None)?;
    let reader = Api::new(&inventory.url, Some(&token));
    let scrapes = [
        Api::new(&format!("http://{SCRAPED}"), None).get("/metrics")?,
        reader.get("/metrics")?,
    ];
    for scrape in &scrapes {
        ensure!(scrape.status == 200, "{}", scrape.text());
        lint(promtool, &scrape.text(), directory.path())?;
    }

    let token_file = directory.path().join("prometheus.token");
    cupel_fleet::write_secret(&token_file, &token)?;
    let target = inventory.url.trim_start_matches("http://");
    let configuration = format!(
        "global: {{scrape_interval: 1s}}\n\
         scrape_configs:\n\
         - job_name: agent\n  static_configs: [{{targets: ['{SCRAPED}']}}]\n\
         - job_name: inventory\n  static_configs: [{{targets: ['{target}']}}]\n  \
           authorization: {{credentials_file: '{}'}}\n",
        token_file.display()
    );
    let file = directory.path().join("prometheus.yml");
    fs::write(&file, configuration)?;
    let listen = "127.0.0.1:19302";
    let data = directory.path().join("prometheus");
    let args = [
        format!("--config.file={}", file.display()),
        format!("--storage.tsdb.path={}", data.display()),
        format!("--web.listen-address={listen}"),
    ];
    let log = directory.path().join("prometheus.log");
    let _running = Running::start(prometheus, &args, &[], &log)?;
    let asked = Api::new(&format!("http://{listen}"), None);
    for query in [
        "cupel_verdict{verdict=\"unhealthy\"}==1",
        "cupel_inventory_nodes{verdict=\"unhealthy\"}==1",
    ] {
        let until = Instant::now() + Duration::from_secs(60);
        loop {
            if found(&asked, query).unwrap_or(false) {
                break;
            }
            let told = fs::read_to_string(&log).unwrap_or_default();
            ensure!(Instant::now() < until, "{query} finds nothing\n{told}");
            std::thread::sleep(Duration::from_millis(200));
        }
    }
    Ok(())
}

/// Whether a query has a result.
fn found(prometheus: &Api, query: &str) -> Result<bool> {
    let encoded: String = query.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let answer = prometheus.json(&format!("/api/v1/query?query={encoded}"))?;
    Ok(answer["data"]["result"]
        .as_array()
        .is_some_and(|list| !list.is_empty()))
}

/// `promtool check metrics` reads standard input; a shell gives it the file.
fn lint(promtool: &Path, text: &str, directory: &Path) -> Result<()> {
    let file = directory.join("metrics.txt");
    fs::write(&file, text)?;
    let command = format!("{} check metrics < {}", promtool.display(), file.display());
    let shell = Path::new("/bin/sh");
    let limit = Duration::from_secs(60);
    let (code, said, told) = run(shell, &["-c", &command], directory, limit)?;
    ensure!(code == 0 && told.trim().is_empty(), "{said}{told}");
    Ok(())
}

/// schemathesis in an environment of its own beside the build; made once, from PyPI.
fn schemathesis() -> Result<PathBuf> {
    let place = cupel_fleet::built()?.join("schemathesis");
    let program = place.join("bin/schemathesis");
    if program.is_file() {
        return Ok(program);
    }
    let python = Path::new("/usr/bin/python3");
    ensure!(python.is_file(), "no python3");
    let directory = scratch()?;
    let text = place.display().to_string();
    let limit = Duration::from_secs(240);
    let (code, _, told) = run(python, &["-m", "venv", &text], directory.path(), limit)?;
    ensure!(code == 0, "python3 -m venv: {told}");
    let pip = place.join("bin/pip");
    let args = ["install", "--quiet", "schemathesis"];
    let (code, _, told) = run(&pip, &args, directory.path(), limit)?;
    if code != 0 || !program.is_file() {
        let _ = fs::remove_dir_all(&place);
    }
    ensure!(code == 0, "pip install schemathesis: {told}");
    Ok(program)
}

/// A token that lets any number of machines join.
fn join_token(inventory: &Inventory, directory: &Path) -> Result<String> {
    let data = inventory.data.display().to_string();
    let args = [
        "join",
        "create",
        "peers",
        "--url",
        &inventory.url,
        "--uses",
        "1000000",
        "--output",
        "json",
        "--data",
        &data,
    ];
    let limit = Duration::from_secs(60);
    let (code, said, told) = run(&program("cupel-inventory")?, &args, directory, limit)?;
    ensure!(code == 0, "{told}");
    let made: Value = serde_json::from_str(&said)?;
    let token = made["join_file"]["token"].as_str().map(str::to_owned);
    token.with_context(|| format!("no join token: {said}"))
}

#[test]
fn the_api_keeps_to_its_description_with_every_token_and_without() -> Result<()> {
    let program = match schemathesis() {
        Ok(program) => program,
        Err(error) => {
            println!("skipped: no schemathesis: {error:#}");
            return Ok(());
        }
    };
    let seconds = std::env::var("CUPEL_API_SECONDS").unwrap_or_else(|_| "8".to_owned());
    let limit = Duration::from_secs(seconds.parse::<u64>()? + 240);
    let directory = scratch()?;
    let (inventory, _node) = fleet(directory.path(), "off")?;
    let description = directory.path().join("openapi.json");
    let text = inventory.api().get("/openapi.json")?.body;
    let parsed: Value = serde_json::from_slice(&text).context("/openapi.json")?;
    ensure!(parsed["openapi"] == "3.1.0", "{}", parsed["openapi"]);
    fs::write(&description, text)?;
    let file = description.display().to_string();
    let mut tokens = vec![None, Some(inventory.admin.clone())];
    for scope in ["report", "read"] {
        tokens.push(Some(inventory.token(
            &format!("peer-{scope}"),
            scope,
            None,
        )?));
    }
    tokens.push(Some(join_token(&inventory, directory.path())?));
    for token in tokens {
        let header = format!(
            "Authorization: Bearer {}",
            token.as_deref().unwrap_or("none")
        );
        let mut args = vec![
            "run",
            &file,
            "--url",
            &inventory.url,
            // A stream that does not end.
            "--exclude-path",
            "/v1/events",
            "--phases",
            "coverage,fuzzing",
            "--max-examples",
            "5",
            "--max-time",
            &seconds,
            "--seed",
            "1",
            "--no-color",
            "--checks",
            "not_a_server_error,status_code_conformance,content_type_conformance,\
             response_headers_conformance,response_schema_conformance,ignored_auth",
        ];
        if token.is_some() {
            args.extend(["--header", &header]);
        }
        let (code, said, told) = run(&program, &args, directory.path(), limit)?;
        ensure!(code == 0, "{header}: {said}{told}");
        println!(
            "{}",
            said.lines().rev().take(8).collect::<Vec<_>>().join(" | ")
        );
    }
    ensure!(
        inventory.api().get("/healthz")?.status == 200,
        "it still answers"
    );
    Ok(())
}
