//! `cargo xtask bringup`: builds Cupel, brings up this very machine, and shows it in an inventory.
//!
//! # Invariants
//! - The exit code is that of `cupel bringup`.
//! - The inventory listens on loopback, and its data stay in `out/inventory` from one run to the
//!   next; it and the service end with the command.
//!
//! # What is absent
//! No release build: the burn-in and the log decoder are optimised in the development profile too,
//! and the rest does not wait on the processor.

use std::fs;
use std::io::IsTerminal as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use cupel_fleet::{Inventory, Running};

use crate::process;
use crate::workspace::Workspace;

/// How long the inventory may take to hear of this machine.
const HEARD: Duration = Duration::from_secs(120);

/// Options of `cargo xtask bringup`.
#[derive(clap::Args)]
pub struct Options {
    /// End once this machine is in the inventory, also on a terminal; its page is kept as a file
    #[arg(long)]
    once: bool,
    /// Where the inventory listens
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8470")]
    listen: String,
    /// Further options of `cupel bringup`, after `--`
    #[arg(last = true)]
    more: Vec<String>,
}

/// Builds, brings up, reports, shows.
pub fn run(workspace: &Workspace, options: &Options) -> anyhow::Result<u8> {
    workspace.build(&["cupel", "cupel-gpu-worker", "cupel-inventory"])?;
    let out = workspace.root.join("out");
    let report = out.join("bringup");
    fs::create_dir_all(&report).with_context(|| format!("create {}", report.display()))?;
    let state = if is_root()? {
        None
    } else {
        let state = out.join("state");
        println!(
            "not root: some values cannot be read; what is remembered is kept in {}",
            state.display()
        );
        Some(state)
    };
    let inventory = Inventory::start_at(&out, &options.listen, &[]).with_context(|| {
        format!(
            "cannot start the inventory at {} (--listen names another address)",
            options.listen
        )
    })?;
    let token = token_file(&out, &inventory)?;
    let environment = environment(&inventory, &token, state.as_deref());

    let mut args: Vec<&str> = vec!["bringup", "--yes", "--report"];
    let report_text = report.display().to_string();
    args.push(&report_text);
    args.extend(options.more.iter().map(String::as_str));
    let variables: Vec<(&str, &str)> = environment
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let cupel = workspace.debug().join("cupel");
    let status = process::status(&cupel, &args, &variables, &workspace.root)?;
    let code = u8::try_from(status.code().unwrap_or(2)).unwrap_or(2);
    if code == 2 || code == 4 {
        return Ok(code);
    }
    show(workspace, options, &inventory, &environment, &report)?;
    Ok(code)
}

/// Runs the service until this machine is in the inventory, and says where it is seen.
fn show(
    workspace: &Workspace,
    options: &Options,
    inventory: &Inventory,
    environment: &[(String, String)],
    report: &Path,
) -> anyhow::Result<()> {
    let environment: Vec<_> = environment
        .iter()
        .map(|(name, value)| (name.into(), value.into()))
        .collect();
    let mut service = Running::start(
        &workspace.debug().join("cupel"),
        &["run", "--listen", "off"],
        &environment,
        &workspace.root.join("out/service.log"),
    )?;
    let id = heard_of(inventory, &mut service)?;
    let page = format!("/nodes/{id}");
    let file = report.join("page.html");
    fs::write(&file, inventory.api().get(&page)?.body)?;
    println!();
    println!("This machine in the inventory: {}{page}", inventory.url);
    println!("The page as it is now:         {}", file.display());
    if options.once || !std::io::stdout().is_terminal() {
        service.terminate(Duration::from_secs(10))?;
        return Ok(());
    }
    println!(
        "Open it, once, with:           {}&next={page}",
        inventory.link()?
    );
    println!("The service goes on and the page is live; ^C ends both.");
    while service.runs()? {
        std::thread::sleep(Duration::from_millis(200));
    }
    Ok(())
}

/// Waits until the inventory has heard of this machine, and gives its id.
fn heard_of(inventory: &Inventory, service: &mut Running) -> anyhow::Result<String> {
    let began = Instant::now();
    let api = inventory.api();
    while began.elapsed() < HEARD {
        if !service.runs()? {
            bail!("the service ended: {}", service.told());
        }
        let nodes = api.json("/v1/nodes")?;
        let newest = nodes["items"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|node| !node["verdict"].is_null())
            .max_by_key(|node| node["last_report_at"].as_str().map(str::to_owned));
        if let Some(id) = newest.and_then(|node| node["id"].as_str()) {
            return Ok(id.to_owned());
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    bail!(
        "the inventory has not heard of this machine: {}",
        service.told()
    )
}

/// The file with the token that this machine reports with.
fn token_file(out: &Path, inventory: &Inventory) -> anyhow::Result<PathBuf> {
    let file = out.join("report.token");
    if !file.is_file() {
        cupel_fleet::write_secret(&file, &inventory.token("bringup", "report", None)?)?;
    }
    Ok(file)
}

fn environment(inventory: &Inventory, token: &Path, state: Option<&Path>) -> Vec<(String, String)> {
    let mut environment = vec![
        ("CUPEL_INVENTORY".to_owned(), inventory.url.clone()),
        (
            "CUPEL_INVENTORY_TOKEN_FILE".to_owned(),
            token.display().to_string(),
        ),
    ];
    if let Some(state) = state {
        environment.push(("CUPEL_STATE_DIR".to_owned(), state.display().to_string()));
    }
    environment
}

/// Whether this process runs as root: it owns its own /proc entry.
fn is_root() -> anyhow::Result<bool> {
    let owner = fs::metadata("/proc/self").context("read /proc/self")?.uid();
    Ok(owner == 0)
}
