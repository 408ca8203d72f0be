//! A directory with a driver library of its own, and ways to read GPUs through it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cupel_fake_driver::models::{EIGHT, Model};
use cupel_fake_driver::state::{Act, State};
use cupel_hardware::gpu::{
    GpuCollection, GpuOptions, KernelDriver, Library, WorkerProgram, collect,
};
use cupel_model::snapshot::PciDevice;
use cupel_model::{PciAddress, Reading, Timestamp};
use tempfile::TempDir;

/// What a test gives a group of calls. Long enough for a busy machine, short enough for hundreds.
pub const DEADLINE: Duration = Duration::from_millis(1500);

/// Allowed beyond the deadline.
pub const SLACK: Duration = Duration::from_secs(1);

/// The directory of this build's programs and libraries.
fn built(name: &str) -> PathBuf {
    let own = std::env::current_exe().expect("own path");
    let deps = own.parent().expect("deps");
    let profile = deps.parent().expect("profile directory");
    // A library that only tests need is built beside them; the newer one is this build's.
    let newest = [profile, deps]
        .map(|directory| directory.join(name))
        .into_iter()
        .filter(|path| path.exists())
        .max_by_key(|path| fs::metadata(path).and_then(|about| about.modified()).ok());
    if let Some(path) = newest {
        return path;
    }
    panic!(
        "{name} is not in {}: run `cargo build --workspace` first",
        profile.display()
    );
}

/// A driver library beside its answer book.
pub struct Bench {
    pub directory: TempDir,
    pub options: GpuOptions,
}

impl Bench {
    pub fn new(state: &State) -> Self {
        let directory = tempfile::tempdir().expect("directory");
        let library = directory.path().join("libnvidia-ml.so.1");
        // A link keeps hundreds of benches small; where the file is patched, it is copied.
        let source = built("libcupel_fake_driver.so");
        if fs::hard_link(&source, &library).is_err() {
            fs::copy(&source, &library).expect("copy");
        }
        state.write_beside(directory.path()).expect("state");
        let options = GpuOptions {
            library: Library::At(library),
            read_deadline: DEADLINE,
            open_deadline: DEADLINE,
            ..GpuOptions::new(WorkerProgram::File(built("cupel-gpu-worker")))
        };
        Self { directory, options }
    }

    /// Takes a function out of this bench's library.
    pub fn without(self, symbol: &str) -> Self {
        let path = self.library();
        let mut bytes = fs::read(&path).expect("library");
        cupel_fake_driver::patch_out_symbol(&mut bytes, symbol).expect(symbol);
        fs::remove_file(&path).expect("unlink");
        fs::write(&path, bytes).expect("write");
        self
    }

    pub fn library(&self) -> PathBuf {
        self.directory.path().join("libnvidia-ml.so.1")
    }

    pub fn put(&self, state: &State) {
        state.write_beside(self.directory.path()).expect("state");
    }

    /// Reads, and says how long that took.
    pub fn read(&self) -> (GpuCollection, Duration) {
        let begun = Instant::now();
        let collection = collect(&self.options, &kernel(), &eight_functions(), now());
        (collection, begun.elapsed())
    }
}

pub fn eight(model: Model) -> State {
    State::healthy(model, &EIGHT)
}

pub fn faulty(model: Model, call: &str, gpu: Option<u32>, act: Act) -> Bench {
    Bench::new(&eight(model).with_fault(call, gpu, act))
}

pub fn now() -> Timestamp {
    "2026-01-31T12:00:00.000000Z".parse().expect("time")
}

pub fn kernel() -> KernelDriver {
    KernelDriver {
        version: Reading::Value("570.133.20".to_owned()),
        flavour: Reading::Value("open".to_owned()),
    }
}

pub fn eight_functions() -> Vec<PciDevice> {
    EIGHT.iter().map(|address| function(address)).collect()
}

fn function(address: &str) -> PciDevice {
    let absent = || Reading::absent("not on this bench");
    PciDevice {
        address: address.parse::<PciAddress>().expect("address"),
        vendor: Reading::Value("10de".to_owned()),
        device: Reading::Value("2335".to_owned()),
        subsystem: absent(),
        class: Reading::Value("030200".to_owned()),
        revision: absent(),
        current_speed_gts: Reading::absent("not on this bench"),
        current_width: Reading::Value(16),
        max_speed_gts: Reading::absent("not on this bench"),
        max_width: Reading::Value(16),
        aer: Reading::absent("not on this bench"),
        driver: Reading::Value("nvidia".to_owned()),
        numa_node: Reading::Value(0),
        slot: absent(),
        upstream: Reading::absent("not on this bench"),
        serial: absent(),
        part_number: absent(),
        manages_switches: Reading::absent("not on this bench"),
    }
}

/// Children of this process that are dead and not reaped, or alive.
pub fn children() -> Vec<(u32, char)> {
    let own = std::process::id().to_string();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").expect("/proc").flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        if let Some(state) = child_state(&entry.path(), &own) {
            found.push((pid, state));
        }
    }
    found
}

fn child_state(process: &Path, parent: &str) -> Option<char> {
    let stat = fs::read_to_string(process.join("stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?.chars().next()?;
    (fields.next()? == parent).then_some(state)
}
