//! The steps `check-before` and `check-after`: judge the machine.
//!
//! # Invariants
//! - The second check reads the machine anew. It holds what it finds against the first snapshot:
//!   counters that rose under load are rates, parts that vanished under load keep their serials.

use cupel_health::Modes;
use cupel_model::snapshot::Previous;
use cupel_model::units::Seconds;
use cupel_model::{CheckReport, Snapshot};

use super::inspect::inspect;
use crate::config::Settings;
use crate::context::Context;
use crate::platforms;

/// What the machine is held against.
#[derive(Debug)]
pub struct Measure<'a> {
    /// The configuration.
    pub settings: &'a Settings,
    /// Modes of checks.
    pub modes: Modes,
    /// The platform that the operator named.
    pub platform: Option<&'a str>,
}

/// Judges a snapshot.
///
/// # Errors
/// The platform is not known, or a platform file is refused.
pub fn check(
    context: &Context,
    measure: &Measure<'_>,
    snapshot: &Snapshot,
) -> anyhow::Result<CheckReport> {
    let platform = platforms::choose(&context.root, measure.settings, measure.platform, snapshot)?;
    Ok(cupel_health::evaluate(
        snapshot,
        platform.as_ref(),
        &measure.modes,
    ))
}

/// Reads the machine anew and judges it against how it was found.
///
/// # Errors
/// As [`check`] and [`inspect`].
pub fn check_again(
    context: &Context,
    measure: &Measure<'_>,
    first: &Snapshot,
) -> anyhow::Result<CheckReport> {
    let mut now = inspect(context, measure.settings)?;
    now.remembered = cupel_health::remember(first);
    now.previous = previous(first, &now);
    check(context, measure, &now)
}

/// The first snapshot as the sample before, when the machine's own clock tells how long ago it was.
fn previous(first: &Snapshot, now: &Snapshot) -> Option<Previous> {
    let uptime = |snapshot: &Snapshot| snapshot.node.uptime_seconds.get().map(Seconds::get);
    let elapsed = uptime(now)? - uptime(first)?;
    if elapsed <= 0.0 {
        return None;
    }
    Some(Previous {
        elapsed_seconds: Seconds::new(elapsed).ok()?,
        snapshot: Box::new(Snapshot {
            kernel_log: Vec::new(),
            previous: None,
            ..first.clone()
        }),
    })
}

/// What was found, in a line.
pub fn line(report: &CheckReport) -> String {
    let count = |n: usize, what: &str| {
        let s = if n == 1 { "" } else { "s" };
        format!("{n} {what}{s}")
    };
    format!(
        "{}: {}, {} ran, {} unknown",
        super::text::verdict(report.verdict),
        count(report.findings.len(), "finding"),
        count(report.coverage.ran.len(), "check"),
        report.coverage.unknown.len(),
    )
}
