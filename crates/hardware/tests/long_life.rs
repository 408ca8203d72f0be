//! What a service does for years, in short: hundreds of readings in one process, with faults that
//! come and go. Threads, open files, children and memory come back to what they were.

#[path = "gpu/bench.rs"]
#[expect(
    dead_code,
    reason = "shared with the tests of GPUs, which use all of it"
)]
mod bench;

use std::time::Duration;

use cupel_fake_driver::models::Model;
use cupel_fake_driver::state::{Act, State};
use cupel_hardware::Root;
use cupel_hardware::collect::{CollectOptions, Fragments, Machine, Source};
use cupel_hardware::gpu::{Client, GpuOptions, WorkerProgram};
use cupel_model::snapshot::{Tenancy, WorkerState};

use bench::{Bench, children, eight, eight_functions, kernel, now};

/// Readings of GPUs.
const READINGS: usize = 200;

/// Short, for every fifth reading runs into it.
const DEADLINE: Duration = Duration::from_millis(300);

/// How much memory may grow: what an allocator keeps for itself, and far less than a leak of what
/// one reading gives would make of hundreds.
const GROWTH_KB: u64 = 8 * 1024;

/// What this process holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Held {
    threads: usize,
    files: usize,
}

fn held() -> Held {
    let count = |path: &str| std::fs::read_dir(path).map_or(0, Iterator::count);
    Held {
        threads: count("/proc/self/task"),
        files: count("/proc/self/fd"),
    }
}

/// What is held once threads that have given their result have ended too.
fn settled(want: Held) -> Held {
    for _ in 0..200 {
        if held() == want {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    held()
}

fn resident_kb() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").expect("status");
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    number.expect("VmRSS").parse().expect("a number")
}

/// The fault of a reading: most of the time none, so that what a fault left behind is seen.
fn fault(reading: usize) -> Option<(&'static str, u32, Act)> {
    let gpu = u32::try_from(reading % 8).expect("small");
    let act = match reading % 20 {
        1 => Act::Crash,
        4 => Act::Exit(3),
        7 => Act::Return(15),
        10 => Act::Garbage(u64::try_from(reading).expect("small")),
        13 => Act::Abort,
        16 => Act::Hang,
        _ => return None,
    };
    let call = match reading % 3 {
        0 => "nvmlDeviceGetPowerUsage",
        1 => "nvmlDeviceGetMemoryInfo_v2",
        _ => "nvmlDeviceGetEccMode",
    };
    Some((call, gpu, act))
}

#[test]
fn hundreds_of_readings_with_faults_that_come_and_go_leave_nothing_behind() {
    // Without NVLinks it is read in a quarter of the time.
    let well = eight(Model::L40s);
    let bench = Bench::new(&well);
    let mut client = Client::new(GpuOptions {
        read_deadline: DEADLINE,
        pause: |_| Duration::ZERO,
        ..bench.options.clone()
    });
    let read = |client: &mut Client, state: &State| {
        bench.put(state);
        client.expire();
        client.collect(&kernel(), &eight_functions(), now())
    };
    let first = read(&mut client, &well);
    let (holds, mut memory) = (held(), 0);
    let mut faults = 0;
    for reading in 0..READINGS {
        let state = match fault(reading) {
            Some((call, gpu, act)) => {
                faults += 1;
                eight(Model::L40s).with_fault(call, Some(gpu), act)
            }
            None => well.clone(),
        };
        let told = read(&mut client, &state);
        assert_eq!(told.gpus.len(), 8, "reading {reading}");
        if fault(reading).is_none() && reading > 0 && fault(reading - 1).is_none() {
            assert_eq!(told.gpus, first.gpus, "reading {reading}");
            assert_eq!(told.driver.worker, WorkerState::Answered { replaced: 0 });
        }
        if reading == READINGS / 4 {
            memory = resident_kb();
        }
    }
    assert!(faults >= 60, "{faults} faults");
    assert_eq!(settled(holds), holds);
    assert_eq!(children().len(), 1, "one worker");
    let grown = resident_kb().saturating_sub(memory);
    assert!(grown < GROWTH_KB, "memory grew by {grown} kB");
    drop(client);
    assert_eq!(children(), []);
    assert!(settled(holds).files < holds.files, "its socket is closed");

    every_source();
}

/// All other sources, in the same process: what is measured here is of the whole of it.
fn every_source() {
    let directory = cupel_rack::scratch().expect("directory");
    let library = directory.path().join("none.so");
    std::fs::write(&library, "").expect("library");
    let scenario =
        cupel_rack::Scenario::parse("title = \"\"\nplatform = \"dgx-h100\"\nverdict = \"healthy\"");
    let rack = cupel_rack::Rack::build(&scenario.expect("scenario"), directory.path(), &library);
    let machine = Machine::new(CollectOptions {
        worker: WorkerProgram::File("/nonexistent/cupel-gpu-worker".into()),
        ..CollectOptions::new(Root::at(rack.expect("rack").root()).expect("root"))
    });
    let mut readers = Source::ALL.map(|source| machine.reader(source));
    let mut fragments = Fragments::new();
    let mut holds = held();
    let mut memory = 0;
    for reading in 0..40 {
        for reader in &mut readers {
            fragments.insert(reader.read());
        }
        let snapshot = fragments.assemble(now(), Tenancy::None);
        assert!(snapshot.is_some_and(|snapshot| snapshot.rdma.len() >= 8));
        if reading == 10 {
            (holds, memory) = (settled(holds), resident_kb());
        }
    }
    assert_eq!(settled(holds), holds);
    let grown = resident_kb().saturating_sub(memory);
    assert!(grown < GROWTH_KB, "memory grew by {grown} kB");
}
