//! `cupel upgrade`: exchanges the installed version for another, and gets back from a bad one; asked
//! for by a person, or wished by the inventory.

mod wished;

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use cupel_burnin::parse_duration;
use cupel_installer::journal::{Ended, Outcome};
use cupel_installer::layout::KEYS;
use cupel_installer::release::LARGEST;
use cupel_installer::{
    Applier, Architecture, Exchange, InstallError, Lock, Release, Terms, Version, facts, plan,
};

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

/// How long a unit waits for whoever has the lock.
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
  cupel upgrade --downgrade cupel-x86_64 an older version, which is refused otherwise

Exit codes: 0 the new version runs, 2 wrong usage, or it was put back, 4 refused: nothing was changed")]
pub struct Args {
    /// The new version: a static program `cupel-ARCHITECTURE`, or an https:// address of one
    #[arg(value_name = "FILE", required_unless_present_any = ["step", "recover", "wished"])]
    file: Option<String>,
    /// Its signature [default: FILE.minisig]
    #[arg(long, value_name = "FILE")]
    signature: Option<String>,
    /// How long the new version is watched before it is kept
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "60s")]
    probation: Duration,
    /// Take a version that is older than the one that runs
    #[arg(long)]
    downgrade: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Carry out what was prepared; run by cupel-upgrade.service
    #[arg(long, hide = true, conflicts_with_all = ["file", "recover"])]
    step: bool,
    /// Finish or take back what was cut short; run by cupel-recover.service
    #[arg(long, hide = true, conflicts_with = "file")]
    recover: bool,
    /// Begin what the inventory wishes; run by cupel-wish.service
    #[arg(long, hide = true, conflicts_with_all = ["file", "step", "recover"])]
    wished: bool,
}

/// Exchanges versions.
pub fn run(args: &Args, context: &mut Context) -> anyhow::Result<Exit> {
    let machine = Machine::of(context);
    match (&args.file, args.recover) {
        (Some(file), _) => upgrade(args, file, &machine, context),
        (None, true) => recover(&machine, context),
        (None, false) if args.wished => wished::run(args.probation, &machine, context),
        (None, false) => step(&machine, context),
    }
}

/// Which version is asked for.
struct Order<'a> {
    file: &'a str,
    signature: Option<&'a str>,
    probation: Duration,
    yes: bool,
    terms: Terms,
    /// The inventory wishes it.
    wished: bool,
}

/// What came of the beginning.
enum Begun {
    /// It runs already.
    Runs(Version),
    /// The unit that carries it out is at it; and what came of the exchange before.
    UnderWay(Version, Option<Outcome>),
}

/// Verifies a version, writes it, lets it test itself, and begins the exchange.
fn begin(order: Order<'_>, machine: &Machine, context: &Context) -> anyhow::Result<Begun> {
    let file = order.file;
    let architecture = Architecture::of_this_program()
        .ok_or_else(|| Refused("there are no releases for this machine's processors".to_owned()))?;
    let beside = match order.signature {
        Some(signature) => signature.to_owned(),
        None => format!("{file}.minisig"),
    };
    let signature = String::from_utf8_lossy(&bytes_of(&beside, SIGNATURE, context)?).into_owned();
    let bytes = bytes_of(file, LARGEST, context)?;
    let keys = facts::keys(&machine.disk).map_err(|why| anyhow!(why))?;
    let release = Release::verify(bytes, &signature, &keys, KEYS, architecture)
        .map_err(|error| Refused(format!("{file}: {error}")))?;
    note(&format!("{file} is signed by {}", release.signed_by()));
    let size = u64::try_from(release.bytes().len()).unwrap_or(u64::MAX);
    let probation = order.probation.as_secs();
    let planned = || plan::upgrade(&machine.facts(), size, probation).map_err(|no| refused(&no));
    let (plan, _lock) = agreed(machine, planned, |plan| plan, order.yes)?;
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
    )
    .under(order.terms);
    let applier = if order.wished {
        applier.for_the_wish()
    } else {
        applier
    };
    let version = applier.upgrade(&plan).map_err(|error| {
        if let InstallError::Unwanted(why) = error {
            Refused(why).into()
        } else {
            anyhow::Error::from(error).context("cannot upgrade")
        }
    })?;
    if running.as_ref() == Some(&version) {
        return Ok(Begun::Runs(version));
    }
    note(&format!("{version} has passed its self-test"));
    Ok(Begun::UnderWay(version, before))
}

fn upgrade(
    args: &Args,
    file: &str,
    machine: &Machine,
    context: &mut Context,
) -> anyhow::Result<Exit> {
    let order = Order {
        file,
        signature: args.signature.as_deref(),
        probation: args.probation,
        yes: args.yes,
        terms: Terms {
            version: None,
            downgrade: args.downgrade,
        },
        wished: false,
    };
    match begin(order, machine, context)? {
        Begun::Runs(version) => {
            context.out.line(&format!("{version} runs already"))?;
            Ok(Exit::Fine)
        }
        Begun::UnderWay(_, before) => end(&follow(machine, before.as_ref())?, context),
    }
}

/// A file, or what is at an address; the inventory's certificate authorities count for it, and that
/// of the identity where the address is of the inventory that gave it.
fn bytes_of(file: &str, cap: u64, context: &Context) -> anyhow::Result<Vec<u8>> {
    if !file.contains("://") {
        return read(Path::new(file), cap);
    }
    let settings = context.settings()?;
    let authorities = settings.inventory.ca_file.value.as_deref();
    let own = crate::identity::authority(&context.state_dir(), file);
    cupel_reporting::fetch(file, authorities, own.as_deref(), cap, FETCHING)
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

/// The installer's lock, waited for: whoever has it is about to give it back.
fn patient_lock(machine: &Machine) -> Result<Lock, InstallError> {
    let until = std::time::Instant::now() + PATIENCE;
    loop {
        match Lock::take(&machine.disk) {
            Err(InstallError::Locked) if std::time::Instant::now() < until => {
                std::thread::sleep(Duration::from_millis(200));
            }
            other => return other,
        }
    }
}

fn step(machine: &Machine, context: &Context) -> anyhow::Result<Exit> {
    let _lock = patient_lock(machine)?;
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
    let _lock = match Lock::take(&machine.disk) {
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
