//! The kernel, its modules, and the NVIDIA driver that is loaded.

use cupel_model::Reading;
use cupel_model::snapshot::{Kernel, Module};

use crate::error::{ReadError, reading};
use crate::root::Root;

const MODULES: &str = "/proc/modules";
const NVIDIA: &str = "/proc/driver/nvidia/version";

/// Beginnings of the names of modules that matter here.
const PREFIXES: [&str; 23] = [
    "bnxt_re",
    "edac",
    "gdrdrv",
    "ib_",
    "ionic",
    "ipmi",
    "irdma",
    "iw_cm",
    "knem",
    "mana",
    "mlx",
    "mst_",
    "nouveau",
    "nv_peer_mem",
    "nvidia",
    "nvme",
    "qedr",
    "rdma",
    "vfio",
    "vhost",
    "xpmem",
    "efa",
    "hfi1",
];

/// Ends of such names.
const SUFFIXES: [&str; 2] = ["_edac", "_nvme"];

/// The kernel.
pub fn collect(root: &Root) -> Kernel {
    let sysctl = |name: &str| root.value_reading(&format!("/proc/sys/kernel/{name}"));
    Kernel {
        release: sysctl("osrelease"),
        command_line: root.value_reading("/proc/cmdline"),
        taint: reading(root.parsed("/proc/sys/kernel/tainted", "a number", |t| t.parse().ok())),
        modules: reading(root.text(MODULES).map(|text| modules(root, &text))),
    }
}

fn modules(root: &Root, text: &str) -> Vec<Module> {
    let mut names: Vec<&str> = text
        .lines()
        .filter_map(|line| line.split_ascii_whitespace().next())
        .collect();
    names.retain(|name| {
        PREFIXES.iter().any(|prefix| name.starts_with(prefix))
            || SUFFIXES.iter().any(|suffix| name.ends_with(suffix))
    });
    names.sort_unstable();
    names.dedup();
    names
        .into_iter()
        .map(|name| Module {
            name: name.to_owned(),
            version: root.value_reading(&format!("/sys/module/{name}/version")),
        })
        .collect()
}

/// Version and flavour (`open`, `proprietary`) of the NVIDIA kernel module that is loaded.
pub fn nvidia_driver(root: &Root) -> (Reading<String>, Reading<String>) {
    let text = match root.text(NVIDIA) {
        Ok(text) => text,
        Err(error) if error.is_missing() => {
            let why = "the NVIDIA kernel driver is not loaded";
            return (Reading::absent(why), Reading::absent(why));
        }
        Err(error) => return (error.clone().into_reading(), error.into_reading()),
    };
    match parse_nvidia_version(&text) {
        Ok((version, flavour)) => (Reading::Value(version), Reading::Value(flavour.to_owned())),
        Err(error) => (error.clone().into_reading(), error.into_reading()),
    }
}

/// The `NVRM version` line of `/proc/driver/nvidia/version`.
///
/// # Errors
/// There is none, or it has no version.
pub fn parse_nvidia_version(text: &str) -> Result<(String, &'static str), ReadError> {
    let (number, line) = text
        .lines()
        .enumerate()
        .find(|(_, line)| line.starts_with("NVRM version:"))
        .ok_or_else(|| ReadError::malformed(NVIDIA, 1, text, "a line NVRM version"))?;
    let version = line
        .split_ascii_whitespace()
        .find(|word| {
            word.contains('.')
                && word
                    .split('.')
                    .all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()))
        })
        .ok_or_else(|| ReadError::malformed(NVIDIA, number + 1, line, "a line with a version"))?;
    let flavour = if line.contains("Open Kernel Module") {
        "open"
    } else {
        "proprietary"
    };
    Ok((version.to_owned(), flavour))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::Tree;

    #[test]
    fn both_flavours_of_the_driver() {
        let open = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.86.15  Release Build  (dvs-builder@U16-I2-N07-12-3)  Thu Jan 23 23:09:28 UTC 2025\nGCC version:  gcc version 12.2.0\n";
        assert_eq!(
            parse_nvidia_version(open),
            Ok(("570.86.15".to_owned(), "open"))
        );
        let closed = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19 01:15:15 UTC 2023\n";
        assert_eq!(
            parse_nvidia_version(closed),
            Ok(("535.104.05".to_owned(), "proprietary"))
        );
        assert!(parse_nvidia_version("NVRM version: none\n").is_err());
        assert!(parse_nvidia_version("").is_err());
    }

    #[test]
    fn modules_that_matter() {
        let tree = Tree::new();
        tree.file(
            MODULES,
            "nvidia_uvm 1 0 - Live 0x0 (OE)\nnvidia 2 1 nvidia_uvm, Live 0x0\next4 3 1 - Live 0x0\ni10nm_edac 1 0 - Live 0x0\n",
        );
        tree.file("/sys/module/nvidia/version", "570.86.15\n");
        let kernel = collect(&tree.root());
        let modules = kernel.modules.value().expect("table");
        let names: Vec<_> = modules.iter().map(|m| m.name.as_str()).collect();
        assert_eq!(names, ["i10nm_edac", "nvidia", "nvidia_uvm"]);
        assert_eq!(modules[1].version, Reading::Value("570.86.15".to_owned()));
        assert!(matches!(modules[2].version, Reading::Absent(_)));
        assert!(matches!(kernel.taint, Reading::Absent(_)));
    }

    proptest! {
        #[test]
        fn a_version_is_never_invented(text in "NVRM version:[ -~]{0,60}") {
            if let Ok((version, _)) = parse_nvidia_version(&text) {
                prop_assert!(text.contains(&version));
            }
        }
    }
}
