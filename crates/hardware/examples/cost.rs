//! Prints what one reading of each source costs in steady state, on a simulated server: processor
//! time of this process and of its GPU worker, in microseconds.
//!
//! `cargo run --release --example cost -- [PLATFORM] [READINGS]`, with the GPU worker and the fake
//! driver library built into the same directory.
#![expect(clippy::print_stdout, reason = "printing is what this example is for")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use cupel_hardware::Root;
use cupel_hardware::collect::{CollectOptions, Fragments, Machine, Source};
use cupel_hardware::gpu::WorkerProgram;
use cupel_model::snapshot::Tenancy;
use cupel_rack::{Rack, Scenario, scratch};
use nix::time::{ClockId, clock_gettime};

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let platform = arguments.next().unwrap_or_else(|| "dgx-h100".to_owned());
    let readings: u32 = arguments.next().map_or(Ok(50), |text| text.parse())?;
    let own = std::env::current_exe()?;
    let built = own
        .parent()
        .and_then(Path::parent)
        .ok_or("no directory of programs")?;
    let directory = scratch()?;
    let scenario = Scenario::parse(&format!(
        "title = \"cost\"\nplatform = \"{platform}\"\nverdict = \"healthy\""
    ))?;
    let rack = Rack::build(&scenario, directory.path(), &library(built)?)?;
    let machine = Machine::new(CollectOptions {
        nvml_library: Some(rack.library()),
        worker: WorkerProgram::File(built.join("cupel-gpu-worker")),
        ..CollectOptions::new(Root::at(rack.root())?)
    });
    let mut fragments = Fragments::new();
    println!(
        "{:12} {:>10} {:>10} {:>8}",
        "source", "own µs", "worker µs", "threads"
    );
    for source in Source::ALL {
        let mut reader = machine.reader(source);
        fragments.insert(reader.read());
        fragments.insert(reader.read());
        let before = (own_time()?, workers_time());
        let threads = count("/proc/self/task");
        for _ in 0..readings {
            fragments.insert(reader.read());
        }
        let own = (own_time()? - before.0) / readings;
        let worker = (workers_time() - before.1) / readings;
        println!(
            "{:12} {:>10} {:>10} {threads:>8}",
            source.name(),
            own.as_micros(),
            worker.as_micros()
        );
    }
    let before = own_time()?;
    for _ in 0..readings {
        fragments.assemble(cupel_hardware::clock::now(), Tenancy::None);
    }
    let own = (own_time()? - before) / readings;
    println!("{:12} {:>10}", "assemble", own.as_micros());
    Ok(())
}

fn library(built: &Path) -> Result<PathBuf, Failure> {
    let name = "libcupel_fake_driver.so";
    [built.join(name), built.join("deps").join(name)]
        .into_iter()
        .find(|path| path.is_file())
        .ok_or_else(|| format!("{name} is not in {}", built.display()).into())
}

fn own_time() -> nix::Result<Duration> {
    clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).map(Duration::from)
}

/// Processor time of the children of this process, so far as the kernel tells.
fn workers_time() -> Duration {
    let own = std::process::id();
    let mut total = Duration::ZERO;
    for task in entries("/proc/self/task") {
        let path = format!("/proc/{own}/task/{task}/children");
        let children = std::fs::read_to_string(path).unwrap_or_default();
        for child in children.split_whitespace() {
            for thread in entries(&format!("/proc/{child}/task")) {
                let path = format!("/proc/{child}/task/{thread}/schedstat");
                let text = std::fs::read_to_string(path).unwrap_or_default();
                let nanoseconds = text.split(' ').next().and_then(|first| first.parse().ok());
                total += Duration::from_nanos(nanoseconds.unwrap_or(0));
            }
        }
    }
    total
}

fn entries(directory: &str) -> Vec<String> {
    std::fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

fn count(directory: &str) -> usize {
    entries(directory).len()
}
