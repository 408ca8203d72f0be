//! `cupel bringup`: all of it, journaled and resumable.

use std::path::PathBuf;

use anyhow::Context as _;

use super::plan_args::{PlanArgs, cancellation};
use crate::bringup::check::Measure;
use crate::bringup::drive::{Drive, Start, fresh, identity, interrupted, now, start};
use crate::bringup::journal::Store;
use crate::bringup::state::State;
use crate::bringup::{BringupReport, burn_in, lease, text};
use crate::burn_in::view::View;
use crate::context::Context;
use crate::exit::Exit;
use crate::output::{Format, note};
use crate::render;
use crate::service;

/// Options of `cupel bringup`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cupel bringup                          ask, then inspect, check, burn in, check again
  cupel bringup --yes --report out       without asking; report in out/bringup.{json,html}
  cupel bringup --start-over             do not go on with one that was cut short

Cut short by anything, it goes on where it was when it is run again in the same boot.

Exit codes:
  0  nothing blocks allocation
  1  something does (--strict: any enforced finding of warning or above)
  2  wrong usage, unusable journal, or the tool failed
  3  the verdict is unknown, or it was cancelled
  4  refused: no consent, or another bring-up runs; the machine was left as it is")]
pub struct Args {
    #[command(flatten)]
    plan: PlanArgs,
    /// Hold the machine against this platform: a name of `cupel platform list`, or a file
    #[arg(long, value_name = "NAME")]
    platform: Option<String>,
    /// Where bringup.json and bringup.html are written [default: reports in the state directory]
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
    /// Keep the journal of an unfinished bring-up under another name and begin anew
    #[arg(long)]
    start_over: bool,
    /// End with 1 for any enforced finding of warning or above
    #[arg(long)]
    strict: bool,
}

/// Brings the machine up.
pub fn run(args: &Args, context: &mut Context) -> anyhow::Result<Exit> {
    let settings = context.settings()?;
    let modes = settings.modes()?;
    let plan = args.plan.plan(&settings)?;
    let state_dir = context.state_dir();
    let store = Store::open(&state_dir)?;
    let identity = identity(&context.root);
    let begin = if args.start_over {
        Start::SetAside("you said --start-over".to_owned())
    } else {
        start(store.load()?, &identity)
    };
    let journal = match begin {
        Start::Fresh => fresh(identity, plan),
        Start::SetAside(why) => {
            if let Some(path) = store.set_aside(now())? {
                note(&format!(
                    "beginning anew: {why}; the earlier journal is {}",
                    path.display()
                ));
            }
            fresh(identity, plan)
        }
        Start::Resume(mut journal) => {
            let step = journal.state.phase().map_or("end", |phase| phase.name());
            note(&format!(
                "going on with the bring-up of {} at the step {step}, with the plan of then",
                journal.started_at
            ));
            interrupted(&mut journal);
            *journal
        }
    };
    match journal.state {
        State::Inspect {} | State::CheckBefore { .. } | State::BurnIn { .. } => {
            let platform = args.platform.as_deref();
            let lines = burn_in::lines(context, &settings, &journal.plan, platform);
            lease::obtain(settings.tenancy.value, args.plan.yes, &lines)?;
        }
        State::CheckAfter { .. } | State::Judge { .. } | State::Finished { .. } => {}
    }
    let cancel = cancellation()?;
    let mut reporter = View::default();
    let drive = Drive {
        context,
        measure: Measure {
            settings: &settings,
            modes,
            platform: args.platform.as_deref(),
        },
        store: &store,
        reports: args
            .report
            .clone()
            .unwrap_or_else(|| state_dir.join("reports")),
        cancel: &cancel,
    };
    let Some(report) = drive.run(journal, &mut reporter)? else {
        note("bring-up was cancelled; run 'cupel bringup' again to go on where it was");
        return Ok(Exit::Unknown);
    };
    if let Err(error) = service::leave_bringup(context, &settings, &report) {
        note(&format!(
            "the inventory will not hear of this bring-up: {error:#}"
        ));
    }
    tell(&report, context).context("cannot write the verdict")?;
    let blocked = args.strict
        && [&report.before, &report.after]
            .iter()
            .any(|check| check.exit_code(true) == 1);
    Ok(if blocked {
        Exit::Blocked
    } else {
        Exit::from_report(report.exit_code)
    })
}

fn tell(report: &BringupReport, context: &mut Context) -> std::io::Result<()> {
    if context.format != Format::Text {
        return context.out.json(report, context.format);
    }
    let check = render::check::report(&report.after, context.layout());
    context.out.text(&check)?;
    context.out.line("")?;
    if let Some(result) = &report.burn_in {
        context.out.text(&crate::burn_in::text::burn_in(result))?;
        context.out.line("")?;
    }
    let word = text::verdict(report.verdict);
    context.out.line(&format!("Bring-up: {word}"))?;
    for reason in &report.reasons {
        context
            .out
            .line(&format!("  ! {}", crate::output::printable(reason)))?;
    }
    Ok(())
}
