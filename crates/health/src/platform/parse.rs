//! From text to a platform that makes sense.
//!
//! # What is absent
//! No defaults for expectations: what a file does not say is not expected.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use cupel_model::Platform;
use cupel_model::platform::{RdmaExpectation, Sourced};

use super::SCHEMA;
use super::error::{PlatformError, shortened};

/// Most parts of one kind that a file may expect; more is a slip of the pen.
const MOST_PARTS: u32 = 1024;

/// The files of `platforms/`, by name.
const FILES: [(&str, &str); 4] = [
    (
        "dell-xe9680-h200.toml",
        include_str!("../../../../platforms/dell-xe9680-h200.toml"),
    ),
    (
        "dgx-h100.toml",
        include_str!("../../../../platforms/dgx-h100.toml"),
    ),
    (
        "hgx-b200.toml",
        include_str!("../../../../platforms/hgx-b200.toml"),
    ),
    (
        "pcie-l40s.toml",
        include_str!("../../../../platforms/pcie-l40s.toml"),
    ),
];

/// The platforms that Cupel brings along, by name.
///
/// A file that could not be used is left out; this module's tests prove that none is.
pub fn embedded() -> &'static [Platform] {
    static PLATFORMS: OnceLock<Vec<Platform>> = OnceLock::new();
    PLATFORMS.get_or_init(|| {
        FILES
            .iter()
            .filter_map(|(file, text)| parse(text, file).ok())
            .collect()
    })
}

/// Reads a platform file. `file` is its name or path: its stem must be the platform's name.
///
/// # Errors
/// [`PlatformError`] with file, line, key and value.
pub fn parse(text: &str, file: &str) -> Result<Platform, PlatformError> {
    let platform: Platform = toml::from_str(text).map_err(|error| syntax(text, file, &error))?;
    let fault = |path: &str, why: String| {
        let at = locate(text, path);
        PlatformError {
            file: file.to_owned(),
            line: at.as_ref().map(|(line, _)| *line),
            key: Some(path.to_owned()),
            value: at.map(|(_, value)| value).filter(|value| !value.is_empty()),
            why,
        }
    };
    match faults(&platform, file).into_iter().next() {
        Some((path, why)) => Err(fault(&path, why)),
        None => Ok(platform),
    }
}

/// The parser's complaint, with the line's key and value.
fn syntax(text: &str, file: &str, error: &toml::de::Error) -> PlatformError {
    let at = error.span().map(|span| span.start.min(text.len()));
    let line = at.map(|at| {
        text.as_bytes()[..at]
            .iter()
            .filter(|b| **b == b'\n')
            .count()
            + 1
    });
    let written = line.and_then(|line| text.lines().nth(line - 1));
    let pair = written.and_then(|written| written.split_once('='));
    PlatformError {
        file: file.to_owned(),
        line,
        key: pair.map(|(key, _)| shortened(key)),
        value: pair
            .map(|(_, value)| shortened(value))
            .or_else(|| written.map(shortened).filter(|written| !written.is_empty())),
        why: error.message().lines().collect::<Vec<_>>().join(" "),
    }
}

/// Line and value of the key at `path` (`gpu.count`, `rdma[1].ports`, `schema`).
fn locate(text: &str, path: &str) -> Option<(usize, String)> {
    let (table, key) = path.rsplit_once('.').unwrap_or(("", path));
    let (table, wanted) = match table.split_once('[') {
        Some((name, place)) => (
            format!("[[{name}]]"),
            place.trim_end_matches(']').parse::<usize>().ok()?,
        ),
        None if table.is_empty() => (String::new(), 0),
        None => (format!("[{table}]"), 0),
    };
    let mut current = String::new();
    let mut seen = 0_usize;
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.starts_with('[') {
            current = line.to_owned();
            if current == table {
                seen += 1;
            }
            continue;
        }
        let place = if table.is_empty() {
            0
        } else {
            seen.saturating_sub(1)
        };
        if current == table
            && place == wanted
            && let Some((name, value)) = line.split_once('=')
            && name.trim() == key
        {
            return Some((number + 1, shortened(value)));
        }
    }
    None
}

/// What makes no sense, by path.
fn faults(platform: &Platform, file: &str) -> Vec<(String, String)> {
    let mut faults: Vec<(String, String)> = Vec::new();
    let mut say = |path: &str, why: String| faults.push((path.to_owned(), why));
    if platform.schema != SCHEMA {
        say("schema", format!("this cupel reads schema {SCHEMA} only"));
    }
    let stem = file.rsplit('/').next().unwrap_or(file);
    let stem = stem.strip_suffix(".toml").unwrap_or(stem);
    if platform.name != stem {
        say("name", format!("must be the file's own name, {stem:?}"));
    }
    if platform.matches.manufacturer.is_empty() {
        say("matches.manufacturer", "must name at least one".to_owned());
    }
    if platform.matches.product.is_empty() {
        say("matches.product", "must name at least one".to_owned());
    }
    if let Some(id) = platform
        .matches
        .gpu_pci_ids
        .iter()
        .find(|id| !is_pci_id(id))
    {
        let why = format!(
            "{id:?} is no PCI id (want four lower-case hexadecimal digits, twice: \"10de:2335\")"
        );
        say("matches.gpu_pci_ids", why);
    }
    let gpu = &platform.gpu;
    sourced(&mut say, "gpu.name", &gpu.name);
    count(&mut say, "gpu.count", &gpu.count);
    optional(&mut say, "gpu.pcie_width", gpu.pcie_width.as_ref());
    optional(&mut say, "gpu.nvlinks", gpu.nvlinks.as_ref());
    if let Some(width) = &gpu.pcie_width
        && !matches!(width.value, 1 | 2 | 4 | 8 | 12 | 16 | 32)
    {
        say("gpu.pcie_width", "is no PCIe width".to_owned());
    }
    if let Some(memory) = &gpu.memory_bytes {
        sourced(&mut say, "gpu.memory_bytes", memory);
    }
    if let Some(fabric) = &gpu.fabric {
        sourced(&mut say, "gpu.fabric", fabric);
    }
    if let Some(speed) = &gpu.pcie_speed_gts {
        sourced(&mut say, "gpu.pcie_speed_gts", speed);
        positive(&mut say, "gpu.pcie_speed_gts", speed.value.get());
    }
    if let Some(power) = &gpu.power_limit_watts {
        sourced(&mut say, "gpu.power_limit_watts", power);
        positive(&mut say, "gpu.power_limit_watts", power.value.get());
    }
    if let Some(nvswitch) = &platform.nvswitch {
        count(&mut say, "nvswitch.count", &nvswitch.count);
    }
    rdma_faults(&mut say, &platform.rdma);
    if let Some(nvme) = &platform.nvme {
        count(&mut say, "nvme.count", &nvme.count);
    }
    if let Some(memory) = &platform.memory {
        count(&mut say, "memory.dimms", &memory.dimms);
        sourced(&mut say, "memory.total_bytes", &memory.total_bytes);
    }
    if let Some(cpu) = &platform.cpu {
        count(&mut say, "cpu.sockets", &cpu.sockets);
    }
    let mut names = BTreeSet::new();
    for (at, slot) in platform.slots.iter().enumerate() {
        if slot.name.is_empty() || !names.insert(&slot.name) {
            let why = "each slot needs a name of its own".to_owned();
            say(&format!("slots[{at}].name"), why);
        }
        if slot.module_id.is_none() && slot.pci_slot.is_none() {
            let why = "needs a module_id or a pci_slot to be found by".to_owned();
            say(&format!("slots[{at}].name"), why);
        }
    }
    for (at, floor) in platform.floors.iter().enumerate() {
        if floor.at_least.is_some() == floor.at_most.is_some() {
            let why = "needs at_least or at_most, and not both".to_owned();
            say(&format!("floors[{at}].name"), why);
        }
    }
    faults
}

fn rdma_faults(say: &mut impl FnMut(&str, String), groups: &[RdmaExpectation]) {
    let mut names = BTreeSet::new();
    for (at, group) in groups.iter().enumerate() {
        if group.name.is_empty() || !names.insert(&group.name) {
            let why = "each group needs a name of its own".to_owned();
            say(&format!("rdma[{at}].name"), why);
        }
        if group.hca_types.is_empty() {
            say(
                &format!("rdma[{at}].hca_types"),
                "must name at least one".to_owned(),
            );
        }
        count(say, &format!("rdma[{at}].ports"), &group.ports);
        let path = format!("rdma[{at}].rate_gbps");
        sourced(say, &path, &group.rate_gbps);
        positive(say, &path, group.rate_gbps.value.get());
        if let Some(layer) = &group.link_layer {
            let path = format!("rdma[{at}].link_layer");
            sourced(say, &path, layer);
            if layer.value != "InfiniBand" && layer.value != "Ethernet" {
                say(&path, "must be InfiniBand or Ethernet".to_owned());
            }
        }
    }
}

fn sourced<T>(say: &mut impl FnMut(&str, String), path: &str, sourced: &Sourced<T>) {
    if sourced.source.trim().is_empty() {
        say(path, "needs a source, or \"unverified\"".to_owned());
    }
}

fn count(say: &mut impl FnMut(&str, String), path: &str, count: &Sourced<u32>) {
    sourced(say, path, count);
    if count.value > MOST_PARTS {
        say(path, format!("at most {MOST_PARTS} make sense"));
    }
}

fn optional(say: &mut impl FnMut(&str, String), path: &str, number: Option<&Sourced<u32>>) {
    if let Some(number) = number {
        count(say, path, number);
    }
}

fn positive(say: &mut impl FnMut(&str, String), path: &str, value: f64) {
    if value <= 0.0 {
        say(path, "must be above zero".to_owned());
    }
}

fn is_pci_id(id: &str) -> bool {
    let hex = |text: &str| {
        text.len() == 4
            && text
                .bytes()
                .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    id.split_once(':')
        .is_some_and(|(vendor, device)| hex(vendor) && hex(device))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::to_toml;
    use crate::testing::platform;

    fn refused(change: impl Fn(String) -> String) -> String {
        let text = change(to_toml(&platform()).expect("toml"));
        parse(&text, "crucible-8.toml")
            .expect_err("a bad file")
            .to_string()
    }

    #[test]
    fn every_file_of_platforms_is_embedded_and_good() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../platforms");
        let mut names: Vec<String> = std::fs::read_dir(folder)
            .expect("folder")
            .map(|entry| {
                entry
                    .expect("entry")
                    .file_name()
                    .into_string()
                    .expect("text")
            })
            .filter(|name| name.ends_with(".toml"))
            .collect();
        names.sort();
        assert_eq!(names, FILES.map(|(file, _)| file.to_owned()));
        for (file, text) in FILES {
            parse(text, file).expect("a good platform file");
        }
        assert_eq!(embedded().len(), FILES.len());
    }

    #[test]
    fn a_bad_value_is_named_with_file_line_and_key() {
        let error = refused(|text| text.replace("{ value = 8,", "{ value = \"eight\","));
        assert!(error.starts_with("crucible-8.toml:"), "{error}");
        assert!(error.contains("count"), "{error}");
        assert!(error.contains("eight"), "{error}");
        let error = refused(|text| text.replace("{ value = 8,", "{ value = 80000,"));
        assert!(error.contains("gpu.count = { value = 80000,"), "{error}");
        assert!(error.ends_with("at most 1024 make sense"), "{error}");
    }

    #[test]
    fn unknown_keys_and_foreign_names_and_schemas_are_refused() {
        let error = refused(|text| text.replace("[gpu]", "[gpu]\nnvlink = 18"));
        assert!(error.contains("nvlink = 18"), "{error}");
        assert!(error.contains("unknown field"), "{error}");
        let error = refused(|text| text.replace("\"crucible-8\"", "\"crucible-9\""));
        assert!(
            error.starts_with("crucible-8.toml:2: name = \"crucible-9\""),
            "{error}"
        );
        let error = refused(|text| text.replace("schema = 1", "schema = 2"));
        assert!(
            error.starts_with("crucible-8.toml:1: schema = 2"),
            "{error}"
        );
    }

    #[test]
    fn every_number_needs_a_source() {
        let error = refused(|text| text.replace("source = \"its maker\"", "source = \"\""));
        assert!(error.contains("needs a source"), "{error}");
    }

    #[test]
    fn a_fault_in_a_group_is_found_in_its_line() {
        let error = refused(|text| text.replace("\"InfiniBand\"", "\"Infiniband\""));
        assert!(error.contains("rdma[0].link_layer"), "{error}");
        assert!(error.contains("must be InfiniBand or Ethernet"), "{error}");
    }
}
