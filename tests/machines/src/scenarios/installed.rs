//! A machine with Cupel installed, and what is asked of it.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::Bench;
use crate::machine::{Hardware, Machine, Ran};
use crate::release::Release;

/// Longest that an installation may take: it tests itself and waits for the service.
const INSTALL: Duration = Duration::from_secs(240);

/// Longest that an exchange of versions may take: 120 s for a version that never gets healthy, its
/// end, and the old one's start.
pub const EXCHANGE: Duration = Duration::from_secs(300);

/// Longest until a service that starts is healthy.
const HEALTHY: Duration = Duration::from_secs(120);

/// The machine.
pub struct Installed {
    /// It.
    pub machine: Machine,
    /// What was installed first.
    pub first: Release,
}

/// Where the service's main process is, with its program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Serving {
    /// Its process id.
    pub pid: String,
    /// The version that it runs, by the path of its program.
    pub version: String,
}

impl Installed {
    /// A new machine, installed by the documented command.
    pub fn new(bench: &Bench, hardware: &Hardware) -> Result<Self> {
        let machine = bench.machine(hardware)?;
        Self::on(bench, machine, "")
    }

    /// The same, reporting to an inventory that listens on this port of the host's loopback. The
    /// node sees it on a port of its own loopback, which systemd forwards.
    pub fn reporting(bench: &Bench, hardware: &Hardware, port: &str, token: &str) -> Result<Self> {
        let mut machine = bench.machine(hardware)?;
        let forward = format!(
            "cd /etc/systemd/system && \
             printf '[Socket]\\nListenStream=127.0.0.1:8470\\n[Install]\\nWantedBy=sockets.target\\n' \
             >site.socket && \
             printf '[Service]\\nExecStart=/lib/systemd/systemd-socket-proxyd 10.0.2.2:{port}\\n' \
             >site.service && systemctl daemon-reload && systemctl -q enable --now site.socket && \
             umask 077 && echo '{token}' >/root/token"
        );
        machine.run(&forward)?.ok()?;
        let options = "--inventory http://127.0.0.1:8470 --token-file /root/token";
        Self::on(bench, machine, options)
    }

    /// On this machine, with these further options of `cupel install`.
    pub fn on(bench: &Bench, mut machine: Machine, options: &str) -> Result<Self> {
        let first = bench.releases.good("first")?;
        machine.put(&first.file, "/root/cupel-x86_64")?;
        machine.put(&bench.releases.key()?, "/root/test.pub")?;
        let install = format!(
            "chmod +x /root/cupel-x86_64 && \
             /root/cupel-x86_64 install --yes --release-key /root/test.pub {options}"
        );
        machine.run_within(&install, INSTALL)?.ok()?;
        let mut installed = Self { machine, first };
        installed.healthy()?;
        Ok(installed)
    }

    /// Waits until the service is there and healthy.
    pub fn healthy(&mut self) -> Result<()> {
        let command = "test \"$(cupel status --short)\" = healthy && systemctl -q is-active cupel";
        let waited = self.machine.until("a healthy service", command, HEALTHY);
        if waited.is_err() {
            let told = self.machine.run(
                "systemctl status cupel.service; cat /var/lib/cupel/install.json; \
                 journalctl -b --no-pager -u 'cupel*' | tail -30",
            )?;
            return waited.map(drop).context(told.stdout);
        }
        Ok(())
    }

    /// What serves now.
    pub fn serving(&mut self) -> Result<Serving> {
        let command = "pid=$(systemctl show -P MainPID cupel.service) && echo $pid && \
                       readlink /proc/$pid/exe";
        let said = self.machine.run(command)?.ok()?;
        let mut lines = said.lines();
        let pid = lines.next().context("no process")?.to_owned();
        let program = lines.next().context("no program")?;
        let version = program
            .strip_prefix("/usr/lib/cupel/versions/")
            .and_then(|rest| rest.strip_suffix("/cupel"))
            .with_context(|| format!("{program} is no installed version"))?;
        Ok(Serving {
            pid,
            version: version.to_owned(),
        })
    }

    /// The installer's journal.
    pub fn journal(&mut self) -> Result<Value> {
        let said = self.machine.run("cat /var/lib/cupel/install.json")?.ok()?;
        serde_json::from_str(&said).context("the installer's journal is no JSON")
    }

    /// The versions on disk, finished or not.
    pub fn versions(&mut self) -> Result<Vec<String>> {
        let said = self.machine.run("ls -A /usr/lib/cupel/versions")?.ok()?;
        Ok(said.lines().map(str::to_owned).collect())
    }

    /// Lays a release at /root/new, with its signature.
    pub fn lay(&mut self, release: &Release) -> Result<()> {
        self.machine.put(&release.file, "/root/new")?;
        self.machine.put(&release.signature, "/root/new.minisig")
    }

    /// Upgrades by the documented command.
    pub fn upgrade(&mut self, release: &Release, probation: &str) -> Result<Ran> {
        self.lay(release)?;
        let command = format!("cupel upgrade --yes --probation {probation} /root/new");
        self.machine.run_within(&command, EXCHANGE)
    }

    /// Everything is in its place: this version serves, is healthy, and is what both links lead to.
    pub fn settled_on(&mut self, version: &str) -> Result<()> {
        self.healthy()?;
        let serving = self.serving()?.version;
        ensure!(serving == version, "{serving} serves, not {version}");
        let links = self
            .machine
            .run("readlink /usr/lib/cupel/current /usr/lib/cupel/proven")?
            .ok()?;
        for link in links.lines() {
            ensure!(
                link == format!("versions/{version}"),
                "a link leads to {link}"
            );
        }
        let journal = self.journal()?;
        ensure!(
            journal["state"] == "settled" && journal["version"] == version,
            "the journal says {journal}"
        );
        Ok(())
    }
}
