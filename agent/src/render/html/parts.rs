//! Pieces that pages are made of.

use cupel_model::{CheckReport, Finding, Severity, Verdict};
use maud::{Markup, html};

use crate::output::printable;
use crate::render::check::{event_grid, evidence_text, remedy_text, when};
use crate::render::inventory::Section;
use crate::render::table::Grid;
use crate::render::words::{self, place_of};

/// Class of a severity's colours.
fn tone(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical => "bad",
        Severity::Warning => "warn",
        Severity::Info => "info",
    }
}

/// Class of a verdict's colours.
pub(super) fn verdict_tone(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Healthy => "good",
        Verdict::Degraded | Verdict::Unknown => "warn",
        Verdict::Unhealthy => "bad",
    }
}

/// One finding: what, where, what was measured, what to do.
pub(super) fn finding(found: &Finding) -> Markup {
    html! {
        article.finding.(tone(found.severity)) {
            header {
                span.tag { (words::severity(found.severity)) }
                code { (found.code) }
                span { (place_of(found)) }
            }
            p.summary { (printable(&found.summary)) }
            @if !found.remedy.is_empty() {
                h4 { "What to do" }
                ol { @for remedy in &found.remedy { li { (remedy_text(remedy, &found.component)) } } }
            }
            @if !found.evidence.is_empty() {
                h4 { "Measured" }
                @for evidence in &found.evidence { div.mono { (evidence_text(evidence)) } }
            }
            p.soft { "When: " (when(found)) }
        }
    }
}

/// All findings of a report, worst first.
pub(super) fn findings(report: &CheckReport) -> Markup {
    html! {
        @if report.findings.is_empty() {
            p { "Nothing was found." }
        }
        @for found in &report.findings { (finding(found)) }
    }
}

/// What was and was not looked at, and what else the kernel log said.
pub(super) fn coverage(report: &CheckReport) -> Markup {
    let coverage = &report.coverage;
    html! {
        p {
            (words::count(coverage.ran.len(), "check")) " ran, "
            (coverage.skipped.len()) " skipped (not applicable here), "
            (coverage.unknown.len()) " could not be determined."
        }
        @if !coverage.unknown.is_empty() || !coverage.skipped.is_empty() {
            div.scroll { table {
                thead { tr { th { "Check" } th { "State" } th { "Why" } } }
                tbody {
                    @for (state, class, list) in [
                        ("UNKNOWN", "warn", &coverage.unknown),
                        ("skipped", "info", &coverage.skipped),
                    ] {
                        @for entry in list { tr {
                            td.fit { code { (entry.check) } }
                            td.fit { span.tag.(class) { (state) } }
                            td { (printable(&entry.reason)) }
                        } }
                    }
                }
            } }
        }
        @if !report.events.is_empty() {
            h3 { "Also in the kernel log (nothing to do by itself)" }
            (grid(&event_grid(&report.events)))
        }
    }
}

/// A table.
pub(super) fn grid(grid: &Grid) -> Markup {
    html! {
        @if !grid.rows.is_empty() {
            div.scroll { table {
                thead { tr { @for name in &grid.head { th { (name) } } } }
                tbody {
                    @for row in &grid.rows { tr {
                        @for cell in row {
                            @if cell.len() <= 24 { td.fit { (cell) } } @else { td { (cell) } }
                        }
                    } }
                }
            } }
        }
    }
}

/// One part of the machine.
pub(super) fn section(section: &Section) -> Markup {
    html! {
        h3 { (section.title) }
        @if !section.facts.is_empty() {
            dl { @for (label, text) in &section.facts { dt { (label) } dd { (text) } } }
        }
        (grid(&section.grid))
        @for note in &section.notes { p.soft { (note) } }
    }
}
