//! A hundred faults of the driver in one life of the service (a thousand in the long run): each state
//! is told right, and nothing grows.

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use cupel_fake_driver::state::Act;
use cupel_fleet::NodeOptions;
use cupel_rack::Fault;
use serde_json::Value;

use super::node::{Holds, SOON, Server, alone, holds, is_soak, observed};

/// What a fault makes the service say.
struct Case {
    name: &'static str,
    fault: Fault,
    /// Findings of warning and above that are observed.
    finds: &'static [&'static str],
    /// Checks that cannot be determined.
    unknown: &'static [&'static str],
}

/// Checks that need what the driver tells of a GPU.
const OF_DRIVER: &[&str] = &[
    "fabric.not-ready",
    "gpu.ecc-uncorrectable",
    "gpu.memory-size",
    "gpu.recovery-action",
    "gpu.row-remap-failed",
    "gpu.row-remap-pending",
    "gpu.thermal-slowdown",
    "nvlink.inactive",
];

fn call(call: &str, gpu: Option<u32>, act: Act) -> Fault {
    Fault::DriverCall {
        call: call.to_owned(),
        gpu,
        act,
    }
}

fn ecc(gpu: u32, dram: bool, volatile: u64, threshold_exceeded: bool) -> Fault {
    Fault::GpuEcc {
        gpu,
        dram,
        volatile,
        aggregate: 9,
        threshold_exceeded,
    }
}

fn remap(gpu: u32, pending: bool, failure: bool) -> Fault {
    Fault::GpuRowRemap {
        gpu,
        uncorrectable: 1,
        correctable: 0,
        pending,
        failure,
    }
}

/// The table.
fn cases() -> Vec<Case> {
    let case = |name, fault, finds, unknown| Case {
        name,
        fault,
        finds,
        unknown,
    };
    vec![
        case(
            "ECC in SRAM",
            ecc(0, false, 2, false),
            &["gpu.ecc-uncorrectable"],
            &[],
        ),
        case(
            "ECC in DRAM",
            ecc(1, true, 2, false),
            &["gpu.ecc-uncorrectable"],
            &[],
        ),
        case(
            "threshold passed",
            ecc(2, false, 0, true),
            &["gpu.ecc-uncorrectable"],
            &[],
        ),
        case(
            "row waits",
            remap(2, true, false),
            &["gpu.row-remap-pending"],
            &[],
        ),
        case(
            "row failed",
            remap(3, false, true),
            &["gpu.row-remap-failed"],
            &[],
        ),
        case(
            "two NVLinks down",
            Fault::NvlinkInactive {
                gpu: 4,
                links: vec![3, 7],
            },
            &["nvlink.inactive"],
            &[],
        ),
        case(
            "too hot",
            Fault::GpuThermalSlowdown {
                gpu: 5,
                temperature: 93,
                reasons: 0x40,
                violation_ns: 5_000_000_000,
            },
            &["gpu.thermal-slowdown"],
            &[],
        ),
        case(
            "reset asked for",
            Fault::GpuRecovery { gpu: 6, action: 1 },
            &["gpu.recovery-action"],
            &[],
        ),
        case(
            "one GPU not on the fabric",
            Fault::Fabric {
                gpu: Some(7),
                state: 1,
                status: 0,
                health: None,
            },
            &["fabric.not-ready"],
            &[],
        ),
        case(
            "no GPU on the fabric",
            Fault::Fabric {
                gpu: None,
                state: 2,
                status: 0,
                health: None,
            },
            &["fabric.not-ready"],
            &[],
        ),
        case(
            "lost to the driver",
            Fault::GpuHandle { gpu: 0, code: 15 },
            &["gpu.off-bus"],
            OF_DRIVER,
        ),
        case(
            "module not loaded",
            Fault::DriverNotLoaded,
            &["driver.absent"],
            &["driver.mismatch", "gpu.driver-hung"],
        ),
        case(
            "no driver",
            Fault::DriverAbsent,
            &["driver.absent"],
            &["driver.mismatch", "gpu.driver-hung"],
        ),
        case(
            "rows cannot be read",
            call("nvmlDeviceGetRemappedRows", Some(2), Act::Return(999)),
            &[],
            &["gpu.row-remap-failed", "gpu.row-remap-pending"],
        ),
        case(
            "memory cannot be read",
            call("nvmlDeviceGetMemoryInfo_v2", Some(3), Act::Return(999)),
            &[],
            &["gpu.memory-size"],
        ),
        case(
            "counters cannot be read",
            call("nvmlDeviceGetMemoryErrorCounter", None, Act::Return(999)),
            &[],
            &["gpu.ecc-uncorrectable"],
        ),
        case(
            "fields are garbage",
            call("nvmlDeviceGetFieldValues", None, Act::Garbage(3)),
            &[],
            &["gpu.recovery-action"],
        ),
        case(
            "power cannot be read",
            call("nvmlDeviceGetPowerUsage", None, Act::Return(999)),
            &[],
            &[],
        ),
        case(
            "slow",
            call("nvmlDeviceGetTemperature", None, Act::Slow(5)),
            &[],
            &[],
        ),
        case(
            "the worker crashes",
            call("nvmlDeviceGetTemperature", Some(7), Act::Crash),
            &[],
            &["gpu.driver-hung"],
        ),
        case(
            "the driver hangs",
            call("nvmlDeviceGetTemperature", Some(7), Act::Hang),
            &["gpu.driver-hung"],
            &[
                "fabric.not-ready",
                "gpu.ecc-uncorrectable",
                "gpu.memory-size",
                "gpu.recovery-action",
                "gpu.row-remap-failed",
                "gpu.row-remap-pending",
                "gpu.thermal-slowdown",
                "nvlink.inactive",
                "pcie.speed",
            ],
        ),
    ]
}

fn unknown(status: &Value) -> Vec<String> {
    let all = status["coverage"]["unknown"].as_array();
    let names = all
        .into_iter()
        .flatten()
        .filter_map(|one| one["check"].as_str());
    names.map(str::to_owned).collect()
}

/// What the process holds at rest: readings come and go.
fn at_rest(server: &Server) -> Result<Holds> {
    let mut least = holds(server.pid()?)?;
    for _ in 0..30 {
        std::thread::sleep(std::time::Duration::from_millis(30));
        let now = holds(server.pid()?)?;
        least.resident = least.resident.min(now.resident);
        least.threads = least.threads.min(now.threads);
        least.descriptors = least.descriptors.min(now.descriptors);
        least.zombies = least.zombies.min(now.zombies);
    }
    Ok(least)
}

impl Case {
    /// Whether the reader goes by it for minutes after it is over: a GPU that is lost or hangs is
    /// left alone.
    fn is_remembered(&self) -> bool {
        let is_left_alone = |act: &Act| matches!(act, Act::Crash | Act::Hang);
        matches!(self.fault, Fault::GpuHandle { .. })
            || matches!(&self.fault, Fault::DriverCall { act, .. } if is_left_alone(act))
    }
}

/// Deadlines. Others are another reader, which asks a GPU that was left alone before.
fn deadlines(call: &str) -> String {
    format!("[deadlines]\ngpu_call_seconds = {call}\ngpu_initialisation_seconds = 2.0\n")
}

/// Everything is over, and a new reader sees it.
fn well_again(server: &mut Server) -> Result<()> {
    server.node.rack.repair()?;
    server.reconfigure(|options| {
        let one = options.more == deadlines("1.0");
        options.more = deadlines(if one { "1.1" } else { "1.0" });
    })?;
    server.node.wait_for("well again", SOON, |status| {
        observed(status).is_empty() && unknown(status).is_empty()
    })?;
    Ok(())
}

#[test]
fn every_state_is_told_right_and_nothing_grows() -> Result<()> {
    let _guard = alone();
    let wanted = if is_soak() { 1000 } else { 100 };
    let mut server = Server::running(NodeOptions {
        every: Some(0.2),
        more: deadlines("1.0"),
        ..NodeOptions::default()
    })?;
    let cases = cases();
    let began = Instant::now();
    let mut count = 0_u32;
    let mut warm = None;
    'all: for round in 1.. {
        let mut links = false;
        for case in &cases {
            server.node.rack.repair()?;
            server.node.apply(&case.fault)?;
            let before = links;
            links = matches!(case.fault, Fault::NvlinkInactive { .. });
            if links || before {
                // Links are read every minute, and when the log tells of something.
                server.xid(4, 13, "Graphics Exception")?;
            }
            let status = server.node.wait_for(case.name, SOON, |status| {
                observed(status) == case.finds && unknown(status) == case.unknown
            });
            status.with_context(|| format!("fault {count}: {}", case.name))?;
            count += 1;
            if case.is_remembered() {
                well_again(&mut server)?;
            }
            if count == wanted {
                break 'all;
            }
        }
        if round == 2 {
            well_again(&mut server)?;
            warm = Some(at_rest(&server)?);
        }
    }
    well_again(&mut server)?;
    let (warm, end) = (warm.context("too few faults")?, at_rest(&server)?);
    println!(
        "{count} faults in {:.0?}: resident {} KiB after {} faults, {} KiB at the end; threads {} \
         and {}, descriptors {} and {}",
        began.elapsed(),
        warm.resident,
        2 * cases.len(),
        end.resident,
        warm.threads,
        end.threads,
        warm.descriptors,
        end.descriptors
    );
    ensure!(end.resident < warm.resident + 6 * 1024, "{warm:?} {end:?}");
    ensure!(end.threads <= warm.threads, "{warm:?} {end:?}");
    ensure!(end.descriptors <= warm.descriptors + 1, "{warm:?} {end:?}");
    ensure!(end.zombies == 0, "{end:?}");
    ensure!(server.workers()?.len() <= 1, "{:?}", server.workers()?);
    Ok(())
}
