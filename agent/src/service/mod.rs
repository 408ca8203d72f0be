//! The service: watches the node for years.
//!
//! ```text
//! sources (a thread each) --\
//! kernel log, journal ------+-> queue -> engine -> store (a thread) -> deliver -> inventory
//! socket, signals ---------+               '-> published -> socket, HTTP, gate, systemd
//! identity (a thread) -----/
//! ```
//!
//! # Invariants
//! - The engine's thread waits for its queue alone; whatever may hang has a thread of its own.
//! - A configuration is loaded whole and checked before any of it holds; one that is refused changes
//!   nothing.
//! - It ends within two seconds of being told to, with everything written down.
//!
//! # What is absent
//! Nothing here acts on the machine: no reset, no reboot, no drain. A version that the inventory
//! wishes is fetched and exchanged by units of the installer's.

pub mod client;
mod deliver;
mod engine;
mod fingerprint;
pub mod gate;
mod http;
mod identity;
mod input;
mod io;
mod log;
mod notify;
pub mod protocol;
mod published;
mod sample;
mod socket;
mod sources;
mod store;
mod upgrade;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use cupel_hardware::collect::Machine;
use cupel_hardware::{clock, node, own};
use cupel_model::wire::{BringupStep, BringupSummary};
use cupel_reporting::{Limits, Outbox, StartsAt};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tokio::sync::{broadcast, watch};

use crate::bringup::BringupReport;
use crate::bringup::drive;
use crate::config::{Listen, Settings};
use crate::context::Context;
use crate::exit::Exit;
use crate::platforms::Choice;
use crate::{gather, state};
use engine::{Engine, Outlets, Rules, Wish};
use input::{Input, Inputs};
use store::Store;
use upgrade::Upgrades;

/// File in the state directory with a bring-up that is to be reported.
const UNSENT_BRINGUP: &str = "unsent-bringup.json";

/// Changes that a slow follower may fall behind.
const FOLLOWED: usize = 1024;

/// How long the disk may take at the end.
const LAST_WRITE: Duration = Duration::from_millis(1000);

/// How long reports may still be sent at the end.
const LAST_REPORTS: Duration = Duration::from_millis(600);

/// Most inputs that are taken before what they come to is judged and told: a storm must not keep
/// the engine from its other work.
const AT_ONCE: usize = 64;

/// How long `--once` may take.
const ONCE: Duration = Duration::from_secs(120);

/// By then the service does what it will do for years, and what the start needed is let go of.
const STARTED: Duration = Duration::from_secs(60);

/// How the service is run.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Read and judge once, report it, and end.
    pub once: bool,
    /// Where the read-only HTTP listens, instead of what is configured.
    pub listen: Option<Listen>,
    /// The platform that the machine is held against, instead of the one that is found.
    pub platform: Option<String>,
}

/// What the service goes by, loaded and checked.
fn rules(context: &Context, options: &Options) -> anyhow::Result<Rules> {
    let settings = context.settings()?;
    Ok(Rules {
        modes: settings.modes()?,
        platform: Choice::load(&context.root, &settings, options.platform.as_deref())?,
        settings,
        loaded_at: clock::now(),
        refused: None,
    })
}

/// Runs until it is told to end.
///
/// # Errors
/// The configuration is refused, another service runs, or what it cannot do without is not there.
pub fn run(context: &Context, options: &Options) -> anyhow::Result<Exit> {
    let rules = rules(context, options)?;
    let boot = node::boot_id(&context.root)
        .value()
        .cloned()
        .context("cannot tell in which boot this is: /proc/sys/kernel/random/boot_id")?;
    let state_directory = context.state_dir();
    if let Err(error) = fs::create_dir_all(&state_directory) {
        // The outbox goes on in memory, says so, and tries again.
        tracing::warn!("cannot make {}: {error}", state_directory.display());
    }
    let starts = StartsAt {
        boot: boot.clone(),
        sequence: u64::try_from(clock::since_boot().as_micros()).unwrap_or(u64::MAX),
    };
    let opened = Outbox::open(
        &state_directory,
        starts,
        limits(&rules.settings),
        clock::now(),
    )?;
    let (inputs, queue) = input::queue();
    // Before anybody can see that it runs, and end it.
    signals(&inputs)?;
    let store = Store::start(opened.outbox, inputs.clone())?;
    let (published, latest) = watch::channel(Arc::new(engine::nothing_published(
        &rules.settings,
        (clock::now(), clock::since_boot()),
    )));
    let (happened, _) = broadcast::channel(FOLLOWED);
    let node_id = drive::identity(&context.root).node_id;
    let parts = state::remembered(&state_directory, node_id.as_deref());
    let run_directory = state::run_directory(&context.root);
    fs::create_dir_all(&run_directory)
        .with_context(|| format!("cannot make {}", run_directory.display()))?;
    let outlets = Outlets {
        store: store.clone(),
        published,
        happened: happened.clone(),
        gate: gate::path(&context.root),
        state_directory: state_directory.clone(),
    };
    let listen = options
        .listen
        .unwrap_or(rules.settings.service.listen.value);
    let (keeper, deliver_to) = identity::start(context, &rules.settings, &inputs)?;
    let io = io::start(io::Doors {
        socket: (!options.once).then(|| client::path(&context.root)),
        listen: listen.0.filter(|_| !options.once),
        sources: socket::Sources {
            latest,
            happened,
            engine: inputs.clone(),
        },
        store: store.clone(),
        deliver_to,
    })?;
    let machine = Machine::new(gather::options(context, &rules.settings));
    let cadences = engine::cadences(&rules.settings);
    let mut engine = Engine::new(
        rules,
        outlets,
        || (clock::now(), clock::since_boot()),
        boot.clone(),
        opened.remembered,
        parts,
    );
    if let Some((summary, file)) = unsent_bringup(&state_directory) {
        engine.unsent_bringup(summary, file);
    }
    log::follow(&context.root, engine.log_cursor(), &inputs)?;
    let (told, followed) = (engine.journal_cursor(), engine.followed());
    log::earlier_boots(&context.root, boot, told, followed, &inputs)?;
    let sources = sources::Sources::start(&machine, &cadences, &inputs)?;
    let upgrades = if options.once {
        None
    } else {
        let machine = crate::install::Machine::of(context);
        Some(Upgrades::start(machine, engine.upgrade(), inputs.clone())?)
    };
    let mut notifier = notify::Notifier::new(options.once);
    let began = Instant::now();
    let mut wait = Duration::ZERO;
    let mut is_starting = true;
    let ended = 'run: loop {
        let mut next = queue.next(wait)?;
        let mut room = AT_ONCE;
        while let Some(input) = next {
            for wish in engine.take(input) {
                match wish {
                    Wish::Stop(why) => break 'run why,
                    Wish::Reload => {
                        notifier.reloading();
                        let loaded = self::rules(context, options);
                        if let Ok(rules) = &loaded {
                            let (old, new) = (engine.settings(), &rules.settings);
                            keeper.reload(new);
                            if is_read_otherwise(old, new) {
                                let options = gather::options(context, new);
                                sources.set_machine(&Machine::new(options));
                            }
                            tell_of_next_start(old, new);
                        }
                        engine::grant(&engine.reload(loaded), &sources, &engine);
                        notifier.ready_again();
                    }
                    Wish::Upgrade(order) => {
                        if let Some(upgrades) = &upgrades {
                            upgrades.order(order);
                        }
                    }
                    Wish::Read(_) | Wish::Release(_) | Wish::WatchGpus(_) | Wish::Cadences => {
                        engine::grant(&[wish], &sources, &engine);
                    }
                }
            }
            room -= 1;
            next = if room > 0 { queue.ready() } else { None };
        }
        wait = engine.tick();
        notifier.tell(&engine);
        if options.once && (engine.all_told() || began.elapsed() > ONCE) {
            break "run --once";
        }
        if is_starting && engine.has_judged() && began.elapsed() > STARTED {
            is_starting = false;
            if let Err(error) = own::let_go_of_program() {
                tracing::debug!("what the start needed stays in memory: {error}");
            }
        }
        wait = wait.min(notifier.wait());
    };
    notifier.stopping();
    sources.end();
    let told = engine.all_told();
    engine.farewell(ended);
    let until = Instant::now() + LAST_WRITE;
    while !engine.give_held() && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(5));
    }
    let saved = store.flush(until.saturating_duration_since(Instant::now()));
    if !saved {
        tracing::warn!("not everything could be written down at the end");
    }
    io.end(if options.once {
        LAST_WRITE * 5
    } else {
        LAST_REPORTS
    });
    if !options.once {
        gate::remove(&gate::path(&context.root));
    }
    Ok(if options.once && !told {
        Exit::Error
    } else {
        Exit::Fine
    })
}

fn limits(settings: &Settings) -> Limits {
    let mib = settings.inventory.spool_mib.value;
    let bytes = Duration::try_from_secs_f64(mib)
        .map_or(u64::MAX, |whole| whole.as_secs().max(1))
        .saturating_mul(1 << 20);
    Limits {
        disk_bytes: bytes,
        ..Limits::default()
    }
}

/// Whether the machine is read otherwise under other settings.
fn is_read_otherwise(old: &Settings, new: &Settings) -> bool {
    old.nvml_library.value != new.nvml_library.value
        || old.tenancy.value != new.tenancy.value
        || old.units.value != new.units.value
        || old.gpu_call_deadline.value != new.gpu_call_deadline.value
        || old.gpu_initialisation_deadline.value != new.gpu_initialisation_deadline.value
}

/// Says which settings that are other now hold only after a restart.
fn tell_of_next_start(old: &Settings, new: &Settings) {
    let keys = [
        (
            "service.listen",
            old.service.listen.value != new.service.listen.value,
        ),
        (
            "inventory.spool_mib",
            old.inventory.spool_mib.value.to_bits() != new.inventory.spool_mib.value.to_bits(),
        ),
    ];
    for (key, _) in keys.iter().filter(|(_, differs)| *differs) {
        tracing::warn!("{key} is another now, which holds from the next start on");
    }
}

/// SIGTERM and SIGINT end it, SIGHUP loads the configuration again.
fn signals(inputs: &Inputs) -> anyhow::Result<()> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP]).context("cannot catch signals")?;
    let inputs = inputs.clone();
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            for signal in signals.forever() {
                let input = match signal {
                    SIGHUP => Input::Reload,
                    SIGINT => Input::Stop("SIGINT"),
                    _ => Input::Stop("SIGTERM"),
                };
                if !inputs.put(input) {
                    return;
                }
            }
        })?;
    Ok(())
}

/// The bring-up that is to be reported, and its file, which stays until its report is on disk:
/// reported twice is the same bring-up twice, the inventory knows it by when it began.
fn unsent_bringup(state_directory: &Path) -> Option<(BringupSummary, PathBuf)> {
    let path = state_directory.join(UNSENT_BRINGUP);
    let bytes = fs::read(&path).ok()?;
    match serde_json::from_slice(&bytes) {
        Ok(summary) => Some((summary, path)),
        Err(error) => {
            tracing::warn!("{} is no bring-up: {error}", path.display());
            None
        }
    }
}

/// A bring-up in short.
fn in_short(report: &BringupReport) -> BringupSummary {
    BringupSummary {
        started_at: report.started_at,
        finished_at: report.finished_at,
        verdict: report.verdict,
        reasons: report.reasons.clone(),
        steps: report
            .steps
            .iter()
            .map(|step| BringupStep {
                name: step.name.name().to_owned(),
                elapsed_seconds: step.elapsed_seconds,
                detail: step.detail.clone(),
            })
            .collect(),
    }
}

/// Leaves a bring-up to be reported: to the service that runs, else to the next one. Only where an
/// inventory is configured.
///
/// # Errors
/// It cannot be written down.
pub fn leave_bringup(
    context: &Context,
    settings: &Settings,
    report: &BringupReport,
) -> anyhow::Result<()> {
    if settings.inventory.url.value.is_none() {
        return Ok(());
    }
    let summary = in_short(report);
    let question = protocol::Ask::Bringup {
        summary: Box::new(summary.clone()),
    };
    if client::done(&client::path(&context.root), &question).is_ok() {
        return Ok(());
    }
    let path = context.state_dir().join(UNSENT_BRINGUP);
    let bytes = serde_json::to_vec(&summary)?;
    state::replace(&path, &bytes).with_context(|| format!("cannot write {}", path.display()))
}
