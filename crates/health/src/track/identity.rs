//! What a finding is called, and when two findings are the same condition of the same part.
//!
//! # Invariants
//! - An id is readable and has neither blanks nor control characters, whatever the hardware calls
//!   itself: `CODE/KIND/PLACE[/MORE]`.
//! - Two known serials decide alone. Where one is not known, the slot decides, then the address.

use cupel_model::{Component, ComponentKind, Finding};

/// Longest part of an id, in characters.
const SEGMENT: usize = 64;

/// Tells apart several conditions that one check finds on one part.
pub(super) fn aspect(finding: &Finding) -> Option<&'static str> {
    if finding.code != "gpu.xid" {
        return None;
    }
    let has = |start: &str| {
        finding
            .evidence
            .iter()
            .any(|one| one.name.starts_with(start))
    };
    if has("xid_") {
        None
    } else if has("processes") {
        Some("applications")
    } else {
        Some("told-by-a-program")
    }
}

/// The id of a finding that is raised, before it is made unique.
pub(super) fn id(finding: &Finding) -> String {
    let component = &finding.component;
    let mut id = format!(
        "{}/{}/{}",
        segment(&finding.code),
        segment(kind(component.kind)),
        place(component)
    );
    // Functions of an adapter share its serial, and ports share a function.
    if component.kind == ComponentKind::Rdma {
        if let Some(function) = component.pci.map(|pci| pci.function).filter(|f| *f > 0) {
            id.push_str(&format!("/function-{function}"));
        }
        if let Some(port) = component.index {
            id.push_str(&format!("/port-{port}"));
        }
    }
    if let Some(aspect) = aspect(finding) {
        id.push_str(&format!("/{aspect}"));
    }
    id
}

fn place(component: &Component) -> String {
    if let Some(serial) = &component.serial {
        segment(serial)
    } else if let Some(slot) = &component.slot {
        segment(slot)
    } else if let Some(pci) = component.pci {
        segment(&pci.to_string())
    } else if let Some(index) = component.index {
        index.to_string()
    } else {
        "-".to_owned()
    }
}

/// One part of an id: what is neither letter, digit nor harmless becomes `_`, a blank `-`.
fn segment(text: &str) -> String {
    let safe = |letter: char| match letter {
        ' ' => '-',
        letter if letter.is_ascii_alphanumeric() || "-._:+".contains(letter) => letter,
        _ => '_',
    };
    let kept: String = text.trim().chars().take(SEGMENT).map(safe).collect();
    if kept.is_empty() {
        "_".to_owned()
    } else {
        kept
    }
}

fn kind(kind: ComponentKind) -> &'static str {
    match kind {
        ComponentKind::Node => "node",
        ComponentKind::Gpu => "gpu",
        ComponentKind::Nvlink => "nvlink",
        ComponentKind::Nvswitch => "nvswitch",
        ComponentKind::Rdma => "rdma",
        ComponentKind::Nic => "nic",
        ComponentKind::Optic => "optic",
        ComponentKind::Pcie => "pcie",
        ComponentKind::Dimm => "dimm",
        ComponentKind::Cpu => "cpu",
        ComponentKind::Nvme => "nvme",
        ComponentKind::Psu => "psu",
        ComponentKind::Fan => "fan",
        ComponentKind::Bmc => "bmc",
        ComponentKind::Service => "service",
        ComponentKind::Filesystem => "filesystem",
    }
}

/// Whether both may be the same part: nothing that both know differs where it decides.
pub(super) fn compatible(a: &Component, b: &Component) -> bool {
    fn differ<T: PartialEq>(a: Option<&T>, b: Option<&T>) -> bool {
        matches!((a, b), (Some(a), Some(b)) if a != b)
    }
    if a.kind != b.kind {
        return false;
    }
    if a.kind == ComponentKind::Rdma {
        let function = |component: &Component| component.pci.map(|pci| pci.function);
        if a.index != b.index || differ(function(a).as_ref(), function(b).as_ref()) {
            return false;
        }
    }
    match (&a.serial, &b.serial) {
        (Some(a), Some(b)) => a == b,
        (Some(_), None) | (None, Some(_)) | (None, None) => match (&a.slot, &b.slot) {
            (Some(a), Some(b)) => a == b,
            (Some(_), None) | (None, Some(_)) | (None, None) => {
                !differ(a.pci.as_ref(), b.pci.as_ref())
            }
        },
    }
}

/// What is known of a part now, completed by what was known of it.
pub(super) fn merged(old: &Component, new: &Component) -> Component {
    Component {
        kind: new.kind,
        // A number may name another link than before: it is not kept.
        index: new.index,
        serial: new.serial.clone().or_else(|| old.serial.clone()),
        pci: new.pci.or(old.pci),
        slot: new.slot.clone().or_else(|| old.slot.clone()),
    }
}

/// A sentence without its numbers, so that a measured value in it makes no other sentence.
pub(super) fn wording(summary: &str) -> String {
    let mut words = String::with_capacity(summary.len());
    let mut letters = summary.chars().peekable();
    while let Some(letter) = letters.next() {
        if !letter.is_ascii_digit() {
            words.push(letter);
            continue;
        }
        words.push('#');
        while let Some(next) = letters.peek().copied() {
            if next.is_ascii_digit() {
                letters.next();
                continue;
            }
            // A decimal point, not a full stop.
            let mut ahead = letters.clone();
            ahead.next();
            let decimal = next == '.' && ahead.peek().is_some_and(char::is_ascii_digit);
            if !decimal {
                break;
            }
            letters.next();
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draft::Draft;
    use cupel_model::Evidence;

    fn finding(component: Component) -> Finding {
        Draft::warning("pcie.width", component, "Narrow".to_owned()).into()
    }

    fn gpu(serial: Option<&str>, slot: Option<&str>, pci: Option<&str>) -> Component {
        Component {
            serial: serial.map(str::to_owned),
            slot: slot.map(str::to_owned),
            pci: pci.map(|pci| pci.parse().expect("address")),
            ..Component::of(ComponentKind::Gpu)
        }
    }

    #[test]
    fn an_id_says_what_and_where() {
        let pci = "0000:1b:00.0";
        for (component, wanted) in [
            (
                gpu(Some("165"), Some("SXM 3"), Some(pci)),
                "pcie.width/gpu/165",
            ),
            (gpu(None, Some("SXM 3"), Some(pci)), "pcie.width/gpu/SXM-3"),
            (gpu(None, None, Some(pci)), "pcie.width/gpu/0000:1b:00.0"),
            (gpu(None, None, None), "pcie.width/gpu/-"),
            (Component::node(), "pcie.width/node/-"),
            (
                gpu(Some(" a/b\tc\u{0}é\u{202e} "), None, None),
                "pcie.width/gpu/a_b_c___",
            ),
            (gpu(Some(" \t"), None, None), "pcie.width/gpu/_"),
        ] {
            assert_eq!(id(&finding(component)), wanted);
        }
        let long = gpu(Some(&"x".repeat(500)), None, None);
        assert!(id(&finding(long)).len() < 90);
    }

    #[test]
    fn ports_and_functions_of_an_adapter_have_ids_of_their_own() {
        let port = |pci: &str, port| Component {
            index: Some(port),
            ..Component {
                kind: ComponentKind::Rdma,
                ..gpu(Some("MT23"), Some("10"), Some(pci))
            }
        };
        let ids: Vec<String> = [
            ("0000:3b:00.0", 1),
            ("0000:3b:00.1", 1),
            ("0000:3b:00.1", 2),
        ]
        .map(|(pci, number)| id(&finding(port(pci, number))))
        .into();
        assert_eq!(
            ids,
            [
                "pcie.width/rdma/MT23/port-1",
                "pcie.width/rdma/MT23/function-1/port-1",
                "pcie.width/rdma/MT23/function-1/port-2",
            ]
        );
        assert!(!compatible(
            &port("0000:3b:00.0", 1),
            &port("0000:3b:00.1", 1)
        ));
        assert!(!compatible(
            &port("0000:3b:00.0", 1),
            &port("0000:3b:00.0", 2)
        ));
        assert!(compatible(
            &port("0000:3b:00.1", 1),
            &port("0000:4b:00.1", 1)
        ));
    }

    #[test]
    fn serial_before_slot_before_address() {
        let (a, b) = (Some("0000:1b:00.0"), Some("0000:2b:00.0"));
        let one = gpu(Some("1"), Some("SXM 1"), a);
        assert!(compatible(&one, &gpu(Some("1"), Some("SXM 5"), b)));
        assert!(!compatible(&one, &gpu(Some("2"), Some("SXM 1"), a)));
        assert!(compatible(&one, &gpu(None, Some("SXM 1"), b)));
        assert!(!compatible(&one, &gpu(None, Some("SXM 2"), a)));
        assert!(compatible(&one, &gpu(None, None, a)));
        assert!(!compatible(&one, &gpu(None, None, b)));
    }

    #[test]
    fn conditions_of_one_gpu_are_told_apart() {
        let xid = |evidence: &str| -> Finding {
            Draft::warning("gpu.xid", gpu(Some("1"), None, None), "An XID".to_owned())
                .evidence(Evidence::value(evidence, 3))
                .into()
        };
        assert_eq!(id(&xid("xid_48_count")), "gpu.xid/gpu/1");
        assert_eq!(id(&xid("processes")), "gpu.xid/gpu/1/applications");
        assert_eq!(id(&xid("kernel_log")), "gpu.xid/gpu/1/told-by-a-program");
    }

    #[test]
    fn numbers_make_no_other_sentence() {
        assert_eq!(wording("hot for 63.5 % at 91 °C."), "hot for # % at # °C.");
        assert_eq!(wording("in 10."), wording("in 9."));
        assert_ne!(wording("GPU a"), wording("GPU b"));
    }
}
