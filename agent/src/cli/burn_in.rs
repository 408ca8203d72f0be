//! `cupel burn-in`: load that proves itself.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::Context as _;
use cupel_burnin::{
    Outcome, Plan, PlanError, PlanKind, StageKind, Word, parse_duration, parse_share, parse_stages,
};
use cupel_model::units::Percent;
use signal_hook::consts::TERM_SIGNALS;

use crate::bringup::burn_in::burn_in;
use crate::bringup::reporter::Reporter;
use crate::bringup::state::{BurnIn, Observed};
use crate::bringup::{journal, lease, text};
use crate::config::Settings;
use crate::context::Context;
use crate::exit::{Exit, Refused};
use crate::output::{Format, note};

/// Stages as one value of the command line.
#[derive(Clone, Debug)]
struct Stages(Vec<StageKind>);

fn stages(text: &str) -> Result<Stages, PlanError> {
    parse_stages(text).map(Stages)
}

/// What to load, how much, and how long.
#[derive(Clone, Debug, clap::Args)]
pub struct PlanArgs {
    /// The plan: quick
    #[arg(long, value_name = "PLAN", default_value = "quick", value_parser = str::parse::<PlanKind>)]
    plan: PlanKind,
    /// Only these stages of it: cpu, memory (comma-separated)
    #[arg(long, value_name = "STAGES", value_parser = stages)]
    only: Option<Stages>,
    /// How long it may take in all, shared out over its stages (such as 30s, 10m, 2h)
    #[arg(long = "for", value_name = "TIME", value_parser = parse_duration)]
    time: Option<Duration>,
    /// Share of the free memory to test, 1% to 95% [default: burn_in.memory_share]
    #[arg(long, value_name = "SHARE", value_parser = parse_share)]
    memory_share: Option<Percent>,
    /// Agree to the plan beforehand
    #[arg(short = 'y', long)]
    pub yes: bool,
}

impl PlanArgs {
    /// The plan that the options and the settings make.
    ///
    /// # Errors
    /// The configured share of memory is out of range.
    pub fn plan(&self, settings: &Settings) -> anyhow::Result<Plan> {
        let mut plan = Plan::new(self.plan, Word(seed()));
        let share = match self.memory_share {
            Some(share) => share,
            None => parse_share(&(settings.burn_in_memory_share.value * 100.0).to_string())
                .with_context(|| {
                    format!(
                        "cannot use burn_in.memory_share set in {}",
                        settings.burn_in_memory_share.origin
                    )
                })?,
        };
        plan = plan.memory_share(share);
        if let Some(Stages(stages)) = &self.only {
            plan = plan.only(stages);
        }
        if let Some(time) = self.time {
            plan = plan.lasting(time);
        }
        Ok(plan)
    }
}

/// A seed that no two runs share, from the clock: patterns need variety, not secrecy.
fn seed() -> u64 {
    let nanoseconds = jiff::Timestamp::now().as_nanosecond();
    let [a, b, c, d, e, f, g, h, ..] = nanoseconds.to_le_bytes();
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}

/// A flag that is set when the operator wants to stop; a second signal ends the program.
///
/// # Errors
/// The system does not let signals be caught.
pub fn cancellation() -> anyhow::Result<Arc<AtomicBool>> {
    let cancel = Arc::new(AtomicBool::new(false));
    for signal in TERM_SIGNALS {
        signal_hook::flag::register_conditional_shutdown(*signal, 130, Arc::clone(&cancel))
            .and_then(|_| signal_hook::flag::register(*signal, Arc::clone(&cancel)))
            .context("cannot catch signals")?;
    }
    Ok(cancel)
}

/// Options of `cupel burn-in`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cupel burn-in --plan quick                          processors and half of the free memory
  cupel burn-in --only cpu --for 10m                  processors only, ten minutes
  cupel burn-in --only memory --memory-share 90% --yes

Exit codes:
  0  everything that was asked was tested, and every bit was right
  1  a bit was wrong, or the detector missed a planted fault
  2  wrong usage, or the tool failed
  3  incomplete: less was tested than was asked
  4  refused; the machine was left as it is")]
pub struct Args {
    #[command(flatten)]
    plan: PlanArgs,
}

/// Loads the machine and writes what came of it.
pub fn run(args: &Args, context: &mut Context) -> anyhow::Result<Exit> {
    let settings = context.settings()?;
    let plan = args.plan.plan(&settings)?;
    let lock = match journal::lock(&context.state_dir()) {
        Ok(lock) => Some(lock),
        Err(error) if error.is::<Refused>() => return Err(error),
        Err(error) => {
            // Nothing is kept, so a state directory that cannot be written is no reason to stop.
            tracing::info!("not locked against a second burn-in: {error:#}");
            None
        }
    };
    lease::obtain(
        settings.tenancy.value,
        args.plan.yes,
        &crate::bringup::burn_in::lines(&context.root, &plan),
    )?;
    let cancel = cancellation()?;
    let mut reporter = Reporter::default();
    let observed = burn_in(
        &context.root,
        &plan,
        &mut |event| reporter.burn_in(&event),
        &cancel,
    );
    drop(lock);
    let result = match observed {
        Observed::BurnedIn(BurnIn::Ran(result)) => result,
        Observed::BurnedIn(BurnIn::NotRun { why }) => anyhow::bail!("burn-in was not run: {why}"),
        Observed::Cancelled => {
            note("burn-in was cancelled: incomplete");
            return Ok(Exit::Unknown);
        }
        Observed::Inspected(_) | Observed::Checked(_) | Observed::Judged(_) => {
            anyhow::bail!("burn-in came to nothing")
        }
    };
    match context.format {
        Format::Json | Format::Jsonl => context.out.json(&result, context.format)?,
        Format::Text => context.out.text(&text::burn_in(&result))?,
    }
    Ok(match result.verdict {
        Outcome::Pass => Exit::Fine,
        Outcome::Fail => Exit::Blocked,
        Outcome::Incomplete | Outcome::Unsupported | Outcome::Skipped => Exit::Unknown,
    })
}
