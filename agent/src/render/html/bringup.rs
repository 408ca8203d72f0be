//! The page of a bring-up: the verdict on top, then what to do, then the evidence.

use cupel_model::Verdict;
use cupel_model::snapshot::Node;
use maud::{Markup, html};

use super::{burn_in, page, parts};
use crate::bringup::BringupReport;
use crate::output::printable;
use crate::render::check::verdict_reason;
use crate::render::inventory::{Detail, sections};
use crate::render::words::{cell, span, told, word};

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

fn top(report: &BringupReport) -> Markup {
    let node = &report.node;
    html! {
        h1 { "Bring-up of " (cell(&node.hostname)) }
        p.soft { (make(node)) }
        section.verdict.(parts::verdict_tone(report.verdict)) {
            div.word { (word(&report.verdict).to_uppercase()) }
            p { (meaning(report.verdict)) }
            @if !report.reasons.is_empty() {
                ul { @for reason in &report.reasons { li { (printable(reason)) } } }
            }
        }
    }
}

/// Make, product and serial, of which a machine without SMBIOS has none.
fn make(node: &Node) -> String {
    let told: Vec<_> = [&node.manufacturer, &node.product]
        .into_iter()
        .filter_map(|reading| reading.value())
        .map(|text| printable(text).into_owned())
        .collect();
    let product = if told.is_empty() {
        "Unknown product".to_owned()
    } else {
        told.join(" ")
    };
    match node.serial.value() {
        Some(serial) => format!("{product}, serial {}", printable(serial)),
        None => format!("{product}, no serial known"),
    }
}

fn facts(report: &BringupReport) -> Markup {
    let took = report.finished_at.seconds_since(report.started_at).max(0.0);
    html! {
        dl {
            dt { "Node id" } dd.mono { (told(&report.node.id)) }
            dt { "Platform" }
            dd { (report.platform.as_deref().unwrap_or("none matches: what needs one was skipped")) }
            dt { "Began" } dd { (report.started_at) }
            dt { "Ended" } dd { (report.finished_at) " (" (span(took)) ")" }
        }
    }
}

fn steps(report: &BringupReport) -> Markup {
    html! {
        h2 { "Steps" }
        div.scroll { table {
            thead { tr { th { "Step" } th { "State" } th { "Began" } th.num { "Took" } th { "Result" } } }
            tbody {
                @for step in &report.steps { tr {
                    td.fit { (step.name.name()) }
                    td.fit { (word(&step.state)) }
                    td.fit { (step.started_at.to_string()[..19].replace('T', " ")) }
                    td.num.fit { @match step.elapsed_seconds {
                        Some(seconds) => (span(seconds.get())),
                        None => "-",
                    } }
                    td { (printable(&step.detail)) }
                } }
            }
        } }
    }
}

/// The page as HTML.
pub fn bringup_page(report: &BringupReport) -> String {
    let title = format!("{}: {}", cell(&report.node.hostname), word(&report.verdict));
    let body = html! {
        (top(report))
        (facts(report))
        h2 { "Findings" }
        (parts::findings(&report.after))
        (steps(report))
        h2 { "Burn-in" }
        @match &report.burn_in {
            Some(result) => {
                p { (burn_in::tag(result.verdict)) " " (burn_in::meaning(result)) }
                (burn_in::body(result))
            },
            None => p { "Not run: its stages could not be laid on this machine." },
        }
        h2 { "What was looked at" }
        (parts::coverage(&report.after))
        h3 { "Check before burn-in" }
        p { (word(&report.before.verdict).to_uppercase()) ": " (verdict_reason(&report.before)) }
        h2 { "The machine" }
        @for section in &sections(&report.snapshot, Detail::Full) { (parts::section(section)) }
        footer { "Made by cupel " (report.cupel_version) ". All times are UTC." }
    };
    page(&title, &body)
}
