//! Small texts: readings, parts, spans of time, and the words of enumerations.

use cupel_model::{Component, ComponentKind, Finding, Reading, Severity};
use serde::Serialize;

use crate::output::printable;

/// What a cell shows where the thing is not there.
pub const NONE: &str = "-";
/// What a cell shows where the device or driver does not offer the value.
pub const UNSUPPORTED: &str = "n/a";
/// What a cell shows where reading went wrong.
pub const FAILED: &str = "failed";

/// A reading in a table's cell.
pub fn cell<T: ToString>(reading: &Reading<T>) -> String {
    match reading {
        Reading::Value(value) => printable(&value.to_string()).replace(['\n', '\t'], " "),
        Reading::Absent(_) => NONE.to_owned(),
        Reading::Unsupported(_) => UNSUPPORTED.to_owned(),
        Reading::Failed(_) => FAILED.to_owned(),
    }
}

/// A reading in a line of its own, with the reason where there is no value.
pub fn told<T: ToString>(reading: &Reading<T>) -> String {
    match reading {
        Reading::Value(_) => cell(reading),
        Reading::Absent(why) => format!("none ({})", printable(why)),
        Reading::Unsupported(why) => format!("not offered ({})", printable(why)),
        Reading::Failed(why) => format!("unreadable ({})", printable(why)),
    }
}

/// The word that the JSON has for an enumeration's value.
pub fn word(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        Ok(other) => other.to_string(),
        Err(_) => "?".to_owned(),
    }
}

/// Severity in capitals: to be seen without colour.
pub fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical => "CRITICAL",
        Severity::Warning => "WARNING",
        Severity::Info => "INFO",
    }
}

/// What kind of part, as a technician calls it.
pub fn kind(kind: ComponentKind) -> &'static str {
    match kind {
        ComponentKind::Node => "node",
        ComponentKind::Gpu => "GPU",
        ComponentKind::Nvlink => "NVLink",
        ComponentKind::Nvswitch => "NVSwitch",
        ComponentKind::Rdma => "RDMA port",
        ComponentKind::Nic => "network port",
        ComponentKind::Optic => "optic",
        ComponentKind::Pcie => "PCIe device",
        ComponentKind::Dimm => "DIMM",
        ComponentKind::Cpu => "CPU",
        ComponentKind::Nvme => "NVMe drive",
        ComponentKind::Psu => "power supply",
        ComponentKind::Fan => "fan",
        ComponentKind::Bmc => "BMC",
        ComponentKind::Service => "service",
        ComponentKind::Filesystem => "file system",
    }
}

/// Where a part is: `GPU 3, slot SXM 4, serial 165…, PCI 0000:9b:00.0`.
pub fn place(component: &Component) -> String {
    let name = kind(component.kind).to_owned();
    match component.index {
        Some(index) => located(format!("{name} {index}"), component),
        None => located(name, component),
    }
}

/// Where a finding's part is. An RDMA port is known by its device, which the summary names:
/// `RDMA device mlx5_4 port 1, slot 12`.
pub fn place_of(found: &Finding) -> String {
    match (rdma_device(found), found.component.index) {
        (Some(device), Some(port)) => {
            let name = format!("RDMA device {} port {port}", printable(device));
            located(name, &found.component)
        }
        (Some(device), None) => located(
            format!("RDMA device {}", printable(device)),
            &found.component,
        ),
        (None, _) => place(&found.component),
    }
}

fn located(mut text: String, component: &Component) -> String {
    if let Some(slot) = &component.slot {
        text.push_str(&format!(", slot {}", printable(slot)));
    }
    if let Some(serial) = &component.serial {
        text.push_str(&format!(", serial {}", printable(serial)));
    }
    if let Some(pci) = component.pci {
        text.push_str(&format!(", PCI {pci}"));
    }
    text
}

/// The RDMA device that the summary names.
fn rdma_device(found: &Finding) -> Option<&str> {
    if found.component.kind != ComponentKind::Rdma {
        return None;
    }
    let (_, behind) = found.summary.split_once("RDMA adapter ")?;
    let word = behind.split_ascii_whitespace().next()?;
    // A name, not a word of a sentence: `mlx5_4`, `ibp24s0`.
    word.ends_with(|c: char| c.is_ascii_digit()).then_some(word)
}

/// The text with three or more parts in a row written as a range: `SXM 1 to 8` for
/// `SXM 1, SXM 2, …, SXM 8`.
pub fn ranges(text: &str) -> String {
    let segments: Vec<String> = text
        .split("; ")
        .map(|segment| match segment.split_once(": ") {
            Some((parts, why)) => format!("{}: {why}", ranges_of_parts(parts)),
            None => ranges_of_parts(segment),
        })
        .collect();
    segments.join("; ")
}

fn ranges_of_parts(parts: &str) -> String {
    // A number in its plain form at the end, so that the range says what the list said.
    let numbered = |part: &str| {
        let (stem, number) = natural(part);
        (format!("{stem}{number}") == part).then(|| (stem.to_owned(), number))
    };
    let mut runs: Vec<Vec<&str>> = Vec::new();
    for part in parts.split(", ") {
        let next = runs
            .last()
            .and_then(|run| run.last())
            .is_some_and(|before| match (numbered(before), numbered(part)) {
                (Some((a, n)), Some((b, m))) => a == b && n.checked_add(1) == Some(m),
                (_, _) => false,
            });
        match runs.last_mut() {
            Some(run) if next => run.push(part),
            Some(_) | None => runs.push(vec![part]),
        }
    }
    let told: Vec<String> = runs
        .iter()
        .map(|run| match run.as_slice() {
            [first, _, .., last] => format!("{first} to {}", natural(last).1),
            few => few.join(", "),
        })
        .collect();
    told.join(", ")
}

/// A JSON value of some evidence.
pub fn json(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::String(text) => printable(text).into_owned(),
        serde_json::Value::Null => "unknown".to_owned(),
        serde_json::Value::Bool(true) => "yes".to_owned(),
        serde_json::Value::Bool(false) => "no".to_owned(),
        serde_json::Value::Number(_)
        | serde_json::Value::Array(_)
        | serde_json::Value::Object(_) => printable(&value.to_string()).into_owned(),
    }
}

/// A name cut before its trailing number, and that number: so that `mlx5_10` follows `mlx5_9`.
pub fn natural(name: &str) -> (&str, u64) {
    let stem = name.trim_end_matches(|c: char| c.is_ascii_digit());
    (stem, name[stem.len()..].parse().unwrap_or(0))
}

/// A span of time: `12.3 s`, `4 min 5 s`, `3 h 12 min`, `5 d 3 h`.
pub fn span(seconds: f64) -> String {
    if seconds < 60.0 {
        return format!("{seconds:.1} s");
    }
    let whole = std::time::Duration::from_secs_f64(seconds.clamp(0.0, 1e15)).as_secs();
    match whole {
        0..3_600 => format!("{} min {} s", whole / 60, whole % 60),
        3_600..86_400 => format!("{} h {} min", whole / 3_600, whole % 3_600 / 60),
        86_400.. => format!("{} d {} h", whole / 86_400, whole % 86_400 / 3_600),
    }
}

/// A number for people: four significant digits, `1.2e9` from a million up.
pub fn significant(value: f64) -> String {
    let size = value.abs();
    if size < 1000.0 && value.fract() == 0.0 {
        format!("{value:.0}")
    } else if size >= 1e6 {
        format!("{value:.2e}")
    } else if size >= 1000.0 {
        format!("{value:.0}")
    } else if size >= 100.0 {
        format!("{value:.1}")
    } else if size >= 10.0 {
        format!("{value:.2}")
    } else {
        format!("{value:.3}")
    }
}

/// The text on one line: its line ends are `/`, its tabs spaces.
pub fn one_line(text: &str) -> String {
    let lines: Vec<&str> = text.trim_end().lines().map(str::trim_end).collect();
    printable(&lines.join(" / ")).replace('\t', " ")
}

/// `1 check`, `2 checks`.
pub fn count(number: usize, noun: &str) -> String {
    if number == 1 {
        format!("1 {noun}")
    } else {
        format!("{number} {noun}s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_never_looks_like_a_value() {
        assert_eq!(cell(&Reading::Value(0)), "0");
        assert_eq!(cell(&Reading::<u32>::absent("x")), "-");
        assert_eq!(cell(&Reading::<u32>::failed("EIO")), "failed");
        assert_eq!(told(&Reading::<u32>::failed("EIO")), "unreadable (EIO)");
    }

    #[test]
    fn ten_follows_nine() {
        let mut names = ["mlx5_10", "mlx5_9", "mlx5_bond"];
        names.sort_by_key(|name| natural(name));
        assert_eq!(names, ["mlx5_9", "mlx5_10", "mlx5_bond"]);
    }

    #[test]
    fn spans_of_time() {
        assert_eq!(span(0.25), "0.2 s");
        assert_eq!(span(245.0), "4 min 5 s");
        assert_eq!(span(11_520.0), "3 h 12 min");
        assert_eq!(span(442_800.0), "5 d 3 h");
    }

    #[test]
    fn neighbours_are_a_range() {
        for (text, want) in [
            ("SXM 1, SXM 2, SXM 3, SXM 4: off", "SXM 1 to 4: off"),
            ("SXM 1, SXM 2: off", "SXM 1, SXM 2: off"),
            ("SXM 1, SXM 2, SXM 3, SXM 5: off", "SXM 1 to 3, SXM 5: off"),
            (
                "SXM 1: a; SXM 2, SXM 3, SXM 4: b",
                "SXM 1: a; SXM 2 to 4: b",
            ),
            ("mlx5_9, mlx5_10, mlx5_11: x", "mlx5_9 to 11: x"),
            ("a01, a02, a03: x", "a01, a02, a03: x"),
            ("no such part here", "no such part here"),
            ("", ""),
        ] {
            assert_eq!(ranges(text), want);
        }
    }

    #[test]
    fn places_name_slot_serial_and_address() {
        let component = Component {
            kind: ComponentKind::Gpu,
            index: Some(3),
            serial: Some("1650".to_owned()),
            pci: "0000:9b:00.0".parse().ok(),
            slot: Some("SXM 4".to_owned()),
        };
        assert_eq!(
            place(&component),
            "GPU 3, slot SXM 4, serial 1650, PCI 0000:9b:00.0"
        );
        assert_eq!(place(&Component::node()), "node");
    }
}
