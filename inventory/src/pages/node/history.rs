//! What a node went through: how it stood, how warm it was, what happened to its findings.

use cupel_model::Timestamp;
use cupel_model::wire::{ChangeKind, FindingChange};
use maud::{Markup, html};

use super::plot;
use crate::pages::href;
use crate::pages::text::{cut, grouped, short_time, span, told};
use crate::pages::view::{Node, Standing};
use crate::pages::words::{badge, change, part, severity_symbol, severity_tone, tone};

/// Most changes on the page.
const MOST: usize = 30;
/// Most stretches of one standing that are drawn.
const STRETCHES: usize = 60;

/// One standing over the time that is shown: when it held, in thousandths, and for how long.
struct Lane {
    standing: Standing,
    stretches: Vec<(u32, u32)>,
    seconds: f64,
    times: u64,
}

fn lanes(node: &Node) -> Vec<Lane> {
    let (from, now) = (node.history_from, node.context.now);
    let whole = now.seconds_since(from);
    let mut lanes: Vec<Lane> = Vec::new();
    for (at, change) in node.standings.iter().enumerate() {
        let start = change.at.max(from);
        let end = node
            .standings
            .get(at + 1)
            .map_or(now, |next| next.at)
            .min(now);
        let seconds = end.seconds_since(start);
        if seconds <= 0.0 || whole <= 0.0 {
            continue;
        }
        let x = plot::share(start.seconds_since(from) / whole);
        let width = plot::share(seconds / whole).max(3);
        let lane = match lanes
            .iter_mut()
            .find(|lane| lane.standing == change.standing)
        {
            Some(lane) => lane,
            None => {
                lanes.push(Lane {
                    standing: change.standing,
                    stretches: Vec::new(),
                    seconds: 0.0,
                    times: 0,
                });
                let last = lanes.len() - 1;
                &mut lanes[last]
            }
        };
        lane.stretches.push((x, width));
        lane.seconds += seconds;
        lane.times += 1;
    }
    lanes.sort_by_key(|lane| lane.standing);
    lanes
}

fn timeline(node: &Node) -> Markup {
    let lanes = lanes(node);
    html! {
        @if lanes.is_empty() { p.nil { "How it stood is not known for this time." } } @else {
            table.lanes {
                caption { "How it stood" }
                tbody { @for lane in &lanes { tr {
                    th scope="row" { (badge(lane.standing)) }
                    td {
                        svg.lane viewBox="0 0 1000 10" preserveAspectRatio="none" aria-hidden="true" {
                            rect.track width="1000" height="10" {}
                            @for (x, width) in lane.stretches.iter().rev().take(STRETCHES) {
                                rect.(tone(lane.standing)) x=(x) width=(width) height="10" {}
                            }
                        }
                    }
                    td.num { (span(lane.seconds)) @if lane.times > 1 { ", " (lane.times) " times" } }
                } } }
                tfoot { tr { td {} td { (plot::time_axis(node.history_from, node.context.now)) } td {} } }
            }
        }
    }
}

fn change_row(one: &FindingChange, now: Timestamp) -> Markup {
    let finding = &one.tracked.finding;
    html! {
        tr {
            td.when { (short_time(now, one.at)) }
            td {
                @match one.change {
                    ChangeKind::Cleared => span.st.good { b { "✓" } " " (change(one.change)) },
                    ChangeKind::Raised | ChangeKind::Confirmed | ChangeKind::Changed => {
                        span.st.(severity_tone(finding.severity)) {
                            b { (severity_symbol(finding.severity)) } " " (change(one.change))
                        }
                    }
                }
            }
            td { span.code { (told(&cut(&finding.code, 60))) } " " (part(&finding.component)) }
            td { (told(&cut(&one.why, 200))) }
        }
    }
}

fn changes(node: &Node) -> Markup {
    let now = node.context.now;
    let shown = node.changes.len().min(MOST);
    html! {
        h3 { "What happened to findings" }
        @if node.changes.is_empty() { p.soft { "Nothing was raised or cleared." } } @else {
            div.scroll { table.changes {
                thead { tr {
                    th scope="col" { "When (UTC)" } th scope="col" { "What" }
                    th scope="col" { "Finding" } th scope="col" { "Why" }
                } }
                tbody { @for one in node.changes.iter().take(MOST) { (change_row(one, now)) } }
            } }
            @if node.changes_kept > u64::try_from(shown).unwrap_or(u64::MAX) {
                p.soft {
                    "The newest " (shown) " of " (grouped(node.changes_kept)) ". "
                    a.go href=(href::api(&node.line.id, "/history")) { "All as JSON" }
                }
            }
        }
    }
}

/// The section.
pub(super) fn history(node: &Node) -> Markup {
    let shown = node.context.now.seconds_since(node.history_from).max(0.0);
    html! {
        section #history aria-labelledby="history-title" {
            h2 #history-title { "History of " (span(shown)) }
            (timeline(node))
            (plot::vitals(node))
            (changes(node))
        }
    }
}
