//! A check report for people: worst first, each finding with its place and what to do, then what
//! happened, then the verdict and what was and was not looked at.

use anstyle::{AnsiColor, Style};
use std::collections::BTreeMap;

use cupel_model::{
    CheckReport, Component, Event, Evidence, Finding, Mode, NotRun, Performer, Remedy,
    RemedyAction, Severity, Urgency, Verdict,
};

use super::table::{Grid, Layout};
use super::words::{self, count, json, place_of, word};
use crate::output::{paint, printable};

/// Most events that are listed one by one.
const EVENTS: usize = 20;

/// The whole report.
pub fn report(report: &CheckReport, layout: Layout) -> String {
    let mut text = String::new();
    for found in &report.findings {
        text.push_str(&finding(found, layout));
        text.push('\n');
    }
    text.push_str(&events(&report.events, layout));
    text.push_str(&verdict_line(report, layout.colour));
    text.push('\n');
    text.push_str(&coverage(report, layout));
    text
}

/// Colour of a severity.
pub fn colour_of(severity: Severity) -> Style {
    match severity {
        Severity::Critical => AnsiColor::Red.on_default().bold(),
        Severity::Warning => AnsiColor::Yellow.on_default().bold(),
        Severity::Info => AnsiColor::Cyan.on_default(),
    }
}

/// One finding as a block of lines.
pub fn finding(found: &Finding, layout: Layout) -> String {
    let severity = words::severity(found.severity);
    let mut text = format!(
        "{}  {}  {}\n",
        paint(severity, colour_of(found.severity), layout.colour),
        paint(&found.code, Style::new().bold(), layout.colour),
        place_of(found)
    );
    let mut rows = vec![("what".to_owned(), printable(&found.summary).into_owned())];
    for evidence in &found.evidence {
        rows.push(("measured".to_owned(), evidence_text(evidence)));
    }
    for (number, remedy) in found.remedy.iter().enumerate() {
        let label = if number == 0 { "do" } else { "then" };
        rows.push((label.to_owned(), remedy_text(remedy, &found.component)));
    }
    rows.push(("when".to_owned(), when(found)));
    // The same label twice in a row is said once.
    for at in (1..rows.len()).rev() {
        if rows[at].0 == rows[at - 1].0 {
            rows[at].0.clear();
        }
    }
    text.push_str(&layout.labelled(&rows, 2));
    text
}

/// `current_width = 8, wanted 16 (NVIDIA H200 datasheet)`.
pub fn evidence_text(evidence: &Evidence) -> String {
    let unit = evidence
        .unit
        .as_ref()
        .map(|unit| format!(" {unit}"))
        .unwrap_or_default();
    let mut text = format!("{} = {}{unit}", evidence.name, json(&evidence.value));
    if let Some(limit) = &evidence.limit {
        text.push_str(&format!(", limit {}{unit}", json(limit)));
    }
    if let Some(source) = &evidence.limit_source {
        text.push_str(&format!(" ({})", printable(source)));
    }
    text
}

/// `reset-gpu: …`, and who may do it where that is not a person. What names the part beyond its
/// slot stands in the finding's head.
pub fn remedy_text(remedy: &Remedy, part: &Component) -> String {
    let by = match remedy.by {
        Performer::Human => "",
        Performer::OptIn => " [by Cupel where switched on]",
        Performer::Automatic => " [by Cupel itself]",
    };
    let text = shortened(&remedy.text, part);
    let text = printable(&text);
    if remedy.action == RemedyAction::None {
        return format!("{text}{by}");
    }
    format!("{}: {text}{by}", word(&remedy.action))
}

/// The text without the brackets that hold the part's serial or address.
fn shortened(text: &str, part: &Component) -> String {
    let serial = part
        .serial
        .as_ref()
        .map(|serial| format!("serial {serial}"));
    let names: Vec<String> = serial
        .into_iter()
        .chain(part.pci.map(|pci| pci.to_string()))
        .collect();
    let mut short = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(" (") {
        short.push_str(before);
        match after.split_once(')') {
            Some((inner, behind))
                if inner
                    .split(", ")
                    .any(|said| names.iter().any(|n| n == said)) =>
            {
                rest = behind;
            }
            Some(_) | None => {
                short.push_str(" (");
                rest = after;
            }
        }
    }
    short + rest
}

/// Urgency, impact, since when, what ends it, and whether it counts.
pub fn when(found: &Finding) -> String {
    let mut parts = vec![match found.urgency {
        Urgency::Now => "now".to_owned(),
        Urgency::AfterJob => "after the running job".to_owned(),
        Urgency::NextWindow => "in the next maintenance window".to_owned(),
        Urgency::None => "no hurry".to_owned(),
    }];
    if found.blocks_allocation() {
        parts.push("the node must not be given work".to_owned());
    }
    if let Some(since) = found.since {
        parts.push(format!("since {since}"));
    }
    if found.mode == Mode::Observe {
        parts.push("observed only: changes no verdict".to_owned());
    }
    parts.join("; ")
}

/// Events that became no finding, folded, as a table.
pub fn events(events: &[Event], layout: Layout) -> String {
    if events.is_empty() {
        return String::new();
    }
    let mut text = layout.heading("Also in the kernel log (nothing to do by itself)");
    text.push_str(&layout.grid(&event_grid(events), 2));
    if events.len() > EVENTS {
        text.push_str(&format!("  and {} more\n", events.len() - EVENTS));
    }
    text.push('\n');
    text
}

/// Events as a grid: the worst and most frequent first.
pub fn event_grid(events: &[Event]) -> Grid {
    let mut sorted: Vec<&Event> = events.iter().collect();
    sorted.sort_by_key(|event| {
        (
            std::cmp::Reverse(event.severity),
            std::cmp::Reverse(event.repeats),
        )
    });
    let mut grid = Grid::new(&["Last seen", "Times", "Code", "PCI", "Message"]);
    for event in sorted.into_iter().take(EVENTS) {
        let first_line = event.raw.lines().next().unwrap_or_default();
        let message: String = printable(first_line).chars().take(120).collect();
        grid.row([
            event.last.or(event.time).map_or_else(
                || words::NONE.to_owned(),
                |time| time.to_string()[..19].to_owned(),
            ),
            event.repeats.to_string(),
            event.code.clone(),
            event
                .pci
                .map_or_else(|| words::NONE.to_owned(), |pci| pci.to_string()),
            message,
        ]);
    }
    grid
}

/// `Verdict: UNHEALTHY: 1 critical, 2 warnings (platform dgx-h100)`.
pub fn verdict_line(report: &CheckReport, colour: bool) -> String {
    format!(
        "Verdict: {} - {}",
        verdict(report.verdict, colour),
        verdict_reason(report)
    )
}

/// The verdict's word in capitals and its colour.
pub fn verdict(verdict: Verdict, colour: bool) -> String {
    let style = match verdict {
        Verdict::Healthy => AnsiColor::Green.on_default().bold(),
        Verdict::Degraded | Verdict::Unknown => AnsiColor::Yellow.on_default().bold(),
        Verdict::Unhealthy => AnsiColor::Red.on_default().bold(),
    };
    paint(&word(&verdict).to_uppercase(), style, colour)
}

/// The verdict's reason in a few words, and the platform that it is held against.
pub fn verdict_reason(report: &CheckReport) -> String {
    let counts = verdict_counts(report);
    match &report.platform {
        Some(platform) => format!("{counts}, platform {platform}"),
        None => format!("{counts}, no matching platform"),
    }
}

/// The verdict's reason in numbers.
pub fn verdict_counts(report: &CheckReport) -> String {
    let number = |severity: Severity| {
        report
            .findings
            .iter()
            .filter(|found| found.severity == severity && found.mode == Mode::Enforce)
            .count()
    };
    let observed = report
        .findings
        .iter()
        .filter(|found| found.mode == Mode::Observe && found.severity > Severity::Info)
        .count();
    let mut parts = Vec::new();
    for (severity, noun) in [
        (Severity::Critical, "critical finding"),
        (Severity::Warning, "warning"),
    ] {
        if number(severity) > 0 {
            parts.push(count(number(severity), noun));
        }
    }
    if parts.is_empty() {
        parts.push("nothing found that counts".to_owned());
    }
    if observed > 0 {
        parts.push(format!("{observed} observed only"));
    }
    if !report.coverage.unknown.is_empty() {
        parts.push(format!(
            "{} unknown",
            count(report.coverage.unknown.len(), "check")
        ));
    }
    parts.join(", ")
}

/// What was and was not looked at.
pub fn coverage(report: &CheckReport, layout: Layout) -> String {
    let coverage = &report.coverage;
    let mut text = format!(
        "Coverage: {} ran, {} skipped (not applicable here), {} unknown\n",
        count(coverage.ran.len(), "check"),
        coverage.skipped.len(),
        coverage.unknown.len()
    );
    for (label, list) in [
        ("unknown", &coverage.unknown),
        ("skipped", &coverage.skipped),
    ] {
        text.push_str(&layout.labelled(&not_run(label, list), 2));
    }
    text
}

/// Checks that did not come to a judgement, a row for each reason.
pub fn not_run(label: &str, list: &[NotRun]) -> Vec<(String, String)> {
    let mut by_reason: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for entry in list {
        let reason = words::ranges(&printable(&entry.reason));
        by_reason.entry(reason).or_default().push(&entry.check);
    }
    by_reason
        .into_iter()
        .map(|(reason, checks)| (label.to_owned(), format!("{reason}: {}", checks.join(", "))))
        .collect()
}
