//! The whole machine, once: all sources at the same time, joined.

use std::thread;
use std::time::Duration;

use cupel_model::Reading;
use cupel_model::snapshot::{Previous, Snapshot, WorkerState};
use cupel_model::units::Seconds;
use cupel_model::worker::Watched;

use super::fragment::{Fragment, Problems};
use super::fragments::{Fragments, sort_problems};
use super::log::{self, Log};
use super::machine::Machine;
use super::options::CollectOptions;
use super::reader::Reader;
use super::source::Source;
use crate::{clock, deadline};

/// Reads the machine: once, or twice if `options.interval` says so.
pub fn collect(options: &CollectOptions) -> Snapshot {
    let machine = Machine::new(options.clone());
    let Some(interval) = options.interval else {
        return once(&machine, &mut machine.reader(Source::Gpu));
    };
    let earlier = clock::since_boot();
    // It holds the driver until the second sample has a worker of its own: a driver that everybody
    // let go of would start to count anew.
    let mut gpus = machine.reader(Source::Gpu);
    let first = once(&Machine::new(options.for_first_sample()), &mut gpus);
    let left = || interval.saturating_sub(clock::since_boot().saturating_sub(earlier));
    let watched = watch(&mut gpus, &first.driver.worker, left());
    thread::sleep(left());
    let began = clock::since_boot();
    let mut snapshot = once(&machine, &mut machine.reader(Source::Gpu));
    drop(gpus);
    snapshot.gpu_events = watched.events;
    snapshot.problems.extend(watched.problems);
    sort_problems(&mut snapshot.problems);
    let elapsed = began.saturating_sub(earlier).as_secs_f64();
    snapshot.previous = Seconds::new(elapsed).ok().map(|elapsed_seconds| Previous {
        elapsed_seconds,
        snapshot: Box::new(first),
    });
    snapshot
}

/// Watches for events of GPUs for `time`, where there is a driver to watch.
fn watch(gpus: &mut Reader, worker: &WorkerState, time: Duration) -> Watched {
    let events = match worker {
        WorkerState::Answered { .. } if !time.is_zero() => return gpus.watch(time),
        WorkerState::Answered { .. } => {
            Reading::absent("the first sample took all of the interval; ask for a longer one")
        }
        WorkerState::NotStarted { why } => Reading::absent(why),
        WorkerState::Failed { why, .. } => Reading::failed(why),
    };
    Watched {
        events,
        problems: Vec::new(),
    }
}

/// All sources at once; GPUs with a reader that outlives it.
fn once(machine: &Machine, gpus: &mut Reader) -> Snapshot {
    let options = machine.options();
    let taken_at = clock::now();
    let log = options.with_kernel_log.then(|| {
        let root = options.root.clone();
        let limit = options.deadlines.kernel_log;
        deadline::start(&options.root, "kernel-log", limit, move || log::read(&root))
    });
    let mut fragments = Fragments::new();
    let mut problems = Problems::default();
    for (source, fragment) in read_all(machine, gpus) {
        match fragment {
            Some(fragment) => {
                fragments.insert(fragment);
            }
            None => problems.add(source.name(), deadline::Late::Panicked),
        }
    }
    let log = match log {
        Some(log) => problems.wait("kernel-log", log, |why| Log::unread(Reading::failed(why))),
        None => Log::unread(Reading::unsupported("the kernel log was not asked for")),
    };
    let mut snapshot = fragments.joined(taken_at, options.tenancy);
    snapshot.kernel_log = log.events;
    snapshot.kernel_log_records = log.records;
    snapshot.problems.extend(problems.0);
    snapshot.problems.extend(log.problems);
    sort_problems(&mut snapshot.problems);
    snapshot
}

/// Every source with its fragment; without one where the reader panicked.
fn read_all(machine: &Machine, gpus: &mut Reader) -> Vec<(Source, Option<Fragment>)> {
    let without = if machine.options().with_bmc_details {
        Source::Bmc
    } else {
        Source::BmcDetails
    };
    let wanted = Source::ALL
        .into_iter()
        .filter(|source| ![Source::Gpu, without].contains(source));
    thread::scope(|scope| {
        let running: Vec<_> = wanted
            .map(|source| {
                let mut reader = machine.reader(source);
                let thread = thread::Builder::new()
                    .name(source.name().to_owned())
                    .spawn_scoped(scope, move || reader.read());
                (source, thread)
            })
            .collect();
        let mut read = vec![(Source::Gpu, Some(gpus.read()))];
        read.extend(running.into_iter().map(|(source, thread)| {
            let fragment = match thread {
                Ok(thread) => thread.join().ok(),
                // The system gives no thread: then one after the other.
                Err(_) => Some(machine.reader(source).read()),
            };
            (source, fragment)
        }));
        read
    })
}
