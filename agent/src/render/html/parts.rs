//! Pieces that pages are made of.

use cupel_burnin::{BurnInResult, Coverage, Outcome, StageResult};
use cupel_model::units::Bytes;
use cupel_model::{CheckReport, Finding, Severity, Verdict};
use maud::{Markup, html};

use crate::output::printable;
use crate::render::check::{event_grid, evidence_text, remedy_text, when};
use crate::render::inventory::Section;
use crate::render::table::Grid;
use crate::render::words::{self, place_of, span, word};

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

fn outcome_tone(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Pass => "good",
        Outcome::Skipped => "info",
        Outcome::Incomplete | Outcome::Unsupported => "warn",
        Outcome::Fail => "bad",
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

fn stage(stage: &StageResult) -> Markup {
    let coverage = &stage.coverage;
    html! {
        h3 {
            (stage.name) " "
            span.tag.(outcome_tone(stage.outcome)) { (word(&stage.outcome).to_uppercase()) }
        }
        @for reason in &stage.reasons { p { (printable(reason)) } }
        div.scroll { table {
            thead { tr { th { "Measured" } th.num { "Value" } th { "Limit" } } }
            tbody {
                tr {
                    td { "tested" }
                    td.num { (tested(coverage)) }
                    td { "all (" (coverage.percent) " done)" }
                }
                tr {
                    td { "planted faults found" }
                    td.num { (stage.proof.found) " of " (stage.proof.planted) }
                    td { "detector " (word(&stage.proof.detector)) }
                }
                tr {
                    td { "words that were wrong" }
                    td.num { (stage.mismatch_count) }
                    td { "0" }
                }
                @for measured in &stage.measured { tr {
                    td { (printable(&measured.name)) }
                    td.num { (rounded(measured.value)) " " (measured.unit) }
                    td { (floor(&measured.floor)) }
                } }
                tr { td { "time" } td.num { (span(stage.elapsed_seconds.get())) } td {} }
            }
        } }
        @for mismatch in &stage.mismatches { p.mono { (printable(&mismatch.to_string())) } }
        @for note in &stage.notes { p.soft { (printable(note)) } }
    }
}

/// `2 of 2 processors`; bytes for people.
fn tested(coverage: &Coverage) -> String {
    let Coverage {
        covered,
        asked,
        unit,
        ..
    } = coverage;
    if unit == "bytes" {
        format!("{} of {}", Bytes(*covered).human(), Bytes(*asked).human())
    } else {
        format!("{covered} of {asked} {unit}")
    }
}

fn floor(floor: &cupel_burnin::Floor) -> String {
    match floor {
        cupel_burnin::Floor::Uncalibrated => "none (uncalibrated)".to_owned(),
        cupel_burnin::Floor::AtLeast { value, source } => {
            format!("at least {} ({})", rounded(*value), printable(source))
        }
        cupel_burnin::Floor::AtMost { value, source } => {
            format!("at most {} ({})", rounded(*value), printable(source))
        }
    }
}

/// Four significant digits for small numbers, whole ones with groups of three for large ones.
fn rounded(value: f64) -> String {
    if value.abs() < 1000.0 {
        return format!("{}", (value * 1000.0).round() / 1000.0);
    }
    let digits = format!("{value:.0}");
    let mut grouped = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 && grouped != "-" {
            grouped.push('\u{202f}');
        }
        grouped.push(digit);
    }
    grouped
}

/// What came of a burn-in.
pub(super) fn burn_in(result: &BurnInResult) -> Markup {
    html! {
        p {
            span.tag.(outcome_tone(result.verdict)) { (word(&result.verdict).to_uppercase()) }
            " plan " (word(&result.plan.kind)) ", " (span(result.elapsed_seconds.get()))
            ", detector " (word(&result.detector))
            @if result.cancelled { ", cancelled" }
        }
        @for note in &result.notes { p.soft { (printable(note)) } }
        @for one in &result.stages { (stage(one)) }
    }
}

#[cfg(test)]
mod tests {
    use super::rounded;

    #[test]
    fn numbers_can_be_read() {
        assert_eq!(rounded(12.34567), "12.346");
        assert_eq!(rounded(1_234_567.8), "1\u{202f}234\u{202f}568");
        assert_eq!(rounded(-123_456.0), "-123\u{202f}456");
    }
}
