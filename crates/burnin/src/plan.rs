//! What a burn-in is asked to do, and how that is written on a command line.
//!
//! # Invariants
//! - A plan that exists can be run: shares and times are in range, stages are named once.

use std::str::FromStr;
use std::time::Duration;

use cupel_model::units::{Percent, Seconds};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::result::Word;

/// How long a burn-in is meant to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PlanKind {
    /// Host only, about a minute: is anything plainly broken?
    Quick,
}

/// A part of the machine that is loaded and verified by itself.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum StageKind {
    /// Verified arithmetic on every online processor.
    Cpu,
    /// Verified patterns over a share of free memory.
    Memory,
}

impl StageKind {
    /// All stages, in the order in which they run.
    pub const ALL: [Self; 2] = [Self::Cpu, Self::Memory];

    /// Its name on the command line and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Memory => "memory",
        }
    }
}

impl std::fmt::Display for StageKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// A part of a plan that cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// No such plan.
    #[error("{0:?} is not a plan; there is: quick")]
    Kind(String),
    /// No such stage.
    #[error("{0:?} is not a stage; there are: cpu, memory")]
    Stage(String),
    /// No stage at all.
    #[error("no stage is named; there are: cpu, memory")]
    NoStage,
    /// Not a time.
    #[error("{0:?} is not a time above zero (want for example 30s, 10m, 2h, 1h30m)")]
    Duration(String),
    /// Not a share.
    #[error("{0:?} is not a share of memory (want 1% to 95%, for example 25%)")]
    Share(String),
}

impl FromStr for PlanKind {
    type Err = PlanError;

    fn from_str(text: &str) -> Result<Self, PlanError> {
        match text {
            "quick" => Ok(Self::Quick),
            other => Err(PlanError::Kind(other.to_owned())),
        }
    }
}

impl FromStr for StageKind {
    type Err = PlanError;

    fn from_str(text: &str) -> Result<Self, PlanError> {
        Self::ALL
            .into_iter()
            .find(|stage| stage.name() == text)
            .ok_or_else(|| PlanError::Stage(text.to_owned()))
    }
}

/// Stages by name, comma-separated, in any order; each counts once.
///
/// # Errors
/// An unknown name, or none.
pub fn parse_stages(text: &str) -> Result<Vec<StageKind>, PlanError> {
    let mut stages = text
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .map(str::parse)
        .collect::<Result<Vec<StageKind>, _>>()?;
    stages.sort_unstable();
    stages.dedup();
    if stages.is_empty() {
        return Err(PlanError::NoStage);
    }
    Ok(stages)
}

/// A time such as `30s`, `500ms`, `10m`, `2h` or `1h30m`, above zero.
///
/// # Errors
/// Anything else.
pub fn parse_duration(text: &str) -> Result<Duration, PlanError> {
    let wrong = || PlanError::Duration(text.to_owned());
    let mut rest = text.trim();
    let mut sum = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number: u32 = rest[..digits].parse().map_err(|_| wrong())?;
        rest = &rest[digits..];
        let letters = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
        let unit = match &rest[..letters] {
            "ms" => Duration::from_millis(1),
            "s" => Duration::from_secs(1),
            "m" => Duration::from_secs(60),
            "h" => Duration::from_secs(3600),
            "d" => Duration::from_secs(86_400),
            _ => return Err(wrong()),
        };
        rest = &rest[letters..];
        sum = unit
            .checked_mul(number)
            .and_then(|part| sum.checked_add(part))
            .ok_or_else(wrong)?;
    }
    if sum.is_zero() {
        return Err(wrong());
    }
    Ok(sum)
}

/// A share of free memory, `1%` to `95%`; the sign may be left out.
///
/// # Errors
/// Anything else.
pub fn parse_share(text: &str) -> Result<Percent, PlanError> {
    let trimmed = text.trim();
    trimmed
        .strip_suffix('%')
        .unwrap_or(trimmed)
        .parse::<f64>()
        .ok()
        .filter(|share| (1.0..=95.0).contains(share))
        .and_then(|share| Percent::new(share).ok())
        .ok_or_else(|| PlanError::Share(text.to_owned()))
}

/// What a burn-in is asked to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Plan {
    /// Which plan.
    pub kind: PlanKind,
    /// Its stages, in the order in which they run.
    pub stages: Vec<StageKind>,
    /// How long processors are loaded.
    pub cpu_seconds: Seconds,
    /// Share of the free memory that is tested.
    pub memory_share: Percent,
    /// How long memory may take. One pass has to fit.
    pub memory_limit_seconds: Seconds,
    /// Whether memory passes are repeated until its time is up, or one is enough.
    pub memory_repeats: bool,
    /// What patterns and operands are derived from; the same seed gives the same ones.
    pub seed: Word,
}

/// A time as the model writes it; every duration is finite.
pub(crate) fn seconds(time: Duration) -> Seconds {
    match Seconds::new(time.as_secs_f64()) {
        Ok(seconds) => seconds,
        Err(_) => unreachable!("a duration is finite"),
    }
}

/// A ratio as per cent; what is no number is none.
pub(crate) fn percent(part: f64, whole: f64) -> Percent {
    let value = if whole > 0.0 {
        part / whole * 100.0
    } else {
        0.0
    };
    match Percent::new(value) {
        Ok(percent) => percent,
        Err(_) => unreachable!("both are finite and the divisor is not zero"),
    }
}

impl Plan {
    /// The quick plan: ten seconds of arithmetic and one pass over half of the free memory.
    pub fn quick(seed: Word) -> Self {
        Self {
            kind: PlanKind::Quick,
            stages: StageKind::ALL.to_vec(),
            cpu_seconds: seconds(Duration::from_secs(10)),
            memory_share: percent(50.0, 100.0),
            memory_limit_seconds: seconds(Duration::from_secs(300)),
            memory_repeats: false,
            seed,
        }
    }

    /// The same with these stages only.
    #[must_use]
    pub fn only(mut self, stages: &[StageKind]) -> Self {
        self.stages.retain(|stage| stages.contains(stage));
        self
    }

    /// The same, as long as this in all, shared out evenly over its stages.
    #[must_use]
    pub fn lasting(mut self, time: Duration) -> Self {
        let stages = u32::try_from(self.stages.len()).unwrap_or(1).max(1);
        self.cpu_seconds = seconds(time / stages);
        self.memory_limit_seconds = seconds(time / stages);
        self.memory_repeats = true;
        self
    }

    /// The same over this share of the free memory.
    #[must_use]
    pub fn memory_share(mut self, share: Percent) -> Self {
        self.memory_share = share;
        self
    }

    pub(crate) fn cpu_time(&self) -> Duration {
        Duration::try_from_secs_f64(self.cpu_seconds.get()).unwrap_or(Duration::ZERO)
    }

    pub(crate) fn memory_limit(&self) -> Duration {
        Duration::try_from_secs_f64(self.memory_limit_seconds.get()).unwrap_or(Duration::ZERO)
    }

    /// What the plan will do, a line a stage, for whoever has to agree to it.
    pub fn lines(&self) -> Vec<String> {
        self.stages
            .iter()
            .map(|stage| match stage {
                StageKind::Cpu => format!(
                    "cpu: every online processor busy with verified arithmetic for {}",
                    self.cpu_seconds
                ),
                StageKind::Memory => format!(
                    "memory: {} of the free memory written and verified, {}, at most {}",
                    self.memory_share,
                    if self.memory_repeats {
                        "again and again"
                    } else {
                        "once with a pattern and once with its inverse"
                    },
                    self.memory_limit_seconds
                ),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_the_command_line() {
        assert_eq!(parse_duration("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(parse_duration("1h30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
        for text in ["", "0s", "30", "s", "-5s", "3w", "1h-", "99999999999s", "ß"] {
            assert!(parse_duration(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn stages_and_shares_of_the_command_line() {
        assert_eq!(parse_stages("memory,cpu,cpu"), Ok(StageKind::ALL.to_vec()));
        assert_eq!(parse_stages("gpu"), Err(PlanError::Stage("gpu".to_owned())));
        assert_eq!(parse_stages(","), Err(PlanError::NoStage));
        assert_eq!(parse_share("25%").map(Percent::get), Ok(25.0));
        for text in ["0%", "100%", "half", "NaN", "inf"] {
            assert!(parse_share(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn time_is_shared_out_over_the_stages() {
        let plan = Plan::quick(Word(1)).lasting(Duration::from_secs(30));
        assert_eq!(
            plan.cpu_time() + plan.memory_limit(),
            Duration::from_secs(30)
        );
        let plan = Plan::quick(Word(1))
            .only(&[StageKind::Cpu])
            .lasting(Duration::from_secs(30));
        assert_eq!(plan.cpu_time(), Duration::from_secs(30));
    }
}
