//! A GPU is slowed down by heat or by its power brake.
//!
//! # What it checks
//! That no GPU's clocks are held down by the hardware, for heat or by the external power brake; and,
//! between two samples, that the driver's own thermal slowdown did not last. The software power cap at
//! the GPU's limit is normal operation and raises nothing.
//!
//! # Why it matters
//! One slow GPU slows every job that waits for it. Heat points to fans, filters, a loose heat sink or
//! coolant; the power brake to a power supply or its budget.
//!
//! # Remedy
//! 1. Check the air or coolant: inlet temperature, fans, filters, blanking panels.
//! 2. For the power brake check the power supplies and the chassis' power budget.
//! 3. Check the GPU's heat sink; replace the GPU if it runs hotter than its peers in another slot.
//!
//! # Sources
//! - NVML, `nvmlDeviceGetCurrentClocksEventReasons` and `nvmlDeviceGetViolationStatus`.
//! - The share of time above which software slowdown counts as lasting is unverified.

use cupel_model::snapshot::Gpu;
use cupel_model::{ComponentKind, Evidence, Mode, RemedyAction};

use crate::context::Context;
use crate::doc::module_doc;
use crate::draft::Draft;
use crate::gpu_parts::each_gpu;
use crate::outcome::Outcome;
use crate::registry::{Basis, Check, Window};
#[cfg(test)]
use crate::testing::{Case, Expect};

const CODE: &str = "gpu.thermal-slowdown";

/// The check.
pub const CHECK: Check = Check {
    code: CODE,
    mode: Mode::Enforce,
    window: Window::seconds(30, "a step of load may touch the limit for a moment"),
    basis: Basis::State,
    doc: module_doc!("gpu_thermal_slowdown.rs"),
    evaluate,
    #[cfg(test)]
    cases: CASES,
};

/// Share of the time between two samples, in per cent, from which on software thermal slowdown
/// counts as lasting. Nobody has published a number.
const LASTING_PERCENT: f64 = 50.0;

fn evaluate(context: &Context<'_>) -> Outcome {
    each_gpu(context, |part, gpu, outcome| {
        let reading = &gpu.clocks.throttle_reasons;
        let Some(reasons) = outcome.need(&part.short(), "slowdown reasons", reading, true) else {
            return;
        };
        let has = |reason: &str| reasons.iter().any(|active| active == reason);
        let (heat, brake) = (has("hw-thermal-slowdown"), has("hw-power-brake-slowdown"));
        let (component, name) = (part.component(ComponentKind::Gpu), part.name());
        let draft = if heat {
            Draft::warning(
                CODE,
                component,
                format!("{name} is slowed down by its hardware for heat"),
            )
        } else if brake {
            let text = format!("{name} is slowed down by the external power brake");
            Draft::warning(CODE, component, text)
        } else if has("hw-slowdown") {
            let text = format!("{name} is slowed down by its hardware, for heat or power");
            Draft::warning(CODE, component, text)
        } else {
            match lasting(context, gpu) {
                Some(percent) if percent >= LASTING_PERCENT => {
                    let text =
                        format!("{name} was slowed down for heat {percent:.0} % of the time");
                    Draft::warning(CODE, component, text).evidence(
                        Evidence::value("thermal_violation", percent)
                            .unit("%")
                            .limit(LASTING_PERCENT, "unverified"),
                    )
                }
                Some(_) | None => return,
            }
        };
        let mut draft = draft.evidence(Evidence::value("slowdown_reasons", reasons.join(", ")));
        if let Some(now) = gpu.thermal.temperature_celsius.get() {
            let mut evidence = Evidence::value("temperature", now.get()).unit("°C");
            if let Some(limit) = gpu.thermal.slowdown_celsius.get() {
                evidence = evidence.limit(limit.get(), "NVML");
            }
            draft = draft.evidence(evidence);
        }
        if context.snapshot.previous.is_none() {
            draft = draft.provisional();
        }
        let power = (
            RemedyAction::RunDiagnostic,
            "Check the power supplies and the chassis' power budget",
        );
        let air = (
            RemedyAction::RunDiagnostic,
            "Check inlet temperature, fans, filters and blanking panels, or the coolant",
        );
        let (action, text) = if brake && !heat { power } else { air };
        outcome.find(
            draft
                .human(action, text)
                .human(
                    RemedyAction::Reseat,
                    format!("Check heat sink and seating of {name}"),
                )
                .human(
                    RemedyAction::ReplacePart,
                    format!("Replace {name} if it is slowed down in another slot too"),
                ),
        );
    })
}

/// Per cent of the time since the sample before that heat held the clocks down.
fn lasting(context: &Context<'_>, gpu: &Gpu) -> Option<f64> {
    let previous = context.snapshot.previous.as_ref()?;
    let uuid = gpu.identity.uuid.value()?;
    let before = previous
        .snapshot
        .gpus
        .iter()
        .find(|before| before.identity.uuid.value() == Some(uuid))?;
    let now = gpu.clocks.thermal_violation_ns.get()?;
    let held = now.since(before.clocks.thermal_violation_ns.get()?)?;
    let elapsed = previous.elapsed_seconds.get();
    // Two samples so close together tell no rate.
    if elapsed < 0.1 {
        return None;
    }
    // A count of nanoseconds loses nothing that matters as a floating number.
    #[expect(
        clippy::cast_precision_loss,
        reason = "nanoseconds of seconds fit 53 bits"
    )]
    let held = held as f64;
    Some((held / (elapsed * 1e9) * 100.0).min(100.0))
}

#[cfg(test)]
fn reasons(node: &mut crate::testing::Node, reasons: &[&str]) {
    let reasons: Vec<String> = reasons.iter().map(|reason| (*reason).to_owned()).collect();
    node.gpu(0).clocks.throttle_reasons = reasons.into();
}

#[cfg(test)]
const CASES: &[Case] = &[
    Case {
        name: "idle",
        expect: Expect::Pass,
        change: |_| {},
    },
    Case {
        name: "at its power limit",
        expect: Expect::Pass,
        change: |node| reasons(node, &["sw-power-cap"]),
    },
    Case {
        name: "heat",
        expect: Expect::Fail,
        change: |node| reasons(node, &["hw-slowdown", "hw-thermal-slowdown"]),
    },
    Case {
        name: "power brake",
        expect: Expect::Fail,
        change: |node| reasons(node, &["hw-slowdown", "hw-power-brake-slowdown"]),
    },
    Case {
        name: "software slowdown seen once",
        expect: Expect::Pass,
        change: |node| reasons(node, &["sw-thermal-slowdown"]),
    },
    Case {
        name: "software slowdown that lasts",
        expect: Expect::Fail,
        change: |node| {
            node.sample();
            let nine_seconds = cupel_model::Counter::exact(9_000_000_000);
            node.gpu(0).clocks.thermal_violation_ns = nine_seconds.into();
        },
    },
    Case {
        name: "a counter that was reset",
        expect: Expect::Pass,
        change: |node| {
            node.gpu(0).clocks.thermal_violation_ns = cupel_model::Counter::exact(9).into();
            node.sample();
            node.gpu(0).clocks.thermal_violation_ns = cupel_model::Counter::exact(1).into();
        },
    },
    Case {
        name: "does not tell",
        expect: Expect::Unknown,
        change: |node| {
            node.gpu(0).clocks.throttle_reasons = cupel_model::Reading::failed("timed out");
        },
    },
];
