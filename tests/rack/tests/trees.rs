//! The simulated servers against what the platform files say of the real ones, and faults that
//! come and go on disk.

use std::fs;
use std::path::{Path, PathBuf};

use cupel_model::Platform;
use cupel_rack::{Rack, Scenario, scratch};

const PLATFORMS: [&str; 4] = ["dgx-h100", "hgx-b200", "dell-xe9680-h200", "pcie-l40s"];

struct Built {
    rack: Rack,
    directory: tempfile::TempDir,
}

fn build(text: &str) -> Built {
    let directory = scratch().expect("directory");
    let fake = directory.path().join("fake.so");
    fs::write(&fake, b"\0nvmlInit_v2\0nvmlDeviceGetName\0").expect("write");
    let scenario = Scenario::parse(text).expect("scenario");
    let rack = Rack::build(&scenario, directory.path(), &fake).expect("rack");
    Built { rack, directory }
}

fn healthy(platform: &str) -> Built {
    build(&format!(
        "title = \"well\"\nplatform = \"{platform}\"\nverdict = \"healthy\""
    ))
}

impl Built {
    fn at(&self, path: &str) -> PathBuf {
        self.rack.root().join(path)
    }

    fn text(&self, path: &str) -> String {
        let text = fs::read_to_string(self.at(path)).expect(path);
        text.trim_end().to_owned()
    }

    fn names(&self, path: &str) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.at(path))
            .expect(path)
            .map(|entry| {
                entry
                    .expect(path)
                    .file_name()
                    .to_string_lossy()
                    .into_owned()
            })
            .collect();
        names.sort();
        names
    }

    fn functions(&self, id: &str) -> usize {
        let place = "sys/bus/pci/devices";
        let is = |name: &String| {
            let value = |file: &str| self.text(&format!("{place}/{name}/{file}"));
            format!("{}:{}", &value("vendor")[2..], &value("device")[2..]) == id
        };
        self.names(place).iter().filter(|name| is(name)).count()
    }
}

#[test]
fn servers_are_what_their_platform_files_say() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../platforms");
    for name in PLATFORMS {
        let text = fs::read_to_string(folder.join(format!("{name}.toml"))).expect(name);
        let platform: Platform = toml::from_str(&text).expect(name);
        let built = healthy(name);
        assert_eq!(platform.name, name);
        let product = built.text("sys/class/dmi/id/product_name");
        assert!(platform.matches.product.contains(&product), "{product}");
        let gpus: usize = platform
            .matches
            .gpu_pci_ids
            .iter()
            .map(|id| built.functions(id))
            .sum();
        assert_eq!(gpus, platform.gpu.count.value as usize, "{name}");
        let switches = platform.nvswitch.expect("nvswitch").count.value;
        assert_eq!(built.functions("10de:22a3"), switches as usize, "{name}");
        let drives = built.names("sys/class/nvme").len();
        assert_eq!(
            drives,
            platform.nvme.expect("nvme").count.value as usize,
            "{name}"
        );
        for group in &platform.rdma {
            let alike = built
                .names("sys/class/infiniband")
                .into_iter()
                .filter(|device| {
                    let at = format!("sys/class/infiniband/{device}");
                    let vpd = fs::read(built.at(&format!("{at}/device/vpd"))).expect("vpd");
                    group
                        .hca_types
                        .contains(&built.text(&format!("{at}/hca_type")))
                        && built
                            .text(&format!("{at}/ports/1/rate"))
                            .starts_with("400 ")
                        && !vpd.windows(11).any(|w| w == b"SMDL=SW_MNG")
                });
            assert_eq!(alike.count(), group.ports.value as usize, "{name}");
        }
        let book = fs::read_to_string(built.directory.path().join("driver/gpu-state.json"));
        let book: serde_json::Value = serde_json::from_str(&book.expect("book")).expect("json");
        for gpu in book["gpus"].as_array().expect("gpus") {
            assert_eq!(gpu["name"], platform.gpu.name.value.as_str());
            let floor = platform
                .gpu
                .memory_bytes
                .as_ref()
                .expect("floor")
                .value
                .get();
            assert!(
                gpu["memory"]["total"].as_u64().expect("total") >= floor,
                "{name}"
            );
        }
    }
}

#[test]
fn every_link_leads_to_something() {
    fn walk(at: &Path, dangling: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(at).expect("directory") {
            let path = entry.expect("entry").path();
            let kind = fs::symlink_metadata(&path).expect("metadata").file_type();
            if kind.is_dir() {
                walk(&path, dangling);
            } else if kind.is_symlink() && !path.exists() {
                dangling.push(path);
            }
        }
    }
    for name in PLATFORMS {
        let mut dangling = Vec::new();
        walk(healthy(name).rack.root(), &mut dangling);
        assert_eq!(dangling, Vec::<PathBuf>::new(), "{name}");
    }
}

#[test]
fn a_gpu_off_the_bus_is_gone_everywhere_at_once() {
    let mut built = healthy("dgx-h100");
    let before = fs::read_to_string(built.at("dev/kmsg")).expect("log");
    let fault = Scenario::parse(
        "title = \"\"\nplatform = \"dgx-h100\"\nverdict = \"unhealthy\"\n[[fault]]\nkind = \"gpu-off-bus\"\ngpu = 3",
    );
    let fault = &fault.expect("scenario").faults[0];
    built.rack.apply(fault).expect("apply");
    let device = "sys/bus/pci/devices/0000:61:00.0";
    assert_eq!(
        built.text(&format!("{device}/current_link_speed")),
        "Unknown"
    );
    assert_eq!(built.text(&format!("{device}/current_link_width")), "255");
    let config = fs::read(built.at(&format!("{device}/config"))).expect("config");
    assert!(config.iter().all(|byte| *byte == 0xff));
    let after = fs::read_to_string(built.at("dev/kmsg")).expect("log");
    let added = after.strip_prefix(&before).expect("the log only grows");
    assert!(
        added.contains("NVRM: Xid (PCI:0000:61:00): 79, "),
        "{added}"
    );
    let book = fs::read_to_string(built.directory.path().join("driver/gpu-state.json"));
    let book: serde_json::Value = serde_json::from_str(&book.expect("book")).expect("json");
    assert_eq!(book["gpus"][3]["handle"], 15);
    assert_eq!(book["gpus"][4]["handle"], 0);
}

#[test]
fn a_missing_device_takes_its_classes_with_it() {
    let built = build(
        "title = \"\"\nplatform = \"dgx-h100\"\nverdict = \"unhealthy\"\n[[fault]]\nkind = \"device-missing\"\ndevice = \"mlx5_2\"\n[[fault]]\nkind = \"device-missing\"\ndevice = \"nvme1\"",
    );
    assert!(!built.at("sys/class/infiniband/mlx5_2").exists());
    assert!(!built.at("sys/class/net/ib2").exists());
    assert!(!built.at("sys/class/nvme/nvme1").exists());
    assert!(!built.at("dev/nvme1.smart").exists());
    assert!(built.at("sys/class/infiniband/mlx5_3").exists());
}

#[test]
fn a_missing_symbol_is_missing_from_the_library() {
    let built = build(
        "title = \"\"\nplatform = \"pcie-l40s\"\nverdict = \"healthy\"\n[[fault]]\nkind = \"driver-symbols\"\nmissing = [\"nvmlDeviceGetName\"]",
    );
    let library = fs::read(built.rack.library()).expect("library");
    assert_eq!(library, b"\0nvmlInit_v2\0XvmlDeviceGetName\0");
}

#[test]
fn nonsense_is_refused_by_name() {
    for (text, want) in [
        (
            "title = \"\"\nplatform = \"dgx\"\nverdict = \"healthy\"",
            "unknown platform \"dgx\"",
        ),
        (
            "title = \"\"\nplatform = \"pcie-l40s\"\nverdict = \"healthy\"\n[[fault]]\nkind = \"gpu-off-bus\"\ngpu = 9",
            "no device \"gpu9\"",
        ),
    ] {
        let scenario = Scenario::parse(text).expect("scenario");
        let directory = scratch().expect("directory");
        fs::write(directory.path().join("fake.so"), "").expect("write");
        let error = Rack::build(
            &scenario,
            directory.path(),
            &directory.path().join("fake.so"),
        );
        let error = error.err().expect("refused").to_string();
        assert!(error.starts_with(want), "{error}");
    }
    let error =
        Scenario::parse("title = \"\"\nplatform = \"dgx-h100\"\nverdict = \"healthy\"\nfaults = 1");
    assert!(
        error
            .expect_err("unknown key")
            .to_string()
            .contains("faults")
    );
}

#[test]
fn every_scenario_builds_and_expects_parts_that_exist() {
    fn everything(at: &Path, into: &mut String) {
        for entry in fs::read_dir(at).expect("directory") {
            let path = entry.expect("entry").path();
            let kind = fs::symlink_metadata(&path).expect("metadata").file_type();
            if kind.is_dir() {
                everything(&path, into);
            } else if kind.is_file() {
                into.push_str(&String::from_utf8_lossy(&fs::read(&path).expect("file")));
            }
        }
    }
    let known: Vec<(&str, Built, String)> = PLATFORMS
        .map(|name| {
            let text = format!("title = \"\"\nplatform = \"{name}\"\nverdict = \"healthy\"");
            let built = build(&text);
            let mut all = String::new();
            everything(built.directory.path(), &mut all);
            (name, built, all)
        })
        .into();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios");
    let mut count = 0;
    for entry in fs::read_dir(folder).expect("scenarios") {
        let path = entry.expect("entry").path();
        let scenario = Scenario::load(&path).expect("scenario");
        let directory = scratch().expect("directory");
        let fake = directory.path().join("fake.so");
        fs::write(&fake, b"").expect("write");
        Rack::build(&scenario, directory.path(), &fake).expect("rack");
        let name = path.display();
        let (_, built, all) = known
            .iter()
            .find(|(name, _, _)| *name == scenario.platform)
            .expect("platform");
        for expected in &scenario.expected {
            if let Some(serial) = &expected.serial {
                assert!(all.contains(serial.as_str()), "{name}: serial {serial}");
            }
            if let Some(pci) = &expected.pci {
                let place = built.at(&format!("sys/bus/pci/devices/{pci}"));
                assert!(place.exists(), "{name}: {pci}");
            }
        }
        count += 1;
    }
    assert!(count > 40, "{count} scenarios");
}
