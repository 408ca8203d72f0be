//! The step `judge`: what came of it all, and the report.
//!
//! # Invariants
//! - The verdict is the worst of both checks and the burn-in: what was wrong before the load and
//!   went away by itself is not forgotten.
//! - A burn-in that is not complete makes the verdict unknown, never healthy.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use cupel_burnin::{BurnInResult, Outcome, StageResult};
use cupel_model::{
    CheckReport, Finding, Mode, SCHEMA_VERSION, Severity, Snapshot, Timestamp, Verdict,
};

use super::report::{BringupReport, StepRecord};
use super::state::BurnIn;
use crate::render::html::bringup_page;
use crate::state::replace;

/// All that a report is made of.
#[derive(Debug)]
pub struct Facts {
    /// The machine as it was found.
    pub snapshot: Box<Snapshot>,
    /// Judged before the load.
    pub before: CheckReport,
    /// The load.
    pub burn_in: BurnIn,
    /// Judged after the load.
    pub after: CheckReport,
    /// What was done.
    pub steps: Vec<StepRecord>,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub finished_at: Timestamp,
}

fn verdict_of(burn_in: &BurnIn) -> Verdict {
    match burn_in {
        BurnIn::NotRun { .. } => Verdict::Unknown,
        BurnIn::Ran(result) => match result.verdict {
            Outcome::Pass => Verdict::Healthy,
            Outcome::Incomplete | Outcome::Unsupported | Outcome::Skipped => Verdict::Unknown,
            Outcome::Fail => Verdict::Unhealthy,
        },
    }
}

fn counts(finding: &&Finding) -> bool {
    finding.mode == Mode::Enforce && finding.severity >= Severity::Warning
}

/// Judges.
pub fn judge(facts: Facts) -> BringupReport {
    let burned = verdict_of(&facts.burn_in);
    let verdict = facts.before.verdict.max(facts.after.verdict).max(burned);
    let reasons = reasons(&facts);
    let exit_code = if burned == Verdict::Unhealthy
        || facts.before.exit_code(false) == 1
        || facts.after.exit_code(false) == 1
    {
        1
    } else if verdict == Verdict::Unknown {
        3
    } else {
        0
    };
    let burn_in: Option<BurnInResult> = match facts.burn_in {
        BurnIn::Ran(result) => Some(*result),
        BurnIn::NotRun { .. } => None,
    };
    BringupReport {
        schema_version: SCHEMA_VERSION,
        cupel_version: env!("CARGO_PKG_VERSION").to_owned(),
        node: facts.snapshot.node.clone(),
        platform: facts.after.platform.clone(),
        started_at: facts.started_at,
        finished_at: facts.finished_at,
        verdict,
        reasons,
        exit_code,
        steps: facts.steps,
        snapshot: facts.snapshot,
        before: facts.before,
        burn_in,
        after: facts.after,
    }
}

/// Why the verdict is not healthy: failed load, findings that stand, findings that went away, what
/// could not be determined.
fn reasons(facts: &Facts) -> Vec<String> {
    let mut reasons = Vec::new();
    match &facts.burn_in {
        BurnIn::NotRun { why } => reasons.push(format!("burn-in was not run: {why}")),
        BurnIn::Ran(result) => {
            let counts = |stage: &&StageResult| match stage.outcome {
                Outcome::Fail => true,
                Outcome::Incomplete | Outcome::Unsupported => stage.required,
                Outcome::Pass | Outcome::Skipped => false,
            };
            for stage in result.stages.iter().filter(counts) {
                for why in &stage.reasons {
                    reasons.push(format!("burn-in, {}: {why}", stage.name));
                }
            }
            reasons.extend(
                result
                    .notes
                    .iter()
                    .filter(|_| result.verdict != Outcome::Pass)
                    .cloned(),
            );
        }
    }
    let standing = facts.after.findings.iter().filter(counts);
    reasons.extend(standing.map(|finding| finding.summary.clone()));
    let same = |a: &Finding, b: &Finding| a.code == b.code && a.component == b.component;
    for finding in facts.before.findings.iter().filter(counts) {
        if !facts.after.findings.iter().any(|now| same(now, finding)) {
            reasons.push(format!("gone after the burn-in: {}", finding.summary));
        }
    }
    for (when, report) in [("before", &facts.before), ("after", &facts.after)] {
        if report.verdict == Verdict::Unknown {
            for unknown in &report.coverage.unknown {
                reasons.push(format!(
                    "could not be determined {when} the burn-in: {}: {}",
                    unknown.check, unknown.reason
                ));
            }
        }
    }
    reasons
}

/// Writes `bringup.json` and `bringup.html`; returns where.
///
/// # Errors
/// The system's, with what to do.
pub fn write(directory: &Path, report: &BringupReport) -> anyhow::Result<Vec<PathBuf>> {
    let advice = || {
        format!(
            "the verdict is {}, but the report cannot be written to {}; run 'cupel bringup' again \
             with another --report",
            super::text::verdict(report.verdict),
            directory.display()
        )
    };
    std::fs::create_dir_all(directory).with_context(advice)?;
    let mut json = crate::json::pretty(report).with_context(advice)?;
    json.push(b'\n');
    let files = [
        (directory.join("bringup.json"), json),
        (
            directory.join("bringup.html"),
            bringup_page(report).into_bytes(),
        ),
    ];
    for (path, bytes) in &files {
        replace(path, bytes).with_context(advice)?;
    }
    Ok(files.into_iter().map(|(path, _)| path).collect())
}
