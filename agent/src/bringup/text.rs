//! Burn-in and bring-up as text for people.
//!
//! # Invariants
//! - Lines fit 100 columns; what is long is wrapped.

use cupel_burnin::{BurnInResult, Detector, Floor, Measured, Outcome, StageResult};
use cupel_model::Verdict;
use cupel_model::units::Bytes;

use crate::cli::COLUMNS;

/// The contract's word.
pub fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Healthy => "healthy",
        Verdict::Degraded => "degraded",
        Verdict::Unknown => "unknown",
        Verdict::Unhealthy => "unhealthy",
    }
}

/// The word for an outcome.
pub fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Skipped => "skipped",
        Outcome::Pass => "pass",
        Outcome::Unsupported => "unsupported",
        Outcome::Incomplete => "incomplete",
        Outcome::Fail => "FAIL",
    }
}

fn detector(detector: Detector) -> &'static str {
    match detector {
        Detector::None => "nothing compared",
        Detector::Proven => "detector proven",
        Detector::NotProven => "detector not proven",
        Detector::Broken => "DETECTOR BROKEN",
    }
}

/// The whole in a line.
pub fn headline(result: &BurnInResult) -> String {
    let sum = |of: fn(&StageResult) -> u64| result.stages.iter().map(of).sum::<u64>();
    format!(
        "{}, {}: {} of {} planted faults found, {} unplanted; {:.1} s",
        outcome(result.verdict),
        detector(result.detector),
        sum(|stage| stage.proof.found),
        sum(|stage| stage.proof.planted),
        sum(|stage| stage.mismatch_count),
        result.elapsed_seconds.get(),
    )
}

/// How much was covered, in the stage's own unit.
pub fn coverage(stage: &StageResult) -> String {
    let coverage = &stage.coverage;
    if coverage.asked == 0 {
        return "nothing tested".to_owned();
    }
    let (covered, asked) = if coverage.unit == "bytes" {
        let human = |n: u64| Bytes(n).human();
        (human(coverage.covered), human(coverage.asked))
    } else {
        let unit = &coverage.unit;
        (
            coverage.covered.to_string(),
            format!("{} {unit}", coverage.asked),
        )
    };
    format!(
        "{covered} of {asked} tested ({:.1} %)",
        coverage.percent.get()
    )
}

fn measured(value: &Measured) -> String {
    let number = if value.value >= 1e6 {
        format!("{:.2e}", value.value)
    } else {
        format!("{:.2}", value.value)
    };
    let floor = match &value.floor {
        Floor::Uncalibrated => String::new(),
        Floor::AtLeast { value, source } => format!(" (at least {value}: {source})"),
        Floor::AtMost { value, source } => format!(" (at most {value}: {source})"),
    };
    format!("{} {number} {}{floor}", value.name, value.unit)
}

fn wrapped(text: &mut String, lead: &str, line: &str) {
    let indent = " ".repeat(lead.chars().count());
    let mut row = lead.to_owned();
    let mut filled = false;
    for word in line.split_whitespace() {
        if filled && row.chars().count() + 1 + word.chars().count() > COLUMNS {
            text.push_str(row.trim_end());
            text.push('\n');
            row.clone_from(&indent);
            filled = false;
        }
        if filled {
            row.push(' ');
        }
        row.push_str(word);
        filled = true;
    }
    text.push_str(row.trim_end());
    text.push('\n');
}

/// A burn-in with its stages, differences and measured values.
pub fn burn_in(result: &BurnInResult) -> String {
    let mut text = String::new();
    wrapped(&mut text, "Burn-in: ", &headline(result));
    for stage in &result.stages {
        text.push('\n');
        let lead = format!("  {:<16} ", stage.name.to_string());
        let line = format!(
            "{}: {}, {:.1} s",
            outcome(stage.outcome),
            coverage(stage),
            stage.elapsed_seconds.get()
        );
        wrapped(&mut text, &lead, &line);
        for reason in &stage.reasons {
            wrapped(&mut text, "    ! ", reason);
        }
        for mismatch in &stage.mismatches {
            wrapped(&mut text, "    x ", &mismatch.to_string());
        }
        let shown = stage.mismatches.len() as u64;
        if stage.mismatch_count > shown {
            wrapped(
                &mut text,
                "    x ",
                &format!("and {} more", stage.mismatch_count - shown),
            );
        }
        let (free, held): (Vec<_>, Vec<_>) = stage
            .measured
            .iter()
            .partition(|value| value.floor == Floor::Uncalibrated);
        for value in held {
            wrapped(&mut text, "    - ", &measured(value));
        }
        if !free.is_empty() {
            let all: Vec<_> = free.into_iter().map(measured).collect();
            wrapped(
                &mut text,
                "    - ",
                &format!("measured, uncalibrated: {}", all.join(", ")),
            );
        }
        for note in &stage.notes {
            wrapped(&mut text, "    . ", note);
        }
    }
    for note in &result.notes {
        wrapped(&mut text, "  . ", note);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_wrapped_under_their_lead() {
        let mut text = String::new();
        wrapped(&mut text, "  ! ", &"word ".repeat(60));
        assert!(text.lines().count() > 2);
        for line in text.lines() {
            assert!(line.len() <= COLUMNS && line.starts_with("  "), "{line:?}");
        }
    }
}
