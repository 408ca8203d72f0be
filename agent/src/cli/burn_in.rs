//! `cupel burn-in`: load that proves itself.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args as ClapArgs, Subcommand};
use cupel_burnin::{BurnInResult, Outcome};

use super::plan_args::{PlanArgs, cancellation};
use crate::bringup::{journal, lease};
use crate::burn_in::keep::{self, Keeper};
use crate::burn_in::perform::perform;
use crate::burn_in::prepare::{Wishes, prepare};
use crate::burn_in::view::View;
use crate::burn_in::{compare, guard, schedule, text};
use crate::context::Context;
use crate::exit::{Exit, Refused};
use crate::output::{Format, note};
use crate::render::html::burn_in_page;

/// Options of `cupel burn-in`.
#[derive(Debug, ClapArgs)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Examples:
  cupel burn-in --plan standard --dry-run          show what would run when, and why
  cupel burn-in                                    all of it in two minutes, after asking
  cupel burn-in --plan soak --for 24h --yes        a day, without asking
  cupel burn-in --only gpu --gpu 3                 one GPU
  cupel burn-in --only nvme --write-drive S6CK0001 that drive is written, if nothing uses it
  cupel burn-in compare before.json after.json
  cupel burn-in page before.json > before.html     the page of a result that was kept

Exit codes:
  0  everything that was asked was tested, every bit was right, no floor was missed
  1  a bit was wrong, a floor was missed, the hardware counted errors, or a planted fault was missed
  2  wrong usage, or the tool failed
  3  incomplete: less was tested than was asked
  4  refused; the machine was left as it is"
)]
pub struct Args {
    #[command(subcommand)]
    other: Option<Other>,
    #[command(flatten)]
    plan: PlanArgs,
    /// Show what would run when, and why; load nothing
    #[arg(long)]
    dry_run: bool,
    /// Hold values against this platform: a name of `cupel platform list`, or a file
    #[arg(long, value_name = "NAME")]
    platform: Option<String>,
    /// Load GPUs although processes are on them
    #[arg(long)]
    even_if_busy: bool,
    /// Where burn-in.json and burn-in.html are written [default: reports in the state directory]
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Other {
    /// Compare two results
    Compare(CompareArgs),
    /// Write the page of a result to standard output
    Page(PageArgs),
}

/// Options of `cupel burn-in page`.
#[derive(Debug, ClapArgs)]
#[command(after_help = "Exit codes: 0 the page was written, 2 wrong usage or unusable input")]
pub struct PageArgs {
    /// A burn-in.json
    result: PathBuf,
}

/// Options of `cupel burn-in compare`.
#[derive(Debug, ClapArgs)]
#[command(after_help = "Exit codes: 0 they were compared, 2 wrong usage or unusable input")]
pub struct CompareArgs {
    /// A burn-in.json
    a: PathBuf,
    /// Another
    b: PathBuf,
}

/// Options of the hidden command that guards a burn-in.
#[derive(Debug, ClapArgs)]
pub struct GuardArgs {
    directory: PathBuf,
}

/// Loads the machine and writes what came of it.
pub fn run(args: &Args, context: &mut Context) -> anyhow::Result<Exit> {
    match &args.other {
        Some(Other::Compare(files)) => return compare_files(files, context),
        Some(Other::Page(file)) => {
            let page = burn_in_page(&keep::load(&file.result)?);
            context.out.text(&page)?;
            return Ok(Exit::Fine);
        }
        None => {}
    }
    let settings = context.settings()?;
    let plan = args.plan.plan(&settings)?;
    let wishes = Wishes {
        platform: args.platform.as_deref(),
        even_if_busy: args.even_if_busy,
    };
    let lock = if args.dry_run { None } else { lock(context)? };
    let prepared = prepare(context, &settings, &plan, &wishes)?;
    let lines = schedule::lines(&prepared.run.schedule());
    if args.dry_run {
        return dry_run(&prepared.run, &lines, context);
    }
    lease::obtain(settings.tenancy.value, args.plan.yes, &lines)?;
    let cancel = cancellation()?;
    let mut keeper = keeper(args.report.as_deref(), context)?;
    let guardian =
        keeper
            .as_ref()
            .and_then(|keeper| match guard::start(context, keeper.directory()) {
                Ok(guardian) => Some(guardian),
                Err(error) => {
                    tracing::info!("no guardian: {error}");
                    None
                }
            });
    let mut view = View::default();
    let result = perform(
        context,
        &settings,
        prepared,
        keeper.as_mut(),
        &mut |event| view.hear(&event),
        &cancel,
    );
    drop(lock);
    if let Some(keeper) = keeper {
        match keeper.finish(&result) {
            Ok(files) => {
                for file in files {
                    note(&file.display().to_string());
                }
            }
            Err(error) => note(&format!("the result was not kept: {error:#}")),
        }
    }
    drop(guardian);
    if result.cancelled {
        note("burn-in was cancelled: incomplete");
    }
    tell(&result, context)?;
    Ok(exit(&result))
}

/// Keeps a second burn-in out; a state directory that cannot be written is no reason to stop.
fn lock(context: &Context) -> anyhow::Result<Option<std::fs::File>> {
    match journal::lock(&context.state_dir()) {
        Ok(lock) => Ok(Some(lock)),
        Err(error) if error.is::<Refused>() => Err(error),
        Err(error) => {
            tracing::info!("not locked against a second burn-in: {error:#}");
            Ok(None)
        }
    }
}

/// Where the evidence goes. A directory that was named must be there before the load begins.
fn keeper(named: Option<&Path>, context: &Context) -> anyhow::Result<Option<Keeper>> {
    match named {
        Some(directory) => Keeper::open(directory)
            .context("nothing was loaded; name another place with --report")
            .map(Some),
        None => match Keeper::open(&context.state_dir().join("reports")) {
            Ok(keeper) => Ok(Some(keeper)),
            Err(error) => {
                note(&format!("no result is kept on disk: {error:#}"));
                Ok(None)
            }
        },
    }
}

fn dry_run(
    run: &cupel_burnin::Run,
    lines: &[String],
    context: &mut Context,
) -> anyhow::Result<Exit> {
    match context.format {
        Format::Json | Format::Jsonl => context.out.json(&run.schedule(), context.format)?,
        Format::Text => {
            for line in lines {
                for (number, part) in crate::render::table::wrap(line, super::COLUMNS - 4)
                    .into_iter()
                    .enumerate()
                {
                    let indent = if number == 0 { "" } else { "    " };
                    context.out.line(&format!("{indent}{part}"))?;
                }
            }
            for need in &run.preflight {
                context.out.line(&text::preflight(need))?;
            }
        }
    }
    Ok(Exit::Fine)
}

fn tell(result: &BurnInResult, context: &mut Context) -> std::io::Result<()> {
    match context.format {
        Format::Json | Format::Jsonl => context.out.json(result, context.format),
        Format::Text => context.out.text(&text::burn_in(result)),
    }
}

fn exit(result: &BurnInResult) -> Exit {
    match result.verdict {
        Outcome::Pass => Exit::Fine,
        Outcome::Fail => Exit::Blocked,
        Outcome::Incomplete | Outcome::Unsupported | Outcome::Skipped => Exit::Unknown,
    }
}

fn compare_files(files: &CompareArgs, context: &mut Context) -> anyhow::Result<Exit> {
    let (a, b) = (keep::load(&files.a)?, keep::load(&files.b)?);
    let comparison = compare::compare(&a, &b);
    match context.format {
        Format::Json | Format::Jsonl => context.out.json(&comparison, context.format)?,
        Format::Text => context.out.text(&compare::text(&comparison))?,
    }
    Ok(Exit::Fine)
}

/// Waits beside a burn-in and finishes its result if that is killed.
pub fn run_guard(args: &GuardArgs, context: &Context) -> anyhow::Result<Exit> {
    guard::guard(context, &args.directory)
}
