//! A burn-in as text for people.
//!
//! # Invariants
//! - Lines fit 100 columns; what is long is wrapped.
//! - Stages of one kind that ended well are one block with the range of each value; what did not end
//!   well stands by itself, with every reason.

use cupel_burnin::{
    BurnInResult, Detector, Floor, Measured, Outcome, Preflight, PreflightState, StageKind,
    StageResult,
};
use cupel_model::units::Bytes;

use crate::cli::COLUMNS;
use crate::output::printable;
use crate::render::words::{significant, span};

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
    let class = result
        .class
        .map(|class| format!(" ({})", class.words()))
        .unwrap_or_default();
    format!(
        "{}{class}, {}: {} of {} planted faults found, {} unplanted; {}",
        outcome(result.verdict),
        detector(result.detector),
        sum(|stage| stage.proof.found),
        sum(|stage| stage.proof.planted),
        sum(|stage| stage.mismatch_count),
        span(result.elapsed_seconds.get()),
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

/// A need of the stages, in a line.
pub fn preflight(need: &Preflight) -> String {
    let state = match need.state {
        PreflightState::Met => "met",
        PreflightState::NotNeeded => "not needed",
        PreflightState::Missing => "MISSING",
        PreflightState::Unknown => "unknown",
    };
    let on = need
        .on
        .as_ref()
        .map(|on| format!(" of {on}"))
        .unwrap_or_default();
    format!("needs {}{on}: {state}: {}", need.name, printable(&need.why))
}

fn with_unit(number: &str, unit: &str) -> String {
    if unit.is_empty() {
        number.to_owned()
    } else {
        format!("{number} {unit}")
    }
}

fn limit(floor: &Floor) -> String {
    match floor {
        Floor::Uncalibrated => String::new(),
        Floor::AtLeast { value, source } => format!(" (at least {value}: {source})"),
        Floor::AtMost { value, source } => format!(" (at most {value}: {source})"),
    }
}

fn measured(value: &Measured) -> String {
    let on = value
        .on
        .as_ref()
        .map(|on| format!(" of {on}"))
        .unwrap_or_default();
    format!(
        "{}{on} {}{}",
        value.name,
        with_unit(&significant(value.value), &value.unit),
        limit(&value.floor)
    )
}

/// A line with its lead; what is long goes on under the lead.
fn wrapped(text: &mut String, lead: &str, line: &str) {
    let indent = " ".repeat(lead.chars().count());
    let mut row = lead.to_owned();
    let mut filled = false;
    for word in printable(line).split_whitespace() {
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

/// Whether a stage needs no words of its own.
fn is_well(stage: &StageResult) -> bool {
    match stage.outcome {
        Outcome::Pass | Outcome::Skipped => true,
        Outcome::Unsupported => !stage.required,
        Outcome::Incomplete | Outcome::Fail => false,
    }
}

/// A burn-in with its stages, differences and measured values.
pub fn burn_in(result: &BurnInResult) -> String {
    let mut text = String::new();
    wrapped(&mut text, "Burn-in: ", &headline(result));
    for kind in StageKind::ALL {
        let stages: Vec<&StageResult> = result.stages.iter().filter(|s| s.stage == kind).collect();
        if stages.len() < 3 {
            for stage in stages {
                one(&mut text, stage);
            }
            continue;
        }
        let (well, rest): (Vec<_>, Vec<_>) = stages.into_iter().partition(|stage| is_well(stage));
        for stage in rest {
            one(&mut text, stage);
        }
        for outcome in [Outcome::Pass, Outcome::Skipped, Outcome::Unsupported] {
            let same: Vec<_> = well
                .iter()
                .filter(|s| s.outcome == outcome)
                .copied()
                .collect();
            match same.as_slice() {
                [] => {}
                [stage] => one(&mut text, stage),
                many => group(&mut text, kind, many),
            }
        }
    }
    peers(&mut text, result);
    counters(&mut text, result);
    for need in result
        .preflight
        .iter()
        .filter(|need| need.state != PreflightState::Met)
    {
        if need.state != PreflightState::NotNeeded {
            wrapped(&mut text, "  . ", &preflight(need));
        }
    }
    for note in &result.notes {
        wrapped(&mut text, "  . ", note);
    }
    text
}

/// One stage with all that it found.
fn one(text: &mut String, stage: &StageResult) {
    text.push('\n');
    let lead = format!("  {:<16} ", stage.name.to_string());
    let line = format!(
        "{}: {}, {}",
        outcome(stage.outcome),
        coverage(stage),
        span(stage.elapsed_seconds.get())
    );
    wrapped(text, &lead, &line);
    for reason in &stage.reasons {
        wrapped(text, "    ! ", reason);
    }
    for mismatch in &stage.mismatches {
        wrapped(text, "    x ", &mismatch.to_string());
    }
    let shown = stage.mismatches.len() as u64;
    if stage.mismatch_count > shown {
        let more = format!("and {} more", stage.mismatch_count - shown);
        wrapped(text, "    x ", &more);
    }
    let (free, held): (Vec<_>, Vec<_>) = stage
        .measured
        .iter()
        .partition(|value| value.floor == Floor::Uncalibrated);
    for value in held {
        wrapped(text, "    - ", &measured(value));
    }
    if !free.is_empty() {
        let all: Vec<_> = free.into_iter().map(measured).collect();
        let line = format!("measured, uncalibrated: {}", all.join(", "));
        wrapped(text, "    - ", &line);
    }
    for note in &stage.notes {
        wrapped(text, "    . ", note);
    }
}

/// Stages of one kind that ended alike and well: the range of each value.
fn group(text: &mut String, kind: StageKind, stages: &[&StageResult]) {
    let Some(first) = stages.first() else { return };
    text.push('\n');
    let lead = format!("  {:<16} ", kind.name());
    let longest = stages
        .iter()
        .map(|stage| stage.elapsed_seconds.get())
        .fold(0.0, f64::max);
    let line = format!(
        "{} of them: {}, {}",
        stages.len(),
        outcome(first.outcome),
        span(longest)
    );
    wrapped(text, &lead, &line);
    let mut reasons: Vec<&String> = stages.iter().flat_map(|stage| &stage.reasons).collect();
    reasons.sort();
    reasons.dedup();
    for reason in reasons {
        wrapped(text, "    . ", reason);
    }
    let ranges: Vec<_> = first
        .measured
        .iter()
        .filter_map(|value| range(value, stages))
        .collect();
    if !ranges.is_empty() {
        wrapped(text, "    - ", &format!("measured: {}", ranges.join(", ")));
    }
}

/// The range of a value over stages.
fn range(value: &Measured, stages: &[&StageResult]) -> Option<String> {
    let same = |other: &&Measured| other.name == value.name && other.unit == value.unit;
    let mut all: Vec<f64> = stages
        .iter()
        .filter_map(|stage| stage.measured.iter().find(same))
        .map(|measured| measured.value)
        .collect();
    all.sort_by(f64::total_cmp);
    let (least, most) = (significant(*all.first()?), significant(*all.last()?));
    let number = if least == most {
        least
    } else {
        format!("{least} to {most}")
    };
    Some(format!(
        "{} {}{}",
        value.name,
        with_unit(&number, &value.unit),
        limit(&value.floor)
    ))
}

/// What is slower than its peers.
fn peers(text: &mut String, result: &BurnInResult) {
    for comparison in &result.peers {
        for member in comparison.members.iter().filter(|member| member.slow) {
            let line = format!(
                "{}: {} {} is {:.0} % of the median of {} like it",
                member.stage,
                comparison.name,
                with_unit(&significant(member.value), &comparison.unit),
                member.percent.get(),
                comparison.members.len()
            );
            wrapped(text, "  ! ", &line);
        }
    }
}

/// How many counters were read and how many of trouble moved.
fn counters(text: &mut String, result: &BurnInResult) {
    use cupel_burnin::CounterMeaning::Other;
    let trouble = result.counters.iter().filter(|c| c.meaning != Other);
    let (read, unread): (Vec<_>, Vec<_>) = trouble.partition(|c| c.rise().is_some());
    if read.is_empty() && unread.is_empty() {
        return;
    }
    let moved = read
        .iter()
        .filter(|c| c.rise().is_some_and(|rise| rise > 0.0))
        .count();
    let line = format!(
        "counters of errors and throttling: {} read before and after, {moved} moved{}",
        read.len(),
        if unread.is_empty() {
            String::new()
        } else {
            format!(", {} could not be read both times", unread.len())
        }
    );
    text.push('\n');
    wrapped(text, "  . ", &line);
}

#[cfg(test)]
mod tests {
    use super::*;
    use cupel_burnin::{Plan, Proof, Run, StageName, Word};

    #[test]
    fn long_lines_are_wrapped_under_their_lead() {
        let mut text = String::new();
        wrapped(&mut text, "  ! ", &"word ".repeat(60));
        assert!(text.lines().count() > 2);
        for line in text.lines() {
            assert!(line.len() <= COLUMNS && line.starts_with("  "), "{line:?}");
        }
    }

    #[test]
    fn what_is_well_is_a_block_and_what_is_not_stands_by_itself() {
        let mut result = BurnInResult::begun(&Run::new(Plan::quick(Word(1)), Vec::new()));
        for index in 0..8 {
            let name = StageName::on(StageKind::GpuCompute, format!("gpu{index}"));
            let mut stage = StageResult {
                proof: Proof::of(4, 4, true),
                measured: vec![Measured::uncalibrated(
                    "bf16 rate",
                    780.0 + f64::from(index),
                    "TFLOP/s",
                )],
                ..StageResult::new(name)
            };
            stage.mismatch_count = u64::from(index == 3);
            result.add(stage.judged());
        }
        let text = burn_in(&result);
        insta::assert_snapshot!(text);
        assert!(text.lines().all(|line| line.chars().count() <= COLUMNS));
    }
}
