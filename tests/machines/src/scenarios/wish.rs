//! Versions that the inventory wishes: a good one runs, forged and older ones are refused, one that
//! crashes is put back, and one that comes during a burn-in waits. What came of each is at the
//! inventory, and none is tried twice.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use cupel_fleet::Inventory;
use serde_json::{Value, json};

use super::Bench;
use super::installed::Installed;
use super::reports::known;
use crate::machine::Hardware;
use crate::release::{Release, Releases, Wrong};

/// Longest until the inventory knows what came of a wish: a report takes it to the node, the new
/// version is watched for a minute, and its service starts.
const TOLD: Duration = Duration::from_secs(420);

/// How long it is seen that a wish is not tried again.
const QUIET: Duration = Duration::from_secs(30);

/// Where the node fetches from: a server on its own loopback.
const SERVE: &str = "mkdir -p /root/releases && \
    systemd-run --quiet --unit=releases busybox httpd -f -p 127.0.0.1:8480 -h /root/releases";

/// Reports every few seconds.
const OFTEN: &str = "printf '[inventory]\\nheartbeat_seconds = 5\\n' >/etc/cupel/often.toml && \
    systemctl reload cupel";

/// How often the unit that fetches was started.
const STARTS: &str = "journalctl --no-pager -u cupel-wish.service | grep -c 'Starting cupel-wish'";

/// One wish after the other.
pub fn run(bench: &Bench) -> Result<String> {
    let directory = tempfile::tempdir()?;
    let inventory = Inventory::start(directory.path(), &[])?;
    let token = inventory.token("machine", "report", None)?;
    let port = inventory.url.rsplit(':').next().context("a port")?;
    let mut node = Installed::reporting(bench, &Hardware::default(), port, &token)?;
    node.machine.run(SERVE)?.ok()?;
    // A node learns what is wished with the answer to a report.
    node.machine.run(OFTEN)?.ok()?;
    let id = known(&inventory)?;
    let mut site = Site {
        inventory: &inventory,
        id: &id,
        node,
    };
    let first = site.node.first.version.clone();

    let second = bench.releases.good("second")?;
    site.lay(&second)?;
    let began = Instant::now();
    site.wish(&second)?;
    site.came(&second.version, "done")?;
    let good = began.elapsed();
    site.node.settled_on(&second.version)?;

    let others = Releases::of(&bench.cupel, &bench.impostor)?;
    site.refused(&others.good("theirs")?, "no trusted key signed")?;
    site.refused(&bench.releases.older()?, "older")?;

    let bad = bench.releases.bad(Wrong::Crashes)?;
    site.lay(&bad)?;
    site.wish(&bad)?;
    let told = site.came(&bad.version, "reverted")?;
    ensure!(told["why"].is_string(), "no reason is told: {told}");
    site.node.settled_on(&second.version)?;
    site.quiet()?;

    let third = bench.releases.good("third")?;
    site.lay(&third)?;
    let burn_in = site
        .node
        .machine
        .start("cupel burn-in --yes --only cpu --for 45s")?;
    let unit = "systemctl list-units --no-legend 'cupel-burn-in-*' | grep -q running";
    site.node
        .machine
        .until("the burn-in's own unit", unit, TOLD)?;
    site.wish(&third)?;
    let told = site.came(&third.version, "waits")?;
    ensure!(
        told["why"]
            .as_str()
            .is_some_and(|why| why.contains("cupel-burn-in")),
        "it does not tell for what it waits: {told}"
    );
    ensure!(
        site.node.machine.ended(&burn_in)?.is_none(),
        "the burn-in was over"
    );
    site.came(&third.version, "done")?;
    site.node.settled_on(&third.version)?;
    ensure!(
        !site.node.versions()?.contains(&first),
        "the first version is still on disk"
    );
    Ok(format!(
        "a good version runs {:.0} s after it was wished; forged, older and crashing ones are told",
        good.as_secs_f64()
    ))
}

/// The node and its inventory.
struct Site<'a> {
    inventory: &'a Inventory,
    id: &'a str,
    node: Installed,
}

impl Site<'_> {
    /// Puts a release where the node fetches from.
    fn lay(&mut self, release: &Release) -> Result<()> {
        let at = format!("/root/releases/{}", release.version);
        self.node.machine.put(&release.file, &at)?;
        self.node
            .machine
            .put(&release.signature, &format!("{at}.minisig"))
    }

    /// Wishes it by the documented call.
    fn wish(&self, release: &Release) -> Result<()> {
        let version = &release.version;
        let wish = json!({ "upgrade": {
            "version": version,
            "url": format!("http://127.0.0.1:8480/{version}"),
        }});
        let headers = [("if-match", "*"), ("content-type", "application/json")];
        let path = format!("/v1/nodes/{}", self.id);
        let answer =
            self.inventory
                .api()
                .send("PATCH", &path, &headers, wish.to_string().as_bytes())?;
        ensure!(answer.status == 200, "{}: {}", answer.status, answer.text());
        Ok(())
    }

    /// Waits until the node's record says that this came of it.
    fn came(&mut self, version: &str, outcome: &str) -> Result<Value> {
        let began = Instant::now();
        loop {
            let path = format!("/v1/nodes/{}", self.id);
            let told = self.inventory.api().json(&path)?["wanted_state"]["upgrade"].clone();
            if told["version"] == version && told["outcome"] == outcome {
                return Ok(told);
            }
            if began.elapsed() > TOLD {
                let said = self.node.machine.run(
                    "cat /var/lib/cupel/install.json; \
                     journalctl -b --no-pager -u 'cupel*' | tail -30",
                )?;
                bail!(
                    "not {outcome} within {TOLD:?}, the inventory knows {told}\n{}",
                    said.stdout
                );
            }
            std::thread::sleep(Duration::from_secs(1));
        }
    }

    /// A release that is not begun, disturbs nothing, and is not tried again.
    fn refused(&mut self, release: &Release, says: &str) -> Result<()> {
        let before = (self.node.serving()?, self.node.versions()?);
        self.lay(release)?;
        self.wish(release)?;
        let told = self.came(&release.version, "refused")?;
        ensure!(
            told["why"].as_str().is_some_and(|why| why.contains(says)),
            "it does not say {says:?}: {told}"
        );
        self.quiet()?;
        let now = (self.node.serving()?, self.node.versions()?);
        ensure!(
            now == before,
            "a refused version changed something: {now:?}"
        );
        Ok(())
    }

    /// Nothing is tried again.
    fn quiet(&mut self) -> Result<()> {
        let before = self.node.machine.run(STARTS)?.stdout;
        std::thread::sleep(QUIET);
        let after = self.node.machine.run(STARTS)?.stdout;
        ensure!(
            before == after,
            "it is tried again: {before} and {after} times"
        );
        Ok(())
    }
}
