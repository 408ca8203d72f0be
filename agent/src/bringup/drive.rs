//! Goes from state to state: journal, step, journal, step.
//!
//! # Invariants
//! - The state is on disk before its step begins; a step that was cut short is done again.
//! - An unfinished journal of this machine in this boot is continued with the burn-in plan that
//!   was agreed to then.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use anyhow::bail;
use cupel_burnin::Plan;
use cupel_hardware::{Root, node, smbios};
use cupel_model::units::Seconds;
use cupel_model::{SCHEMA_VERSION, Timestamp};

use super::check::{self, Measure, check, check_again};
use super::journal::{Identity, Journal, Store};
use super::judge::{self, Facts, judge};
use super::report::{BringupReport, Phase, StepRecord, StepState};
use super::state::{Observed, State, Step, next};
use super::{burn_in, inspect, text};
use crate::burn_in::view::View;
use crate::context::Context;

/// How a bring-up begins.
#[derive(Debug, PartialEq)]
pub enum Start {
    /// Anew.
    Fresh,
    /// Where an earlier one was cut short.
    Resume(Box<Journal>),
    /// Anew, keeping the old journal; why.
    SetAside(String),
}

/// What to do about a journal that was found.
pub fn start(found: Option<Journal>, identity: &Identity) -> Start {
    let Some(journal) = found else {
        return Start::Fresh;
    };
    if matches!(journal.state, State::Finished { .. }) {
        return Start::Fresh;
    }
    if journal.identity.node_id != identity.node_id {
        return Start::SetAside("it belongs to another node".to_owned());
    }
    if journal.identity.boot_id != identity.boot_id {
        return Start::SetAside("the machine was booted since".to_owned());
    }
    if journal.cupel_version != env!("CARGO_PKG_VERSION") {
        return Start::SetAside(format!("cupel {} wrote it", journal.cupel_version));
    }
    Start::Resume(Box::new(journal))
}

/// Which machine this is, in which boot.
pub fn identity(root: &Root) -> Identity {
    let node = node::collect(root, &smbios::read(root));
    Identity {
        boot_id: node.boot_id.value().cloned(),
        node_id: node.id.value().cloned(),
    }
}

/// The time of day.
pub fn now() -> Timestamp {
    Timestamp::from(jiff::Timestamp::now())
}

/// A journal of a bring-up that begins now.
pub fn fresh(identity: Identity, plan: Plan) -> Journal {
    let now = now();
    Journal {
        schema_version: SCHEMA_VERSION,
        cupel_version: env!("CARGO_PKG_VERSION").to_owned(),
        identity,
        started_at: now,
        step_started_at: now,
        plan,
        steps: Vec::new(),
        state: State::Inspect {},
    }
}

/// Marks the step that was cut short.
pub fn interrupted(journal: &mut Journal) {
    if let Some(phase) = journal.state.phase() {
        journal.steps.push(StepRecord {
            name: phase,
            state: StepState::Interrupted,
            started_at: journal.step_started_at,
            elapsed_seconds: None,
            detail: "cut short and done again".to_owned(),
        });
    }
}

/// What a bring-up needs besides its journal.
#[derive(Debug)]
pub struct Drive<'a> {
    /// Root, output, options.
    pub context: &'a Context,
    /// What the machine is held against.
    pub measure: Measure<'a>,
    /// Where journals are.
    pub store: &'a Store,
    /// Where the report goes.
    pub reports: PathBuf,
    /// Set when the operator wants to stop.
    pub cancel: &'a AtomicBool,
}

impl Drive<'_> {
    /// Does all steps that are left. `None` when it was cancelled; then the journal stays.
    ///
    /// # Errors
    /// A step failed; the journal stays, and the step is done again next time.
    pub fn run(
        &self,
        mut journal: Journal,
        reporter: &mut View,
    ) -> anyhow::Result<Option<Box<BringupReport>>> {
        while let Some(phase) = journal.state.phase() {
            journal.step_started_at = now();
            self.store.save(&journal)?;
            if self.cancel.load(Ordering::Relaxed) {
                return Ok(None);
            }
            let place = Phase::ALL.iter().position(|other| *other == phase);
            reporter.line(&format!(
                "[{}/{}] {}",
                place.map_or(0, |place| place + 1),
                Phase::ALL.len(),
                phase.name()
            ));
            let began = Instant::now();
            let observed = self.perform(&journal, reporter)?;
            if observed == Observed::Cancelled {
                return Ok(None);
            }
            let detail = line(&observed);
            reporter.line(&format!("      {detail}"));
            journal.steps.push(StepRecord {
                name: phase,
                state: StepState::Done,
                started_at: journal.step_started_at,
                elapsed_seconds: Seconds::new(began.elapsed().as_secs_f64()).ok(),
                detail,
            });
            match next(&journal.state, observed) {
                Step::To(state) => journal.state = state,
                Step::Stay => bail!("the step {} came to nothing", phase.name()),
            }
        }
        self.store.save(&journal)?;
        match journal.state {
            State::Finished { report } => Ok(Some(report)),
            State::Inspect {}
            | State::CheckBefore { .. }
            | State::BurnIn { .. }
            | State::CheckAfter { .. }
            | State::Judge { .. } => Ok(None),
        }
    }

    /// Does the step that the state names.
    fn perform(&self, journal: &Journal, reporter: &mut View) -> anyhow::Result<Observed> {
        Ok(match &journal.state {
            State::Inspect {} => {
                let snapshot = inspect::inspect(self.context, self.measure.settings)?;
                Observed::Inspected(Box::new(snapshot))
            }
            State::CheckBefore { snapshot } => {
                Observed::Checked(Box::new(check(self.context, &self.measure, snapshot)?))
            }
            State::BurnIn { .. } => burn_in::burn_in(
                self.context,
                &self.measure,
                &journal.plan,
                &mut |event| reporter.hear(&event),
                self.cancel,
            ),
            State::CheckAfter { snapshot, .. } => Observed::Checked(Box::new(check_again(
                self.context,
                &self.measure,
                snapshot,
            )?)),
            State::Judge {
                snapshot,
                before,
                burn_in,
                after,
            } => {
                let report = judge(Facts {
                    snapshot: snapshot.clone(),
                    before: (**before).clone(),
                    burn_in: burn_in.clone(),
                    after: (**after).clone(),
                    steps: journal.steps.clone(),
                    started_at: journal.started_at,
                    finished_at: now(),
                });
                for path in judge::write(&self.reports, &report)? {
                    reporter.line(&format!("      {}", path.display()));
                }
                Observed::Judged(Box::new(report))
            }
            State::Finished { report } => Observed::Judged(report.clone()),
        })
    }
}

fn line(observed: &Observed) -> String {
    match observed {
        Observed::Inspected(snapshot) => inspect::line(snapshot),
        Observed::Checked(report) => check::line(report),
        Observed::BurnedIn(result) => burn_in::line(result),
        Observed::Judged(report) => text::verdict(report.verdict).to_owned(),
        Observed::Cancelled => "cancelled".to_owned(),
    }
}
