//! What is wrong with a node and what to do about it, worst first.
//!
//! # Invariants
//! - The steps of the worst finding come first on the page, before its evidence.
//! - A node that someone must look at says what to do even when it told no finding.

use cupel_model::finding::Evidence;
use cupel_model::wire::Tracked;
use cupel_model::{Confidence, Mode, Remedy, Timestamp};
use maud::{Markup, html};

use crate::pages::href;
use crate::pages::nodes::measured;
use crate::pages::text::{count, cut, line, maybe_time, time, told};
use crate::pages::view::{Expectation, Mismatch, Node, Standing};
use crate::pages::words::{
    action, clears, impact, part, performer, scope, severity, severity_symbol, severity_tone,
    urgency,
};

/// Most findings in full.
const IN_FULL: usize = 24;
/// Most lines of evidence of one finding.
const EVIDENCE: usize = 12;

fn sorted(node: &Node) -> Vec<&Tracked> {
    let mut findings: Vec<_> = node.findings.iter().collect();
    findings.sort_by(|a, b| {
        let (x, y) = (&a.finding, &b.finding);
        let enforced = |tracked: &Tracked| tracked.finding.mode == Mode::Enforce;
        enforced(b)
            .cmp(&enforced(a))
            .then_with(|| y.severity.cmp(&x.severity))
            .then_with(|| b.observed.cmp(&a.observed))
            .then_with(|| y.urgency.cmp(&x.urgency))
            .then_with(|| x.code.cmp(&y.code))
            .then_with(|| x.component.cmp(&y.component))
    });
    findings
}

/// `2 findings, 1 of them waits to be cleared`
pub(super) fn in_words(node: &Node) -> String {
    let all = node.findings.len();
    let waiting = node
        .findings
        .iter()
        .filter(|tracked| !tracked.observed)
        .count();
    let all = count(u64::try_from(all).unwrap_or(u64::MAX), "finding");
    match waiting {
        0 => all,
        waiting => format!("{all}, {waiting} of them waiting to be cleared"),
    }
}

fn step(remedy: &Remedy) -> Markup {
    let text = line(&remedy.text);
    html! {
        li {
            @if text.trim().is_empty() { (action(remedy.action)) } @else { (told(&cut(&text, 400))) }
            " " span.by { (performer(remedy.by)) }
        }
    }
}

fn evidence(evidence: &[Evidence]) -> Markup {
    html! {
        table.evidence {
            thead { tr {
                th scope="col" { "Measured" } th scope="col" { "Value" } th scope="col" { "Limit" }
            } }
            tbody {
                @for one in evidence.iter().take(EVIDENCE) { tr {
                    th scope="row" { (told(&cut(&one.name, 60).replace('_', " "))) }
                    @match &one.limit {
                        Some(limit) => {
                            td.v { (measured(&one.value, one.unit.as_deref())) }
                            td {
                                (measured(limit, one.unit.as_deref()))
                                @if let Some(source) = &one.limit_source { p.soft { (told(&cut(source, 160))) } }
                            }
                        }
                        None => td.v colspan="2" { (measured(&one.value, one.unit.as_deref())) },
                    }
                } }
            }
        }
        @if evidence.len() > EVIDENCE { p.soft { "And " (evidence.len() - EVIDENCE) " more." } }
    }
}

fn life(tracked: &Tracked, now: Timestamp) -> Markup {
    let finding = &tracked.finding;
    html! {
        dl.life {
            div { dt { "Since" } dd { (maybe_time(now, finding.since)) } }
            div { dt { "Last seen" } dd { (time(now, tracked.last_seen)) } }
            @if tracked.flaps > 0 {
                div { dt { "Came back" } dd { (count(tracked.flaps.into(), "time")) " within 24 h" } }
            }
            div { dt { "Means" } dd { (impact(finding.impact)) } }
            div { dt { "Reaches" } dd { (scope(finding.scope)) } }
            div { dt { "Ends" } dd { (clears(finding.clears)) } }
        }
    }
}

fn card(tracked: &Tracked, now: Timestamp) -> Markup {
    let finding = &tracked.finding;
    let component = &finding.component;
    html! {
        article.finding.(severity_tone(finding.severity)) {
            header {
                span.st.(severity_tone(finding.severity)) {
                    b { (severity_symbol(finding.severity)) } " " (severity(finding.severity))
                }
                " " h3.code { (told(&cut(&finding.code, 80))) } " "
                span.where { (part(component)) }
                @if let Some(serial) = &component.serial {
                    " " a.go href=(href::part(serial)) { "serial " (told(&cut(serial, 40))) }
                }
                @if finding.confidence == Confidence::Provisional { " " span.tag { "provisional" } }
                @if finding.mode == Mode::Observe { " " span.tag { "observed only: changes no verdict" } }
            }
            p.summary { (told(&cut(&finding.summary, 500))) }
            @if !tracked.observed {
                p.waits {
                    b { "No longer observed." } " Waits for: "
                    @match &tracked.waits_for {
                        Some(why) => (told(&cut(why, 200))),
                        None => (clears(finding.clears)),
                    }
                }
            }
            div.cols {
                div.do {
                    h4 { "What to do " span.urgency { (urgency(finding.urgency)) } }
                    @if finding.remedy.is_empty() {
                        p { "The finding names no step. See " code { "cupel explain " (told(&cut(&finding.code, 80))) } "." }
                    } @else {
                        ol { @for remedy in &finding.remedy { (step(remedy)) } }
                    }
                }
                div {
                    h4 { "Evidence" }
                    @if finding.evidence.is_empty() { p.nil { "none was told" } } @else { (evidence(&finding.evidence)) }
                    (life(tracked, now))
                }
            }
        }
    }
}

/// What to do where a node told no finding that says it.
fn advice(title: &str, steps: &[&str]) -> Markup {
    html! {
        article.finding.gone {
            div.do {
                h3 { (title) }
                ol { @for step in steps { li { (step) } } }
            }
        }
    }
}

fn standing_advice(node: &Node) -> Markup {
    match node.line.standing {
        Standing::Missing => advice(
            "What to do: find out whether it is there",
            &[
                "Look at its place whether a machine with the expected serial stands there, has power and is on.",
                "If it runs, see on its console whether the service runs: systemctl status cupel.",
                "See in the service's log whether it reaches this inventory and whether its token is taken: journalctl -u cupel.",
                "If it is not to come, take it off the list of what should arrive.",
            ],
        ),
        Standing::Silent
            if node
                .findings
                .iter()
                .all(|t| t.finding.code != "node.silent") =>
        {
            advice(
                "What to do: find out why it is silent",
                &[
                    "See through its management controller whether it has power and is on.",
                    "If it runs, see on its console whether the service runs: systemctl status cupel.",
                    "See in the service's log whether it reaches this inventory and whether its token is taken: journalctl -u cupel.",
                    "If its silence is wanted, set its lifecycle to maintenance.",
                ],
            )
        }
        Standing::Silent
        | Standing::Quiet
        | Standing::Unhealthy
        | Standing::Unknown
        | Standing::Degraded
        | Standing::Healthy => html! {},
    }
}

fn mismatches(list: &[Mismatch]) -> Markup {
    html! {
        article.finding.info {
            header { span.st.info { b { "≠" } " MISMATCHED" } h3 { "It is not what the list of what should arrive says" } }
            div.cols {
                div.do {
                    h4 { "What to do" }
                    ol {
                        li { "Compare the serial on the chassis with the list: is it the machine that was meant for this place?" }
                        li { "Move the machine, or correct the list." }
                    }
                }
                table.evidence {
                    thead { tr { th scope="col" { "What" } th scope="col" { "Expected" } th scope="col" { "Found" } } }
                    tbody { @for one in list.iter().take(20) { tr {
                        th scope="row" { (told(&cut(&one.what, 60))) }
                        td { (told(&cut(&one.expected, 120))) }
                        td.v { @match &one.found { Some(found) => (told(&cut(found, 120))), None => span.nil { "nothing" } } }
                    } } }
                }
            }
        }
    }
}

/// Checks that could not be determined, by reason.
fn undetermined(node: &Node) -> Markup {
    let Some(coverage) = &node.coverage else {
        return html! {};
    };
    let mut by_reason: Vec<(&str, Vec<&str>)> = Vec::new();
    for one in &coverage.unknown {
        match by_reason
            .iter_mut()
            .find(|(reason, _)| *reason == one.reason)
        {
            Some((_, checks)) => checks.push(&one.check),
            None => by_reason.push((&one.reason, vec![&one.check])),
        }
    }
    html! {
        @if !by_reason.is_empty() {
            div.unknown {
                h3 { b { "?" } " Could not be determined" }
                dl {
                    @for (reason, checks) in by_reason.iter().take(12) {
                        dt { (told(&cut(reason, 200))) }
                        dd { @for (at, check) in checks.iter().enumerate() {
                            @if at > 0 { ", " } span.code { (told(&cut(check, 60))) }
                        } }
                    }
                }
                @if by_reason.len() > 12 { p.soft { "And " (by_reason.len() - 12) " more reasons." } }
            }
        }
    }
}

fn looked_at(node: &Node) -> Markup {
    html! {
        @if let Some(coverage) = &node.coverage {
            p.soft {
                (count(u64::try_from(coverage.ran.len()).unwrap_or(u64::MAX), "check")) " ran, "
                (coverage.skipped.len()) " do not apply here, "
                (coverage.unknown.len()) " could not be determined."
            }
        }
    }
}

/// All findings, what is unknown, and what else there is to do.
pub(super) fn findings(node: &Node) -> Markup {
    let now = node.context.now;
    let findings = sorted(node);
    let (open, waiting): (Vec<_>, Vec<_>) =
        findings.into_iter().partition(|tracked| tracked.observed);
    let nothing = open.is_empty() && waiting.is_empty();
    html! {
        (standing_advice(node))
        @for tracked in open.iter().take(IN_FULL) { (card(tracked, now)) }
        @if let Expectation::Mismatched(list) = &node.line.expectation { (mismatches(list)) }
        @if node.line.expectation == Expectation::Unexpected {
            (advice("What to do: it is not on the list of what should arrive", &[
                "If it belongs here, put its chassis serial and its place on the list.",
                "If it does not, find out who installed it, and take it out.",
            ]))
        }
        @if !waiting.is_empty() {
            h3.waiting { "Waiting to be cleared (" (waiting.len()) ")" }
            @for tracked in waiting.iter().take(IN_FULL) { (card(tracked, now)) }
        }
        @if open.len() > IN_FULL || waiting.len() > IN_FULL {
            p.soft { "There are more findings than fit on a page: " (in_words(node)) "." }
        }
        @if nothing {
            @match node.line.standing {
                Standing::Healthy => p.well { b { "✓" } " Nothing is wrong, and there is nothing to do." },
                Standing::Quiet => p.soft { "Nothing is to be done while its silence is expected." },
                Standing::Unknown => p.soft { "It told no finding. What could not be determined stands below." },
                Standing::Missing | Standing::Silent => {},
                Standing::Unhealthy | Standing::Degraded => p.soft { "It told no finding." },
            }
        }
        (undetermined(node))
        (looked_at(node))
    }
}
