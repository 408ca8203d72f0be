//! A simulated node with its service, and an inventory, both of which are killed.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use cupel_fleet::{Inventory, Node, NodeOptions};
use cupel_rack::{Fault, Scenario, scratch};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

use super::storm::Storm;

/// The node.
const NODE: &str = "title = \"stormy\"\nplatform = \"dgx-h100\"\nverdict = \"healthy\"";

/// The service whose end is a finding, and whose start is the end of it.
const UNIT: &str = "nvidia-fabricmanager.service";

/// The finding of it.
pub const UNIT_CODE: &str = "fabric.not-ready";

/// How long delivery may take once nothing is in its way: a wait that was long because of what was
/// in its way comes first.
pub const DELIVERY: Duration = Duration::from_secs(180);

/// A node and its inventory.
pub struct World {
    /// The inventory.
    pub inventory: Inventory,
    node: Arc<Mutex<Node>>,
    /// Its id.
    pub id: String,
    /// Everything is written here.
    pub directory: TempDir,
    options: NodeOptions,
}

impl World {
    /// Both, neither of them started: an inventory at its address, and a node that reports to it.
    pub fn new() -> Result<Self> {
        Self::prepared(|_| Ok(()))
    }

    /// The same; `prepare` is given the directory whose `inventory` will hold the inventory's data.
    pub fn prepared(prepare: impl FnOnce(&Path) -> Result<()>) -> Result<Self> {
        let directory = scratch()?;
        prepare(directory.path())?;
        let inventory = Inventory::start(directory.path(), &[])?;
        let options = NodeOptions {
            inventory: Some(inventory.url.clone()),
            token: inventory.token("node", "report", None)?,
            ..NodeOptions::default()
        };
        let scenario = Scenario::parse(NODE)?;
        let node = Node::new(&scenario, &directory.path().join("node"), &options)?;
        let (_, said) = node.cupel(&["inspect", "--output", "json"])?;
        let snapshot: Value = serde_json::from_str(&said).context("cupel inspect")?;
        let id = snapshot["node"]["id"].as_str().context("an id")?.to_owned();
        Ok(Self {
            inventory,
            node: Arc::new(Mutex::new(node)),
            id,
            directory,
            options,
        })
    }

    /// The node reports to this address instead.
    pub fn report_to(&mut self, url: &str) -> Result<()> {
        self.options.inventory = Some(url.to_owned());
        self.node().configure(&self.options)
    }

    /// The node, for a moment.
    pub fn node(&self) -> MutexGuard<'_, Node> {
        self.node.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The node, to be shared with a thread.
    pub fn shared_node(&self) -> Arc<Mutex<Node>> {
        Arc::clone(&self.node)
    }

    /// SIGKILL for the service, and a start.
    pub fn kill_agent(&self) -> Result<()> {
        let mut node = self.node();
        node.kill()?;
        node.start()
    }

    /// SIGKILL for the process that holds the GPU driver; `false` when there is none now.
    pub fn kill_worker(&self) -> Result<bool> {
        let service = self.node().service.as_ref().map(cupel_fleet::Running::pid);
        let service = service.context("no service runs")?;
        for entry in std::fs::read_dir("/proc")? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            let Ok(pid) = name.parse::<i32>() else {
                continue;
            };
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            // `PID (NAME) STATE PARENT …`; the name may hold anything.
            let Some((head, tail)) = stat.rsplit_once(") ") else {
                continue;
            };
            let parent = tail.split(' ').nth(1);
            if head.contains("(cupel-gpu-work") && parent == Some(&service.to_string()) {
                return Ok(kill(Pid::from_raw(pid), Signal::SIGKILL).is_ok());
            }
        }
        Ok(false)
    }

    /// SIGKILL for the inventory, and a start after a while.
    pub fn kill_inventory(&mut self, away: Duration) -> Result<()> {
        self.inventory.kill()?;
        std::thread::sleep(away);
        self.inventory.restart()
    }

    /// The fabric manager dies, or runs again.
    pub fn fabric_manager(&self, runs: bool) -> Result<()> {
        let (active, sub) = if runs {
            ("active", "running")
        } else {
            ("failed", "failed")
        };
        self.node().apply(&Fault::Unit {
            name: UNIT.to_owned(),
            active: active.to_owned(),
            sub: sub.to_owned(),
        })
    }

    /// Waits until the inventory knows the node by a full report.
    pub fn settle(&self) -> Result<()> {
        let path = format!("/v1/nodes/{}/snapshot", self.id);
        self.wait("the node's first full report", || {
            Ok(self.inventory.api().get(&path)?.status == 200)
        })
    }

    /// Waits until `wanted`.
    pub fn wait(&self, what: &str, wanted: impl Fn() -> Result<bool>) -> Result<()> {
        let until = Instant::now() + DELIVERY;
        while !wanted()? {
            if Instant::now() > until {
                bail!("not within {DELIVERY:?}: {what}{}", self.logs());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }

    /// Waits until the node's status is as wanted; the storm goes on meanwhile.
    pub fn wait_for(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Result<()> {
        self.wait(what, || {
            Ok(self.node().status().as_ref().is_some_and(&wanted))
        })
    }

    /// Waits until more than two reports wait, and sees that no change was dropped for them.
    pub fn wait_for_waiting(&self) -> Result<()> {
        self.wait_for("reports that wait", |status| {
            status["inventory"]["waiting"].as_u64() > Some(2)
        })?;
        let status = self.node().status().context("a status")?;
        ensure!(status["inventory"]["dropped"]["changes"] == 0, "{status}");
        Ok(())
    }

    fn logs(&self) -> String {
        let told = self.node().service.as_ref().map(cupel_fleet::Running::told);
        let tail = |text: &str| {
            let lines: Vec<&str> = text.lines().collect();
            lines[lines.len().saturating_sub(40)..].join("\n")
        };
        format!(
            "\nservice: {}\ninventory: {}",
            tail(&told.unwrap_or_default()),
            tail(&self.inventory.process.told())
        )
    }

    /// All pages of a list.
    pub fn list(&self, path: &str) -> Result<Vec<Value>> {
        let api = self.inventory.api();
        let mut all = Vec::new();
        let mut cursor = String::new();
        loop {
            let page = api.json(&format!("{path}&limit=500{cursor}"))?;
            all.extend(page["items"].as_array().context("items")?.iter().cloned());
            match page["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return Ok(all),
            }
        }
    }

    /// Findings of the node that somebody must act on, as the inventory has them.
    pub fn findings(&self, more: &str) -> Result<Vec<Value>> {
        let mut all = self.list(&format!("/v1/findings?node={}{more}", self.id))?;
        all.retain(|one| one["tracked"]["finding"]["severity"] != "info");
        Ok(all)
    }

    /// Whether the inventory has an open finding with this code.
    pub fn is_open(&self, code: &str) -> Result<bool> {
        let open = self.findings("&state=open")?;
        Ok(open
            .iter()
            .any(|one| one["tracked"]["finding"]["code"] == code))
    }

    /// Everything that was written is in the inventory, once, and nothing waits any more.
    /// `occurrences`: how often the finding of the fabric manager must be there.
    pub fn holds(&self, storm: &Storm, occurrences: usize) -> Result<()> {
        let until = Instant::now() + DELIVERY;
        let path = format!("/v1/nodes/{}/history?kind=event", self.id);
        loop {
            let mut wrong = storm.differences(&self.list(&path)?)?;
            let status = self.node().status().unwrap_or_default();
            if status["inventory"]["waiting"] != 0 || status["storage"]["saved"] != true {
                wrong.push(format!("{} {}", status["inventory"], status["storage"]));
            }
            wrong.extend(wrong_findings(&self.findings("")?, storm, occurrences));
            if wrong.is_empty() {
                break;
            }
            if Instant::now() > until {
                bail!("{}{}", wrong.join("\n"), self.logs());
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        // What is delivered twice comes a little later.
        std::thread::sleep(Duration::from_secs(3));
        let wrong = storm.differences(&self.list(&path)?)?;
        ensure!(wrong.is_empty(), "afterwards: {}", wrong.join("\n"));
        let wrong = wrong_findings(&self.findings("")?, storm, occurrences);
        ensure!(wrong.is_empty(), "afterwards: {}", wrong.join("\n"));
        Ok(())
    }
}

/// What is wrong with the occurrences: one for each GPU with a condition, and those of the unit.
fn wrong_findings(findings: &[Value], storm: &Storm, occurrences: usize) -> Vec<String> {
    let mut told: BTreeMap<String, usize> = BTreeMap::new();
    for one in findings {
        let finding = &one["tracked"]["finding"];
        let code = finding["code"].as_str().unwrap_or_default();
        // What a worker that is killed before its first call looks like, until the next one answers.
        let passing = finding["confidence"] == "provisional" && !one["closed_at"].is_null();
        if code == "gpu.driver-hung" && passing {
            continue;
        }
        let name = match finding["component"]["index"].as_u64() {
            Some(index) => format!("{code} {index}"),
            None => code.to_owned(),
        };
        *told.entry(name).or_default() += 1;
    }
    let mut wanted: BTreeMap<String, usize> = storm
        .gpus()
        .iter()
        .map(|gpu| (format!("gpu.xid {gpu}"), 1))
        .collect();
    if occurrences > 0 {
        wanted.insert(UNIT_CODE.to_owned(), occurrences);
    }
    if told == wanted {
        return Vec::new();
    }
    vec![format!("findings: told {told:?}, wanted {wanted:?}")]
}
