//! Is the service well? What is seen of it, and what that means for the version that runs.
//!
//! # Invariants
//! - [`Watch::judge`] is pure: what was seen and when in, one judgement out.
//! - Only the version in question counts: an old process that still answers is no sign.

use std::path::{Path, PathBuf};
use std::time::Duration;

use cupel_hardware::systemd::ServiceState;

use crate::layout::SERVICE;
use crate::system::{Answer, System};

/// How long a version may take to become healthy: systemd gives it up after 90 s, and a driver that
/// hangs delays its first judgement by half a minute.
pub const STARTUP: Duration = Duration::from_secs(120);

/// How long a version that was healthy may fail to answer, under whatever load.
pub const SILENCE: Duration = Duration::from_secs(20);

/// What is seen of the service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observation {
    /// What systemd says; or why it does not.
    pub unit: Result<ServiceState, String>,
    /// Whether its process runs the version in question.
    pub is_ours: bool,
    /// What it says over its socket; or why it does not.
    pub answer: Result<Answer, String>,
}

/// Looks at the service.
pub fn observe(system: &dyn System, binary: &Path) -> Observation {
    let unit = system.service(SERVICE).map_err(|error| error.to_string());
    let running = unit
        .as_ref()
        .ok()
        .filter(|unit| unit.main_pid != 0)
        .and_then(|unit| system.program_of(unit.main_pid));
    let is_ours = running.is_some_and(|running| running == resolved(binary));
    let answer = if is_ours {
        system.ask_service()
    } else {
        Err("it does not run".to_owned())
    };
    Observation {
        unit,
        is_ours,
        answer,
    }
}

fn resolved(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

/// What the watching comes to so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// Not known yet.
    Wait,
    /// It is well.
    Accept,
    /// It is not; why.
    Revert(String),
}

/// Watches one version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watch {
    began: Duration,
    probation: Duration,
    healthy_since: Option<Duration>,
    last_healthy: Option<Duration>,
    restarts: Option<u32>,
}

impl Watch {
    /// From now on; it must be healthy for so long without a break that matters.
    pub fn new(now: Duration, probation: Duration) -> Self {
        Self {
            began: now,
            probation,
            healthy_since: None,
            last_healthy: None,
            restarts: None,
        }
    }

    /// What this observation means.
    pub fn judge(&mut self, seen: &Observation, now: Duration) -> Judgement {
        let why = match self.unwell(seen) {
            Err(fatal) => return Judgement::Revert(fatal),
            Ok(why) => why,
        };
        match (why, self.last_healthy) {
            (None, _) => {
                self.last_healthy = Some(now);
                let since = *self.healthy_since.get_or_insert(now);
                if now.saturating_sub(since) >= self.probation {
                    Judgement::Accept
                } else {
                    Judgement::Wait
                }
            }
            (Some(why), None) if now.saturating_sub(self.began) >= STARTUP => Judgement::Revert(
                format!("not healthy {} s after its start: {why}", STARTUP.as_secs()),
            ),
            (Some(why), Some(last)) if now.saturating_sub(last) >= SILENCE => {
                Judgement::Revert(format!(
                    "it was healthy, and has not been for {} s: {why}",
                    SILENCE.as_secs()
                ))
            }
            (Some(_), _) => Judgement::Wait,
        }
    }

    /// Why it is not healthy now, if it is not; as an error what waiting cannot mend.
    fn unwell(&mut self, seen: &Observation) -> Result<Option<String>, String> {
        let unit = match &seen.unit {
            Ok(unit) => unit,
            Err(why) => return Ok(Some(format!("systemd does not say how it is: {why}"))),
        };
        let ended = || format!("its process ended by itself ({})", unit.result);
        if unit.sub_state == "auto-restart" {
            return Err(ended());
        }
        if unit.active_state == "failed" {
            return Err(format!("{SERVICE} failed ({})", unit.result));
        }
        if !seen.is_ours {
            return Ok(Some(format!("{SERVICE} is {}", unit.active_state)));
        }
        let before = *self.restarts.get_or_insert(unit.restarts);
        if unit.restarts > before {
            return Err(ended());
        }
        if unit.active_state != "active" {
            return Ok(Some(format!("{SERVICE} is {}", unit.active_state)));
        }
        match &seen.answer {
            Err(why) => Ok(Some(format!("it does not answer: {why}"))),
            Ok(answer) if answer.judged_at.is_none() => {
                Ok(Some("it has not judged the machine yet".to_owned()))
            }
            Ok(_) => Ok(None),
        }
    }
}
