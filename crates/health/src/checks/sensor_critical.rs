//! A part of the node has reached its critical temperature.
//!
//! # What it checks
//! Each temperature that the kernel shows (processors, drives, adapters, memory) against the critical
//! limit that the part itself gives. All that have reached theirs are one finding: they mostly have
//! one cause. Limits that no part can have (0 °C and below, 150 °C and above) are left out. GPUs have
//! `gpu.thermal-slowdown`.
//!
//! # Why it matters
//! At its critical temperature a part slows down or switches itself off, and ages fast.
//!
//! # Remedy
//! 1. Check the air or coolant: inlet temperature, fans, filters, blanking panels.
//! 2. Compare with the neighbours in the rack: if they are hot too, it is the room.
//! 3. Check the heat sink of the part.
//!
//! # Sources
//! - Linux, hwmon: `temp*_input` and `temp*_crit`.

use cupel_model::units::Celsius;
use cupel_model::{Component, Evidence, Impact, Mode, RemedyAction};

use crate::context::Context;
use crate::doc::module_doc;
use crate::draft::Draft;
use crate::outcome::Outcome;
use crate::registry::{Basis, Check, Window};
#[cfg(test)]
use crate::testing::{Case, Expect};

const CODE: &str = "sensor.critical";

/// The check.
pub const CHECK: Check = Check {
    code: CODE,
    mode: Mode::Observe,
    window: Window::seconds(30, "a step of load may touch the limit for a moment"),
    basis: Basis::State,
    doc: module_doc!("sensor_critical.rs"),
    evaluate,
    #[cfg(test)]
    cases: CASES,
};

/// Limits of parts lie between these, in °C.
const LIMITS: std::ops::Range<f64> = 0.5..150.0;

fn evaluate(context: &Context<'_>) -> Outcome {
    let mut outcome = Outcome::default();
    let mut hot: Vec<(&str, Celsius, Celsius)> = Vec::new();
    for sensor in &context.snapshot.sensors {
        let Some(limit) = sensor
            .critical_celsius
            .get()
            .filter(|limit| LIMITS.contains(&limit.get()))
        else {
            outcome.not_here("no sensor that gives its limit");
            continue;
        };
        let reading = &sensor.temperature_celsius;
        if let Some(now) = outcome.need(&sensor.name, "temperature", reading, false)
            && *now >= limit
        {
            hot.push((&sensor.name, *now, limit));
        }
    }
    if let Some(why) = context
        .problem("sensors")
        .filter(|_| context.snapshot.sensors.is_empty())
    {
        outcome.unknown("sensors", why);
    }
    outcome.not_here("no sensor");
    if hot.is_empty() {
        return outcome;
    }
    let text = "Parts of this node have reached their critical temperature".to_owned();
    let mut draft =
        Draft::warning(CODE, Component::node(), text).impact(Impact::DegradesPerformance);
    for (name, now, limit) in hot {
        draft = draft.evidence(
            Evidence::value(name, now.get())
                .unit("°C")
                .limit(limit.get(), "the part"),
        );
    }
    outcome.find(
        draft
            .human(
                RemedyAction::RunDiagnostic,
                "Check inlet temperature, fans, filters and blanking panels, or the coolant",
            )
            .human(
                RemedyAction::Reseat,
                "Check the heat sinks of the hot parts",
            ),
    );
    outcome
}

#[cfg(test)]
fn sensor(node: &mut crate::testing::Node, now: f64, limit: f64) {
    let celsius = |value| Celsius::new(value).expect("finite").into();
    node.snapshot.sensors.push(cupel_model::snapshot::Sensor {
        name: "coretemp/0 Package id 0".to_owned(),
        temperature_celsius: celsius(now),
        critical_celsius: celsius(limit),
    });
}

#[cfg(test)]
const CASES: &[Case] = &[
    Case {
        name: "cool",
        expect: Expect::Pass,
        change: |node| sensor(node, 41.0, 100.0),
    },
    Case {
        name: "hot",
        expect: Expect::Fail,
        change: |node| sensor(node, 100.0, 100.0),
    },
    Case {
        name: "a limit that is none",
        expect: Expect::Skip,
        change: |node| sensor(node, 41.0, 0.0),
    },
    Case {
        name: "a sensor that cannot be read",
        expect: Expect::Unknown,
        change: |node| {
            sensor(node, 41.0, 100.0);
            node.snapshot.sensors[0].temperature_celsius = cupel_model::Reading::failed("EIO");
        },
    },
    Case {
        name: "no sensor",
        expect: Expect::Skip,
        change: |_| {},
    },
];
