//! Stages with what they measured and what they found.

use cupel_burnin::{BurnInResult, Floor, Measured, Outcome, StageKind, StageResult};
use cupel_model::units::Bytes;
use maud::{Markup, html};

use super::tag;
use crate::output::printable;
use crate::render::words::{significant, span, word};

/// All stages, by kind.
pub(super) fn all(result: &BurnInResult) -> Markup {
    html! {
        @for kind in StageKind::ALL {
            @let stages: Vec<&StageResult> = result.stages.iter().filter(|s| s.stage == kind).collect();
            @if stages.len() > 2 && let Some(why) = apart(&stages) {
                h3 { (kind.name()) " " (tag(Outcome::Unsupported)) }
                p { (stages.len()) " parts cannot be tested here: " (printable(why)) }
            } @else if stages.len() > 2 {
                (many(kind, &stages))
            } @else {
                @for stage in stages { (one(stage)) }
            }
        }
    }
}

/// Why none of these could be tested, if nobody needs them and it is the same for all.
fn apart<'a>(stages: &[&'a StageResult]) -> Option<&'a str> {
    let why = stages.first()?.reasons.first()?;
    stages
        .iter()
        .all(|stage| {
            stage.outcome == Outcome::Unsupported
                && !stage.required
                && stage.reasons.first() == Some(why)
        })
        .then_some(why.as_str())
}

/// `2 of 2 processors`; bytes for people.
fn tested(stage: &StageResult) -> String {
    let coverage = &stage.coverage;
    let (covered, asked) = (coverage.covered, coverage.asked);
    if asked == 0 {
        "nothing".to_owned()
    } else if coverage.unit == "bytes" {
        format!("{} of {}", Bytes(covered).human(), Bytes(asked).human())
    } else {
        format!("{covered} of {asked} {}", coverage.unit)
    }
}

fn limit(floor: &Floor) -> String {
    match floor {
        Floor::Uncalibrated => "uncalibrated".to_owned(),
        Floor::AtLeast { value, source } => {
            format!("at least {} ({})", significant(*value), printable(source))
        }
        Floor::AtMost { value, source } => {
            format!("at most {} ({})", significant(*value), printable(source))
        }
    }
}

/// One stage in full.
fn one(stage: &StageResult) -> Markup {
    html! {
        h3 { (stage.name) " " (tag(stage.outcome)) }
        @if !stage.what.is_empty() { p.soft { (printable(&stage.what)) } }
        @for reason in &stage.reasons { p.reason { (printable(reason)) } }
        div.scroll { table {
            thead { tr { th { "Measured" } th.num { "Value" } th { "Limit" } } }
            tbody {
                tr { td { "tested" } td.num { (tested(stage)) } td { "all (" (stage.coverage.percent) " done)" } }
                @if stage.proof.planted > 0 {
                    tr {
                        td { "planted faults found" }
                        td.num { (stage.proof.found) " of " (stage.proof.planted) }
                        td { "detector " (word(&stage.proof.detector)) }
                    }
                }
                tr { td { "words that were wrong" } td.num { (stage.mismatch_count) } td { "0" } }
                @for value in &stage.measured { (row(value)) }
                tr { td { "time" } td.num { (span(stage.elapsed_seconds.get())) } td {} }
            }
        } }
        (wrong(stage))
        @for note in &stage.notes { p.soft { (printable(note)) } }
    }
}

fn row(value: &Measured) -> Markup {
    let class = match (value.holds(), value.floor.is_verified()) {
        (Some(false), true) => "bad",
        (Some(false), false) => "warn",
        (Some(true), _) | (None, _) => "",
    };
    html! {
        tr {
            td { (printable(&value.name)) @if let Some(on) = &value.on { span.soft { " " (on) } } }
            td.num.(class) { (significant(value.value)) " " (value.unit) }
            td { (limit(&value.floor)) }
        }
    }
}

fn wrong(stage: &StageResult) -> Markup {
    let more = stage
        .mismatch_count
        .saturating_sub(stage.mismatches.len() as u64);
    html! {
        @for mismatch in &stage.mismatches { p.mono { (printable(&mismatch.to_string())) } }
        @if more > 0 { p { "and " (more) " more" } }
    }
}

/// Stages of one kind on many parts: a row a part, a column a value.
fn many(kind: StageKind, stages: &[&StageResult]) -> Markup {
    let mut columns: Vec<(&str, &str)> = Vec::new();
    for value in stages.iter().flat_map(|stage| &stage.measured) {
        let column = (value.name.as_str(), value.unit.as_str());
        if !columns.contains(&column) {
            columns.push(column);
        }
    }
    let what = stages.first().map_or("", |stage| stage.what.as_str());
    let floors: Vec<&Measured> = stages
        .first()
        .into_iter()
        .flat_map(|stage| &stage.measured)
        .filter(|value| value.floor != Floor::Uncalibrated)
        .collect();
    html! {
        h3 { (kind.name()) }
        p.soft { (printable(what)) }
        div.scroll { table {
            thead { tr {
                th { "Part" } th { "Outcome" } th.num { "Tested" } th.num { "Planted found" } th.num { "Wrong" }
                @for (name, unit) in &columns { th.num.narrow { (name) @if !unit.is_empty() { ", " (unit) } } }
                th.num { "Time" }
            } }
            tbody {
                @for stage in stages { tr {
                    td.fit { (stage.name.target.as_deref().unwrap_or("-")) }
                    td.fit { (tag(stage.outcome)) }
                    td.num.fit { (tested(stage)) }
                    td.num.fit { (stage.proof.found) " of " (stage.proof.planted) }
                    td.num.fit { (stage.mismatch_count) }
                    @for column in &columns { (cell(stage, *column)) }
                    td.num.fit { (span(stage.elapsed_seconds.get())) }
                } }
            }
        } }
        @for value in floors { p.soft { (value.name) ": " (limit(&value.floor)) } }
        @for stage in stages {
            @for reason in &stage.reasons {
                p.reason { strong { (stage.name) } ": " (printable(reason)) }
            }
            (wrong(stage))
        }
        @for note in notes(stages) { p.soft { (printable(note)) } }
    }
}

fn cell(stage: &StageResult, (name, unit): (&str, &str)) -> Markup {
    let value = stage
        .measured
        .iter()
        .find(|value| value.name == name && value.unit == unit);
    html! {
        @match value {
            Some(value) if value.holds() == Some(false) => td.num.fit.bad { (significant(value.value)) },
            Some(value) => td.num.fit { (significant(value.value)) },
            None => td.num.fit { "-" },
        }
    }
}

/// Notes that the stages have, each once.
fn notes<'a>(stages: &[&'a StageResult]) -> Vec<&'a str> {
    let mut notes: Vec<&str> = Vec::new();
    for note in stages.iter().flat_map(|stage| &stage.notes) {
        if !notes.contains(&note.as_str()) {
            notes.push(note);
        }
    }
    notes
}
