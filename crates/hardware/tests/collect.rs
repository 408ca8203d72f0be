//! What a collection joins: slots, serials, firmware, events with times, two samples.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use cupel_hardware::Root;
use cupel_hardware::collect::{CollectOptions, collect};
use cupel_hardware::gpu::WorkerProgram;
use cupel_model::{EventKind, Reading, Snapshot};

fn file(root: &Path, path: &str, content: impl AsRef<[u8]>) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().expect("a directory")).expect("directories");
    fs::write(path, content).expect("file");
}

fn link(root: &Path, path: &str, target: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().expect("a directory")).expect("directories");
    symlink(target, path).expect("link");
}

/// An adapter with VPD and a drive, each in its slot; a kernel log with an XID.
fn machine() -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("temporary directory");
    let root = directory.path();
    let adapter = "sys/devices/pci0000:97/0000:97:01.0/0000:9a:00.0";
    for (name, value) in [
        ("vendor", "0x15b3"),
        ("class", "0x020700"),
        ("device", "0x1021"),
    ] {
        file(root, &format!("{adapter}/{name}"), value);
    }
    file(
        root,
        &format!("{adapter}/vpd"),
        b"\x90\x0b\0SN\x03XZ7PN\x02AB\x78",
    );
    file(
        root,
        &format!("{adapter}/infiniband/mlx5_0/fw_ver"),
        "28.39.1002\n",
    );
    file(
        root,
        &format!("{adapter}/infiniband/mlx5_0/ports/1/state"),
        "4: ACTIVE\n",
    );
    file(
        root,
        &format!("{adapter}/infiniband/mlx5_0/ports/1/counters/link_downed"),
        "3\n",
    );
    link(
        root,
        &format!("{adapter}/infiniband/mlx5_0/device"),
        "../../../0000:9a:00.0",
    );
    link(
        root,
        "sys/class/infiniband/mlx5_0",
        "../../devices/pci0000:97/0000:97:01.0/0000:9a:00.0/infiniband/mlx5_0",
    );
    let drive = "sys/devices/pci0000:60/0000:61:00.0";
    file(root, &format!("{drive}/vendor"), "0x144d");
    file(
        root,
        &format!("{drive}/nvme/nvme0/firmware_rev"),
        "GDC5602Q\n",
    );
    link(
        root,
        &format!("{drive}/nvme/nvme0/device"),
        "../../../0000:61:00.0",
    );
    link(
        root,
        "sys/class/nvme/nvme0",
        "../../devices/pci0000:60/0000:61:00.0/nvme/nvme0",
    );
    for (address, target) in [
        ("0000:9a:00.0", "pci0000:97/0000:97:01.0/0000:9a:00.0"),
        ("0000:61:00.0", "pci0000:60/0000:61:00.0"),
    ] {
        link(
            root,
            &format!("sys/bus/pci/devices/{address}"),
            &format!("../../../devices/{target}"),
        );
    }
    file(root, "sys/bus/pci/slots/31/address", "0000:97:01\n");
    file(root, "sys/bus/pci/slots/bay-2/address", "0000:61:00\n");
    file(root, "proc/stat", "cpu 1\nbtime 1700000000\n");
    file(
        root,
        "dev/kmsg",
        "6,1,1,-;Linux version 6.1\n3,2,2500000,-;NVRM: Xid (PCI:0000:9b:00): 79, pid=1, name=x, GPU has fallen off the bus.\n",
    );
    directory
}

fn options(root: &Path) -> CollectOptions {
    CollectOptions {
        worker: WorkerProgram::File("/nonexistent/cupel-gpu-worker".into()),
        ..CollectOptions::new(Root::at(root).expect("root"))
    }
}

#[test]
fn parts_get_slot_and_serial_of_their_function() {
    let machine = machine();
    let snapshot = collect(&options(machine.path()));
    assert_eq!(snapshot.problems, []);
    let adapter = &snapshot.rdma[0];
    assert_eq!(
        adapter.slot,
        Reading::Value("31".to_owned()),
        "of the bridge above"
    );
    assert_eq!(adapter.serial, Reading::Value("XZ7".to_owned()));
    assert_eq!(snapshot.nvme[0].slot, Reading::Value("bay-2".to_owned()));
    let firmware: Vec<_> = snapshot
        .firmware
        .iter()
        .filter_map(|f| {
            Some((
                f.component.as_str(),
                f.name.as_str(),
                f.version.value()?.as_str(),
            ))
        })
        .collect();
    assert_eq!(
        firmware,
        [
            ("nvme", "nvme0", "GDC5602Q"),
            ("rdma", "mlx5_0", "28.39.1002")
        ]
    );
}

#[test]
fn events_have_the_time_of_the_boot() {
    let machine = machine();
    let snapshot = collect(&options(machine.path()));
    assert_eq!(snapshot.kernel_log_records, Reading::Value(2));
    let event = &snapshot.kernel_log[0];
    assert_eq!((event.kind, event.xid), (EventKind::Xid, Some(79)));
    let time = event.time.map(|time| time.to_string());
    assert_eq!(time.as_deref(), Some("2023-11-14T22:13:22.500000Z"));
}

#[test]
fn a_snapshot_survives_json() {
    let machine = machine();
    let snapshot = collect(&options(machine.path()));
    let json = serde_json::to_string(&snapshot).expect("JSON");
    let back: Snapshot = serde_json::from_str(&json).expect("snapshot");
    assert_eq!(back, snapshot);
}

#[test]
fn two_samples_tell_how_far_apart_they_are() {
    let machine = machine();
    let interval = Duration::from_millis(60);
    let options = CollectOptions {
        interval: Some(interval),
        ..options(machine.path())
    };
    let snapshot = collect(&options);
    let previous = snapshot.previous.expect("two samples");
    assert!(f64::from(previous.elapsed_seconds) >= interval.as_secs_f64());
    assert_eq!(previous.snapshot.previous, None);
    assert_eq!(previous.snapshot.kernel_log, []);
    assert_eq!(
        previous.snapshot.rdma[0].ports[0].counters,
        snapshot.rdma[0].ports[0].counters
    );
}

#[test]
fn an_empty_tree_is_absent_everywhere_and_zero_nowhere() {
    let empty = tempfile::tempdir().expect("temporary directory");
    let snapshot = collect(&options(empty.path()));
    assert!(
        matches!(snapshot.bmc, Reading::Absent(_)),
        "{:?}",
        snapshot.bmc
    );
    assert!(matches!(snapshot.memory.total_bytes, Reading::Absent(_)));
    assert!(matches!(snapshot.kernel_log_records, Reading::Absent(_)));
    assert!(matches!(snapshot.kernel.release, Reading::Absent(_)));
    assert!(matches!(
        snapshot.services[0].active_state,
        Reading::Absent(_)
    ));
    assert!(snapshot.node.id.is_failed(), "no machine is without an id");
}
