//! Plans as they are written on a command line.

use std::str::FromStr;
use std::time::Duration;

use cupel_model::units::Percent;

use super::PlanKind;
use crate::stage_kind::StageKind;

/// A part of a plan that cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// No such plan.
    #[error("{0:?} is not a plan; there are: quick, standard, extended, soak")]
    Kind(String),
    /// No such stage.
    #[error("{0:?} is not a stage; there are: {list}, and the groups host and gpu", list = StageKind::list())]
    Stage(String),
    /// No stage at all.
    #[error("no stage is named; there are: {list}, and the groups host and gpu", list = StageKind::list())]
    NoStage,
    /// Not a time.
    #[error("{0:?} is not a time above zero (want for example 30s, 10m, 2h, 1h30m)")]
    Duration(String),
    /// Not a share.
    #[error("{0:?} is not a share of memory (want 1% to 95%, for example 25%)")]
    Share(String),
    /// Not GPUs.
    #[error("{0:?} is not a list of GPUs (want for example 0,3 or 0-3)")]
    Gpus(String),
}

impl FromStr for PlanKind {
    type Err = PlanError;

    fn from_str(text: &str) -> Result<Self, PlanError> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.name() == text)
            .ok_or_else(|| PlanError::Kind(text.to_owned()))
    }
}

/// Stages by name or group (`host`, `gpu`), comma-separated, in any order; each counts once.
///
/// # Errors
/// An unknown name, or none.
pub fn parse_stages(text: &str) -> Result<Vec<StageKind>, PlanError> {
    let mut stages = Vec::new();
    for name in text.split(',').map(str::trim).filter(|n| !n.is_empty()) {
        match name {
            "gpu" => stages.extend(StageKind::ALL.into_iter().filter(|kind| kind.is_gpu())),
            "host" => stages.extend(StageKind::ALL.into_iter().filter(|kind| !kind.is_gpu())),
            name => stages.push(name.parse()?),
        }
    }
    stages.sort_unstable();
    stages.dedup();
    if stages.is_empty() {
        return Err(PlanError::NoStage);
    }
    Ok(stages)
}

/// GPUs by NVML index: `0,3`, `0-3`.
///
/// # Errors
/// Anything else.
pub fn parse_gpus(text: &str) -> Result<Vec<u32>, PlanError> {
    /// Above every server's count of GPUs.
    const MOST: u32 = 1024;
    let wrong = || PlanError::Gpus(text.to_owned());
    let mut gpus = Vec::new();
    for part in text.split(',').map(str::trim) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let first: u32 = first.parse().map_err(|_| wrong())?;
        let last: u32 = last.parse().map_err(|_| wrong())?;
        if first > last || last >= MOST {
            return Err(wrong());
        }
        gpus.extend(first..=last);
    }
    gpus.sort_unstable();
    gpus.dedup();
    Ok(gpus)
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
    fn stages_shares_and_gpus_of_the_command_line() {
        assert_eq!(
            parse_stages("memory,cpu,cpu"),
            Ok(vec![StageKind::Cpu, StageKind::Memory])
        );
        let gpu = parse_stages("gpu").expect("a group");
        assert!(gpu.iter().all(|kind| kind.is_gpu()) && gpu.len() > 5);
        let host = parse_stages("host").expect("a group");
        assert_eq!(host.len() + gpu.len(), StageKind::ALL.len());
        assert_eq!(
            parse_stages("disk"),
            Err(PlanError::Stage("disk".to_owned()))
        );
        assert_eq!(parse_stages(","), Err(PlanError::NoStage));
        assert_eq!(parse_share("25%").map(Percent::get), Ok(25.0));
        for text in ["0%", "100%", "half", "NaN", "inf"] {
            assert!(parse_share(text).is_err(), "{text:?}");
        }
        assert_eq!(parse_gpus("0-2,7,2"), Ok(vec![0, 1, 2, 7]));
        for text in ["", "3-1", "a", "0-99999"] {
            assert!(parse_gpus(text).is_err(), "{text:?}");
        }
    }
}
