//! A driver that hangs, crashes, answers rubbish or lacks functions, in any one call: a verdict in
//! time, everything that is not the sick GPU still examined, and no process left behind.
//!
//! The functions are one of each group of calls; with `CUPEL_EXHAUSTIVE` all that the fake driver
//! exports. A fault in one that Cupel never calls must change nothing. `CUPEL_FUNCTION` narrows a
//! run to names that contain it.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use cupel_e2e::{Server, cupel_elsewhere, fake_driver, warnings};
use cupel_model::{CheckReport, Verdict};
use cupel_rack::{Expect, Fault, Scenario};
use serde_json::Value;

/// The GPU that every fault of one GPU is about.
const SICK: usize = 2;
/// Deadline of one driver call in these tests.
const CALL: Duration = Duration::from_secs(1);
/// Deadline of loading and initialising the library in these tests.
const OPEN: Duration = Duration::from_secs(4);

/// Children are counted, so one test at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    let guard = ONE
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    // Orphans of `cupel` become this process's children, where they can be seen.
    nix::sys::prctl::set_child_subreaper(true).expect("subreaper");
    guard
}

/// One function of each group of calls, and those about the driver as a whole.
const FUNCTIONS: [&str; 17] = [
    "nvmlDeviceGetComputeRunningProcesses_v3",
    "nvmlDeviceGetCount_v2",
    "nvmlDeviceGetEccMode",
    "nvmlDeviceGetFieldValues",
    "nvmlDeviceGetGpuFabricInfoV",
    "nvmlDeviceGetHandleByIndex_v2",
    "nvmlDeviceGetMemoryInfo_v2",
    "nvmlDeviceGetNvLinkState",
    "nvmlDeviceGetPciInfo_v3",
    "nvmlDeviceGetRemappedRows",
    "nvmlDeviceGetSerial",
    "nvmlDeviceGetTemperature",
    "nvmlDeviceGetTotalEccErrors",
    "nvmlDeviceGetViolationStatus",
    "nvmlInit_v2",
    "nvmlShutdown",
    "nvmlSystemGetDriverVersion",
];

/// Every function that the fake driver exports: the defined symbols of its dynamic symbol table.
fn exported() -> Vec<String> {
    let library = std::fs::read(fake_driver().expect("built")).expect("library");
    let number = |at: usize, bytes: usize| {
        let field = library[at..at + bytes].iter().rev();
        field.fold(0_usize, |value, byte| value << 8 | usize::from(*byte))
    };
    // ELF64, little-endian: section headers, the one of type SHT_DYNSYM, and its string table.
    let header = |section: usize| number(0x28, 8) + section * number(0x3a, 2);
    let place = |section: usize| number(header(section) + 0x18, 8);
    let sections = 0..number(0x3c, 2);
    let symbols = sections.clone().find(|s| number(header(*s) + 4, 4) == 11);
    let symbols = symbols.expect("a dynamic symbol table");
    let strings = place(number(header(symbols) + 0x28, 4));
    let count = number(header(symbols) + 0x20, 8) / 24;
    let names: BTreeSet<String> = (0..count)
        .map(|symbol| place(symbols) + symbol * 24)
        .filter(|symbol| number(symbol + 6, 2) != 0)
        .map(|symbol| {
            let name = library[strings + number(symbol, 4)..].split(|byte| *byte == 0);
            String::from_utf8_lossy(name.clone().next().unwrap_or_default()).into_owned()
        })
        .filter(|name| name.starts_with("nvml"))
        .collect();
    assert!(names.len() > 40, "only {} functions", names.len());
    names.into_iter().collect()
}

fn server(faults: &str) -> Result<Server> {
    let text = format!("title = \"\"\nplatform = \"dgx-h100\"\nverdict = \"unhealthy\"\n{faults}");
    let server = Server::of(&Scenario::parse(&text)?)?;
    let folder = server.rack.root().join("etc/cupel");
    std::fs::create_dir_all(&folder)?;
    let deadlines = format!(
        "[deadlines]\ngpu_call_seconds = {}\ngpu_initialisation_seconds = {}\n",
        CALL.as_secs_f64(),
        OPEN.as_secs_f64()
    );
    std::fs::write(folder.join("test.toml"), deadlines)?;
    Ok(server)
}

/// One examination: the snapshot, the report made of it, and how long the machine took.
struct Examined {
    snapshot: Value,
    report: CheckReport,
    findings: Vec<Expect>,
    took: Duration,
}

fn examine(server: &Server) -> Result<Examined> {
    let file = server.directory().join("capture.json");
    let path = file.to_string_lossy().into_owned();
    let ran = server.cupel(&["capture", "--force", &path])?;
    ensure!(ran.code() == 0, "capture: {}", ran.stderr);
    nothing_left()?;
    let snapshot = serde_json::from_str(&std::fs::read_to_string(&file)?)?;
    let checked = cupel_elsewhere(&["check", "--from", &path, "--output", "json"])?;
    let report = checked.report()?;
    Ok(Examined {
        snapshot,
        findings: warnings(&report),
        report,
        took: ran.took,
    })
}

/// No worker of a `cupel` that has ended is alive or unreaped.
fn nothing_left() -> Result<()> {
    let limit = Instant::now() + Duration::from_secs(1);
    loop {
        let orphans = orphans()?;
        if orphans.is_empty() {
            return Ok(());
        }
        ensure!(Instant::now() < limit, "left behind: {orphans:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Children of this process that are GPU workers, as `/proc` tells them.
fn orphans() -> Result<Vec<String>> {
    let own = std::process::id().to_string();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        // A process may end while it is looked at.
        let Ok(stat) = std::fs::read_to_string(entry?.path().join("stat")) else {
            continue;
        };
        let Some((name, rest)) = stat.rsplit_once(") ") else {
            continue;
        };
        if rest.split(' ').nth(1) == Some(&own) && name.contains("(cupel-gpu") {
            found.push(stat);
        }
    }
    Ok(found)
}

/// What must be the same whatever ails one GPU: all other GPUs, and all that is no GPU.
fn others(snapshot: &Value, sick: Option<usize>) -> Result<Value> {
    let mut rest = snapshot.clone();
    let whole = rest.as_object_mut().context("no object")?;
    let gpus = whole.get_mut("gpus").and_then(Value::as_array_mut);
    let gpus = gpus.context("no GPUs")?;
    ensure!(gpus.len() == 8, "{} GPUs", gpus.len());
    match sick {
        Some(index) => drop(gpus.remove(index)),
        None => gpus.clear(),
    }
    for volatile in [
        "taken_at",
        "driver",
        "problems",
        "remembered",
        "firmware",
        "kernel_log",
    ] {
        whole.remove(volatile);
    }
    Ok(rest)
}

fn same(now: &Examined, well: &Examined, sick: Option<usize>) -> Result<()> {
    let (now, well) = (others(&now.snapshot, sick)?, others(&well.snapshot, sick)?);
    if now != well {
        let keys = now.as_object().context("no object")?.iter();
        let changed: Vec<String> = keys
            .filter(|(key, value)| well.get(key) != Some(value))
            .map(|(key, value)| {
                format!(
                    "{key}: {}",
                    value.to_string().chars().take(600).collect::<String>()
                )
            })
            .collect();
        anyhow::bail!("changed elsewhere: {}", changed.join("; "));
    }
    Ok(())
}

/// Calls about one GPU; the others are about the driver as a whole.
fn about_a_gpu(function: &str) -> bool {
    function.starts_with("nvmlDevice") && !function.starts_with("nvmlDeviceGetCount")
}

fn call_fault(function: &str, act: &str) -> String {
    let gpu = if about_a_gpu(function) {
        format!("gpu = {SICK}\n")
    } else {
        String::new()
    };
    format!("[[fault]]\nkind = \"driver-call\"\ncall = \"{function}\"\n{gpu}act = {act}\n")
}

/// Every finding is about the sick GPU, or about the driver as a whole.
fn only_the_sick(findings: &[Expect]) -> Result<()> {
    for finding in findings {
        let sick = finding.pci.as_deref() == Some("0000:52:00.0") || finding.index == Some(2);
        ensure!(
            sick || finding.pci.is_none(),
            "a finding elsewhere: {finding:?}"
        );
    }
    Ok(())
}

/// Runs a test for each function and tells all that went wrong.
fn every_function(test: impl Fn(&str, &Examined) -> Result<()>) {
    let _alone = alone();
    let only = std::env::var("CUPEL_FUNCTION").unwrap_or_default();
    let healthy = server("")
        .and_then(|server| examine(&server))
        .expect("a healthy server");
    assert_eq!(
        healthy.report.verdict,
        Verdict::Healthy,
        "{:#?}",
        healthy.report.findings
    );
    let exported = exported();
    for function in FUNCTIONS {
        assert!(exported.iter().any(|known| known == function), "{function}");
    }
    let all = std::env::var_os("CUPEL_EXHAUSTIVE").is_some();
    let wrong: Vec<String> = exported
        .iter()
        .filter(|function| all || FUNCTIONS.contains(&function.as_str()))
        .filter(|function| function.contains(&only))
        .filter_map(|function| {
            let error = test(function, &healthy).err()?;
            Some(format!("--- {function}: {error:#}"))
        })
        .collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn a_hang_in_any_call_costs_one_deadline_and_one_gpu() {
    every_function(|function, healthy| {
        let now = examine(&server(&call_fault(function, "\"hang\""))?)?;
        // Handles and addresses are asked for while the driver is opened.
        let opens = function.contains("Handle") || function.contains("PciInfo");
        let deadline = if about_a_gpu(function) && !opens {
            CALL
        } else {
            OPEN
        };
        let limit = healthy.took + deadline + Duration::from_secs(1);
        ensure!(now.took <= limit, "took {:?}, limit {limit:?}", now.took);
        only_the_sick(&now.findings)?;
        let hung = now
            .findings
            .iter()
            .any(|finding| finding.code == "gpu.driver-hung");
        let noticed = now.took >= deadline;
        ensure!(
            hung || !noticed || function == "nvmlShutdown",
            "no finding: {:?}",
            now.findings
        );
        ensure!(
            !hung || now.report.verdict == Verdict::Unhealthy,
            "{:?}",
            now.report.verdict
        );
        same(&now, healthy, about_a_gpu(function).then_some(SICK))
    });
}

#[test]
fn a_crash_in_any_call_costs_one_gpu() {
    every_function(|function, healthy| {
        let now = examine(&server(&call_fault(function, "\"crash\""))?)?;
        only_the_sick(&now.findings)?;
        let limit = healthy.took + OPEN;
        ensure!(now.took <= limit, "took {:?}, limit {limit:?}", now.took);
        let replaced = now.snapshot["driver"]["worker"]["replaced"].as_u64();
        if replaced != Some(0) && function != "nvmlShutdown" {
            ensure!(
                now.report.verdict != Verdict::Healthy,
                "healthy after a crash"
            );
        }
        same(&now, healthy, about_a_gpu(function).then_some(SICK))
    });
}

#[test]
fn garbage_from_any_call_stays_with_its_gpu() {
    every_function(|function, healthy| {
        let now = examine(&server(&call_fault(function, "{ garbage = 7 }"))?)?;
        let limit = healthy.took + OPEN;
        ensure!(now.took <= limit, "took {:?}, limit {limit:?}", now.took);
        if about_a_gpu(function) {
            only_the_sick(&now.findings)?;
            return same(&now, healthy, Some(SICK));
        }
        Ok(())
    });
}

#[test]
fn any_function_may_be_missing() {
    every_function(|function, healthy| {
        let fault = format!("[[fault]]\nkind = \"driver-symbols\"\nmissing = [\"{function}\"]\n");
        let now = examine(&server(&fault)?)?;
        let limit = healthy.took + OPEN;
        ensure!(now.took <= limit, "took {:?}, limit {limit:?}", now.took);
        let about_driver = |finding: &Expect| finding.pci.is_none();
        ensure!(
            now.findings.iter().all(about_driver),
            "findings {:?}",
            now.findings
        );
        same(&now, healthy, None)
    });
}

#[test]
fn without_any_driver_everything_else_is_examined() {
    let _alone = alone();
    let now = server("[[fault]]\nkind = \"driver-absent\"\n").and_then(|server| examine(&server));
    let now = now.expect("examined");
    for check in [
        "cpu.offline",
        "memory.dimm-missing",
        "memory.size",
        "nvme.critical-warning",
        "nvme.missing",
        "pcie.width",
        "rdma.port-down",
        "rdma.port-rate",
        "rdma.port-missing",
    ] {
        assert!(
            now.report.coverage.ran.iter().any(|ran| ran == check),
            "{check}"
        );
    }
    assert_eq!(now.report.verdict, Verdict::Unhealthy);
}

/// A GPU that falls off the bus between two examinations, on a server that is being watched.
#[test]
fn a_fault_that_comes_while_running_is_seen_by_the_next_look() {
    let _alone = alone();
    let mut server = server("").expect("server");
    let before = examine(&server).expect("examined");
    assert_eq!(before.report.verdict, Verdict::Healthy);
    server
        .rack
        .apply(&Fault::GpuOffBus { gpu: 2 })
        .expect("apply");
    let after = examine(&server).expect("examined");
    let codes: Vec<&str> = after.findings.iter().map(|f| f.code.as_str()).collect();
    assert_eq!(codes, ["gpu.off-bus"]);
    for index in (0..8).filter(|index| *index != SICK) {
        let gpu = |of: &Examined| of.snapshot["gpus"][index].clone();
        assert_eq!(gpu(&after), gpu(&before), "GPU {index}");
    }
    let serial = after.findings[0].serial.clone();
    assert_eq!(
        serial.as_deref(),
        before.snapshot["gpus"][SICK]["serial"].as_str()
    );
}
