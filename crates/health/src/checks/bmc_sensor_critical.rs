//! The management controller says that a power supply, a fan or another part has failed.
//!
//! # What it checks
//! The states that the controller's sensors assert now: a power supply that failed or lost its input,
//! a fan below its critical speed, and any critical or non-recoverable threshold that was crossed.
//! Predictive failures count as well. Presence, redundancy and non-critical thresholds do not.
//!
//! # Why it matters
//! A node that lost one power supply or fan runs on its reserve: under full load it slows down, and
//! the next one ends it.
//!
//! # Remedy
//! 1. Look at the part: its light, its cable, its feed.
//! 2. Take the part out and put it back.
//! 3. Replace the part.
//!
//! # Sources
//! - IPMI specification 2.0, tables 42-2 and 42-3: states of thresholds, power supplies and fans.

use cupel_model::snapshot::BmcSensor;
use cupel_model::{Component, ComponentKind, Evidence, Mode, RemedyAction};

use crate::context::Context;
use crate::doc::module_doc;
use crate::draft::Draft;
use crate::outcome::Outcome;
use crate::registry::{Basis, Check, Window};
#[cfg(test)]
use crate::testing::{Case, Expect};

const CODE: &str = "bmc.sensor-critical";

/// The check.
pub const CHECK: Check = Check {
    code: CODE,
    mode: Mode::Observe,
    window: Window::seconds(60, "a sensor of a controller may answer wrongly once"),
    basis: Basis::State,
    doc: module_doc!("bmc_sensor_critical.rs"),
    evaluate,
    #[cfg(test)]
    cases: CASES,
};

/// States that mean a part has failed or is about to.
pub const BAD: [&str; 9] = [
    "at or above upper critical threshold",
    "at or above upper non-recoverable threshold",
    "at or below lower critical threshold",
    "at or below lower non-recoverable threshold",
    "failure detected",
    "power supply input lost (AC/DC)",
    "power supply input lost or out of range",
    "power unit failure detected",
    "predictive failure",
];

fn evaluate(context: &Context<'_>) -> Outcome {
    let mut outcome = Outcome::default();
    let what = "management controller";
    let bmc = outcome.need(what, "in-band interface", &context.snapshot.bmc, false);
    let sensors = bmc.and_then(|bmc| outcome.need(what, "sensors", &bmc.sensors, false));
    for sensor in sensors.into_iter().flatten() {
        let mut bad: Vec<&str> = sensor.states.iter().map(String::as_str).collect();
        bad.retain(|state| BAD.contains(state));
        if !bad.is_empty() {
            outcome.find(draft(sensor, &bad));
        }
    }
    outcome
}

/// The part of a sensor of this kind and name, and what it is called in a sentence.
pub fn part(kind: &str, sensor: &str) -> (Component, String) {
    let (kind, what) = match kind {
        "power-supply" | "power-unit" => (ComponentKind::Psu, "Power supply"),
        "fan" | "cooling-device" => (ComponentKind::Fan, "Fan"),
        _ => (ComponentKind::Node, "Sensor"),
    };
    let component = Component {
        slot: Some(sensor.to_owned()),
        ..Component::of(kind)
    };
    (component, format!("{what} {sensor}"))
}

fn draft(sensor: &BmcSensor, bad: &[&str]) -> Draft {
    let (component, name) = part(&sensor.kind, &sensor.name);
    let text = format!("{name}: the management controller says {}", bad.join(", "));
    let mut draft = Draft::warning(CODE, component, text)
        .evidence(Evidence::value("states", sensor.states.join(", ")));
    if let Some(value) = sensor.value.get() {
        let mut evidence = Evidence::value("reading", value);
        evidence.unit.clone_from(&sensor.unit);
        draft = draft.evidence(evidence);
    }
    draft
        .human(
            RemedyAction::RunDiagnostic,
            format!("Look at {name}: its light, its cable, its feed; read the controller's log"),
        )
        .human(
            RemedyAction::Reseat,
            format!("Take out and put back {name}"),
        )
        .human(RemedyAction::ReplacePart, format!("Replace {name}"))
}

#[cfg(test)]
fn sensor(node: &mut crate::testing::Node, kind: &str, states: &[&str]) {
    let sensor = BmcSensor {
        name: "PSU1 Status".to_owned(),
        kind: kind.to_owned(),
        value: cupel_model::Reading::absent("discrete"),
        unit: None,
        states: states.iter().map(|state| (*state).to_owned()).collect(),
    };
    let bmc = cupel_model::snapshot::Bmc {
        sensors: vec![sensor].into(),
        ..Default::default()
    };
    node.snapshot.bmc = bmc.into();
}

#[cfg(test)]
const CASES: &[Case] = &[
    Case {
        name: "a power supply in good order",
        expect: Expect::Pass,
        change: |node| sensor(node, "power-supply", &["presence detected"]),
    },
    Case {
        name: "a power supply without input",
        expect: Expect::Fail,
        change: |node| {
            let states = ["presence detected", "power supply input lost (AC/DC)"];
            sensor(node, "power-supply", &states);
        },
    },
    Case {
        name: "a fan that stands",
        expect: Expect::Fail,
        change: |node| sensor(node, "fan", &["at or below lower critical threshold"]),
    },
    Case {
        name: "a non-critical threshold",
        expect: Expect::Pass,
        change: |node| sensor(node, "fan", &["at or below lower non-critical threshold"]),
    },
    Case {
        name: "the controller does not answer",
        expect: Expect::Unknown,
        change: |node| node.snapshot.bmc = cupel_model::Reading::failed("timed out"),
    },
    Case {
        name: "no controller",
        expect: Expect::Skip,
        change: |_| {},
    },
];
