//! What the service costs, beside prometheus-node-exporter of Debian on the same machine, scraped at
//! the same cadence.
//!
//! # Invariants
//! - All are release builds, all are scraped over loopback, by the same client at the same moments.
//! - The exporter that the service is held against sees the same devices: it reads the /sys of the
//!   simulated node, and the /proc of this machine, which is a whole one. A second exporter that
//!   sees this machine alone, without adapters, is told beside it.
//! - The service reads eight simulated GPUs and their adapters at its usual cadences; a shorter
//!   interval than the usual shortens all of them alike.
//! - Its GPU worker is counted with it.
//!
//! # What is absent
//! The driver's own cost: the simulated one answers from memory.

use std::fmt::{self, Write as _};
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use cupel_agent::config::usual_cadences;
use cupel_fleet::{Api, Running};
use cupel_rack::{Rack, Scenario};

use super::Outcome;
use crate::workspace::Workspace;

/// Where Debian puts the exporter.
const EXPORTER: &str = "/usr/bin/prometheus-node-exporter";

/// The node: eight GPUs.
const NODE: &str = "title = \"measured\"\nplatform = \"dgx-h100\"\nverdict = \"healthy\"\n";

/// What is allowed, of the exporter's.
const TARGET: f64 = 1.0;

/// Before it is measured, in scrapes: caches fill, the first readings are dear.
const WARM_UP: u32 = 10;

/// What a process and its children cost.
#[derive(Clone, Copy, Debug, Default)]
struct Cost {
    /// Proportional set size, KiB.
    pss: u64,
    /// The anonymous share of it.
    anonymous: u64,
    /// User and system time since it began, in clock ticks.
    ticks: u64,
}

/// Children of a process.
fn children(pid: u32) -> anyhow::Result<Vec<u32>> {
    let mut all = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let Ok(child) = entry?.file_name().to_string_lossy().parse::<u32>() else {
            continue;
        };
        let stat = fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
        let parent = stat
            .rsplit_once(") ")
            .and_then(|(_, rest)| rest.split(' ').nth(1));
        if parent == Some(&pid.to_string()) {
            all.push(child);
        }
    }
    Ok(all)
}

fn one(pid: u32) -> anyhow::Result<Cost> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))
        .with_context(|| format!("process {pid} is gone, or hides what it costs"))?;
    let field = |name: &str| {
        let line = rollup.lines().find_map(|line| line.strip_prefix(name));
        let number = line.and_then(|rest| rest.split_whitespace().next());
        number.and_then(|number| number.parse().ok()).unwrap_or(0)
    };
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, rest) = stat.rsplit_once(") ").context("no process")?;
    let fields: Vec<u64> = rest
        .split(' ')
        .map(|field| field.parse().unwrap_or(0))
        .collect();
    // utime, stime, and those of children that were waited for.
    let ticks = fields.get(11..15).unwrap_or_default().iter().sum();
    Ok(Cost {
        pss: field("Pss:"),
        anonymous: field("Pss_Anon:"),
        ticks,
    })
}

fn whole(pid: u32) -> anyhow::Result<Cost> {
    let mut sum = one(pid)?;
    for child in children(pid)? {
        // One that ended just now costs nothing more.
        let cost = one(child).unwrap_or_default();
        sum = Cost {
            pss: sum.pss + cost.pss,
            anonymous: sum.anonymous + cost.anonymous,
            ticks: sum.ticks + cost.ticks,
        };
    }
    Ok(sum)
}

/// Something that is scraped, and what it cost.
struct Scraped {
    process: Running,
    api: Api,
    at_first: Cost,
    samples: Vec<Cost>,
    bytes: usize,
}

impl Scraped {
    fn new(process: Running, port: u16) -> anyhow::Result<Self> {
        let scraped = Self {
            process,
            api: Api::new(&format!("http://127.0.0.1:{port}"), None),
            at_first: Cost::default(),
            samples: Vec::new(),
            bytes: 0,
        };
        let until = Instant::now() + Duration::from_secs(60);
        while scraped.api.get("/metrics").is_err() {
            if Instant::now() > until {
                bail!("nothing to scrape: {}", scraped.process.told());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(scraped)
    }

    fn scrape(&mut self) -> anyhow::Result<()> {
        let answer = self.api.get("/metrics")?;
        if answer.status != 200 {
            bail!("a scrape was answered with {}", answer.status);
        }
        self.bytes = answer.body.len();
        Ok(())
    }

    fn begin(&mut self) -> anyhow::Result<()> {
        self.at_first = whole(self.process.pid())?;
        self.samples.clear();
        Ok(())
    }

    fn sample(&mut self) -> anyhow::Result<()> {
        self.samples.push(whole(self.process.pid())?);
        Ok(())
    }

    /// Mean PSS over a share of the samples, KiB.
    fn pss(&self, from: usize, to: usize) -> f64 {
        let samples = self.samples.get(from..to).unwrap_or_default();
        let sum: u64 = samples.iter().map(|cost| cost.pss).sum();
        number(sum) / number(u64::try_from(samples.len().max(1)).unwrap_or(1))
    }

    fn ticks(&self) -> u64 {
        let last = self.samples.last().copied().unwrap_or(self.at_first);
        last.ticks.saturating_sub(self.at_first.ticks)
    }
}

/// Small enough for a float.
fn number(count: u64) -> f64 {
    u32::try_from(count).map_or(f64::MAX, f64::from)
}

fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn service(
    directory: &Path,
    program: &Path,
    library: &Path,
    every: f64,
    port: u16,
) -> anyhow::Result<(Rack, Running)> {
    let rack = Rack::healthy(&Scenario::parse(NODE)?, directory, library)?;
    let etc = rack.root().join("etc/cupel");
    fs::create_dir_all(&etc)?;
    let mut text = format!("[service]\nlisten = \"127.0.0.1:{port}\"\n[service.every_seconds]\n");
    // The usual interval of scrapes is that of the quickest sources.
    let quickest = usual_cadences().map(|(_, cadence)| cadence).min();
    let share = every / quickest.context("no source")?.as_secs_f64();
    for (source, usual) in usual_cadences() {
        let seconds = (usual.as_secs_f64() * share).max(0.2);
        writeln!(text, "{source} = {seconds:?}")?;
    }
    fs::write(etc.join("measured.toml"), text)?;
    let log = directory.join("service.log");
    let running = Running::start(program, &["run"], &rack.environment(), &log)?;
    Ok((rack, running))
}

/// How it is measured.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Seconds between two scrapes.
    pub every: f64,
    /// For how long.
    pub time: Duration,
    /// The `cupel` that is measured; the release build when `None`.
    pub program: Option<PathBuf>,
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.program.as_ref().and_then(|path| path.file_name());
        let of = name.map_or("release build", |name| name.to_str().unwrap_or("?"));
        let time = self.time.as_secs();
        write!(f, "overhead of {of}, every {} s for {time} s", self.every)
    }
}

/// Runs the exporter; it reads the devices below `sys`. Each is of a copy of its own: two of one
/// file would share its pages, and each would seem to cost half.
fn exporter(directory: &Path, name: &str, sys: &Path) -> anyhow::Result<Scraped> {
    let port = free_port()?;
    let program = directory.join(name);
    fs::copy(EXPORTER, &program).with_context(|| format!("copy {EXPORTER}"))?;
    let args = [
        format!("--web.listen-address=127.0.0.1:{port}"),
        format!("--path.sysfs={}", sys.display()),
    ];
    let log = directory.join(format!("{name}.log"));
    let process = Running::start(&program, &args, &[], &log)?;
    Scraped::new(process, port)
}

/// Measures.
pub fn measure(workspace: &Workspace, plan: &Plan) -> anyhow::Result<(Outcome, String)> {
    if !Path::new(EXPORTER).is_file() {
        let why = format!("no {EXPORTER} (apt-get install prometheus-node-exporter)");
        return Ok((Outcome::NotRun, why));
    }
    let mut args = vec!["build", "--release", "--locked"];
    // A program that is named has its worker inside or beside it.
    let own: &[&str] = match plan.program {
        Some(_) => &[],
        None => &["cupel", "cupel-gpu-worker"],
    };
    for package in own.iter().chain(&["cupel-fake-driver"]) {
        args.extend(["--package", package]);
    }
    if !workspace.cargo(&args, &[])? {
        bail!("the release build failed; messages are above");
    }
    let built = workspace.target.join("release");
    let program = plan.program.clone().unwrap_or_else(|| built.join("cupel"));
    let library = built.join("libcupel_fake_driver.so");
    let directory = cupel_rack::scratch()?;
    let port = free_port()?;
    let (rack, agent) = service(directory.path(), &program, &library, plan.every, port)?;
    let mut agent = Scraped::new(agent, port)?;
    let mut beside = exporter(
        directory.path(),
        "exporter-beside",
        &rack.root().join("sys"),
    )?;
    let mut here = exporter(directory.path(), "exporter-here", Path::new("/sys"))?;

    let interval = Duration::from_secs_f64(plan.every);
    let scrapes = plan.time.as_secs_f64() / plan.every;
    let mut next = Instant::now();
    let mut count = 0_u32;
    while f64::from(count) < scrapes + f64::from(WARM_UP) {
        let all = [&mut agent, &mut beside, &mut here];
        if count == WARM_UP {
            for scraped in all {
                scraped.begin()?;
            }
        }
        next += interval;
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
        for scraped in [&mut agent, &mut beside, &mut here] {
            scraped.scrape()?;
            scraped.sample()?;
        }
        count += 1;
    }
    Ok(figures(&agent, &beside, &here, count - WARM_UP))
}

fn figures(agent: &Scraped, beside: &Scraped, here: &Scraped, scrapes: u32) -> (Outcome, String) {
    let samples = agent.samples.len();
    let mine = agent.pss(0, samples);
    let ratios = |other: &Scraped| {
        let memory = mine / other.pss(0, samples).max(1.0);
        let processor = number(agent.ticks()) / number(other.ticks().max(1));
        (memory, processor)
    };
    // A tick is 10 ms on every Linux that Cupel runs on.
    let each = |scraped: &Scraped| number(scraped.ticks()) * 10.0 / f64::from(scrapes.max(1));
    let tell = |name: &str, other: &Scraped| {
        let (memory, processor) = ratios(other);
        format!(
            "{name}: {:.1} MiB ({memory:.2} x), {:.1} ms ({processor:.2} x), {} bytes",
            other.pss(0, samples) / 1024.0,
            each(other),
            other.bytes,
        )
    };
    let quarter = samples / 4;
    let (early, late) = (agent.pss(0, quarter), agent.pss(samples - quarter, samples));
    let anonymous = agent.samples.last().map_or(0, |cost| cost.anonymous);
    let (memory, processor) = ratios(beside);
    let well = memory <= TARGET && processor <= TARGET;
    let figures = format!(
        "{scrapes} scrapes; agent and worker: PSS {:.1} MiB ({:.1} anonymous; first quarter {:.1}, \
         last {:.1}), {:.1} ms of processor a scrape with readings, {} bytes of metrics; {}; {}",
        mine / 1024.0,
        number(anonymous) / 1024.0,
        early / 1024.0,
        late / 1024.0,
        each(agent),
        agent.bytes,
        tell("node-exporter that sees the same devices", beside),
        tell("node-exporter that sees this machine alone", here),
    );
    (
        if well {
            Outcome::Passed
        } else {
            Outcome::Failed
        },
        figures,
    )
}
