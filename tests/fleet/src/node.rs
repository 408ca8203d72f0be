//! A simulated node whose service runs and reports.

use std::ffi::OsString;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use cupel_rack::{Fault, Rack, Scenario};
use serde_json::{Value, json};

use crate::process::{Running, program};

/// How a node's service is set up.
#[derive(Clone, Debug)]
pub struct NodeOptions {
    /// The inventory's address; none: it reports to nobody.
    pub inventory: Option<String>,
    /// The token for it.
    pub token: String,
    /// File of the certificates that it is trusted by.
    pub ca_file: Option<String>,
    /// Address of its HTTP, or `off`.
    pub listen: String,
    /// Seconds between two readings of every source, instead of its own cadences.
    pub every: Option<f64>,
    /// Seconds between two heartbeats.
    pub heartbeat: f64,
    /// Seconds for which the hook believes what the service said last, instead of the usual.
    pub hook_valid: Option<f64>,
    /// More of the configuration.
    pub more: String,
    /// Options of `cupel run`.
    pub arguments: Vec<String>,
    /// More of the environment of `cupel run`.
    pub environment: Vec<(String, String)>,
}

impl Default for NodeOptions {
    fn default() -> Self {
        Self {
            inventory: None,
            token: String::new(),
            ca_file: None,
            listen: "off".to_owned(),
            every: Some(1.0),
            heartbeat: 2.0,
            hook_valid: None,
            more: String::new(),
            arguments: Vec::new(),
            environment: Vec::new(),
        }
    }
}

/// A simulated node.
pub struct Node {
    /// Its files and driver.
    pub rack: Rack,
    /// Its service; none while it does not run.
    pub service: Option<Running>,
    directory: PathBuf,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
}

/// How long ago the servers were booted, in seconds.
const UPTIME: u32 = 90_000;

/// Every source that a cadence can be set for.
const SOURCES: [&str; 13] = [
    "node",
    "pci",
    "gpu",
    "rdma",
    "nvme",
    "memory",
    "cpus",
    "network",
    "filesystems",
    "sensors",
    "bmc",
    "kernel",
    "services",
];

impl Node {
    /// The scenario's server in good order below `directory`, configured; its service does not run
    /// yet, and its faults are not applied.
    ///
    /// # Errors
    /// A scenario that cannot be built, or programs that are missing.
    pub fn new(scenario: &Scenario, directory: &Path, options: &NodeOptions) -> Result<Self> {
        fs::create_dir_all(directory)?;
        let fake = program("libcupel_fake_driver.so")?;
        let mut rack = Rack::healthy(scenario, directory, &fake)?;
        rack.live(UPTIME)?;
        let node = Self {
            rack,
            service: None,
            directory: directory.to_owned(),
            arguments: options.arguments.clone(),
            environment: options.environment.clone(),
        };
        node.configure(options)?;
        Ok(node)
    }

    /// Writes the configuration; a running service takes it at SIGHUP.
    ///
    /// # Errors
    /// The file system's.
    pub fn configure(&self, options: &NodeOptions) -> Result<()> {
        let etc = self.rack.root().join("etc/cupel");
        fs::create_dir_all(&etc)?;
        let mut text = format!(
            "{}\n[service]\nlisten = \"{}\"\n",
            options.more, options.listen
        );
        if let Some(valid) = options.hook_valid {
            text.push_str(&format!("hook_valid_seconds = {valid:?}\n"));
        }
        if let Some(every) = options.every {
            text.push_str("[service.every_seconds]\n");
            for source in SOURCES {
                text.push_str(&format!("{source} = {every:?}\n"));
            }
        }
        if let Some(url) = &options.inventory {
            let token = etc.join("inventory.token");
            fs::write(&token, &options.token)?;
            text.push_str(&format!(
                "[inventory]\nurl = {url:?}\nheartbeat_seconds = {:?}\n",
                options.heartbeat
            ));
            if let Some(file) = &options.ca_file {
                text.push_str(&format!("ca_file = {file:?}\n"));
            }
        }
        let new = etc.join("node.toml.new");
        fs::write(&new, text)?;
        fs::rename(new, etc.join("node.toml"))?;
        Ok(())
    }

    /// The environment in which a command sees this node.
    pub fn environment(&self) -> Vec<(OsString, OsString)> {
        self.rack.environment()
    }

    /// Starts the service.
    ///
    /// # Errors
    /// It could not be started.
    pub fn start(&mut self) -> Result<()> {
        let mut args = vec!["run".to_owned(), "-v".to_owned()];
        args.extend(self.arguments.iter().cloned());
        let log = self.directory.join("service.log");
        program("cupel-gpu-worker")?;
        let mut environment = self.environment();
        let more = self.environment.iter();
        environment.extend(more.map(|(name, value)| (name.into(), value.into())));
        self.service = Some(Running::start(
            &program("cupel")?,
            &args,
            &environment,
            &log,
        )?);
        Ok(())
    }

    /// Kills the service.
    ///
    /// # Errors
    /// It does not run.
    pub fn kill(&mut self) -> Result<()> {
        self.service.take().context("no service runs")?.kill()
    }

    /// Ends the service in good order, and says how long that took.
    ///
    /// # Errors
    /// It does not run, or does not end.
    pub fn stop(&mut self) -> Result<Duration> {
        let mut service = self.service.take().context("no service runs")?;
        let (status, took) = service.terminate(Duration::from_secs(20))?;
        if !status.success() {
            bail!("the service ended with {status}: {}", service.told());
        }
        Ok(took)
    }

    /// Lets a fault happen now.
    ///
    /// # Errors
    /// A device that the server does not have.
    pub fn apply(&mut self, fault: &Fault) -> Result<()> {
        self.rack.apply(fault)
    }

    /// Runs `cupel` on this node and gives its exit code and standard output.
    ///
    /// # Errors
    /// It could not be started, or does not end.
    pub fn cupel(&self, args: &[&str]) -> Result<(i32, String)> {
        let name = format!("command-{}", args.first().copied().unwrap_or("none"));
        let log = self.directory.join(format!("{name}.log"));
        let _ = fs::remove_file(log.with_extension("out"));
        let mut running = Running::start(&program("cupel")?, args, &self.environment(), &log)?;
        let until = Instant::now() + Duration::from_secs(60);
        loop {
            if !running.runs()? {
                break;
            }
            if Instant::now() > until {
                bail!("cupel {args:?} does not end");
            }
            std::thread::sleep(Duration::from_millis(3));
        }
        let code = running.code()?;
        Ok((code, running.said()))
    }

    /// Asks its service over the socket, for one line of JSON.
    ///
    /// # Errors
    /// No service answers, or not in 20 s.
    pub fn ask(&self, question: &Value) -> Result<Value> {
        let path = self.rack.root().join("run/cupel/cupel.sock");
        let mut socket = UnixStream::connect(path).context("no service listens")?;
        socket.set_read_timeout(Some(Duration::from_secs(20)))?;
        writeln!(socket, "{question}")?;
        let mut line = String::new();
        BufReader::new(socket).read_line(&mut line)?;
        serde_json::from_str(&line).with_context(|| format!("no JSON: {line:?}"))
    }

    /// The status of its service; `None` while it does not answer.
    pub fn status(&self) -> Option<Value> {
        let answer = self.ask(&json!({"ask": "status"})).ok()?;
        answer.get("verdict").is_some().then_some(answer)
    }

    /// Waits until the status is as wanted.
    ///
    /// # Errors
    /// It is not within `limit`; the message holds the last one.
    pub fn wait_for(
        &self,
        what: &str,
        limit: Duration,
        wanted: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        let until = Instant::now() + limit;
        let mut last = None;
        while Instant::now() < until {
            if let Some(status) = self.status() {
                if wanted(&status) {
                    return Ok(status);
                }
                last = Some(status);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let log = self.service.as_ref().map(Running::told).unwrap_or_default();
        bail!("not within {limit:?}: {what}\nlast status: {last:#?}\nlog: {log}")
    }
}
