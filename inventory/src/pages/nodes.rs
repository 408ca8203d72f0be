//! A list of nodes: one line each, with what is wrong.

use cupel_model::Timestamp;
use cupel_model::wire::Lifecycle;
use maud::{Markup, html};

use super::href;
use super::text::{age, brief, clock, cut, elided, json, line, short_time, told};
use super::view::{Expectation, NodeLine, Standing};
use super::words::{self, finding_line, short_rack_name, stands, tone, units};

/// What a list has beside state, node and fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Columns {
    /// The fleet's: place below the name.
    Fleet,
    /// One rack's: unit below the name.
    Rack,
}

/// What a person calls the node: host name, else serial, else id.
pub(super) fn name(node: &NodeLine) -> &str {
    let known = [node.hostname.as_deref(), node.serial.as_deref()];
    let mut known = known.into_iter().flatten();
    known
        .find(|text| !text.trim().is_empty())
        .unwrap_or(&node.id)
}

/// Short labels beside a node's state.
pub(super) fn tags(node: &NodeLine) -> Markup {
    html! {
        @if let Some(word) = words::expectation(&node.expectation) { " " span.tag.info { (word) } }
        @if node.lifecycle != Lifecycle::InService {
            " " span.tag { (words::lifecycle(node.lifecycle)) }
        }
        @if node.in_use == Some(true) { " " span.tag { "in use" } }
    }
}

/// What is wrong where no finding says it.
fn plain_fault(node: &NodeLine, now: Timestamp) -> Markup {
    html! {
        @match node.standing {
            Standing::Missing => "Expected, has never reported",
            Standing::Silent => {
                "No report" @if let Some(at) = node.last_report { " since " (short_time(now, at)) }
            }
            Standing::Unknown => "A required check could not be determined",
            Standing::Unhealthy | Standing::Degraded => "No finding was told",
            Standing::Quiet => "Silence is expected",
            Standing::Healthy => span.soft { "nothing" },
        }
    }
}

fn mismatch(expectation: &Expectation) -> Markup {
    let Expectation::Mismatched(list) = expectation else {
        return html! {};
    };
    html! {
        @for one in list.iter().take(1) {
            p {
                (told(&cut(&one.what, 24))) ": expected " (elided(&one.expected, 32)) ", found "
                @match &one.found { Some(found) => (elided(found, 32)), None => "nothing" }
            }
        }
    }
}

/// What is wrong with a node.
pub(super) fn fault(node: &NodeLine, now: Timestamp) -> Markup {
    html! {
        @match &node.worst {
            Some(found) => {
                (finding_line(found))
                @if node.more_findings > 0 { " " span.soft { "+ " (node.more_findings) " more" } }
                p { (told(&cut(&brief(&found.summary), 72))) }
            }
            None => (plain_fault(node, now)),
        }
        (mismatch(&node.expectation))
    }
}

fn row(node: &NodeLine, now: Timestamp, columns: Columns) -> Markup {
    let since = node.worst.as_ref().and_then(|found| found.since);
    html! {
        tr {
            td.st.(tone(node.standing)) { (stands(node.standing)) }
            th scope="row" {
                a href=(href::node(&node.id)) { (elided(name(node), 40)) } (tags(node))
                p {
                    @match columns {
                        Columns::Fleet => {
                            (short_rack_name(&node.place.rack))
                            @if let Some(units) = units(&node.place) { " " (units) }
                        }
                        Columns::Rack => (units(&node.place).unwrap_or_else(|| "unit not known".to_owned())),
                    }
                }
            }
            td { (fault(node, now)) }
            td {
                @match (since, node.last_report) {
                    (Some(since), _) => (short_time(now, since)),
                    (None, Some(at)) => span.soft { "reported " (age_of(now, at)) },
                    (None, None) => span.nil { "never reported" },
                }
            }
        }
    }
}

/// The list as a table.
pub(super) fn table(nodes: &[NodeLine], now: Timestamp, columns: Columns) -> Markup {
    html! {
        table.nodes {
            caption.vh { "Nodes, worst first" }
            thead { tr {
                th scope="col" { "State" } th scope="col" { "Node" }
                th scope="col" { "What is wrong" } th scope="col" { "Since (UTC)" }
            } }
            tbody { @for node in nodes { (row(node, now, columns)) } }
        }
    }
}

fn age_of(now: Timestamp, at: Timestamp) -> Markup {
    html! { time datetime={ (clock(at).replace(' ', "T")) "Z" } { span.age { (age(now, at)) } } }
}

/// A text of some evidence with its unit: `8 GT/s`.
pub(super) fn measured(value: &serde_json::Value, unit: Option<&str>) -> Markup {
    html! {
        (elided(&json(value), 300))
        @if let Some(unit) = unit { " " (line(unit)) }
    }
}
