//! Every RDMA device, port and counter of a tree that another project captured has the value that
//! its file holds. The tree is walked here on its own, without Cupel's readers.
#![expect(clippy::print_stdout, reason = "a test that is skipped says so")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use cupel_hardware::collect::{CollectOptions, collect};
use cupel_hardware::{Root, rdma};
use cupel_model::Reading;
use cupel_model::snapshot::{NamedCounter, RdmaDevice, RdmaPort};

/// Unpacks a text archive: `Path:` with `Lines:` or `SymlinkTo:`, and `Directory:`. `NULLBYTE`
/// stands for a zero byte; `EOF` at the end of the last line says that the line has no end.
fn unpack(archive: &str, directory: &Path) {
    let mut lines = archive.lines();
    let mut path: Option<PathBuf> = None;
    while let Some(line) = lines.next() {
        if let Some(name) = line.strip_prefix("Directory: ") {
            fs::create_dir_all(directory.join(name)).expect("directory");
        } else if let Some(name) = line.strip_prefix("Path: ") {
            path = Some(directory.join(name));
        } else if let (Some(target), Some(path)) = (line.strip_prefix("SymlinkTo: "), &path) {
            std::os::unix::fs::symlink(target, path).expect("link");
        } else if let (Some(count), Some(path)) = (line.strip_prefix("Lines: "), &path) {
            let count: usize = count.parse().expect("a number of lines");
            let mut text = String::new();
            for _ in 0..count {
                text.push_str(lines.next().expect("a line of the file"));
                text.push('\n');
            }
            let text = text.replace("NULLBYTE", "\0");
            let text = text.strip_suffix("EOF\n").unwrap_or(&text);
            fs::write(path, text).expect("file");
        }
    }
}

/// The unpacked tree; `None`, with a word about it, where there is no corpus.
fn tree() -> Option<(tempfile::TempDir, PathBuf)> {
    let Some(corpus) = std::env::var_os("CUPEL_CORPUS") else {
        println!("skipped: no corpus");
        return None;
    };
    let archive = Path::new(&corpus).join("infiniband/procfs-fixtures.ttar");
    let archive = fs::read_to_string(archive).expect("the corpus has the archive");
    let directory = tempfile::tempdir().expect("temporary directory");
    unpack(&archive, directory.path());
    let root = directory.path().join("fixtures");
    Some((directory, root))
}

fn text(path: &Path) -> Option<String> {
    fs::read_to_string(path)
        .ok()
        .map(|text| text.trim().to_owned())
}

fn names(path: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(path) else {
        return Vec::new();
    };
    let mut names: Vec<String> = entries
        .map(|entry| {
            entry
                .expect("entry")
                .file_name()
                .into_string()
                .expect("UTF-8")
        })
        .collect();
    names.sort();
    names
}

fn told(reading: &Reading<String>) -> Option<String> {
    reading.value().cloned()
}

fn word(path: &Path) -> Option<String> {
    text(path).map(|text| {
        text.split_once(": ")
            .expect("a number and a word")
            .1
            .to_owned()
    })
}

fn compare_counters(read: &[NamedCounter], directories: &[PathBuf]) -> usize {
    let mut expected: BTreeMap<String, String> = BTreeMap::new();
    for directory in directories {
        for name in names(directory) {
            let value = text(&directory.join(&name)).expect("a counter");
            assert_eq!(
                expected.insert(name.clone(), value),
                None,
                "{name} is there twice"
            );
        }
    }
    let read: BTreeMap<String, &Reading<_>> = read
        .iter()
        .map(|counter| (counter.name.to_string(), &counter.value))
        .collect();
    assert_eq!(
        read.keys().collect::<Vec<_>>(),
        expected.keys().collect::<Vec<_>>(),
        "counters of {directories:?}"
    );
    for (name, text) in &expected {
        match read[name] {
            Reading::Value(counter) => {
                assert_eq!(counter.value.to_string(), *text, "{name}");
                assert!(!counter.saturated, "{name}");
            }
            Reading::Unsupported(_) => assert!(text.starts_with("N/A"), "{name}: {text}"),
            Reading::Absent(why) | Reading::Failed(why) => panic!("{name}: {why}"),
        }
    }
    expected.len()
}

fn compare_port(port: &RdmaPort, directory: &Path) -> usize {
    assert_eq!(told(&port.state), word(&directory.join("state")));
    assert_eq!(
        told(&port.physical_state),
        word(&directory.join("phys_state"))
    );
    assert_eq!(told(&port.link_layer), text(&directory.join("link_layer")));
    let rate = text(&directory.join("rate")).map(|rate| {
        rate.split(' ')
            .next()
            .expect("a number")
            .parse::<f64>()
            .expect("a number")
    });
    assert_eq!(port.rate_gbps.get().map(f64::from), rate);
    compare_counters(
        &port.counters,
        &[directory.join("counters"), directory.join("hw_counters")],
    )
}

fn compare_device(device: &RdmaDevice, directory: &Path) -> usize {
    assert_eq!(told(&device.firmware), text(&directory.join("fw_ver")));
    assert_eq!(told(&device.board_id), text(&directory.join("board_id")));
    assert_eq!(told(&device.hca_type), text(&directory.join("hca_type")));
    assert_eq!(told(&device.node_guid), text(&directory.join("node_guid")));
    let ports = names(&directory.join("ports"));
    let read: Vec<String> = device
        .ports
        .iter()
        .map(|port| port.number.to_string())
        .collect();
    assert_eq!(read, ports);
    device
        .ports
        .iter()
        .map(|port| compare_port(port, &directory.join("ports").join(port.number.to_string())))
        .sum()
}

#[test]
fn every_device_port_and_counter_has_the_right_value() {
    let Some((_keep, path)) = tree() else { return };
    let root = Root::at(&path).expect("root");
    let class = path.join("sys/class/infiniband");
    let (devices, problems) = rdma::collect(&root);
    assert_eq!(problems, []);
    let read: Vec<&str> = devices.iter().map(|device| device.name.as_str()).collect();
    assert_eq!(read, names(&class));
    assert!(read.len() >= 3, "{read:?}");
    let counters: usize = devices
        .iter()
        .map(|device| compare_device(device, &class.join(&device.name)))
        .sum();
    assert!(counters >= 90, "only {counters} counters");
}

#[test]
fn the_whole_tree_makes_a_snapshot() {
    let Some((_keep, path)) = tree() else { return };
    let mut options = CollectOptions::new(Root::at(&path).expect("root"));
    options.worker = cupel_hardware::gpu::WorkerProgram::File("/nonexistent".into());
    let snapshot = collect(&options);
    let dmi = path.join("sys/class/dmi/id");
    assert_eq!(
        told(&snapshot.node.product),
        text(&dmi.join("product_name"))
    );
    assert_eq!(
        told(&snapshot.node.serial),
        text(&dmi.join("product_serial"))
    );
    assert_eq!(told(&snapshot.node.id), text(&dmi.join("product_uuid")));
    let meminfo = text(&path.join("proc/meminfo")).expect("meminfo");
    let total = meminfo
        .lines()
        .next()
        .expect("a line")
        .split_whitespace()
        .nth(1);
    let total: u64 = total.expect("a number").parse().expect("a number");
    assert_eq!(
        snapshot.memory.total_bytes.get().map(|bytes| bytes.0),
        Some(total * 1024)
    );
    let addresses: Vec<String> = snapshot.pci.iter().map(|d| d.address.to_string()).collect();
    assert_eq!(addresses, names(&path.join("sys/bus/pci/devices")));
    for device in &snapshot.pci {
        let at = path
            .join("sys/bus/pci/devices")
            .join(device.address.to_string());
        let bare = |name: &str| text(&at.join(name)).map(|t| t.trim_start_matches("0x").to_owned());
        assert_eq!(told(&device.vendor), bare("vendor"));
        assert_eq!(told(&device.device), bare("device"));
        assert_eq!(told(&device.class), bare("class"));
        let width = text(&at.join("current_link_width")).and_then(|width| width.parse().ok());
        assert_eq!(device.current_width.get(), width);
        let aer = text(&at.join("aer_dev_correctable"));
        assert_eq!(
            aer.is_some(),
            device.aer.value().is_some(),
            "{}",
            device.address
        );
        if let (Some(text), Some(counters)) = (aer, device.aer.value()) {
            for line in text.lines() {
                let (name, count) = line.split_once(' ').expect("a name and a count");
                let counter = counters
                    .iter()
                    .find(|counter| counter.name == format!("correctable/{name}"))
                    .expect(name);
                assert_eq!(
                    counter.value.get().map(|c| c.value.to_string()).as_deref(),
                    Some(count)
                );
            }
        }
    }
    assert_eq!(
        snapshot.nvme.len(),
        names(&path.join("sys/class/nvme")).len()
    );
    let drive = path.join("sys/class/nvme/nvme0");
    assert_eq!(told(&snapshot.nvme[0].model), text(&drive.join("model")));
    assert_eq!(
        told(&snapshot.nvme[0].firmware),
        text(&drive.join("firmware_rev"))
    );
    assert!(matches!(snapshot.nvme[0].health, Reading::Absent(_)));
}
