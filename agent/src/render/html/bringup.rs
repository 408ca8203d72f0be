//! The page of a bring-up: the verdict on top, then what to do, then the evidence.

use cupel_burnin::BurnInResult;
use cupel_model::{CheckReport, Snapshot, Timestamp, Verdict};
use maud::{Markup, html};

use super::{page, parts};
use crate::output::printable;
use crate::render::check::verdict_reason;
use crate::render::inventory::{Detail, sections};
use crate::render::words::{cell, span, told, word};

/// One step of a bring-up, as the page shows it.
#[derive(Clone, Debug)]
pub struct Step {
    /// Its name.
    pub name: String,
    /// How it went, in a word.
    pub state: String,
    /// What came of it.
    pub detail: String,
    /// When it began; `None` when it did not.
    pub started_at: Option<Timestamp>,
    /// How long it took; `None` when it did not end.
    pub elapsed_seconds: Option<f64>,
}

/// What the page of a bring-up shows.
#[derive(Clone, Copy, Debug)]
pub struct BringupView<'a> {
    /// The verdict of the whole.
    pub verdict: Verdict,
    /// The verdict's reason in a sentence.
    pub reason: &'a str,
    /// Version of the cupel that made it.
    pub cupel_version: &'a str,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended; `None` while it is going on.
    pub finished_at: Option<Timestamp>,
    /// Its steps in order.
    pub steps: &'a [Step],
    /// The check before burn-in.
    pub before: Option<&'a CheckReport>,
    /// The check after burn-in.
    pub after: Option<&'a CheckReport>,
    /// What came of burn-in.
    pub burn_in: Option<&'a BurnInResult>,
    /// The machine.
    pub snapshot: Option<&'a Snapshot>,
}

/// What the verdict means for the node.
fn meaning(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Healthy => "Everything that applies was looked at and is well.",
        Verdict::Degraded => "The node works, and someone should look at what is below.",
        Verdict::Unknown => {
            "Something that must be known could not be determined. That is not healthy."
        }
        Verdict::Unhealthy => "The node is unfit until what is below is done.",
    }
}

fn top(view: &BringupView<'_>) -> Markup {
    html! {
        @if let Some(snapshot) = view.snapshot {
            h1 { "Bring-up of " (cell(&snapshot.node.hostname)) }
            p.soft {
                (cell(&snapshot.node.manufacturer)) " " (cell(&snapshot.node.product))
                ", serial " (cell(&snapshot.node.serial))
            }
        } @else {
            h1 { "Bring-up" }
        }
        section.verdict.(parts::verdict_tone(view.verdict)) {
            div.word { (word(&view.verdict).to_uppercase()) }
            p { (printable(view.reason)) }
            p.soft { (meaning(view.verdict)) }
        }
    }
}

fn facts(view: &BringupView<'_>) -> Markup {
    let platform = view
        .after
        .or(view.before)
        .and_then(|report| report.platform.as_deref());
    html! {
        dl {
            @if let Some(snapshot) = view.snapshot {
                dt { "Node id" } dd.mono { (told(&snapshot.node.id)) }
            }
            dt { "Platform" }
            dd { (platform.unwrap_or("none matches: what needs one was skipped")) }
            dt { "Began" } dd { (view.started_at) }
            dt { "Ended" }
            dd {
                @match view.finished_at {
                    Some(end) => {
                        (end) " (" (span(end.seconds_since(view.started_at).max(0.0))) ")"
                    }
                    None => "not yet",
                }
            }
        }
    }
}

fn steps(steps: &[Step]) -> Markup {
    html! {
        h2 { "Steps" }
        div.scroll { table {
            thead { tr { th { "Step" } th { "State" } th { "Began" } th.num { "Took" } th { "Result" } } }
            tbody {
                @for step in steps { tr {
                    td.fit { (step.name) }
                    td.fit { (step.state) }
                    td.fit { @match step.started_at {
                        Some(time) => (time.to_string()[..19].replace('T', " ")),
                        None => "-",
                    } }
                    td.num.fit { @match step.elapsed_seconds {
                        Some(seconds) => (span(seconds)),
                        None => "-",
                    } }
                    td { (printable(&step.detail)) }
                } }
            }
        } }
    }
}

/// The page as HTML.
pub fn bringup_page(view: &BringupView<'_>) -> String {
    let title = match view
        .snapshot
        .and_then(|snapshot| snapshot.node.hostname.value())
    {
        Some(host) => format!("{}: {}", printable(host), word(&view.verdict)),
        None => format!("Bring-up: {}", word(&view.verdict)),
    };
    let last = view.after.or(view.before);
    let body = html! {
        (top(view))
        @if let Some(report) = last {
            h2 { "Findings" }
            (parts::findings(report))
        }
        (facts(view))
        (steps(view.steps))
        @if let Some(result) = view.burn_in {
            h2 { "Burn-in" }
            (parts::burn_in(result))
        }
        @if let Some(report) = last {
            h2 { "What was looked at" }
            (parts::coverage(report))
        }
        @if let (Some(before), Some(_)) = (view.before, view.after) {
            h2 { "Check before burn-in" }
            p { (word(&before.verdict).to_uppercase()) ": " (verdict_reason(before)) }
        }
        @if let Some(snapshot) = view.snapshot {
            h2 { "The machine" }
            @for section in &sections(snapshot, Detail::Full) { (parts::section(section)) }
        }
        footer { "Made by cupel " (view.cupel_version) ". All times are UTC." }
    };
    page(&title, &body)
}
