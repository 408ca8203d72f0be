//! The simulated rack: eight nodes of several platforms, three of them sick, and one that never came.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use cupel_fleet::{Api, Inventory, Node, NodeOptions};
use cupel_rack::Scenario;
use serde_json::{Value, json};

/// Where it stands.
const REGION: &str = "north";
const SITE: &str = "demo-1";
const ROW: &str = "A";
const RACK: &str = "R07";

/// Name, platform, scenario whose faults it has (none: well), lowest unit.
const NODES: [(&str, &str, Option<&str>, u32); 8] = [
    ("gpu01", "dgx-h100", None, 1),
    ("gpu02", "dgx-h100", None, 9),
    ("gpu03", "dgx-h100", Some("gpu-off-bus"), 17),
    ("gpu04", "dell-xe9680-h200", None, 25),
    (
        "gpu05",
        "dell-xe9680-h200",
        Some("gpu-row-remap-failed"),
        31,
    ),
    ("gpu06", "hgx-b200", None, 37),
    ("gpu07", "hgx-b200", None, 41),
    ("gpu08", "pcie-l40s", Some("pcie-width-gpu-l40s"), 45),
];

/// The chassis that was ordered and has not come.
const MISSING: &str = "DEMO-MISSING-01";

/// One node of the rack.
pub struct DemoNode {
    /// Its name in the demo.
    pub name: &'static str,
    /// The platform.
    pub platform: &'static str,
    /// The node.
    pub node: Node,
    /// Its id in the inventory.
    pub id: String,
    /// The verdict that is right for it now; `None` where it is not known.
    pub verdict: Option<String>,
    number: u32,
    directory: PathBuf,
    options: NodeOptions,
}

/// The rack.
pub struct DemoRack {
    /// Its nodes, from below.
    pub nodes: Vec<DemoNode>,
}

fn scenarios() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/scenarios")
}

/// The scenario of that name.
///
/// # Errors
/// There is none.
pub fn scenario(name: &str) -> anyhow::Result<Scenario> {
    let file = scenarios().join(format!("{name}.toml"));
    if !file.is_file() {
        bail!("no scenario {name:?}; `scenarios` lists them");
    }
    Scenario::load(&file)
}

/// Names of the scenarios that a platform can play, in order.
pub fn scenario_names(platform: &str) -> anyhow::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(scenarios())? {
        let path = entry?.path();
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        let Ok(scenario) = Scenario::load(&path) else {
            continue;
        };
        if scenario.platform == platform && !scenario.faults.is_empty() {
            names.push(name.into_owned());
        }
    }
    names.sort();
    Ok(names)
}

fn healthy(platform: &str, number: u32) -> anyhow::Result<Scenario> {
    Scenario::parse(&format!(
        "title = \"well\"\nplatform = \"{platform}\"\nnode = {number}\nverdict = \"healthy\""
    ))
}

impl DemoRack {
    /// Builds the nodes, tells the inventory what should come, starts the services, and lets three
    /// of them fall sick.
    pub fn start(directory: &Path, inventory: &Inventory) -> anyhow::Result<Self> {
        let token = inventory.token("demo-rack", "report", None)?;
        let mut nodes = Vec::new();
        let mut expected = Vec::new();
        for (number, (name, platform, _, unit)) in (1..).zip(NODES) {
            let options = NodeOptions {
                inventory: Some(inventory.url.clone()),
                token: token.clone(),
                // Eight services share this machine's processors.
                every: Some(5.0),
                heartbeat: 5.0,
                ..NodeOptions::default()
            };
            let own = directory.join(name);
            let node = Node::new(&healthy(platform, number)?, &own, &options)?;
            let facts = inspected(&node)?;
            expected.push(json!({
                "chassis_serial": facts.serial,
                "platform": platform,
                "region": REGION, "site": SITE, "row": ROW, "rack": RACK, "unit": unit,
            }));
            nodes.push(DemoNode {
                name,
                platform,
                node,
                id: facts.id,
                verdict: Some("healthy".to_owned()),
                number,
                directory: own,
                options,
            });
        }
        expected.push(json!({
            "chassis_serial": MISSING,
            "platform": "dgx-h100",
            "region": REGION, "site": SITE, "row": ROW, "rack": "R08", "unit": 1,
        }));
        let body = serde_json::to_vec(&expected)?;
        let headers = [("content-type", "application/json")];
        let answer = inventory
            .api()
            .send("PUT", "/v1/expected", &headers, &body)?;
        if answer.status >= 300 {
            bail!("the inventory refuses what should come: {}", answer.text());
        }
        for node in &mut nodes {
            node.node.start()?;
        }
        println!("{} nodes started", nodes.len());
        for (node, (_, _, sick, _)) in nodes.iter_mut().zip(NODES) {
            // Its parts are seen in good order first, so that a lost one has a serial.
            node.node
                .wait_for("a verdict", Duration::from_secs(120), |status| {
                    !status["judged_at"].is_null()
                })?;
            if let Some(sick) = sick {
                node.fall_sick(sick)?;
            }
        }
        Ok(Self { nodes })
    }

    /// The node of that name.
    ///
    /// # Errors
    /// There is none.
    pub fn node(&mut self, name: &str) -> anyhow::Result<&mut DemoNode> {
        let names: Vec<&str> = self.nodes.iter().map(|node| node.name).collect();
        let told = format!("no node {name:?}; there are {}", names.join(", "));
        self.nodes
            .iter_mut()
            .find(|node| node.name == name)
            .context(told)
    }

    /// What the inventory shows otherwise than it is.
    pub fn differences(&self, api: &Api) -> anyhow::Result<Vec<String>> {
        let mut wrong = Vec::new();
        for node in &self.nodes {
            let Some(verdict) = &node.verdict else {
                continue;
            };
            let shown = shown(api, &node.id)?;
            let shown = shown
                .as_ref()
                .and_then(|shown| shown["verdict"].as_str())
                .unwrap_or("nothing");
            if shown != verdict {
                wrong.push(format!("{}: {shown}, not {verdict}", node.name));
            }
        }
        Ok(wrong)
    }

    /// How every node is shown, in lines.
    pub fn table(&self, api: &Api) -> anyhow::Result<String> {
        let mut lines = Vec::new();
        for node in &self.nodes {
            let shown = shown(api, &node.id)?.unwrap_or_default();
            let verdict = shown["verdict"].as_str().unwrap_or("-").to_owned();
            let findings = open_codes(api, &node.id)?;
            lines.push(format!(
                "  {:6} {:17} {:10} {}",
                node.name,
                node.platform,
                verdict,
                findings.join(", ")
            ));
        }
        Ok(lines.join("\n"))
    }

    /// Breaks a node that is well, and says which and what must be shown.
    pub fn break_one(&mut self) -> anyhow::Result<(String, &'static str)> {
        let node = self.node("gpu01")?;
        node.fall_sick("xid-95-flood")?;
        Ok((node.name.to_owned(), "gpu.xid"))
    }

    /// Whether the inventory shows a finding of this code on a node.
    pub fn shows(&self, api: &Api, name: &str, code: &str) -> anyhow::Result<bool> {
        let node = self.nodes.iter().find(|node| node.name == name);
        let node = node.context("no such node")?;
        let codes = open_codes(api, &node.id)?;
        Ok(codes.iter().any(|open| open == code))
    }
}

impl DemoNode {
    /// Lets the faults of a scenario happen now.
    pub fn fall_sick(&mut self, name: &str) -> anyhow::Result<()> {
        let scenario = scenario(name)?;
        if scenario.platform != self.platform {
            bail!(
                "{name} is a scenario of {}, this is {}",
                scenario.platform,
                self.platform
            );
        }
        self.node.rack.apply_all(&scenario.faults)?;
        self.verdict = serde_json::to_value(scenario.verdict)?
            .as_str()
            .map(str::to_owned);
        Ok(())
    }

    /// A new server of the same kind in its place, as after a repair.
    pub fn heal(&mut self) -> anyhow::Result<()> {
        self.node.stop()?;
        let state = self.directory.join("root/var/lib/cupel");
        let kept = self.directory.join("state");
        let _ = std::fs::remove_dir_all(&kept);
        std::fs::rename(&state, &kept)?;
        std::fs::remove_dir_all(self.directory.join("root"))?;
        std::fs::remove_dir_all(self.directory.join("driver"))?;
        let scenario = healthy(self.platform, self.number)?;
        let mut node = Node::new(&scenario, &self.directory, &self.options)?;
        node.rack.apply(&cupel_rack::Fault::Reboot)?;
        std::fs::create_dir_all(self.directory.join("root/var/lib"))?;
        std::fs::rename(&kept, &state)?;
        node.start()?;
        self.node = node;
        self.verdict = None;
        Ok(())
    }
}

/// What a node says it is.
struct Facts {
    id: String,
    serial: String,
}

fn inspected(node: &Node) -> anyhow::Result<Facts> {
    let (_, said) = node.cupel(&["inspect", "--output", "json"])?;
    let snapshot: Value = serde_json::from_str(&said).context("cupel inspect")?;
    let text = |key: &str| -> anyhow::Result<String> {
        let value = snapshot["node"][key].as_str();
        Ok(value.with_context(|| format!("no {key}"))?.to_owned())
    };
    Ok(Facts {
        id: text("id")?,
        serial: text("serial")?,
    })
}

fn shown(api: &Api, id: &str) -> anyhow::Result<Option<Value>> {
    let answer = api.get(&format!("/v1/nodes/{id}"))?;
    match answer.status {
        200 => Ok(Some(answer.json()?)),
        404 => Ok(None),
        other => bail!("/v1/nodes/{id}: {other} {}", answer.text()),
    }
}

fn open_codes(api: &Api, id: &str) -> anyhow::Result<Vec<String>> {
    let list = api.json(&format!("/v1/findings?node={id}&state=open"))?;
    let items = list["items"].as_array().cloned().unwrap_or_default();
    Ok(items
        .iter()
        .filter(|item| item["tracked"]["finding"]["severity"] != "info")
        .filter_map(|item| {
            item["tracked"]["finding"]["code"]
                .as_str()
                .map(str::to_owned)
        })
        .collect())
}

/// Waits until a node's service answers again.
pub fn wait(node: &Node) -> anyhow::Result<Duration> {
    let began = Instant::now();
    node.wait_for("a verdict", Duration::from_secs(60), |status| {
        !status["judged_at"].is_null()
    })?;
    Ok(began.elapsed())
}
