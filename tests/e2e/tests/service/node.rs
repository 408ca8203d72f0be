//! A simulated node with its service, and what the system says of its process.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use cupel_fleet::{Node, NodeOptions, Running, program};
use cupel_rack::{Fault, Scenario, scratch};
use serde_json::{Value, json};
use tempfile::TempDir;

/// How long anything may take that should come at once: this machine may be busy.
pub const SOON: Duration = Duration::from_secs(30);

/// A server in good order.
const GOOD: &str = "title = \"well\"\nplatform = \"dgx-h100\"\nverdict = \"healthy\"";

/// Whether the long counts are asked for.
pub fn is_soak() -> bool {
    let asked = std::env::var("CUPEL_REPEATS").ok();
    asked.and_then(|text| text.parse::<u32>().ok()).unwrap_or(1) > 10
}

/// Tests that fill the machine run alone; all others beside each other.
static MACHINE: RwLock<()> = RwLock::new(());

/// Beside others.
pub fn beside_others() -> RwLockReadGuard<'static, ()> {
    MACHINE
        .read()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Alone.
pub fn alone() -> RwLockWriteGuard<'static, ()> {
    MACHINE
        .write()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// A node in a directory of its own.
pub struct Server {
    /// The node.
    pub node: Node,
    /// How it is set up.
    pub options: NodeOptions,
    directory: TempDir,
}

impl Server {
    /// A DGX H100 in good order; its service does not run yet.
    pub fn new(options: NodeOptions) -> Result<Self> {
        let directory = scratch()?;
        let scenario = Scenario::parse(GOOD)?;
        let node = Node::new(&scenario, directory.path(), &options)?;
        Ok(Self {
            node,
            options,
            directory,
        })
    }

    /// The same with its service, judged well.
    pub fn running(options: NodeOptions) -> Result<Self> {
        let mut server = Self::new(options)?;
        server.node.start()?;
        server.judged()?;
        Ok(server)
    }

    /// Waits until the machine was judged, and gives the status.
    pub fn judged(&self) -> Result<Value> {
        self.node
            .wait_for("a judgement", SOON, |status| !status["judged_at"].is_null())
    }

    /// Its directory.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The service.
    pub fn service(&mut self) -> Result<&mut Running> {
        self.node.service.as_mut().context("no service runs")
    }

    /// Its process.
    pub fn pid(&self) -> Result<u32> {
        let service = self.node.service.as_ref();
        Ok(service.context("no service runs")?.pid())
    }

    /// Another configuration, from now on.
    pub fn reconfigure(&mut self, change: impl FnOnce(&mut NodeOptions)) -> Result<()> {
        change(&mut self.options);
        self.node.configure(&self.options)?;
        self.service()?.hang_up()
    }

    /// The status, now.
    pub fn status(&self) -> Result<Value> {
        self.node.ask(&json!({"ask": "status"}))
    }

    /// Applies the faults of a scenario of `tests/scenarios`.
    pub fn apply_scenario(&mut self, name: &str) -> Result<()> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios");
        let scenario = Scenario::load(&folder.join(format!("{name}.toml")))?;
        self.node.rack.apply_all(&scenario.faults)
    }

    /// An XID of one GPU in the kernel log.
    pub fn xid(&mut self, gpu: u32, code: u32, text: &str) -> Result<()> {
        self.node.apply(&Fault::GpuXid {
            gpu,
            code,
            text: text.to_owned(),
            times: 1,
        })
    }

    /// Waits for a finding with this code, and gives it.
    pub fn finding(&self, code: &str) -> Result<Value> {
        let status = self.node.wait_for(code, SOON, |status| has(status, code))?;
        find(&status, code).context("it was there")
    }

    /// Events of the kernel log that the service knows, as `(code, PCI address, repeats)`, sorted.
    pub fn events(&self) -> Result<Vec<(String, String, u64)>> {
        let (code, said) = self.node.cupel(&["events", "--output", "jsonl"])?;
        ensure!(code == 0, "cupel events: {code}");
        let mut events = Vec::new();
        for line in said.lines() {
            let event: Value = serde_json::from_str(line)?;
            let event = &event["event"];
            let text = |key: &str| event[key].as_str().unwrap_or_default().to_owned();
            events.push((
                text("code"),
                text("pci"),
                event["repeats"].as_u64().unwrap_or(0),
            ));
        }
        events.sort();
        Ok(events)
    }

    /// Waits until the events are these.
    pub fn wait_for_events(&self, wanted: &[(&str, u64)]) -> Result<()> {
        let until = Instant::now() + SOON;
        loop {
            let events = self.events()?;
            let counts: Vec<(&str, u64)> = events
                .iter()
                .map(|(code, _, repeats)| (code.as_str(), *repeats))
                .collect();
            if counts == wanted {
                return Ok(());
            }
            if Instant::now() > until {
                let log = self.node.service.as_ref().map(Running::told);
                let log = log.unwrap_or_default();
                bail!("events are {counts:?}, not {wanted:?}; it told {log}");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Runs `cupel` as somebody else and gives its exit code, and what it said and told.
    pub fn cupel_as(&self, uid: u32, args: &[&str]) -> Result<(i32, String, String)> {
        #[expect(
            clippy::disallowed_methods,
            reason = "a test starts the program that it tests; nothing of it ships"
        )]
        let mut command = Command::new(program("cupel")?);
        let output = command
            .args(args)
            .env_clear()
            .envs(self.node.environment())
            .uid(uid)
            .gid(uid)
            .stdin(Stdio::null())
            .output()
            .context("cannot run cupel as somebody else")?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let code = output.status.code().unwrap_or(-1);
        Ok((code, text(&output.stdout), text(&output.stderr)))
    }

    /// Processes of the GPU worker that belong to this service.
    pub fn workers(&self) -> Result<Vec<u32>> {
        let pid = self.pid()?;
        Ok(processes()?
            .into_iter()
            .filter(|process| process.parent == pid && process.name.starts_with("cupel-gpu-work"))
            .map(|process| process.pid)
            .collect())
    }

    /// Opens the kernel log to write records to its end.
    pub fn kernel_log(&self) -> Result<KernelLog> {
        KernelLog::open(&self.node.rack.root().join("dev/kmsg"))
    }
}

/// Whether a finding with this code is in the status.
pub fn has(status: &Value, code: &str) -> bool {
    find(status, code).is_some()
}

/// The finding with this code.
pub fn find(status: &Value, code: &str) -> Option<Value> {
    let findings = status["findings"].as_array()?;
    findings
        .iter()
        .find(|tracked| tracked["finding"]["code"] == code)
        .cloned()
}

/// Codes of the findings of warning and above that are observed, sorted.
pub fn observed(status: &Value) -> Vec<String> {
    let mut codes: Vec<String> = status["findings"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|tracked| tracked["observed"] == true && tracked["finding"]["severity"] != "info")
        .filter_map(|tracked| tracked["finding"]["code"].as_str().map(str::to_owned))
        .collect();
    codes.sort();
    codes
}

/// The simulated kernel log, written to directly: a hundred thousand records are one file. Only
/// whole records are written, as a kernel does it.
pub struct KernelLog {
    file: File,
    records: String,
    next: u64,
    microseconds: u64,
}

impl KernelLog {
    fn open(path: &PathBuf) -> Result<Self> {
        let text = fs::read_to_string(path)?;
        let last = text.lines().rfind(|line| !line.starts_with(' '));
        let mut fields = last.context("an empty log")?.split([',', ';']).skip(1);
        let mut number = || fields.next().and_then(|field| field.parse::<u64>().ok());
        let (sequence, microseconds) = (number(), number());
        Ok(Self {
            file: File::options().append(true).open(path)?,
            records: String::new(),
            next: sequence.context("no sequence")? + 1,
            microseconds: microseconds.context("no time")?,
        })
    }

    /// One record.
    pub fn write(&mut self, text: &str) -> Result<()> {
        self.microseconds += 10;
        let (number, time) = (self.next, self.microseconds);
        self.records
            .push_str(&format!("4,{number},{time},-;{text}\n"));
        self.next += 1;
        if self.records.len() > 32 * 1024 {
            self.flush()?;
        }
        Ok(())
    }

    /// Everything so far can be read.
    pub fn flush(&mut self) -> Result<()> {
        self.file.write_all(self.records.as_bytes())?;
        self.records.clear();
        Ok(())
    }
}

/// A process, as `/proc/PID/stat` has it.
pub struct Process {
    /// Its id.
    pub pid: u32,
    /// Its parent's.
    pub parent: u32,
    /// At most 15 characters.
    pub name: String,
    /// `R`, `S`, `Z`, …
    pub state: String,
}

/// All processes.
pub fn processes() -> Result<Vec<Process>> {
    let mut all = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let Ok(pid) = entry?.file_name().to_string_lossy().parse() else {
            continue;
        };
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let Some((head, tail)) = stat.rsplit_once(") ") else {
            continue;
        };
        let mut fields = tail.split(' ').map(str::to_owned);
        let (Some(state), Some(parent)) = (fields.next(), fields.next()) else {
            continue;
        };
        all.push(Process {
            pid,
            parent: parent.parse().unwrap_or(0),
            name: head.split_once('(').map_or("", |(_, name)| name).to_owned(),
            state,
        });
    }
    Ok(all)
}

/// What a process holds.
#[derive(Clone, Copy, Debug)]
pub struct Holds {
    /// Resident memory now, KiB.
    pub resident: u64,
    /// Most resident memory so far, KiB.
    pub most_resident: u64,
    /// Threads.
    pub threads: u64,
    /// Open descriptors.
    pub descriptors: usize,
    /// Children that have ended and were not waited for.
    pub zombies: usize,
}

/// What a process holds now.
pub fn holds(pid: u32) -> Result<Holds> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let number = line.and_then(|rest| rest.split_whitespace().next());
        number
            .and_then(|number| number.parse().ok())
            .with_context(|| format!("no {name}"))
    };
    let zombies = processes()?
        .iter()
        .filter(|process| process.parent == pid && process.state == "Z")
        .count();
    Ok(Holds {
        resident: field("VmRSS:")?,
        most_resident: field("VmHWM:")?,
        threads: field("Threads:")?,
        descriptors: fs::read_dir(format!("/proc/{pid}/fd"))?.count(),
        zombies,
    })
}

/// Waits until something is so.
pub fn wait_until(
    what: &str,
    limit: Duration,
    mut wanted: impl FnMut() -> Result<bool>,
) -> Result<()> {
    let until = Instant::now() + limit;
    while !wanted()? {
        if Instant::now() > until {
            bail!("not within {limit:?}: {what}");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
