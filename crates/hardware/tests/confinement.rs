//! Beneath a root other than `/` nothing outside it is opened.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use cupel_hardware::collect::{CollectOptions, collect};
use cupel_hardware::gpu::WorkerProgram;
use cupel_hardware::{ReadError, Root};

/// What a secret outside the root says.
const SECRET: &str = "outside";

/// A directory with a secret, and in it a root full of ways out.
fn hostile() -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("temporary directory");
    let outside = directory.path();
    fs::write(outside.join("secret"), SECRET).expect("secret");
    let root = outside.join("root");
    for path in [
        "sys/class",
        "proc/sys/kernel/random",
        "dev",
        "etc",
        "run",
        "sys/bus/pci",
        "a/b",
    ] {
        fs::create_dir_all(root.join(path)).expect("directory");
    }
    let secret = outside.join("secret");
    let links: &[(&str, &Path)] = &[
        ("etc/machine-id", &secret),
        ("etc/hostname", Path::new("../../secret")),
        (
            "proc/sys/kernel/hostname",
            Path::new("../../../../../../../../../etc/hostname"),
        ),
        ("proc/cmdline", Path::new("/proc/self/environ")),
        ("proc/cpuinfo", Path::new("/proc/cpuinfo")),
        ("proc/meminfo", Path::new("/proc/self/root/proc/meminfo")),
        ("proc/driver", Path::new("/proc/driver")),
        ("dev/kmsg", Path::new("/dev/kmsg")),
        ("dev/ipmi0.replies", &secret),
        ("sys/class/infiniband", outside),
        ("sys/class/net", Path::new("/sys/class/net")),
        ("sys/class/nvme", Path::new("/sys/class/nvme")),
        ("sys/class/hwmon", Path::new("/sys/class/hwmon")),
        ("sys/bus/pci/devices", Path::new("/sys/bus/pci/devices")),
        ("sys/firmware", Path::new("/sys/firmware")),
        ("run/systemd", Path::new("/run/systemd")),
        ("loop", Path::new("loop")),
        ("a/b/up", Path::new("../../../secret")),
    ];
    for (link, target) in links {
        symlink(target, root.join(link)).expect("link");
    }
    // A tree that claims to have a device node and a pipe where files belong.
    nix::unistd::mkfifo(&root.join("dev/pipe"), nix::sys::stat::Mode::S_IRWXU).expect("pipe");
    directory
}

fn options(root: &Path) -> CollectOptions {
    CollectOptions {
        worker: WorkerProgram::File("/nonexistent/cupel-gpu-worker".into()),
        ..CollectOptions::new(Root::at(root).expect("root"))
    }
}

#[test]
fn no_path_leads_out() {
    let directory = hostile();
    let root = Root::at(directory.path().join("root")).expect("root");
    for path in [
        "/etc/machine-id",
        "/etc/hostname",
        "/a/b/up",
        "/../secret",
        "/../../../../../../../../etc/passwd",
        "/a/b/../../../secret",
        "/proc/cpuinfo",
        "/proc/meminfo",
        "/sys/class/net/lo/operstate",
    ] {
        let read = root.read(path, 4096);
        assert!(
            matches!(
                read,
                Err(ReadError::Missing { .. } | ReadError::System { .. })
            ),
            "{path}: {read:?}"
        );
    }
    assert!(root.names("/sys/class/infiniband").is_err());
    assert!(root.names("/sys/bus/pci/devices").is_err());
    assert!(!root.exists("/loop"));
    assert!(matches!(
        root.read("/dev/pipe", 10),
        Err(ReadError::NotRegular { .. })
    ));
    let inside = root
        .names("/..")
        .expect("the root's own parent is the root");
    assert!(inside.contains(&"sys".to_owned()) && !inside.contains(&"secret".to_owned()));
    assert_eq!(root.resolve("/a/b/..").expect("inside"), "/a");
}

#[test]
fn links_are_resolved_as_the_machine_would() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let root = directory.path();
    fs::create_dir_all(root.join("sys/devices/x")).expect("directory");
    fs::write(root.join("sys/devices/x/value"), "7\n").expect("file");
    symlink("/sys/devices/x", root.join("absolute")).expect("link");
    symlink("../../../../sys/devices/x", root.join("sys/relative")).expect("link");
    let root = Root::at(root).expect("root");
    assert_eq!(root.value("/absolute/value"), Ok("7".to_owned()));
    assert_eq!(root.value("/sys/relative/value"), Ok("7".to_owned()));
    assert_eq!(root.resolve("/absolute"), Ok("/sys/devices/x".to_owned()));
    assert_eq!(root.link_name("/absolute"), Ok("x".to_owned()));
}

#[test]
fn a_collection_tells_nothing_from_outside() {
    let directory = hostile();
    let snapshot = collect(&options(&directory.path().join("root")));
    let json = serde_json::to_string(&snapshot).expect("JSON");
    assert!(!json.contains(&format!("{SECRET:?}")), "{json}");
    assert!(snapshot.pci.is_empty() && snapshot.network.is_empty());
    assert!(
        snapshot.node.hostname.value().is_none(),
        "{:?}",
        snapshot.node.hostname
    );
    assert!(snapshot.kernel.command_line.value().is_none());
    assert!(snapshot.kernel_log_records.value().is_none());
    assert!(snapshot.memory.total_bytes.value().is_none());
}

/// What the child of the next test does.
#[test]
#[ignore = "started by the test that watches its system calls"]
fn collect_under_the_root_of_the_environment() {
    let root = std::env::var_os("CUPEL_TEST_ROOT").expect("a root");
    // Marks the place in the record of system calls.
    let _ = fs::metadata("/begin-of-collection");
    let snapshot = collect(&options(Path::new(&root)));
    let _ = fs::metadata("/end-of-collection");
    assert!(snapshot.node.hostname.value().is_none());
}

/// The kernel's own record: between the marks, every file is opened by `openat2` with
/// `RESOLVE_IN_ROOT`, and nothing is executed, connected or controlled.
#[test]
fn system_calls_stay_inside() {
    let strace = ["/usr/bin/strace", "/bin/strace"]
        .into_iter()
        .find(|p| Path::new(p).exists());
    let Some(strace) = strace else {
        println!("skipped: no strace");
        return;
    };
    let directory = hostile();
    let record = directory.path().join("record");
    let status = run_traced(strace, &directory.path().join("root"), &record);
    let Some(true) = status else {
        println!("skipped: tracing is not allowed here");
        return;
    };
    let record = fs::read_to_string(&record).expect("record");
    let lines: Vec<&str> = record
        .lines()
        .skip_while(|line| !line.contains("/begin-of-collection"))
        .take_while(|line| !line.contains("/end-of-collection"))
        .collect();
    let opened = lines
        .iter()
        .filter(|line| line.contains("openat2("))
        .count();
    assert!(opened > 30, "only {opened} files were looked for");
    for line in lines {
        if line.contains("openat2(") {
            assert!(line.contains("RESOLVE_IN_ROOT"), "{line}");
            continue;
        }
        // Setting up the root itself, by its own path, and the allocator's look at the machine.
        let own = line.contains(&*directory.path().to_string_lossy())
            || line.contains("/proc/sys/vm/overcommit_memory")
            || line.contains("openat(AT_FDCWD, \"/sys/devices/system/cpu/online\"")
            || line.contains("/sys/fs/cgroup")
            || line.contains("resumed>");
        let opens = [
            "open(", "openat(", "creat(", "execve(", "connect(", "ioctl(",
        ]
        .iter()
        .any(|call| line.contains(&format!(" {call}")));
        assert!(own || !opens, "{line}");
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the test starts a tracer, no part of Cupel"
)]
fn run_traced(strace: &str, root: &Path, record: &Path) -> Option<bool> {
    let own = std::env::current_exe().ok()?;
    let output = Command::new(strace)
        .args(["-f", "-qq", "-s", "200", "-e"])
        .arg("trace=open,openat,openat2,creat,execve,connect,ioctl,stat,statx,newfstatat,lstat")
        .arg("-o")
        .arg(record)
        .arg(own)
        .args([
            "--ignored",
            "--exact",
            "collect_under_the_root_of_the_environment",
        ])
        .env("CUPEL_TEST_ROOT", root)
        .output()
        .ok()?;
    Some(output.status.success())
}
