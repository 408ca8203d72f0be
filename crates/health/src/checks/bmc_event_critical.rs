//! The management controller has recorded a failure in this boot, and has not taken it back.
//!
//! # What it checks
//! The controller's event log: of each sensor, whether the newest event of a failure asserts it. The
//! failures are those of `bmc.sensor-critical`; what a sensor says now is left to that. Events of
//! before this boot, and such without a time, are left out. The controller's clock is believed.
//!
//! # Why it matters
//! A power supply that failed for a second, or a temperature that was too high once, is over when the
//! sensor is read again; the event is what is left of it.
//!
//! # Remedy
//! 1. Read the controller's log around that time: `ipmitool sel elist`.
//! 2. Look at the part: its light, its cable, its feed.
//! 3. Replace the part if it happens again.
//!
//! # Sources
//! - IPMI specification 2.0, chapters 31 and 32, and tables 42-2 and 42-3.

use std::collections::BTreeMap;

use cupel_model::snapshot::SelRecord;
use cupel_model::{Evidence, Mode, RemedyAction};

use super::bmc_sensor_critical::{BAD, part};
use crate::context::Context;
use crate::doc::module_doc;
use crate::draft::Draft;
use crate::outcome::Outcome;
use crate::registry::{Basis, Check, Window};
#[cfg(test)]
use crate::testing::{Case, Expect};

const CODE: &str = "bmc.event-critical";

/// The check.
pub const CHECK: Check = Check {
    code: CODE,
    mode: Mode::Observe,
    window: Window::none("the controller has recorded it"),
    basis: Basis::State,
    doc: module_doc!("bmc_event_critical.rs"),
    evaluate,
    #[cfg(test)]
    cases: CASES,
};

fn evaluate(context: &Context<'_>) -> Outcome {
    let mut outcome = Outcome::default();
    let what = "management controller";
    let Some(bmc) = outcome.need(what, "in-band interface", &context.snapshot.bmc, false) else {
        return outcome;
    };
    let Some(records) = outcome.need(what, "event log", &bmc.sel, false) else {
        return outcome;
    };
    // The newest is last.
    let mut newest: BTreeMap<(&str, &str), &SelRecord> = BTreeMap::new();
    for record in records {
        if record
            .time
            .is_some_and(|time| context.is_of_this_boot(time))
        {
            newest.insert((&record.sensor, &record.event), record);
        }
    }
    let sensors = bmc.sensors.value().map_or(&[][..], Vec::as_slice);
    let mut failures: BTreeMap<&str, Vec<&SelRecord>> = BTreeMap::new();
    for ((name, event), record) in newest {
        let sensor = sensors.iter().find(|sensor| sensor.name == name);
        let is_told = sensor.is_some_and(|sensor| sensor.states.iter().any(|state| state == event));
        if record.asserted && BAD.contains(&event) && !is_told {
            failures.entry(name).or_default().push(record);
        }
    }
    for (name, records) in failures {
        let sensor = sensors.iter().find(|sensor| sensor.name == name);
        // A sensor without a name is called by its kind and number.
        let kind = match sensor {
            Some(sensor) => sensor.kind.as_str(),
            None => name.split('/').next().unwrap_or_default(),
        };
        outcome.find(draft(kind, name, &records));
    }
    outcome
}

fn draft(kind: &str, sensor: &str, records: &[&SelRecord]) -> Draft {
    let (component, name) = part(kind, sensor);
    let events: Vec<&str> = records.iter().map(|record| record.event.as_str()).collect();
    let text = format!(
        "{name}: the management controller has recorded in this boot: {}",
        events.join(", ")
    );
    let first = records.iter().filter_map(|record| record.time).min();
    let mut draft = Draft::warning(CODE, component, text).since(first);
    for record in records {
        let record_name = format!("sel_{}", record.id);
        draft = draft.evidence(Evidence::value(&record_name, record.raw.as_str()));
    }
    draft
        .human(
            RemedyAction::RunDiagnostic,
            format!("Read the controller's log around that time, and look at {name}"),
        )
        .human(
            RemedyAction::ReplacePart,
            format!("If it happens again, replace {name}"),
        )
}

/// An event, so many seconds ago.
#[cfg(test)]
fn event(node: &mut crate::testing::Node, event: &str, asserted: bool, ago: i64) {
    use cupel_model::snapshot::Bmc;
    let now = node.snapshot.taken_at.microseconds();
    let time = cupel_model::Timestamp::from_microseconds(now - ago * 1_000_000);
    let mut bmc = node.snapshot.bmc.value().cloned().unwrap_or_else(|| Bmc {
        sensors: Vec::new().into(),
        sel: Vec::new().into(),
        ..Bmc::default()
    });
    if let cupel_model::Reading::Value(records) = &mut bmc.sel {
        records.push(SelRecord {
            id: u16::try_from(records.len()).expect("few") + 1,
            time: time.ok(),
            sensor: "power-supply/0x51".to_owned(),
            event: event.to_owned(),
            asserted,
            raw: "0100".to_owned(),
        });
    }
    node.snapshot.bmc = bmc.into();
}

#[cfg(test)]
const CASES: &[Case] = &[
    Case {
        name: "a failure of this boot",
        expect: Expect::Fail,
        change: |node| event(node, "failure detected", true, 60),
    },
    Case {
        name: "a failure that was taken back",
        expect: Expect::Pass,
        change: |node| {
            event(node, "failure detected", true, 60);
            event(node, "failure detected", false, 30);
        },
    },
    Case {
        name: "one that came again",
        expect: Expect::Fail,
        change: |node| {
            event(node, "failure detected", true, 60);
            event(node, "failure detected", false, 30);
            event(node, "failure detected", true, 10);
        },
    },
    Case {
        name: "a failure of years ago",
        expect: Expect::Pass,
        change: |node| event(node, "failure detected", true, 90_000_000),
    },
    Case {
        name: "a power supply that was put in",
        expect: Expect::Pass,
        change: |node| event(node, "presence detected", true, 60),
    },
    Case {
        name: "a failure that the sensor says too",
        expect: Expect::Pass,
        change: |node| {
            event(node, "failure detected", true, 60);
            if let cupel_model::Reading::Value(bmc) = &mut node.snapshot.bmc {
                bmc.sensors = vec![cupel_model::snapshot::BmcSensor {
                    name: "power-supply/0x51".to_owned(),
                    kind: "power-supply".to_owned(),
                    value: cupel_model::Reading::absent("discrete"),
                    unit: None,
                    states: vec!["failure detected".to_owned()],
                }]
                .into();
            }
        },
    },
    Case {
        name: "the event log cannot be read",
        expect: Expect::Unknown,
        change: |node| {
            let bmc = cupel_model::snapshot::Bmc {
                sel: cupel_model::Reading::failed("timed out"),
                ..Default::default()
            };
            node.snapshot.bmc = bmc.into();
        },
    },
    Case {
        name: "no controller",
        expect: Expect::Skip,
        change: |_| {},
    },
];
