//! The engine: the one thread that knows everything and decides, with what it reads nowhere itself.
//!
//! ```text
//! inputs -> what is known (fragments, log) -> snapshot -> judgement -> findings with memory
//!                                                          |-> disk and reports (one change)
//!                                                          '-> what others see
//! ```
//!
//! # Invariants
//! - It waits for nothing but its queue: not for the machine, the disk or the network.
//! - What a judgement changes, the events behind it, how far the log was read, and the reports about
//!   it are one change on disk: after a kill nothing was told twice, and nothing is forgotten.
//! - Windows and cadences are measured by time since boot; the wall clock may jump.

mod controls;
mod judge;
mod memory;
mod publish;
mod reports;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use cupel_hardware::collect::{Data, Fragments, Source};
use cupel_hardware::journal::Followed;
use cupel_health::Modes;
use cupel_health::track::{Moment, Tracker};
use cupel_model::snapshot::{GpuEvent, RememberedPart, Snapshot, WorkerState};
use cupel_model::units::Seconds;
use cupel_model::wire::{BringupSummary, Tracked, Wanted, WantedState};
use cupel_model::{CheckReport, EventKind, Reading, Timestamp};
use cupel_reporting::{Change, Remembered};
use tokio::sync::{broadcast, watch};

use super::input::Input;
use super::protocol::Happened;
use super::published::{Numbered, Published, Told};
use super::sample::Sample;
use super::sources::Sources;
use super::store::Store;
use super::upgrade::Order;
use crate::config::Settings;
use crate::platforms::Choice;
use memory::LogMemory;
pub use publish::first as nothing_published;

/// Least time between two judgements, and how long a reading waits for others: what comes together
/// is judged together.
const GATHER: Duration = Duration::from_millis(150);

/// How long the first judgement waits for sources that have not answered.
const FIRST: Duration = Duration::from_secs(45);

/// Longest wait for an input.
const IDLE: Duration = Duration::from_secs(30);

/// Shortest wait: what is overdue and cannot be done must not keep the processor busy.
const SHORTEST: Duration = Duration::from_millis(20);

/// How soon a change is given again that the disk had no room for.
const HELD: Duration = Duration::from_millis(100);

/// Clocks, as a function, so that tests can set them.
pub type Clock = fn() -> (Timestamp, Duration);

/// What the engine tells others through.
pub struct Outlets {
    /// The disk.
    pub store: Store,
    /// What others see.
    pub published: watch::Sender<Arc<Published>>,
    /// What happens.
    pub happened: broadcast::Sender<Numbered>,
    /// Where the gate is.
    pub gate: std::path::PathBuf,
    /// Where parts are remembered, and where a bring-up leaves its summary.
    pub state_directory: std::path::PathBuf,
}

/// What the engine goes by.
pub struct Rules {
    /// The configuration.
    pub settings: Settings,
    /// Modes of the checks.
    pub modes: Modes,
    /// The platform, or how it is found.
    pub platform: Choice,
    /// When it was loaded.
    pub loaded_at: Timestamp,
    /// Why a newer one was refused.
    pub refused: Option<String>,
}

/// The state of the service.
pub struct Engine {
    rules: Rules,
    outlets: Outlets,
    clock: Clock,
    began: Moment,
    fragments: Fragments,
    reads: Vec<Read>,
    log: LogMemory,
    tracker: Tracker,
    remembered: Vec<RememberedPart>,
    driver_events: crate::metrics::DriverEvents,
    gpu_events: Reading<Vec<GpuEvent>>,
    baselines: VecDeque<(Duration, Sample)>,
    /// The one of them that the latest judgement was made with, and its age then.
    previous: Option<(Seconds, Sample)>,
    latest: Option<(Arc<Snapshot>, Arc<CheckReport>)>,
    /// Every finding that is not cleared, in the modes that hold now.
    findings: Arc<[Tracked]>,
    /// Hash of what was judged last, once it was needed.
    hash: Option<String>,
    wanted: Option<Wanted>,
    wanted_state: WantedState,
    journal_cursor: Option<String>,
    reports: reports::Plan,
    delivery: publish::DeliveryState,
    identity: Option<crate::status::Identity>,
    storage: super::store::News,
    released_until: Option<Duration>,
    judgements: u64,
    workers_replaced: u64,
    /// Something was read since the last judgement.
    dirty: bool,
    /// Since when.
    dirty_since: Duration,
    /// Something of it is not to wait for what else may come: the log told of it, or a person waits.
    urgent: bool,
    /// Something is to be seen that needs no judgement.
    has_news: bool,
    /// What happened since the last publication.
    happened: Vec<Happened>,
    told: Told,
    last_judgement: Option<Duration>,
    last_published: Option<Duration>,
    last_gate: Option<(Duration, super::gate::Gate)>,
    /// When the gate could not be written.
    gate_failed: Option<Duration>,
    /// What the disk could not take for lack of room in its queue.
    held: Option<Box<Change>>,
}

/// How the last read of a source went.
struct Read {
    source: Source,
    took: Duration,
}

/// What the engine asks of those around it.
#[derive(Debug, PartialEq, Eq)]
pub enum Wish {
    /// Read these sources now.
    Read(Vec<Source>),
    /// Let go of the GPU driver until then, in time since boot; `None` takes it up again.
    Release(Option<Duration>),
    /// Whether the driver is to be watched for events.
    WatchGpus(bool),
    /// Another version is wished, or none any more.
    Upgrade(Option<Order>),
    /// Load the configuration again and call [`Engine::reload`].
    Reload,
    /// The configuration holds: other cadences.
    Cadences,
    /// End, and why.
    Stop(&'static str),
}

impl Engine {
    /// From what was kept.
    pub fn new(
        rules: Rules,
        outlets: Outlets,
        clock: Clock,
        boot: String,
        kept: Remembered,
        parts: Vec<RememberedPart>,
    ) -> Self {
        let (at, since_boot) = clock();
        let cursor = kept
            .kernel_cursor
            .as_ref()
            .filter(|cursor| cursor.boot == boot)
            .map(|cursor| cursor.sequence);
        let wanted: Option<Wanted> = kept
            .wanted
            .as_ref()
            .and_then(|document| serde_json::from_slice(document.json.as_bytes()).ok());
        let wanted_state = WantedState {
            etag: wanted.as_ref().map(|wanted| wanted.etag.clone()),
            refused: None,
            upgrade: None,
        };
        let plan = reports::Plan::restore(&kept.notes, &boot, since_boot);
        let log = LogMemory::restore(&kept.events, cursor);
        Self {
            rules,
            outlets,
            clock,
            began: Moment {
                at,
                since_boot,
                boot,
            },
            fragments: Fragments::new(),
            reads: Vec::new(),
            told: Told {
                events: log.events().into(),
                last: 0,
            },
            log,
            tracker: judge::tracker(kept.tracker.as_deref()),
            remembered: parts,
            driver_events: crate::metrics::DriverEvents::default(),
            gpu_events: Reading::absent(
                "the driver is watched only where the kernel log cannot be read",
            ),
            baselines: VecDeque::new(),
            previous: None,
            latest: None,
            findings: Arc::from([]),
            hash: None,
            wanted,
            wanted_state,
            journal_cursor: kept.journal_cursor,
            reports: plan,
            delivery: publish::DeliveryState::default(),
            identity: None,
            storage: publish::storage(&kept.set_aside),
            released_until: None,
            judgements: 0,
            workers_replaced: 0,
            dirty: false,
            dirty_since: Duration::ZERO,
            urgent: false,
            has_news: true,
            happened: Vec::new(),
            last_judgement: None,
            last_published: None,
            last_gate: None,
            gate_failed: None,
            held: None,
        }
    }

    /// What was followed of earlier boots while they lasted.
    pub fn followed(&self) -> Vec<Followed> {
        self.reports.followed()
    }

    /// The version that is wished.
    pub fn upgrade(&self) -> Option<Order> {
        self.wanted.as_ref().and_then(Order::of)
    }

    /// The configuration that holds.
    pub fn settings(&self) -> &Settings {
        &self.rules.settings
    }

    /// The cursor after which the kernel log is read.
    pub fn log_cursor(&self) -> Option<u64> {
        self.log.cursor()
    }

    /// Where the journal of earlier boots was left.
    pub fn journal_cursor(&self) -> Option<String> {
        self.journal_cursor.clone()
    }

    /// A bring-up is to be reported, which is in a file until then.
    pub fn unsent_bringup(&mut self, summary: BringupSummary, file: PathBuf) {
        self.reports.bringup(summary);
        self.reports.bringup_file = Some(file);
    }

    /// Whether there is a judgement.
    pub fn has_judged(&self) -> bool {
        self.latest.is_some()
    }

    /// Whether everything is told that is to be told: judged, and delivered where there is an
    /// inventory.
    pub fn all_told(&self) -> bool {
        let told = self.rules.settings.inventory.url.value.is_none()
            || (self.reports.has_told_all() && self.delivery.any() && self.storage.waiting == 0);
        self.latest.is_some() && told && self.held.is_none()
    }

    fn now(&self) -> Moment {
        let (at, since_boot) = (self.clock)();
        Moment {
            at,
            since_boot,
            boot: self.began.boot.clone(),
        }
    }

    /// Takes one input.
    pub fn take(&mut self, input: Input) -> Vec<Wish> {
        match input {
            Input::Read { fragment, took } => {
                self.read(*fragment, took);
                Vec::new()
            }
            Input::Log(batch, _place) => self.logged(batch),
            Input::LogUnreadable(why) => {
                self.log.unreadable(why);
                self.soil();
                self.has_news = true;
                vec![Wish::WatchGpus(true)]
            }
            Input::GpuEvents(events) => {
                self.watched(events);
                Vec::new()
            }
            Input::EarlierBoots(told) => {
                self.earlier_boots(told);
                Vec::new()
            }
            Input::Released => {
                tracing::info!("the GPU driver is let go");
                Vec::new()
            }
            Input::Asked(ask, answer) => {
                // Whoever asked looks at what came of it next.
                (self.has_news, self.last_published) = (true, None);
                self.asked(ask, answer)
            }
            Input::Delivery(news) => {
                self.has_news = true;
                self.delivered(news)
            }
            Input::Upgrade(state) => {
                self.upgrading(state);
                Vec::new()
            }
            Input::Identity(identity) => {
                self.identity = identity.map(|identity| *identity);
                self.has_news = true;
                Vec::new()
            }
            Input::Stored(news) => {
                self.stored(news);
                self.has_news = true;
                Vec::new()
            }
            Input::Reload => vec![Wish::Reload],
            Input::Stop(why) => {
                tracing::info!("ending: {why}");
                vec![Wish::Stop(why)]
            }
        }
    }

    fn read(&mut self, fragment: cupel_hardware::collect::Fragment, took: Duration) {
        let source = fragment.source;
        match self.reads.iter_mut().find(|read| read.source == source) {
            Some(read) => read.took = took,
            None => self.reads.push(Read { source, took }),
        }
        if let Data::Gpu(survey) = &fragment.data
            && let WorkerState::Answered { replaced } = survey.driver.worker
        {
            self.workers_replaced = self.workers_replaced.saturating_add(replaced.into());
        }
        self.fragments.insert(fragment);
        self.soil();
    }

    /// Events may say that a part is gone: what else shows it is read at once, so that one cause
    /// is told as one.
    fn logged(&mut self, batch: cupel_hardware::kmsg::Batch) -> Vec<Wish> {
        if batch.restarted {
            tracing::warn!("the kernel log is another one now");
        }
        let telling: Vec<EventKind> = batch.events.iter().map(|(_, event)| event.kind).collect();
        let was_unreadable = self.log.why_unreadable().is_some();
        if self.log.take(batch) {
            self.soil();
            self.urgent = true;
        }
        self.has_news = true;
        let mut sources = Vec::new();
        let any = |kinds: &[EventKind]| telling.iter().any(|kind| kinds.contains(kind));
        if any(&[
            EventKind::Xid,
            EventKind::Sxid,
            EventKind::OffBus,
            EventKind::Aer,
        ]) {
            sources.extend([Source::Pci, Source::Gpu]);
        }
        if any(&[EventKind::Mlx5]) {
            sources.extend([Source::Rdma, Source::Network]);
        }
        if any(&[EventKind::Nvme]) {
            sources.push(Source::Nvme);
        }
        if any(&[EventKind::Edac, EventKind::Mce, EventKind::Ghes]) {
            sources.push(Source::Memory);
        }
        let mut wishes = Vec::new();
        if !sources.is_empty() {
            wishes.push(Wish::Read(sources));
        }
        if was_unreadable {
            wishes.push(Wish::WatchGpus(false));
        }
        wishes
    }

    fn watched(&mut self, events: Reading<Vec<GpuEvent>>) {
        if let Reading::Value(new) = &events {
            self.driver_events.add(new);
        }
        judge::join_gpu_events(&mut self.gpu_events, events);
        self.soil();
    }

    /// Does what is due, and says when the next thing is.
    pub fn tick(&mut self) -> Duration {
        let now = self.now();
        self.give_held();
        if self.may_judge(&now) {
            self.judge(&now);
        }
        self.report(&now);
        self.publish(&now);
        self.wait(&now)
    }

    /// There is something new to judge.
    fn soil(&mut self) {
        if !self.dirty {
            self.dirty = true;
            self.dirty_since = self.now().since_boot;
        }
    }

    /// When what is new is judged: with what else comes at that moment, unless it is urgent.
    fn judgement_due(&self) -> Duration {
        let after_last = self.last_judgement.map_or(Duration::ZERO, |at| at + GATHER);
        if self.urgent || self.latest.is_none() {
            after_last
        } else {
            after_last.max(self.dirty_since + GATHER)
        }
    }

    fn may_judge(&self, now: &Moment) -> bool {
        self.dirty && now.since_boot >= self.judgement_due() && self.is_ready(now)
    }

    /// Whether enough was read for a judgement that means something.
    fn is_ready(&self, now: &Moment) -> bool {
        let waited = now.since_boot.saturating_sub(self.began.since_boot);
        self.latest.is_some()
            || (self.fragments.missing().is_empty() && self.log.heard())
            || waited >= FIRST
    }

    /// How long until something is due.
    fn wait(&self, now: &Moment) -> Duration {
        let mut due = now.since_boot + IDLE;
        if self.dirty {
            due = due.min(if self.is_ready(now) {
                self.judgement_due()
            } else {
                self.began.since_boot + FIRST
            });
        }
        if self.held.is_some() {
            due = due.min(now.since_boot + HELD);
        }
        if self.has_news {
            due = due.min(self.last_published.unwrap_or_default() + publish::NEWS_GAP);
        }
        let others = [
            self.latest.as_ref().and_then(|_| self.reports.due()),
            self.gate_due(),
            self.released_until,
            self.gate_failed.map(|at| at + publish::NEWS_GAP),
        ];
        let due = others.into_iter().flatten().fold(due, Duration::min);
        due.saturating_sub(now.since_boot).max(SHORTEST)
    }

    /// Gives the disk a change; one that it has no room for is held and joined with the next.
    fn commit(&mut self, change: Change) {
        let change = match self.held.take() {
            None => change,
            Some(held) => reports::joined(*held, change),
        };
        self.held = self.outlets.store.commit(change).err();
    }

    /// Gives the disk what waits for room; `false`: it still waits.
    pub fn give_held(&mut self) -> bool {
        if let Some(held) = self.held.take() {
            self.held = self.outlets.store.commit(*held).err();
        }
        self.held.is_none()
    }

    fn stored(&mut self, news: super::store::News) {
        if let Some(why) = &news.begun_anew {
            tracing::warn!("what was kept is gone, everything is written again: {why}");
            self.log.forget_written();
            self.reports.begin_anew();
        }
        self.storage = news;
    }

    /// What `cupel status` and metrics are made from needs cadences.
    pub fn cadences(&self) -> std::collections::BTreeMap<Source, Duration> {
        cadences(&self.rules.settings)
    }
}

/// How often each source is read.
pub fn cadences(settings: &Settings) -> std::collections::BTreeMap<Source, Duration> {
    settings
        .service
        .every
        .iter()
        .map(|(source, every)| (*source, every.value))
        .collect()
}

/// Does what the engine wishes of the sources.
pub fn grant(wishes: &[Wish], sources: &Sources, engine: &Engine) {
    for wish in wishes {
        match wish {
            Wish::Read(which) => sources.poke(which),
            Wish::Release(until) => sources.release(*until),
            Wish::WatchGpus(watch) => sources.watch_gpus(*watch),
            Wish::Cadences => sources.set_every(&engine.cadences()),
            Wish::Upgrade(_) | Wish::Reload | Wish::Stop(_) => {}
        }
    }
}
