//! The page of a burn-in: the verdict on top, then why, then the evidence.

mod plots;
mod stages;
mod tables;

use cupel_burnin::{BurnInResult, FailureClass, Machine, Outcome};
use maud::{Markup, html};

use super::page;
use crate::output::printable;
use crate::render::words::{cell, span, told, word};

/// Class of an outcome's colours.
pub(super) fn tone(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Pass => "good",
        Outcome::Skipped => "info",
        Outcome::Incomplete | Outcome::Unsupported => "warn",
        Outcome::Fail => "bad",
    }
}

/// A stage's outcome as a word in a box.
pub(super) fn tag(outcome: Outcome) -> Markup {
    html! { span.tag.(tone(outcome)) { (word(&outcome).to_uppercase()) } }
}

/// What the verdict means.
pub(super) fn meaning(result: &BurnInResult) -> &'static str {
    match (result.verdict, result.class) {
        (Outcome::Fail, Some(FailureClass::SilentDataMismatch)) => {
            "Data was wrong and no error counter moved: nothing but this test would have told."
        }
        (Outcome::Fail, Some(FailureClass::DataMismatch)) => "Data was wrong.",
        (Outcome::Fail, Some(FailureClass::DetectorBroken)) => {
            "A planted fault was missed: what was found right is not known to be right."
        }
        (Outcome::Fail, Some(FailureClass::Lost)) => {
            "A part hung, was lost, or stopped at its limit."
        }
        (Outcome::Fail, Some(FailureClass::ErrorsCounted)) => {
            "The hardware counted errors that it could not correct."
        }
        (Outcome::Fail, Some(FailureClass::BelowFloor | FailureClass::BelowPeers) | None) => {
            "A part is slower than it must be."
        }
        (Outcome::Pass, _) => {
            "All that was asked was tested, every bit was right, every planted fault was found."
        }
        (Outcome::Incomplete | Outcome::Unsupported | Outcome::Skipped, _) => {
            "Less was tested than was asked. That is not a pass."
        }
    }
}

/// Most reasons on top of the page; the rest stands with the stages.
const TOP_REASONS: usize = 12;

fn reasons(result: &BurnInResult) -> Vec<String> {
    let counts = |outcome: Outcome, required: bool| match outcome {
        Outcome::Fail => true,
        Outcome::Incomplete | Outcome::Unsupported => required,
        Outcome::Pass | Outcome::Skipped => false,
    };
    let mut stages: Vec<_> = result
        .stages
        .iter()
        .filter(|stage| counts(stage.outcome, stage.required))
        .collect();
    stages.sort_by_key(|stage| {
        (
            std::cmp::Reverse(stage.class),
            std::cmp::Reverse(stage.outcome),
        )
    });
    let mut said: Vec<String> = stages
        .iter()
        .filter_map(|stage| Some(format!("{}: {}", stage.name, stage.reasons.first()?)))
        .collect();
    if said.len() > TOP_REASONS {
        let more = said.len() - TOP_REASONS;
        said.truncate(TOP_REASONS);
        said.push(format!("and {more} more, below"));
    }
    said
}

fn top(result: &BurnInResult) -> Markup {
    let machine = result.machine.as_ref();
    html! {
        h1 { "Burn-in of " (machine.map_or_else(|| "this machine".to_owned(), |m| cell(&m.hostname))) }
        @if let Some(machine) = machine { p.soft { (make(machine)) } }
        section.verdict.(tone(result.verdict)) {
            div.word { (word(&result.verdict).to_uppercase()) }
            p { (meaning(result)) }
            @let reasons = reasons(result);
            @if !reasons.is_empty() {
                ul { @for reason in &reasons { li { (printable(reason)) } } }
            }
        }
    }
}

fn make(machine: &Machine) -> String {
    let told: Vec<_> = [&machine.manufacturer, &machine.product]
        .into_iter()
        .filter_map(|reading| reading.value())
        .map(|text| printable(text).into_owned())
        .collect();
    let serial = match machine.serial.value() {
        Some(serial) => format!("serial {}", printable(serial)),
        None => "no serial known".to_owned(),
    };
    if told.is_empty() {
        format!("Unknown product, {serial}")
    } else {
        format!("{}, {serial}", told.join(" "))
    }
}

fn facts(result: &BurnInResult) -> Markup {
    let machine = result.machine.as_ref();
    let sum = |of: fn(&cupel_burnin::StageResult) -> u64| result.stages.iter().map(of).sum::<u64>();
    html! {
        dl {
            dt { "Plan" }
            dd { (word(&result.plan.kind)) ", " (span(result.elapsed_seconds.get())) @if result.cancelled { ", cancelled" } }
            dt { "Began" } dd { (moment(result.started_at)) }
            dt { "Ended" } dd { (moment(result.finished_at)) }
            dt { "Planted faults" }
            dd { (sum(|s| s.proof.found)) " of " (sum(|s| s.proof.planted)) " found: detector " (word(&result.detector)) }
            dt { "Wrong words that nobody planted" } dd { (sum(|s| s.mismatch_count)) }
            dt { "Seed" } dd.mono { (result.plan.seed) }
            @if let Some(machine) = machine {
                dt { "Platform" }
                dd { (machine.platform.as_deref().unwrap_or("none matches: values are uncalibrated")) }
                dt { "NVIDIA driver" } dd { (told(&machine.driver)) }
                dt { "Kernel" } dd { (told(&machine.kernel)) }
                @if !machine.processors.is_empty() {
                    dt { "Processors" } dd { (machine.processors.join(", ")) }
                }
                dt { "Node id" } dd.mono { (told(&machine.node_id)) }
            }
        }
    }
}

/// To the second; nobody reads more.
fn moment(time: cupel_model::Timestamp) -> String {
    time.to_string()[..19].replace('T', " ")
}

/// What came of it, without the verdict on top: a part of other pages as well.
pub(super) fn body(result: &BurnInResult) -> Markup {
    html! {
        (facts(result))
        (plots::timeline(result))
        (tables::gpus(result))
        (plots::all(result))
        (plots::matrices(result))
        h2 { "Stages" }
        (stages::all(result))
        (tables::peers(result))
        (tables::counters(result))
        (tables::preflight(result))
        (tables::schedule(result))
        @for note in &result.notes { p.soft { (printable(note)) } }
    }
}

/// The page as HTML.
pub fn burn_in_page(result: &BurnInResult) -> String {
    let host = result
        .machine
        .as_ref()
        .map_or_else(|| "burn-in".to_owned(), |machine| cell(&machine.hostname));
    let title = format!("{host}: burn-in {}", word(&result.verdict));
    let version = result
        .machine
        .as_ref()
        .map_or(env!("CARGO_PKG_VERSION"), |machine| {
            machine.cupel_version.as_str()
        });
    let body = html! {
        (top(result))
        (body(result))
        footer { "Made by cupel " (version) ". All times are UTC; plots count from the beginning of the run." }
    };
    page(&title, &body)
}
