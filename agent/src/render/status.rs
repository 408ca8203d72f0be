//! What the service says, for people: the verdict, then what is wrong and what to do, worst first,
//! then the service itself, its own troubles first.
//!
//! # Invariants
//! - Text fits the layout's width; [`line`], [`event`] and [`change`] are one line each, however
//!   long, for scripts and for reading along.
//! - Each trouble of the service says what to do about it.

mod service;

#[cfg(test)]
mod tests;

use std::cmp::Reverse;

use anstyle::Style;
use cupel_model::wire::{ChangeKind, FindingChange, Tracked};
use cupel_model::{Confidence, Event, Finding, Mode, Severity, Timestamp, Verdict};

use super::check;
use super::table::{Layout, wrap};
use super::words::{self, count, place_of, span, word};
use crate::output::{paint, printable};
use crate::status::Status;

/// Label and text of one row.
type Row = (String, String);

/// Everything.
pub fn text(status: &Status, layout: Layout) -> String {
    let mut text = head(status, layout);
    for tracked in worst_first(status) {
        text.push('\n');
        text.push_str(&finding(tracked, status.said_at, layout));
    }
    text.push_str(&next(status, layout));
    for (title, rows) in [
        ("Needs attention", service::troubles(status)),
        ("The service", service::service(status)),
    ] {
        if !rows.is_empty() {
            text.push('\n');
            text.push_str(&layout.heading(title));
            text.push_str(&layout.labelled(&rows, 2));
        }
    }
    text.push('\n');
    text.push_str(&coverage(status, layout));
    text
}

/// For scripts: the verdict, and the worst finding that counts or the first check that is unknown.
pub fn line(status: &Status) -> String {
    let verdict = word(&status.verdict);
    let counts =
        |t: &&&Tracked| t.finding.mode == Mode::Enforce && t.finding.severity > Severity::Info;
    let counting: Vec<&Tracked> = worst_first(status).iter().filter(counts).copied().collect();
    let unknown = &status.coverage.unknown;
    let (what, of) = match (status.verdict, counting.first(), unknown.first()) {
        (Verdict::Unknown, _, Some(first)) => {
            (format!(" {}: {}", first.check, first.reason), unknown.len())
        }
        (Verdict::Unknown, _, None) if status.judged_at.is_none() => {
            (": not judged yet: the machine is being read".to_owned(), 1)
        }
        (_, Some(first), _) => (short(&first.finding), counting.len()),
        (_, None, _) => (String::new(), 1),
    };
    let more = match of {
        0 | 1 => String::new(),
        several => format!(" (+{} more)", several - 1),
    };
    words::one_line(&format!("{verdict}{what}{more}"))
}

/// ` gpu.off-bus SXM 4 (1650123000003): GPU 3 in SXM 4 has fallen off the PCI bus`.
fn short(found: &Finding) -> String {
    let part = &found.component;
    let pci = part.pci.map(|pci| pci.to_string());
    let place = part.slot.clone().or(pci);
    let place = place.map(|place| format!(" {place}")).unwrap_or_default();
    let serial = part.serial.as_ref();
    let serial = serial.map(|serial| format!(" ({serial})"));
    let serial = serial.unwrap_or_default();
    format!(" {}{place}{serial}: {}", found.code, found.summary)
}

/// One event of the kernel log on one line.
pub fn event(event: &Event) -> String {
    super::event::line(event)
}

/// One step in the life of a finding on one line.
pub fn change(change: &FindingChange) -> String {
    let found = &change.tracked.finding;
    let severity = match change.change {
        ChangeKind::Cleared => "CLEARED",
        ChangeKind::Raised | ChangeKind::Confirmed | ChangeKind::Changed => {
            words::severity(found.severity)
        }
    };
    let what = match change.change {
        ChangeKind::Raised => format!("raised: {}", found.summary),
        ChangeKind::Confirmed => format!("confirmed: {}", found.summary),
        ChangeKind::Changed => format!("changed ({}): {}", change.why, found.summary),
        ChangeKind::Cleared => format!("cleared: {}", change.why),
    };
    words::one_line(&format!(
        "{}  {severity:<8}  {}  {}  {what}",
        time(change.at),
        found.code,
        place_of(found)
    ))
}

/// Those that count first, then by severity, then those that are seen now.
fn worst_first(status: &Status) -> Vec<&Tracked> {
    let mut findings: Vec<&Tracked> = status.findings.iter().collect();
    findings.sort_by_key(|tracked| {
        let found = &tracked.finding;
        (
            found.mode == Mode::Observe,
            Reverse(found.severity),
            Reverse(found.blocks_allocation()),
            !tracked.observed,
        )
    });
    findings
}

/// To the second.
fn time(time: Timestamp) -> String {
    let text = time.to_string();
    text.split('.').next().unwrap_or_default().to_owned()
}

/// `2026-01-02T03:04:05 (2 h 3 min)`.
fn since(then: Timestamp, now: Timestamp) -> String {
    format!(
        "{} ({})",
        time(then),
        span(now.seconds_since(then).max(0.0))
    )
}

fn head(status: &Status, layout: Layout) -> String {
    let reason = match (&status.allocation.why, status.judged_at) {
        (Some(why), _) => format!("give it no work: {why}"),
        (None, None) => "not judged yet: the machine is being read".to_owned(),
        (None, Some(_)) => check::verdict_counts(&status.report()),
    };
    let verdict = word(&status.verdict).to_uppercase();
    let indent = verdict.chars().count() + 2;
    let reason = words::one_line(&reason);
    let lines = wrap(&reason, layout.width.saturating_sub(indent));
    let mut text = check::verdict(status.verdict, layout.colour) + "  ";
    text.push_str(&lines.join(&format!("\n{:indent$}", "")));
    text.push('\n');
    for line in wrap(&machine(status), layout.width) {
        text.push_str(line);
        text.push('\n');
    }
    text
}

/// `gpu001: Imaginary Inc. Crucible 8, serial CRU0001, platform crucible-8`.
fn machine(status: &Status) -> String {
    let node = &status.node;
    let name = node.hostname.value().or(node.id.value());
    let name = name.map_or("this node", String::as_str);
    let model = [&node.manufacturer, &node.product]
        .into_iter()
        .filter_map(|reading| reading.value().map(String::as_str))
        .collect::<Vec<_>>()
        .join(" ");
    let mut parts = Vec::new();
    if !model.is_empty() {
        parts.push(model);
    }
    if let Some(serial) = node.serial.value() {
        parts.push(format!("serial {serial}"));
    }
    match &status.platform {
        Some(platform) => parts.push(format!("platform {platform}")),
        None if status.judged_at.is_some() => parts.push("no matching platform".to_owned()),
        None => {}
    }
    if parts.is_empty() {
        return words::one_line(name);
    }
    words::one_line(&format!("{name}: {}", parts.join(", ")))
}

fn finding(tracked: &Tracked, now: Timestamp, layout: Layout) -> String {
    let found = &tracked.finding;
    let mut text = format!(
        "{}  {}\n",
        paint(
            words::severity(found.severity),
            check::colour_of(found.severity),
            layout.colour
        ),
        paint(&found.code, Style::new().bold(), layout.colour),
    );
    let mut rows = vec![
        row("part", place_of(found)),
        row("what", printable(&found.summary).into_owned()),
    ];
    for (number, remedy) in found.remedy.iter().enumerate() {
        let label = ["do", "then", ""].get(number).copied().unwrap_or_default();
        rows.push(row(label, check::remedy_text(remedy, &found.component)));
    }
    rows.push(row("since", life(tracked, now)));
    if let Some(waits_for) = &tracked.waits_for {
        let seen = time(tracked.last_seen);
        let waits_for = words::one_line(waits_for);
        rows.push(row(
            "waits",
            format!("for {waits_for}; not seen since {seen}"),
        ));
    }
    rows.push(row("id", printable(&tracked.id).into_owned()));
    text.push_str(&layout.labelled(&rows, 2));
    text
}

/// What one can ask and tell about findings.
fn next(status: &Status, layout: Layout) -> String {
    let Some(first) = worst_first(status).first().copied() else {
        return String::new();
    };
    let code = printable(&first.finding.code);
    let mut rows = vec![row("why it matters", format!("cupel explain {code}"))];
    if status.findings.iter().any(|t| t.waits_for.is_some()) {
        rows.push(row("dealt with", "cupel clear ID --because WHY"));
    }
    format!("\n{}", layout.labelled(&rows, 0))
}

/// Since when, how sure, how often, and whether it counts.
fn life(tracked: &Tracked, now: Timestamp) -> String {
    let found = &tracked.finding;
    let began = found.since.unwrap_or(tracked.last_seen);
    let mut parts = vec![since(began, now)];
    parts.push(match found.confidence {
        Confidence::Confirmed => "confirmed".to_owned(),
        Confidence::Provisional => "not yet confirmed".to_owned(),
    });
    if tracked.flaps > 0 {
        let times = count(usize::try_from(tracked.flaps).unwrap_or(usize::MAX), "time");
        parts.push(format!("came back {times} in 24 h"));
    }
    if found.mode == Mode::Observe {
        parts.push("observed only: changes no verdict".to_owned());
    }
    parts.join(", ")
}

fn row(label: &str, text: impl Into<String>) -> Row {
    (label.to_owned(), text.into())
}

fn coverage(status: &Status, layout: Layout) -> String {
    let coverage = &status.coverage;
    let mut text = format!(
        "Coverage: {} ran, {} skipped (not applicable here), {} unknown\n",
        count(coverage.ran.len(), "check"),
        coverage.skipped.len(),
        coverage.unknown.len()
    );
    text.push_str(&layout.labelled(&check::not_run("unknown", &coverage.unknown), 2));
    text
}
