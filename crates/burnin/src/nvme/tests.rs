//! Drives, played by files: read, written, refused, cut short.

use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cupel_hardware::Root;

use super::plan::DriveUnderTest;
use super::read::ReadStage;
use super::write::{Target, WriteStage};
use crate::fault::{FaultPlan, MemoryFault, MemoryFaultKind};
use crate::memory::Phase;
use crate::plan::{Plan, PlanKind};
use crate::result::{Detector, FailureClass, Mismatch, Outcome, StageResult, Word};
use crate::stage::{Stage, Stopped, Watch};
use crate::stage_kind::StageKind;

const SIZE: u64 = 40 << 20;

fn image() -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().expect("file");
    file.as_file().set_len(SIZE).expect("size");
    file
}

fn write(path: &Path, faults: FaultPlan, watch: &Watch) -> StageResult {
    let plan = Plan::quick(Word(5))
        .writing(vec!["S1".to_owned()])
        .with_budget(StageKind::NvmeWrite, Duration::from_secs(60));
    Box::new(WriteStage {
        plan,
        serial: "S1".to_owned(),
        target: Target::File(path.to_owned()),
        floors: Arc::default(),
        faults: Arc::new(faults),
    })
    .run(watch)
}

#[test]
fn a_blank_drive_is_written_verified_and_blank_again() {
    let file = image();
    let result = write(file.path(), FaultPlan::default(), &Watch::deaf());
    assert_eq!(result.outcome, Outcome::Pass, "{:?}", result.reasons);
    assert_eq!(result.proof.detector, Detector::Proven);
    assert_eq!(result.coverage.covered, SIZE - 4096);
    let names: Vec<_> = result.measured.iter().map(|m| m.name.as_str()).collect();
    assert_eq!(names, ["sequential write", "read back"]);
    let content = std::fs::read(file.path()).expect("read");
    assert!(content.iter().all(|byte| *byte == 0));
}

#[test]
fn a_bit_that_turns_on_the_drive_is_found_at_its_byte() {
    let file = image();
    let faults = FaultPlan {
        memory: vec![MemoryFault {
            word: 700_000,
            kind: MemoryFaultKind::Flip {
                bit: 9,
                phase: Phase::Pattern,
            },
        }],
        ..FaultPlan::default()
    };
    let result = write(file.path(), faults, &Watch::deaf());
    assert_eq!(result.outcome, Outcome::Fail);
    assert_eq!(result.class, Some(FailureClass::DataMismatch));
    assert_eq!(result.mismatch_count, 1);
    let [Mismatch::Drive(seen)] = result.mismatches.as_slice() else {
        panic!("{:?}", result.mismatches);
    };
    assert_eq!(
        (seen.offset_bytes, seen.bits.as_slice()),
        (5_600_000, [9].as_slice())
    );
}

#[test]
fn a_blind_detector_is_broken() {
    let file = image();
    let faults = FaultPlan {
        blind: true,
        ..FaultPlan::default()
    };
    let result = write(file.path(), faults, &Watch::deaf());
    assert_eq!(result.class, Some(FailureClass::DetectorBroken));
}

#[test]
fn a_drive_with_any_sign_of_use_is_left_as_it_is() {
    for (at, bytes) in [
        (1080, [0x53, 0xef].as_slice()),
        (512, b"LABELONE".as_slice()),
        (20 << 20, [1_u8; 1 << 20].as_slice()),
    ] {
        let file = image();
        file.as_file().write_all_at(bytes, at).expect("write");
        let before = std::fs::read(file.path()).expect("read");
        let result = write(file.path(), FaultPlan::default(), &Watch::deaf());
        assert_eq!(result.outcome, Outcome::Incomplete);
        assert!(
            result.reasons[0].contains("is not written"),
            "{:?}",
            result.reasons
        );
        assert!(std::fs::read(file.path()).expect("read") == before, "{at}");
    }
}

#[test]
fn cut_short_it_is_marked_and_taken_again() {
    let file = image();
    let watch = Watch::deaf();
    watch.stop(Stopped::Cancelled);
    let result = write(file.path(), FaultPlan::default(), &watch);
    assert_eq!(result.outcome, Outcome::Incomplete, "{result:?}");
    let content = std::fs::read(file.path()).expect("read");
    assert!(content.starts_with(b"cupel burn-in"));
    let result = write(file.path(), FaultPlan::default(), &Watch::deaf());
    assert_eq!(result.outcome, Outcome::Pass, "{:?}", result.reasons);
}

fn read(kind: PlanKind, path: &Path, unsupported: Option<&str>) -> StageResult {
    let directory = tempfile::tempdir().expect("directory");
    let plan = Plan::new(kind, Word(5)).with_budget(StageKind::Nvme, Duration::from_secs(2));
    Box::new(ReadStage {
        plan,
        drive: DriveUnderTest {
            controller: "nvme0".to_owned(),
            serial: Some("S1".to_owned()),
            model: Some("a file".to_owned()),
            paths: vec![path.to_owned()],
            numa_node: None,
            unsupported: unsupported.map(str::to_owned),
        },
        root: Root::at(directory.path()).expect("root"),
        floors: Arc::default(),
        required: true,
    })
    .run(&Watch::deaf())
}

#[test]
fn a_drive_is_read_in_whole_and_timed() {
    let file = image();
    for kind in [PlanKind::Quick, PlanKind::Extended] {
        let result = read(kind, file.path(), None);
        assert_eq!(result.outcome, Outcome::Pass, "{:?}", result.reasons);
        assert_eq!(result.coverage.covered, SIZE);
        assert_eq!(result.proof.detector, Detector::None);
        let of = |name: &str| {
            let found = result.measured.iter().find(|m| m.name == name);
            found.unwrap_or_else(|| panic!("{name}")).value
        };
        assert!(of("random read, median") <= of("random read, 99.9 %"));
        assert!(of("sequential read") > 0.0);
    }
}

#[test]
fn a_drive_that_cannot_be_tested_or_opened_is_no_pass() {
    let result = read(PlanKind::Quick, Path::new("/nonexistent"), None);
    assert_eq!(result.outcome, Outcome::Incomplete);
    let file = image();
    let result = read(PlanKind::Quick, file.path(), Some("under another root"));
    assert_eq!(result.outcome, Outcome::Unsupported);
}
