//! `cupel upgrade`: exchanges the installed version for another, and gets back from a bad one.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use cupel_burnin::parse_duration;
use cupel_installer::journal::{Ended, Outcome};
use cupel_installer::layout::KEYS;
use cupel_installer::release::LARGEST;
use cupel_installer::{Applier, Architecture, Exchange, InstallError, Release, facts, plan};

use crate::context::Context;
use crate::exit::{Exit, Refused};
use crate::install::{Machine, agreed, follow, read, refused, sentence};
use crate::journal;
use crate::output::note;
use crate::service::client;

/// Longest signature, in bytes.
const SIGNATURE: u64 = 16 * 1024;

/// How long a release may take to arrive.
const FETCHING: Duration = Duration::from_secs(900);

/// How long the unit that carries out an exchange waits for whoever prepared it.
const PATIENCE: Duration = Duration::from_secs(30);

/// Options of `cupel upgrade`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The file's signature (FILE.minisig) is verified against the keys in /etc/cupel/release-keys before
anything is written. The new version tests itself beside the old one; then the old one switches,
restarts the service, watches it, and puts itself back if the new one is not healthy. A power cut
at any moment leaves a version that works.

Examples:
  cupel upgrade cupel-x86_64
  cupel upgrade --yes --probation 5m https://releases.example/cupel-x86_64
  cupel rollback                         back to the version before

Exit codes: 0 the new version runs, 2 wrong usage, or it was put back, 4 refused: nothing was changed")]
pub struct Args {
    /// The new version: a static program `cupel-ARCHITECTURE`, or an https:// address of one
    #[arg(value_name = "FILE", required_unless_present_any = ["step", "recover"])]
    file: Option<String>,
    /// Its signature [default: FILE.minisig]
    #[arg(long, value_name = "FILE")]
    signature: Option<String>,
    /// How long the new version is watched before it is kept
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "60s")]
    probation: Duration,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Carry out what was prepared; run by cupel-upgrade.service
    #[arg(long, hide = true, conflicts_with_all = ["file", "recover"])]
    step: bool,
    /// Finish or take back what was cut short; run by cupel-recover.service
    #[arg(long, hide = true, conflicts_with = "file")]
    recover: bool,
}

/// Exchanges versions.
pub fn run(args: &Args, context: &mut Context) -> anyhow::Result<Exit> {
    let machine = Machine::of(context);
    match (&args.file, args.recover) {
        (Some(file), _) => upgrade(args, file, &machine, context),
        (None, true) => recover(&machine, context),
        (None, false) => step(&machine, context),
    }
}

fn upgrade(
    args: &Args,
    file: &str,
    machine: &Machine,
    context: &mut Context,
) -> anyhow::Result<Exit> {
    let architecture = Architecture::of_this_program()
        .ok_or_else(|| Refused("there are no releases for this machine's processors".to_owned()))?;
    let beside = match &args.signature {
        Some(signature) => signature.clone(),
        None => format!("{file}.minisig"),
    };
    let signature = String::from_utf8_lossy(&bytes_of(&beside, SIGNATURE, context)?).into_owned();
    let bytes = bytes_of(file, LARGEST, context)?;
    let keys = facts::keys(&machine.disk).map_err(|why| anyhow!(why))?;
    let release = Release::verify(bytes, &signature, &keys, KEYS, architecture)
        .map_err(|error| Refused(format!("{file}: {error}")))?;
    note(&format!("{file} is signed by {}", release.signed_by()));
    let size = u64::try_from(release.bytes().len()).unwrap_or(u64::MAX);
    let probation = args.probation.as_secs();
    let planned = || plan::upgrade(&machine.facts(), size, probation).map_err(|no| refused(&no));
    let (plan, lock) = agreed(machine, planned, |plan| plan, args.yes)?;
    let journal = machine.journal()?.context("nothing is installed here")?;
    let before = journal.last.clone();
    let running = machine.facts().current;
    let mut tell = |text: &str| tracing::info!("{text}");
    let applier = Applier::new(
        &machine.disk,
        &machine.system,
        &mut tell,
        journal,
        Some(&release),
    );
    let version = applier.upgrade(&plan).context("cannot upgrade")?;
    drop(lock);
    if running.as_ref() == Some(&version) {
        context.out.line(&format!("{version} runs already"))?;
        return Ok(Exit::Fine);
    }
    note(&format!("{version} has passed its self-test"));
    end(&follow(machine, before.as_ref())?, context)
}

/// A file, or what is at an address; the inventory's certificate authorities count for both.
fn bytes_of(file: &str, cap: u64, context: &Context) -> anyhow::Result<Vec<u8>> {
    if !file.contains("://") {
        return read(Path::new(file), cap);
    }
    let settings = context.settings()?;
    let authorities = settings.inventory.ca_file.value.as_deref();
    cupel_reporting::fetch(file, authorities, cap, FETCHING)
        .with_context(|| format!("cannot use {file}"))
}

/// Tells what came of an exchange.
pub fn end(outcome: &Outcome, context: &mut Context) -> anyhow::Result<Exit> {
    context.out.line(&sentence(outcome))?;
    Ok(match outcome.result {
        Ended::Installed | Ended::Accepted => Exit::Fine,
        Ended::Reverted => Exit::Error,
        Ended::NotBegun => Exit::Refused,
    })
}

fn step(machine: &Machine, context: &Context) -> anyhow::Result<Exit> {
    let until = std::time::Instant::now() + PATIENCE;
    let _lock = loop {
        match cupel_installer::Lock::take(&machine.disk) {
            Err(InstallError::Locked) if std::time::Instant::now() < until => {
                std::thread::sleep(Duration::from_millis(200));
            }
            other => break other?,
        }
    };
    let before = machine.journal()?.and_then(|journal| journal.last);
    let mut tell = |text: &str| note(text);
    let outcome = Exchange::new(&machine.disk, &machine.system, &mut tell)
        .step()
        .context("cannot carry out the exchange of versions")?;
    // A version that was put back is a bad version, not a bad run of this unit.
    if let Some(outcome) = outcome.filter(|outcome| Some(outcome) != before.as_ref()) {
        record(&outcome, context);
    }
    Ok(Exit::Fine)
}

fn recover(machine: &Machine, context: &Context) -> anyhow::Result<Exit> {
    let _lock = match cupel_installer::Lock::take(&machine.disk) {
        // The unit is started with the service too: whoever installs has nothing to be recovered.
        Err(InstallError::Locked) => return Ok(Exit::Fine),
        other => other?,
    };
    let before = machine
        .journal()
        .ok()
        .flatten()
        .and_then(|journal| journal.last);
    let mut tell = |text: &str| note(text);
    let outcome = Exchange::new(&machine.disk, &machine.system, &mut tell)
        .recover()
        .context("cannot bring the installation in order")?;
    if let Some(outcome) = outcome.filter(|outcome| Some(outcome) != before.as_ref()) {
        record(&outcome, context);
    }
    Ok(Exit::Fine)
}

/// Tells the journal with its fields; where there is none, standard error.
fn record(outcome: &Outcome, context: &Context) {
    let sentence = sentence(outcome);
    match journal::beside(&client::path(&context.root)) {
        Some(path) => journal::exchanged(&path, outcome, &sentence),
        None => note(&sentence),
    }
}
