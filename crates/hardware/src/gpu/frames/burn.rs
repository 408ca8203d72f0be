//! What a worker that burns in says, held against what is possible.

use cupel_model::worker::Ask;
use cupel_model::worker_burnin::{BurnAnswer, BurnAsk, BurnOutcome, BurnProgress};

use super::{FrameError, GPUS_MAX};

/// Most differences that an answer may list.
const MISMATCHES_MAX: usize = 4096;

/// Most tiles that a product may have.
const TILES_MAX: usize = 1 << 17;

/// Most of each other list.
const LIST_MAX: usize = 4 * GPUS_MAX * GPUS_MAX;

/// Whether it answers the request.
pub fn is_of_kind(answer: &BurnAnswer, ask: &Ask) -> bool {
    let Ask::Burn(ask) = ask else {
        return false;
    };
    match answer {
        BurnAnswer::Started => matches!(ask, BurnAsk::Start(_)),
        BurnAnswer::Progress(_) | BurnAnswer::Idle => {
            matches!(ask, BurnAsk::Poll | BurnAsk::Stop)
        }
    }
}

/// Whether it can be.
///
/// # Errors
/// Too much of something, or no number.
pub fn check(answer: &BurnAnswer) -> Result<(), FrameError> {
    let BurnAnswer::Progress(BurnProgress {
        samples, outcome, ..
    }) = answer
    else {
        return Ok(());
    };
    let finite = samples.iter().all(|sample| sample.value.is_finite());
    if samples.len() > LIST_MAX || !finite {
        return Err(implausible("samples"));
    }
    outcome.as_deref().map_or(Ok(()), check_outcome)
}

fn check_outcome(outcome: &BurnOutcome) -> Result<(), FrameError> {
    let BurnOutcome {
        gpus,
        measured,
        mismatches,
        hashes,
        links,
        notes,
        ..
    } = outcome;
    if outcome.found > outcome.planted || outcome.covered > outcome.asked {
        return Err(implausible("more found than planted, or done than asked"));
    }
    if (mismatches.len() as u64) > outcome.mismatch_count || mismatches.len() > MISMATCHES_MAX {
        return Err(implausible("more differences than were counted"));
    }
    let tiles = hashes.as_ref().map_or(0, |hashes| hashes.hashes.len());
    let long = gpus.len() > GPUS_MAX
        || measured.len() > LIST_MAX
        || links.len() > LIST_MAX
        || notes.len() > LIST_MAX
        || tiles > TILES_MAX;
    let finite = measured.iter().all(|sample| sample.value.is_finite())
        && links
            .iter()
            .all(|link| link.gigabytes_per_second.is_finite())
        && outcome.seconds.is_finite();
    if long || !finite {
        return Err(implausible("an outcome"));
    }
    Ok(())
}

fn implausible(what: &str) -> FrameError {
    FrameError::Implausible(format!("{what} that cannot be"))
}
