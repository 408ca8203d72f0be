//! Snapshot files: whatever the bytes, a snapshot or an error that names a place; and whatever is a
//! snapshot can be judged, shown, scrubbed and written again.

use cupel_agent::render::inventory::{Detail, sections};
use cupel_agent::{scrub, snapshot_file};
use cupel_health::{Modes, evaluate};

/// One snapshot file.
pub fn snapshot(data: &[u8]) {
    let Ok(snapshot) = snapshot_file::parse(data, "fuzz.json") else {
        return;
    };
    let json = serde_json::to_vec(&snapshot).expect("a snapshot becomes JSON");
    let again = snapshot_file::parse(&json, "again.json").expect("its JSON is a snapshot");
    assert_eq!(
        serde_json::to_vec(&again).expect("JSON"),
        json,
        "JSON is stable"
    );
    let report = evaluate(&snapshot, None, &Modes::default());
    let scrubbed = scrub::scrub(&snapshot).expect("a snapshot can be scrubbed");
    let hidden = evaluate(&scrubbed, None, &Modes::default());
    assert_eq!(
        report.verdict, hidden.verdict,
        "scrubbing changes no verdict"
    );
    for section in sections(&snapshot, Detail::Full) {
        assert!(!section.title.is_empty());
    }
}
