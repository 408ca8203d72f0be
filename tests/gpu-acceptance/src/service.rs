//! The service beside the real driver: what it costs, what it says of an application's faults, and
//! whether it lets go.
//!
//! # Invariants
//! - An application's fault is told, and does not take the node from the scheduler: the hook answers
//!   after it as before.
//! - Whatever happens, the service is ended.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use cupel_hardware::clock;
use cupel_model::{Event, Timestamp};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::program;
use crate::report::{Step, StepResult};

/// For one command that asks the service.
const ASK: Duration = Duration::from_secs(20);
/// Until it has judged the node.
const READY: Duration = Duration::from_secs(60);
/// Over how long its cost is taken: three readings of the GPUs.
const COST: Duration = Duration::from_secs(45);
/// Until an event of the kernel log is told.
const TOLD: Duration = Duration::from_secs(10);
/// What it has to end in.
const END: Duration = Duration::from_secs(2);
/// How often the hook is asked.
const HOOKS: usize = 21;

/// What an application does on the GPU; [`app_fault.py`](../app_fault.py) has the same names.
const FAULTS: [(&str, &str); 3] = [
    ("an application's illegal address", "illegal-address"),
    ("an application's misaligned address", "misaligned-address"),
    ("an application's trap", "trap"),
];

/// Runs all of it.
pub fn run(cupel: &Path, kit: &Path, out: &Path) -> Vec<Step> {
    let mut steps = Vec::new();
    let began = Instant::now();
    let mut service = match Service::start(cupel, out) {
        Ok(service) => service,
        Err(error) => {
            let result = StepResult::Failed(format!("{error:#}"));
            steps.push(told("service", result));
            return steps;
        }
    };
    let ready = began.elapsed();
    steps.push(step("service", || service.cost(ready)));
    let before = service.hook();
    for (name, what) in FAULTS {
        steps.push(step(name, || service.fault(kit, what)));
    }
    // As the kernel has them: their flags are not in what programs print of them.
    let _ = fs::write(out.join("driver-records.txt"), driver_records().concat());
    steps.push(step("hook", || service.hook_after(before)));
    steps.push(step("release of the driver", || service.release()));
    steps.push(step("end of the service", || service.end()));
    steps
}

fn step(name: &'static str, work: impl FnOnce() -> anyhow::Result<StepResult>) -> Step {
    let result = work().unwrap_or_else(|error| StepResult::Failed(format!("{error:#}")));
    told(name, result)
}

fn told(name: &'static str, result: StepResult) -> Step {
    println!("{name}: {}", result.line());
    Step { name, result }
}

/// Passed where `well`, failed otherwise.
fn held(well: bool, seen: String) -> StepResult {
    if well {
        StepResult::Passed(seen)
    } else {
        StepResult::Failed(seen)
    }
}

struct Service {
    cupel: PathBuf,
    out: PathBuf,
    child: Child,
    events: Child,
    port: u16,
}

impl Drop for Service {
    fn drop(&mut self) {
        for child in [&mut self.events, &mut self.child] {
            // One that has ended cannot be killed, and need not.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// What a process has cost so far.
#[derive(Clone, Copy, Default)]
struct Cost {
    pss_kib: u64,
    milliseconds: u64,
}

fn cost(pid: u32) -> anyhow::Result<Cost> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let pss = rollup
        .lines()
        .find_map(|line| line.strip_prefix("Pss:"))
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|number| number.parse().ok())
        .context("no Pss")?;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, rest) = stat.rsplit_once(") ").context("no stat")?;
    // utime and stime, in ticks of 10 ms.
    let ticks: u64 = rest
        .split(' ')
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<u64>().ok())
        .sum();
    Ok(Cost {
        pss_kib: pss,
        milliseconds: ticks * 10,
    })
}

impl Service {
    fn start(cupel: &Path, out: &Path) -> anyhow::Result<Self> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
            .local_addr()?
            .port();
        let state = out.join("service-state").display().to_string();
        let listen = format!("127.0.0.1:{port}");
        let args = ["run", "--state-dir", &state, "--listen", &listen];
        let mut child = program::start(cupel, &args, out, "service")?;
        let until = Instant::now() + READY;
        loop {
            let judged = ask(cupel, out, &["status", "--output", "json"], "status")
                .is_ok_and(|status| !status["judged_at"].is_null());
            if judged {
                break;
            }
            if let Some(status) = child.try_wait()? {
                bail!("it ended: {status}, see service.err");
            }
            if Instant::now() > until {
                child.kill()?;
                child.wait()?;
                bail!("nothing was judged after {} s", READY.as_secs());
            }
            thread::sleep(Duration::from_millis(50));
        }
        let follow = ["events", "--follow", "--output", "jsonl"];
        let events = program::start(cupel, &follow, out, "events")?;
        // What it tells of this boot comes first; what is new comes after it.
        thread::sleep(Duration::from_secs(1));
        Ok(Self {
            cupel: cupel.to_owned(),
            out: out.to_owned(),
            child,
            events,
            port,
        })
    }

    fn scrape(&self) -> anyhow::Result<usize> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
        stream.set_read_timeout(Some(ASK))?;
        stream
            .write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        if !answer.starts_with(b"HTTP/1.1 200") {
            bail!("a scrape was refused");
        }
        Ok(answer.len())
    }

    /// Itself and its workers.
    fn costs(&self) -> anyhow::Result<(Cost, Cost)> {
        let mut workers = Cost::default();
        for child in program::children(self.child.id()) {
            // One that ended just now costs nothing more.
            let one = cost(child.pid).unwrap_or_default();
            workers.pss_kib += one.pss_kib;
            workers.milliseconds += one.milliseconds;
        }
        Ok((cost(self.child.id())?, workers))
    }

    fn cost(&self, ready: Duration) -> anyhow::Result<StepResult> {
        let (own_first, worker_first) = self.costs()?;
        let began = Instant::now();
        let mut bytes = 0;
        while began.elapsed() < COST {
            bytes = self.scrape()?;
            thread::sleep(COST / 3);
        }
        let (own, worker) = self.costs()?;
        let per_minute = |from: Cost, to: Cost| {
            let spent = to.milliseconds.saturating_sub(from.milliseconds);
            Duration::from_millis(spent).as_secs_f64() * 1000.0 * 60.0 / COST.as_secs_f64()
        };
        let mebibytes = |cost: Cost| {
            // Whole KiB of a process fit.
            f64::from(u32::try_from(cost.pss_kib).unwrap_or(u32::MAX)) / 1024.0
        };
        let seen = format!(
            "ready after {:.2} s; PSS {:.1} MiB and its worker {:.1} MiB with the driver's library; \
             {:.0} and {:.0} ms of processor a minute, scraped every 15 s; {bytes} bytes of metrics",
            ready.as_secs_f64(),
            mebibytes(own),
            mebibytes(worker),
            per_minute(own_first, own),
            per_minute(worker_first, worker),
        );
        Ok(held(worker.pss_kib > 0, seen))
    }

    fn xids(&self, since: Timestamp) -> Vec<String> {
        let text = fs::read_to_string(self.out.join("events.out")).unwrap_or_default();
        xids(&text, since)
    }

    /// An application goes wrong; how long until the service tells what the driver said.
    fn fault(&self, kit: &Path, what: &str) -> anyhow::Result<StepResult> {
        let python = program::python()?;
        let records = driver_records().len();
        let began = clock::now();
        let script = kit.join("app_fault.py").display().to_string();
        let ended = program::run(&python, &[&script, what], &self.out, what, ASK * 3)?;
        let returned = Instant::now();
        if ended.code != Some(0) {
            return Ok(StepResult::NotRun(format!(
                "the application did not go wrong as told, see {what}.err"
            )));
        }
        while self.xids(began).is_empty() {
            if returned.elapsed() > TOLD {
                let said = driver_records().len().saturating_sub(records);
                return Ok(if said == 0 {
                    StepResult::NotRun("the driver wrote nothing into the kernel log".to_owned())
                } else {
                    StepResult::Failed(format!("{said} lines of the driver, and none was told"))
                });
            }
            thread::sleep(Duration::from_millis(10));
        }
        let after = returned.elapsed();
        // What belongs together comes together.
        thread::sleep(Duration::from_secs(1));
        Ok(StepResult::Passed(format!(
            "told {:.2} s after the application ended: {}",
            after.as_secs_f64(),
            self.xids(began).join("; ")
        )))
    }

    fn hook(&self) -> Option<i32> {
        program::run(&self.cupel, &["hook"], &self.out, "hook", ASK)
            .ok()?
            .code
    }

    fn hook_after(&self, before: Option<i32>) -> anyhow::Result<StepResult> {
        let mut took = Vec::new();
        let mut after = None;
        for _ in 0..HOOKS {
            let ended = program::run(&self.cupel, &["hook"], &self.out, "hook", ASK)?;
            after = ended.code;
            took.push(ended.took);
        }
        took.sort();
        let seen = format!(
            "exit {before:?} before the faults and {after:?} after them; {HOOKS} times, median {:.1} ms",
            took.get(HOOKS / 2).map_or(0.0, Duration::as_secs_f64) * 1000.0
        );
        Ok(held(before == after && before.is_some(), seen))
    }

    /// Open files of the driver, of the service and its workers.
    fn driver_files(&self) -> usize {
        let workers = program::children(self.child.id());
        let pids = workers
            .iter()
            .map(|child| child.pid)
            .chain([self.child.id()]);
        pids.flat_map(|pid| {
            fs::read_dir(format!("/proc/{pid}/fd"))
                .into_iter()
                .flatten()
        })
        .flatten()
        .filter_map(|entry| fs::read_link(entry.path()).ok())
        .filter(|path| path.starts_with("/dev") && path.to_string_lossy().contains("nvidia"))
        .count()
    }

    fn release(&self) -> anyhow::Result<StepResult> {
        let open = self.driver_files();
        let args = ["release", "--for", "2m"];
        let ended = program::run(&self.cupel, &args, &self.out, "release", ASK)?;
        let released = self.driver_files();
        let again = program::run(&self.cupel, &["release", "--end"], &self.out, "resume", ASK)?;
        let resumed = Instant::now();
        while self.driver_files() == 0 && resumed.elapsed() < READY {
            thread::sleep(Duration::from_millis(100));
        }
        let last = self.driver_files();
        let seen = format!(
            "{open} files of the driver open, {released} once released (after {:.2} s), {last} again",
            ended.took.as_secs_f64()
        );
        let well = ended.code == Some(0) && again.code == Some(0);
        Ok(held(well && open > 0 && released == 0 && last > 0, seen))
    }

    fn end(&mut self) -> anyhow::Result<StepResult> {
        let pid = i32::try_from(self.child.id())?;
        let began = Instant::now();
        kill(Pid::from_raw(pid), Signal::SIGTERM)?;
        while self.child.try_wait()?.is_none() {
            if began.elapsed() > END * 5 {
                return Ok(StepResult::Failed(format!(
                    "no end {} s after SIGTERM",
                    (END * 5).as_secs()
                )));
            }
            thread::sleep(Duration::from_millis(5));
        }
        let took = began.elapsed();
        let code = self.child.wait()?.code();
        let seen = format!("exit {code:?}, {:.2} s after SIGTERM", took.as_secs_f64());
        Ok(held(code == Some(0) && took <= END, seen))
    }
}

/// The JSON that a command of the service prints.
fn ask(cupel: &Path, out: &Path, args: &[&str], name: &str) -> anyhow::Result<Value> {
    let ended = program::run(cupel, args, out, name, ASK)?;
    serde_json::from_str(&ended.stdout).context("its JSON")
}

/// Codes of the XIDs that the driver wrote since then, of what `cupel events --output jsonl` told. A
/// line of the fault before may come late: the kernel holds one back that the driver has not ended.
fn xids(told: &str, since: Timestamp) -> Vec<String> {
    told.lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter_map(|line| {
            let event: Event = serde_json::from_value(line["event"].clone()).ok()?;
            let new = event.time.is_some_and(|time| time >= since);
            (new && event.xid.is_some()).then_some(event.code)
        })
        .collect()
}

/// Raw records of the driver in the kernel log, where it can be read.
fn driver_records() -> Vec<String> {
    let log = fs::OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open("/dev/kmsg");
    let Ok(mut log) = log else {
        return Vec::new();
    };
    let mut record = vec![0; 8192];
    let mut found = Vec::new();
    // One record a read; an error is the end, or a record that was overwritten.
    while let Ok(length) = log.read(&mut record) {
        let text = String::from_utf8_lossy(record.get(..length).unwrap_or_default());
        if text.contains("NVRM") {
            found.push(text.into_owned());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_line_of_the_fault_before_is_not_of_this_one() {
        let log = "\
4,363,167541478,c;NVRM: Xid (PCI:0000:00:06): 13, pid=2261, name=python3, Graphics Exception
4,364,169368480,c;NVRM: Xid (PCI:0000:00:06): 43, pid=2271, name=python3, channel 0x0000000a
4,365,169368490,-;nvme nvme0: I/O tag 1 (1001) opcode 0x2 (I/O Cmd) QID 1 timeout, aborting
";
        let since =
            |seconds: i64| Timestamp::from_microseconds(seconds * 1_000_000).expect("a time");
        let options = cupel_kernel_log::Options {
            boot_time: Some(since(0)),
            ..Default::default()
        };
        let mut told = "{\"happened\":\"missed\",\"count\":1}\n".to_owned();
        let mut decoder = cupel_kernel_log::Decoder::new(options);
        let mut tell = |event: Event| {
            let line = serde_json::json!({"happened": "event", "event": event});
            told.push_str(&format!("{line}\n"));
        };
        decoder.feed(log.as_bytes(), &mut tell);
        decoder.finish(&mut tell);
        assert_eq!(xids(&told, since(160)), ["xid.13", "xid.43"]);
        assert_eq!(xids(&told, since(168)), ["xid.43"]);
        assert!(xids(&told, since(170)).is_empty());
    }
}
