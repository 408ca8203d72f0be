//! The step `burn-in`: load the machine and verify every result.

use std::sync::atomic::AtomicBool;

use cupel_burnin::{Plan, Progress};

use super::check::Measure;
use super::state::{BurnIn, Observed};
use crate::burn_in::perform::perform;
use crate::burn_in::prepare::{Prepared, Wishes, prepare};
use crate::burn_in::{schedule, text};
use crate::config::Settings;
use crate::context::Context;

/// Lays the plan on this machine.
fn laid(
    context: &Context,
    settings: &Settings,
    plan: &Plan,
    platform: Option<&str>,
) -> Result<Prepared, String> {
    let wishes = Wishes {
        platform,
        even_if_busy: false,
    };
    prepare(context, settings, plan, &wishes).map_err(|error| {
        let why = crate::exit::chain(&error);
        why.trim().replace('\n', "; ")
    })
}

/// Runs the plan on the machine that this process runs on.
pub fn burn_in(
    context: &Context,
    measure: &Measure<'_>,
    plan: &Plan,
    progress: &mut dyn FnMut(Progress),
    cancel: &AtomicBool,
) -> Observed {
    let prepared = match laid(context, measure.settings, plan, measure.platform) {
        Ok(prepared) => prepared,
        Err(why) => return Observed::BurnedIn(BurnIn::NotRun { why }),
    };
    let result = perform(context, measure.settings, prepared, None, progress, cancel);
    if result.cancelled {
        return Observed::Cancelled;
    }
    Observed::BurnedIn(BurnIn::Ran(Box::new(result)))
}

/// What the plan will do on this machine, for whoever has to agree to it.
pub fn lines(
    context: &Context,
    settings: &Settings,
    plan: &Plan,
    platform: Option<&str>,
) -> Vec<String> {
    match laid(context, settings, plan, platform) {
        Ok(prepared) => schedule::lines(&prepared.run.schedule()),
        Err(why) => vec![format!("nothing, as it stands: {why}")],
    }
}

/// What came of it, in a line.
pub fn line(burn_in: &BurnIn) -> String {
    match burn_in {
        BurnIn::Ran(result) => text::headline(result),
        BurnIn::NotRun { why } => format!("not run: {why}"),
    }
}
