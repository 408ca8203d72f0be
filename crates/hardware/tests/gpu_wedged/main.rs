//! A worker in real uninterruptible sleep: the fake driver writes to a frozen file system.
//!
//! Needs root, loop devices, `mkfs.ext4` and `fsfreeze`; elsewhere it says why it was skipped. It
//! has a process of its own, for it counts the workers that cannot be killed.

#[path = "../gpu/bench.rs"]
#[expect(
    dead_code,
    reason = "shared with the other tests of GPUs, which use all of it"
)]
mod bench;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use cupel_fake_driver::models::Model;
use cupel_fake_driver::state::Act;
use cupel_hardware::gpu::{UNREAPED_MAX, unreaped};
use cupel_model::snapshot::WorkerState;
use tempfile::TempDir;

use bench::{DEADLINE, SLACK, children, faulty};

/// A small file system in a file, mounted. Thawed and unmounted when dropped, whatever happens.
struct Mounted {
    _directory: TempDir,
    at: PathBuf,
}

impl Mounted {
    fn new() -> Result<Self, String> {
        let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
        let image = directory.path().join("image");
        let at = directory.path().join("mounted");
        std::fs::create_dir(&at).map_err(|error| error.to_string())?;
        let file = std::fs::File::create(&image).map_err(|error| error.to_string())?;
        file.set_len(16 << 20).map_err(|error| error.to_string())?;
        run("mkfs.ext4", &["-q".as_ref(), image.as_ref()])?;
        run(
            "mount",
            &["-o".as_ref(), "loop".as_ref(), image.as_ref(), at.as_ref()],
        )?;
        let mounted = Self {
            _directory: directory,
            at,
        };
        mounted.freeze()?;
        mounted.thaw()?;
        Ok(mounted)
    }

    fn freeze(&self) -> Result<(), String> {
        run("fsfreeze", &["-f".as_ref(), self.at.as_ref()])
    }

    fn thaw(&self) -> Result<(), String> {
        run("fsfreeze", &["-u".as_ref(), self.at.as_ref()])
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Not frozen any more is the usual case, and an error then.
        let _ = self.thaw();
        let until = Instant::now() + Duration::from_secs(10);
        while run("umount", &[self.at.as_ref()]).is_err() {
            if Instant::now() > until {
                let _ = run("umount", &["-l".as_ref(), self.at.as_ref()]);
                break;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

fn run(program: &str, arguments: &[&Path]) -> Result<(), String> {
    #[expect(
        clippy::disallowed_methods,
        reason = "a test that prepares a file system"
    )]
    let output = Command::new(program)
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .args(arguments)
        .output()
        .map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("{program}: {}", said.trim()))
}

#[test]
fn a_worker_that_cannot_be_killed_is_wedged_and_reaped_when_it_dies() {
    let mounted = match Mounted::new() {
        Ok(mounted) => mounted,
        Err(why) => {
            println!("skipped: no file system can be mounted and frozen here ({why})");
            return;
        }
    };
    let file = mounted.at.join("written-by-the-driver");
    std::fs::write(&file, b"").expect("file");
    let bench = faulty(
        Model::H200,
        "nvmlDeviceGetPowerUsage",
        Some(3),
        Act::Write(file),
    );
    mounted.freeze().expect("freeze");

    for wedged in 1..=UNREAPED_MAX {
        let (collection, took) = bench.read();
        assert!(took < DEADLINE + SLACK, "{took:?}");
        let hung = collection.gpus[3].hung.as_ref().expect("hung");
        assert_eq!(hung.call, "nvmlDeviceGetPowerUsage");
        assert!(hung.wedged);
        assert_eq!(unreaped(), wedged);
        assert!(children().iter().any(|(_, state)| *state == 'D'));
        let read = collection
            .gpus
            .iter()
            .filter(|gpu| gpu.thermal.temperature_celsius.value().is_some())
            .count();
        // The GPU itself was read up to the call that hung. With the second wedged worker there is
        // none left to read the rest.
        assert_eq!(read, if wedged < UNREAPED_MAX { 7 } else { 3 });
    }

    // No third one is started.
    let (collection, took) = bench.read();
    assert!(took < DEADLINE, "{took:?}");
    let WorkerState::Failed { why, .. } = &collection.driver.worker else {
        panic!("{:?}", collection.driver.worker);
    };
    assert!(why.contains("cannot be killed"), "{why}");
    assert_eq!(collection.gpus.len(), 8);
    assert_eq!(unreaped(), UNREAPED_MAX);

    mounted.thaw().expect("thaw");
    let until = Instant::now() + Duration::from_secs(10);
    while unreaped() > 0 && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(unreaped(), 0);
    assert_eq!(children(), []);
    let (collection, _) = bench.read();
    assert!(collection.gpus.iter().all(|gpu| gpu.hung.is_none()));
    assert_eq!(
        collection.driver.worker,
        WorkerState::Answered { replaced: 0 }
    );
}
