//! What becomes of a finding that a judgement of its check does not show: cleared, or what it waits
//! for.
//!
//! # Invariants
//! - A critical finding of a GPU is not cleared by a reset alone: a test must pass after it, or,
//!   where there is none, a full judgement of its check in a later boot must not show it.
//! - Whatever the rule, one judgement that does not show it is not enough.

use std::time::Duration;

use cupel_model::{Clears, Severity};

/// What is known of a finding that is not observed.
#[derive(Clone, Debug)]
pub(super) struct Facts<'a> {
    pub clears: Clears,
    pub severity: Severity,
    /// The node was rebooted since it was last observed.
    pub rebooted: bool,
    /// Its GPU was reset since, as far as that can be proved.
    pub reset: bool,
    /// The snapshot lists its part.
    pub listed: bool,
    /// Serial of another part that sits in its place now.
    pub successor: Option<&'a str>,
    /// Where it sits or sat, for people.
    pub place: Option<&'a str>,
    /// For how long it has not been observed, by how many judgements.
    pub gone_for: Duration,
    pub judgements: u32,
    /// For how long it must not be observed.
    pub hold: Duration,
    /// It keeps coming back.
    pub flapping: bool,
}

/// Judgements that must not show it.
const JUDGEMENTS: u32 = 2;

/// `Ok` says why it is cleared, `Err` what it waits for.
pub(super) fn outcome(facts: &Facts<'_>) -> Result<String, String> {
    let why = rule(facts)?;
    if facts.gone_for >= facts.hold && facts.judgements >= JUDGEMENTS {
        return Ok(why);
    }
    let because = if facts.flapping {
        ", since it keeps coming back"
    } else {
        ""
    };
    Err(format!("{} without it{because}", span(facts.hold)))
}

fn rule(facts: &Facts<'_>) -> Result<String, String> {
    let replaced = facts
        .successor
        .map(|serial| format!("another part, serial {serial}, sits in its place now"));
    match facts.clears {
        Clears::WhileObserved => Ok("it is no longer observed".to_owned()),
        Clears::GpuReset => replaced.map_or_else(|| reset(facts), Ok),
        Clears::Reboot if facts.rebooted => {
            Ok("the node was rebooted and it is not observed any more".to_owned())
        }
        Clears::Reboot => Err("a reboot".to_owned()),
        Clears::PartReplaced => replaced.ok_or_else(|| match facts.place {
            Some(place) => format!("another part in {place}"),
            None => "an operator: where the part sits is not known".to_owned(),
        }),
        Clears::Operator => Err("an operator".to_owned()),
    }
}

fn reset(facts: &Facts<'_>) -> Result<String, String> {
    let critical = facts.severity == Severity::Critical;
    match (facts.rebooted, facts.reset) {
        (true, _) if critical && !facts.listed => {
            Err("its GPU to be seen again, or another in its place".to_owned())
        }
        (true, _) if critical => Ok(
            "the node was rebooted, which resets its GPUs, and a full judgement of the check does \
             not show it; no test was run on the GPU"
                .to_owned(),
        ),
        (true, _) => Ok(
            "the node was rebooted, which resets its GPUs, and it is not observed any more"
                .to_owned(),
        ),
        (false, true) if critical => Err("a passing test after the reset".to_owned()),
        (false, true) => Ok("the GPU was reset and it is not observed any more".to_owned()),
        (false, false) => Err("a reset of the GPU".to_owned()),
    }
}

/// A span for people: `30 s`, `10 min`.
pub(super) fn span(length: Duration) -> String {
    let seconds = length.as_secs();
    if seconds >= 120 && seconds.is_multiple_of(60) {
        format!("{} min", seconds / 60)
    } else if length.subsec_millis() > 0 {
        format!("{:.1} s", length.as_secs_f64())
    } else {
        format!("{seconds} s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(clears: Clears) -> Facts<'static> {
        Facts {
            clears,
            severity: Severity::Warning,
            rebooted: false,
            reset: false,
            listed: true,
            successor: None,
            place: Some("SXM 3"),
            gone_for: Duration::from_secs(60),
            judgements: 4,
            hold: Duration::from_secs(30),
            flapping: false,
        }
    }

    /// Changes one thing and says what comes of it.
    fn with(clears: Clears, change: impl Fn(&mut Facts<'static>)) -> Result<String, String> {
        let mut facts = facts(clears);
        change(&mut facts);
        outcome(&facts)
    }

    fn waits(told: Result<String, String>, wanted: &str) {
        let text = told.expect_err("waits");
        assert!(text.contains(wanted), "{text}");
    }

    fn cleared(told: Result<String, String>, wanted: &str) {
        let text = told.expect("cleared");
        assert!(text.contains(wanted), "{text}");
    }

    #[test]
    fn while_observed() {
        let rule = Clears::WhileObserved;
        cleared(with(rule, |_| {}), "no longer");
        waits(with(rule, |f| f.judgements = 1), "30 s without it");
        waits(with(rule, |f| f.gone_for = Duration::from_secs(29)), "30 s");
        let flapping = |f: &mut Facts<'static>| {
            f.flapping = true;
            f.hold = Duration::from_secs(600);
        };
        waits(with(rule, flapping), "10 min without it, since it keeps");
    }

    #[test]
    fn gpu_reset() {
        let rule = Clears::GpuReset;
        waits(with(rule, |_| {}), "a reset of the GPU");
        cleared(with(rule, |f| f.reset = true), "was reset");
        cleared(with(rule, |f| f.rebooted = true), "rebooted");
        cleared(with(rule, |f| f.successor = Some("7")), "serial 7");
        waits(
            with(rule, |f| (f.reset, f.judgements) = (true, 1)),
            "30 s without",
        );
    }

    #[test]
    fn a_critical_one_waits_for_a_test() {
        let with = |change: fn(&mut Facts<'static>)| {
            with(Clears::GpuReset, |facts| {
                facts.severity = Severity::Critical;
                change(facts);
            })
        };
        waits(with(|_| {}), "a reset of the GPU");
        waits(with(|f| f.reset = true), "a passing test after the reset");
        cleared(with(|f| f.rebooted = true), "no test was run");
        waits(
            with(|f| (f.rebooted, f.listed) = (true, false)),
            "its GPU to be seen again",
        );
        cleared(with(|f| f.successor = Some("7")), "serial 7");
    }

    #[test]
    fn reboot_part_and_operator() {
        waits(with(Clears::Reboot, |f| f.reset = true), "a reboot");
        cleared(with(Clears::Reboot, |f| f.rebooted = true), "rebooted");
        let rule = Clears::PartReplaced;
        waits(with(rule, |f| f.rebooted = true), "another part in SXM 3");
        cleared(with(rule, |f| f.successor = Some("7")), "serial 7");
        waits(with(rule, |f| f.place = None), "an operator");
        let all = |f: &mut Facts<'static>| {
            (f.rebooted, f.reset, f.successor) = (true, true, Some("7"));
        };
        waits(with(Clears::Operator, all), "an operator");
    }
}
