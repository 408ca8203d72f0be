//! GPUs, peers, counters, needs, schedule.

use cupel_burnin::{
    BurnInResult, CounterChange, CounterMeaning, Outcome, PreflightState, StageKind,
};
use cupel_model::Reading;
use maud::{Markup, html};

use super::tag;
use crate::burn_in::schedule::lines;
use crate::output::printable;
use crate::render::words::{cell, significant, word};

/// A row a GPU: which it is, and what came of each stage.
pub(super) fn gpus(result: &BurnInResult) -> Markup {
    let gpus = result
        .machine
        .as_ref()
        .map_or(&[][..], |machine| &machine.gpus);
    let kinds: Vec<StageKind> = StageKind::ALL
        .into_iter()
        .filter(|kind| {
            let on_one =
                |s: &&cupel_burnin::StageResult| s.stage == *kind && s.name.target.is_some();
            kind.is_gpu() && result.stages.iter().any(|stage| on_one(&stage))
        })
        .collect();
    html! {
        @if !gpus.is_empty() {
            h2 { "GPUs" }
            div.scroll { table {
                thead { tr {
                    th { "GPU" } th { "Name" } th { "Slot" } th { "PCI" } th { "Serial" }
                    @for kind in &kinds { th { (kind.name().trim_start_matches("gpu-")) } }
                } }
                tbody {
                    @for gpu in gpus { tr {
                        td.num.fit { (cell(&gpu.index)) }
                        td.fit { (cell(&gpu.name)) }
                        td { (cell(&gpu.slot)) }
                        td.fit.mono { (cell(&gpu.pci)) }
                        td.fit.mono { (cell(&gpu.serial)) }
                        @for kind in &kinds { td.fit { (outcome(result, *kind, gpu.index.get())) } }
                    } }
                }
            } }
        }
    }
}

fn outcome(result: &BurnInResult, kind: StageKind, index: Option<u32>) -> Markup {
    let name = index.map(|index| format!("gpu{index}"));
    let stage = result
        .stages
        .iter()
        .find(|stage| stage.stage == kind && name.is_some() && stage.name.target == name);
    html! { @match stage { Some(stage) => (tag(stage.outcome)), None => "not run" } }
}

/// Parts against their peers.
pub(super) fn peers(result: &BurnInResult) -> Markup {
    html! {
        @if !result.peers.is_empty() {
            h2 { "Against its peers" }
            p.soft { "Parts of one kind should measure alike; below 90 % of the median one is slow." }
            div.scroll { table {
                thead { tr { th { "Stage" } th { "Value" } th.num { "Median" } th.num { "Lowest" } th { "Which" } th { "Slow" } } }
                tbody {
                    @for peers in &result.peers {
                        @let lowest = peers.members.iter().min_by(|a, b| a.value.total_cmp(&b.value));
                        @let slow: Vec<String> = peers.members.iter().filter(|m| m.slow).map(|m| m.on.clone().unwrap_or_else(|| m.stage.to_string())).collect();
                        tr {
                            td.fit { (peers.stage.name()) }
                            td { (peers.name) span.soft { " of " (peers.members.len()) " " (peers.group) } }
                            td.num.fit { (significant(peers.median)) " " (peers.unit) }
                            @if let Some(lowest) = lowest {
                                td.num.fit { (significant(lowest.value)) " (" (format!("{:.0}", lowest.percent.get())) " %)" }
                                td.fit { (lowest.on.clone().unwrap_or_else(|| lowest.stage.to_string())) }
                            }
                            @if slow.is_empty() { td { "none" } } @else { td.bad { (slow.join(", ")) } }
                        }
                    }
                }
            } }
        }
    }
}

fn number(reading: &Reading<f64>) -> String {
    match reading {
        Reading::Value(value) => significant(*value),
        Reading::Absent(_) => "absent".to_owned(),
        Reading::Unsupported(_) => "unsupported".to_owned(),
        Reading::Failed(_) => "NOT READ".to_owned(),
    }
}

fn is_trouble(counter: &CounterChange) -> bool {
    counter.meaning != CounterMeaning::Other
}

/// Counters that moved or could not be read; the others in a sentence.
pub(super) fn counters(result: &BurnInResult) -> Markup {
    let all: Vec<&CounterChange> = result
        .counters
        .iter()
        .chain(result.stages.iter().flat_map(|stage| &stage.counters))
        .filter(|counter| is_trouble(counter))
        .collect();
    let (still, moved): (Vec<_>, Vec<_>) = all.into_iter().partition(|c| c.rise() == Some(0.0));
    html! {
        @if !still.is_empty() || !moved.is_empty() {
            h2 { "Counters before and after" }
            p { (still.len()) " counters of errors and throttling were read before and after and stood still." }
        }
        @if !moved.is_empty() {
            div.scroll { table {
                thead { tr { th { "Counter" } th { "Part" } th { "Tells" } th.num { "Before" } th.num { "After" } th.num { "Rise" } } }
                tbody {
                    @for counter in &moved {
                        @let part = [counter.on.as_ref().map(ToString::to_string), counter.place.clone()].into_iter().flatten().collect::<Vec<_>>().join(", ");
                        tr {
                            td { (printable(&counter.name)) }
                            td { (printable(&part)) }
                            td.fit { (word(&counter.meaning)) }
                            td.num.fit { (number(&counter.before)) }
                            td.num.fit { (number(&counter.after)) }
                            td.num.fit { @match counter.rise() { Some(rise) => (significant(rise)), None => "unknown" } " " (counter.unit) }
                        }
                    }
                }
            } }
        }
    }
}

/// What the stages need.
pub(super) fn preflight(result: &BurnInResult) -> Markup {
    let tone = |state: PreflightState| match state {
        PreflightState::Met => Outcome::Pass,
        PreflightState::NotNeeded => Outcome::Skipped,
        PreflightState::Unknown => Outcome::Incomplete,
        PreflightState::Missing => Outcome::Fail,
    };
    html! {
        @if !result.preflight.is_empty() {
            h2 { "What the GPU stages need" }
            div.scroll { table {
                thead { tr { th { "Need" } th { "State" } th { "Seen" } } }
                tbody {
                    @for need in &result.preflight { tr {
                        td.fit { (need.name) @if let Some(on) = &need.on { " (" (on) ")" } }
                        td.fit { span.tag.(super::tone(tone(need.state))) { (word(&need.state).to_uppercase()) } }
                        td { (printable(&need.why)) }
                    } }
                }
            } }
        }
    }
}

/// Why each stage ran when.
pub(super) fn schedule(result: &BurnInResult) -> Markup {
    html! {
        @if !result.schedule.slots.is_empty() {
            h2 { "Schedule" }
            ul { @for line in lines(&result.schedule) { li { (printable(&line)) } } }
        }
    }
}
