//! What a machine, or somebody on it, can write: shown, never run; bounded, never a flood.

use cupel_inventory::pages::{self, view::*};
use cupel_model::snapshot::Snapshot;
use cupel_model::wire::UpgradeOutcome;
use serde_json::Value;

use crate::html::parse;
use crate::{fixture, typical};

const SCRIPT: &str = "<script>alert(1)</script>";
/// A right-to-left override, an escape, a NUL and a soft hyphen, before anything is cut; a script,
/// a tag's end.
const HOSTILE: &str =
    "\u{202e}\u{1b}\0\u{ad}<script>alert(1)</script>\"'><img src=x onerror=alert(1)>&\u{2066}y\n";

fn is_steering(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
}

/// The page is whole, nothing in it runs, and the script stands in it as text.
fn harmless(name: &str, page: &str) {
    if let Some(at) = page.find(is_steering) {
        let before: Vec<_> = page[..at].chars().rev().take(120).collect();
        panic!(
            "{name}: after {:?}",
            before.iter().rev().collect::<String>()
        );
    }
    let html = parse(page);
    for element in html.all() {
        let known = element.name != "img" && element.name != "iframe";
        assert!(known, "{name}: {}", element.name);
        assert!(
            element.attributes.iter().all(|(a, _)| !a.starts_with("on")),
            "{name}"
        );
    }
    assert_eq!(html.named("script").len(), 1, "{name}");
    assert!(
        html.text().contains("<script>"),
        "{name}: the text is not shown"
    );
}

/// Every text of a snapshot that a machine chooses freely.
fn spoil(value: &mut Value) {
    const FREE: [&str; 15] = [
        "hostname",
        "manufacturer",
        "product",
        "serial",
        "chassis_serial",
        "name",
        "slot",
        "why",
        "raw",
        "model",
        "release",
        "kernel_version",
        "source",
        "firmware",
        "state",
    ];
    match value {
        Value::Array(list) => list.iter_mut().for_each(spoil),
        Value::Object(map) => {
            let reading = map.contains_key("state") && map.contains_key("why");
            for (key, value) in map.iter_mut() {
                let state = reading && key == "state";
                // The kernel log's `source` is a word of its own.
                let word = matches!(value.as_str(), Some("kernel" | "user" | "unknown"));
                if value.is_string() && FREE.contains(&key.as_str()) && !state && !word {
                    *value = HOSTILE.into();
                } else {
                    spoil(value);
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn spoilt(snapshot: &Snapshot) -> Snapshot {
    let mut json = serde_json::to_value(snapshot).expect("json");
    spoil(&mut json);
    serde_json::from_value(json).expect("still a snapshot")
}

fn bad() -> Option<String> {
    Some(HOSTILE.to_owned())
}

fn bad_line(line: &mut NodeLine) {
    line.hostname = bad();
    line.serial = bad();
    line.platform = bad();
    line.id = HOSTILE.to_owned();
    line.place.rack = bad_place();
    line.expectation = Expectation::Mismatched(vec![Mismatch {
        what: HOSTILE.to_owned(),
        expected: HOSTILE.to_owned(),
        found: bad(),
    }]);
    if let Some(found) = &mut line.worst {
        bad_finding(found);
    }
}

fn bad_finding(found: &mut FindingLine) {
    found.code = HOSTILE.to_owned();
    found.summary = HOSTILE.to_owned();
    found.component.slot = bad();
}

fn bad_place() -> RackPlace {
    RackPlace {
        region: bad(),
        site: bad(),
        row: bad(),
        rack: bad(),
    }
}

fn bad_fleet() -> Fleet {
    let mut fleet = fixture::fleet(25);
    fleet.nodes.iter_mut().for_each(bad_line);
    for rack in &mut fleet.racks {
        rack.place = bad_place();
    }
    for code in &mut fleet.codes {
        code.code = HOSTILE.to_owned();
    }
    fleet.regions = vec![HOSTILE.to_owned()];
    fleet.query = FleetQuery {
        region: bad(),
        site: bad(),
        row: bad(),
        rack: bad(),
        platform: bad(),
        lifecycle: bad(),
        code: bad(),
        q: bad(),
        after: bad(),
        show: Show::Sick,
    };
    fleet
}

fn bad_node() -> Node {
    let mut node = fixture::sick();
    bad_line(&mut node.line);
    node.snapshot = node.snapshot.map(|snapshot| Box::new(spoilt(&snapshot)));
    for tracked in &mut node.findings {
        let mut json = serde_json::to_value(&*tracked).expect("json");
        json["finding"]["evidence"][0]["value"] = HOSTILE.into();
        json["finding"]["evidence"][0]["unit"] = HOSTILE.into();
        json["finding"]["remedy"][0]["text"] = HOSTILE.into();
        json["finding"]["component"]["serial"] = HOSTILE.into();
        json["finding"]["code"] = HOSTILE.into();
        json["waits_for"] = HOSTILE.into();
        *tracked = serde_json::from_value(json).expect("a finding");
    }
    for part in &mut node.parts {
        (part.name, part.slot, part.serial) = (bad(), bad(), bad());
        (part.part_number, part.firmware) = (bad(), bad());
    }
    for change in &mut node.changes {
        change.why = HOSTILE.to_owned();
        change.tracked.finding.code = HOSTILE.to_owned();
    }
    for event in &mut node.events {
        event.event.raw = HOSTILE.to_owned();
        event.event.code = HOSTILE.to_owned();
        event.event.mig = bad();
    }
    if let Some(summary) = &mut node.bringup {
        summary.reasons = vec![HOSTILE.to_owned()];
        summary.steps[0].name = HOSTILE.to_owned();
        summary.steps[0].detail = HOSTILE.to_owned();
    }
    node.record = Record {
        account: bad(),
        switch_path: Some(vec![HOSTILE.to_owned()]),
        ..Record::default()
    };
    node.stopped = bad();
    node.wishes_refused = bad();
    node.upgrade = Some(Upgrade {
        version: HOSTILE.to_owned(),
        outcome: Some(UpgradeOutcome::Waits),
        why: bad(),
    });
    node.cupel_version = bad();
    node
}

#[test]
fn a_script_in_a_name_is_shown_and_not_run() {
    let mut rack = fixture::rack();
    rack.nodes.iter_mut().for_each(bad_line);
    rack.place = bad_place();
    rack.next = Some(bad_place());
    let mut part = fixture::part();
    (part.name, part.uuid, part.firmware) = (bad(), bad(), bad());
    part.serial = HOSTILE.to_owned();
    for stay in &mut part.stays {
        (stay.hostname, stay.slot, stay.node) = (bad(), bad(), HOSTILE.to_owned());
        stay.place.rack = bad_place();
    }
    part.findings
        .iter_mut()
        .for_each(|one| bad_finding(&mut one.finding));
    let mut search = fixture::search();
    search.q = bad();
    search.nodes.iter_mut().for_each(bad_line);
    for part in &mut search.parts {
        (part.name, part.serial) = (bad(), HOSTILE.to_owned());
    }
    let mut signed_in = fixture::problem(500, Some(HOSTILE));
    signed_in.context.signed_in = bad();
    let pages = [
        ("fleet", pages::fleet(&bad_fleet())),
        ("rack", pages::rack(&rack)),
        ("node", pages::node(&bad_node())),
        ("part", pages::part(&part)),
        ("search", pages::search(&search)),
        ("problem", pages::problem(&signed_in)),
    ];
    for (name, page) in pages {
        harmless(name, &page);
        assert!(!page.contains(SCRIPT), "{name}");
    }
}

#[test]
fn text_that_runs_the_other_way_stays_in_its_place() {
    let mut rack = fixture::rack();
    rack.nodes[0].hostname = fixture::some("אבג-12");
    let page = pages::rack(&rack);
    assert!(page.contains("<bdi>אבג-12</bdi>"));
}

#[test]
fn a_flood_of_findings_parts_and_events_is_cut_and_said_to_be() {
    let mut node = fixture::sick();
    let (finding, part, event) = (
        node.findings[0].clone(),
        node.parts[0].clone(),
        node.events[0].clone(),
    );
    node.findings = vec![finding; 5_000];
    node.parts = vec![part; 5_000];
    node.events = vec![event; 5_000];
    node.changes = vec![node.changes[0].clone(); 5_000];
    node.standings = vec![node.standings[0]; 5_000];
    let snapshot = node.snapshot.as_mut().expect("a snapshot");
    snapshot.gpus = vec![snapshot.gpus[0].clone(); 2_000].into();
    snapshot.rdma = vec![snapshot.rdma[0].clone(); 2_000].into();
    let page = pages::node(&node);
    assert!(page.len() < 400_000, "{} bytes", page.len());
    let text = parse(&page).text();
    assert!(
        text.contains("more findings than fit on a page: 5\u{202f}000 findings"),
        "findings"
    );
    assert!(text.contains("Not drawn: "), "devices");
    assert!(text.contains("And 4936 more."), "parts");
}

#[test]
fn a_fleet_of_any_size_has_a_page_of_bounded_size() {
    let mut fleet = fixture::fleet(1_500);
    let racks = fleet.racks.clone();
    for region in 0..3 {
        fleet.racks.extend(racks.iter().cloned().map(|mut rack| {
            rack.place.region = Some(format!("region-{region}"));
            rack
        }));
    }
    assert!(fleet.racks.len() > 12_000);
    let page = pages::fleet(&fleet);
    assert!(page.len() < 80_000, "{} bytes", page.len());
    let text = parse(&page).text();
    assert!(
        text.contains("more rows with sick nodes: choose a site"),
        "rows"
    );
    assert!(text.contains("The 12 worst of 16 sites."), "sites");
}

#[test]
fn long_names_are_cut_in_lists_and_whole_on_their_page() {
    let long = "n".repeat(300);
    let mut fleet = fixture::fleet(25);
    fleet.nodes[0].hostname = Some(long.clone());
    let page = parse(&pages::fleet(&fleet));
    assert!(!page.text().contains(&"n".repeat(60)));
    let link = page
        .named("th")
        .into_iter()
        .find(|th| th.text().starts_with("nnn"))
        .expect("the row");
    let title = link
        .all()
        .iter()
        .find_map(|e| e.attribute("title").map(str::to_owned));
    assert_eq!(title, Some(long));
}

#[test]
fn the_typical_pages_have_no_stray_control_characters() {
    for (name, page) in typical() {
        let steering: Vec<_> = page.chars().filter(|c| is_steering(*c)).collect();
        assert!(steering.is_empty(), "{name}: {steering:?}");
    }
}
