//! One finding for one condition of one part, however the part is called.

use cupel_model::wire::ChangeKind::{Changed, Cleared, Raised};
use cupel_model::{Component, ComponentKind, Finding};

use crate::stage::{Stage, on_gpu};

const WIDTH: &str = "pcie.width";

fn called(serial: Option<&str>, slot: Option<&str>, pci: Option<&str>) -> Finding {
    Finding {
        component: Component {
            kind: ComponentKind::Gpu,
            index: None,
            serial: serial.map(str::to_owned),
            slot: slot.map(str::to_owned),
            pci: pci.map(|pci| pci.parse().expect("address")),
        },
        ..on_gpu(WIDTH, 0)
    }
}

#[test]
fn a_part_whose_serial_is_known_later_is_not_raised_twice() {
    let mut stage = Stage::default();
    let nameless = called(None, Some("SXM 3"), Some("0000:5d:00.0"));
    assert_eq!(stage.see(0, &[nameless]), [Raised]);
    let id = stage.one().id;
    assert_eq!(id, "pcie.width/gpu/SXM-3");
    let named = called(Some("165"), Some("SXM 3"), Some("0000:5d:00.0"));
    assert_eq!(stage.see(15, &[named]), [Changed]);
    assert_eq!(stage.one().id, id);
    // Known once, it stays known, and is followed to another slot.
    assert_eq!(stage.see(5, &[called(None, Some("SXM 3"), None)])[..], []);
    assert_eq!(stage.one().finding.component.serial.as_deref(), Some("165"));
    let moved = called(Some("165"), Some("SXM 7"), Some("0000:6d:00.0"));
    stage.see(15, &[moved]);
    assert_eq!(stage.one().id, id);
}

#[test]
fn another_part_in_the_slot_is_another_finding() {
    let mut stage = Stage::default();
    stage.see(0, &[called(Some("1"), Some("SXM 3"), None)]);
    let other = [called(Some("2"), Some("SXM 3"), None)];
    assert_eq!(stage.see(15, &other), [Raised]);
    assert_eq!(
        stage.see(30, &other)[..],
        [cupel_model::wire::ChangeKind::Confirmed, Cleared]
    );
    assert_eq!(stage.one().id, "pcie.width/gpu/2");
}

#[test]
fn parts_that_cannot_be_told_apart_have_ids_of_their_own() {
    let mut stage = Stage::default();
    let same = |summary: &str| Finding {
        summary: summary.to_owned(),
        ..called(Some("0000"), None, None)
    };
    assert_eq!(stage.see(0, &[same("left"), same("right")]), [Raised; 2]);
    let ids = |stage: &Stage| -> Vec<(String, String)> {
        let all = stage.tracker.findings().into_iter();
        all.map(|tracked| (tracked.id, tracked.finding.summary))
            .collect()
    };
    let wanted = [
        ("pcie.width/gpu/0000".to_owned(), "left".to_owned()),
        ("pcie.width/gpu/0000/2".to_owned(), "right".to_owned()),
    ];
    assert_eq!(ids(&stage), wanted);
    // Each keeps its own, in whatever order they are told.
    assert_eq!(stage.see(15, &[same("right"), same("left")])[..], []);
    assert_eq!(ids(&stage), wanted);
}

#[test]
fn two_names_that_read_the_same_when_made_harmless_are_two() {
    let mut stage = Stage::default();
    let both = [
        called(Some("a b"), None, None),
        called(Some("a-b"), None, None),
    ];
    assert_eq!(stage.see(0, &both), [Raised; 2]);
    let ids: Vec<String> = stage.tracker.findings().into_iter().map(|t| t.id).collect();
    assert_eq!(ids, ["pcie.width/gpu/a-b", "pcie.width/gpu/a-b/2"]);
}
