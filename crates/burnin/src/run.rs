//! Runs stages by their schedule, each on a thread of its own.
//!
//! # Invariants
//! - A stage that hangs, dies or is lost costs what is laid on the same resources, nothing else.
//! - When [`run`] returns, every stage has ended or was given up, and that is in its result.
//! - A stage that was given up is heard no more, whatever it does later.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use cupel_model::{SCHEMA_VERSION, Timestamp};

use crate::blocked::hold_back;
use crate::plan::{Plan, seconds};
use crate::progress::Progress;
use crate::recorder::Recorder;
use crate::resource::Resource;
use crate::result::{BurnInResult, FailureClass, Outcome, Preflight, StageResult};
use crate::schedule::Schedule;
use crate::stage::{Line, Stage, StageSpec, Stopped, Told, Watch};

/// How often stages are looked after when none of them says anything.
const TICK: Duration = Duration::from_millis(20);

/// How long a stage that was told to stop may take to end before it is given up.
pub const GRACE: Duration = Duration::from_secs(30);

/// All that a run is made of.
pub struct Run {
    /// What was asked.
    pub plan: Plan,
    /// The stages, in the order in which those run that disturb each other.
    pub stages: Vec<Box<dyn Stage>>,
    /// What was looked at beforehand.
    pub preflight: Vec<Preflight>,
    /// How long a stage that was told to stop may take to end.
    pub grace: Duration,
}

impl std::fmt::Debug for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<_> = self.stages.iter().map(|stage| stage.spec().name).collect();
        f.debug_struct("Run")
            .field("plan", &self.plan)
            .field("stages", &names)
            .field("preflight", &self.preflight)
            .field("grace", &self.grace)
            .finish()
    }
}

impl Run {
    /// A run of these stages, in any order.
    pub fn new(plan: Plan, mut stages: Vec<Box<dyn Stage>>) -> Self {
        stages.sort_by_key(|stage| stage.spec().name.kind);
        Self {
            plan,
            stages,
            preflight: Vec::new(),
            grace: GRACE,
        }
    }

    /// The same after a look at what the stages need: those that miss something are not begun.
    #[must_use]
    pub fn after(mut self, preflight: Vec<Preflight>) -> Self {
        self.stages = hold_back(self.stages, &preflight);
        self.preflight = preflight;
        self
    }

    /// What runs when.
    pub fn schedule(&self) -> Schedule {
        let specs: Vec<_> = self.stages.iter().map(|stage| stage.spec()).collect();
        Schedule::of(&specs)
    }
}

enum State {
    Waiting(Box<dyn Stage>),
    Running {
        thread: JoinHandle<StageResult>,
        began: Instant,
        told_to_stop: Option<Instant>,
    },
    Ended,
}

struct Entry {
    spec: StageSpec,
    after: Vec<usize>,
    state: State,
    watch: Watch,
    series: Recorder,
    /// Which ran at the same time for a while.
    beside: BTreeSet<usize>,
    result: Option<StageResult>,
}

struct Runner<'a> {
    entries: Vec<Entry>,
    lost: Arc<Mutex<BTreeSet<Resource>>>,
    heard: Receiver<Line>,
    grace: Duration,
    began: Instant,
    progress: &'a mut dyn FnMut(Progress),
}

/// Runs until all stages have ended or `cancel` is set.
pub fn run(run: Run, progress: &mut dyn FnMut(Progress), cancel: &AtomicBool) -> BurnInResult {
    let started_at = Timestamp::from(jiff::Timestamp::now());
    let began = Instant::now();
    let schedule = run.schedule();
    progress(Progress::Started {
        plan: run.plan.clone(),
        schedule: schedule.clone(),
    });
    let (to, heard) = channel();
    let lost = Arc::default();
    let entries = run
        .stages
        .into_iter()
        .zip(&schedule.slots)
        .enumerate()
        .map(|(place, (stage, slot))| Entry {
            spec: stage.spec(),
            after: schedule
                .slots
                .iter()
                .take(place)
                .enumerate()
                .filter(|(_, other)| slot.after.contains(&other.stage))
                .map(|(at, _)| at)
                .collect(),
            state: State::Waiting(stage),
            watch: Watch::new(place, Arc::clone(&lost), to.clone()),
            series: Recorder::default(),
            beside: BTreeSet::new(),
            result: None,
        })
        .collect();
    drop(to);
    let mut runner = Runner {
        entries,
        lost,
        heard,
        grace: run.grace,
        began,
        progress,
    };
    while !runner.is_done() {
        runner.look_after(cancel.load(Ordering::Relaxed));
        runner.listen();
    }
    let mut stages = Vec::new();
    let mut not_run = Vec::new();
    for entry in runner.entries {
        match entry.result {
            Some(result) => stages.push(result),
            None => not_run.push(entry.spec.name.to_string()),
        }
    }
    let peers = crate::peers::compare(&mut stages);
    let verdict = crate::result::verdict(&stages, not_run.is_empty());
    progress(Progress::Finished { verdict });
    let notes = if not_run.is_empty() {
        Vec::new()
    } else {
        vec![format!("not run: {}", not_run.join(", "))]
    };
    BurnInResult {
        schema_version: SCHEMA_VERSION,
        machine: None,
        in_progress: false,
        plan: run.plan,
        schedule,
        preflight: run.preflight,
        started_at,
        finished_at: Timestamp::from(jiff::Timestamp::now()),
        elapsed_seconds: seconds(began.elapsed()),
        verdict,
        class: stages.iter().filter_map(|stage| stage.class).max(),
        detector: crate::result::detector(&stages),
        cancelled: cancel.load(Ordering::Relaxed),
        stages,
        counters: Vec::new(),
        peers,
        notes,
    }
}

impl Runner<'_> {
    fn is_done(&self) -> bool {
        self.entries
            .iter()
            .all(|entry| matches!(entry.state, State::Ended))
    }

    /// Begins what can begin, stops what has to stop, gives up what does not.
    fn look_after(&mut self, cancelled: bool) {
        for place in 0..self.entries.len() {
            let ended = |at: &usize| matches!(self.entries[*at].state, State::Ended);
            let entry = &self.entries[place];
            match &entry.state {
                State::Waiting(_) if cancelled => self.entries[place].state = State::Ended,
                State::Waiting(_) => {
                    if entry.after.iter().all(ended) {
                        self.begin(place);
                    }
                }
                State::Running { thread, .. } if thread.is_finished() => self.end(place),
                State::Running { .. } => self.hurry(place, cancelled),
                State::Ended => {}
            }
        }
    }

    fn begin(&mut self, place: usize) {
        let lost = self
            .lost
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let running: Vec<usize> = self.running();
        let entry = &mut self.entries[place];
        let State::Waiting(stage) = std::mem::replace(&mut entry.state, State::Ended) else {
            return;
        };
        let gone: Vec<_> = entry
            .spec
            .claims
            .iter()
            .filter(|claim| lost.contains(&claim.resource))
            .collect();
        let left = entry.spec.claims.len() > gone.len();
        if let Some(claim) = gone.iter().find(|claim| !claim.dispensable || !left) {
            let why = format!("{} was lost before it began", claim.resource);
            self.finish(
                place,
                StageResult::incomplete(self.entries[place].spec.name.clone(), why),
                Duration::ZERO,
            );
            return;
        }
        (self.progress)(Progress::StageStarted {
            stage: entry.spec.name.clone(),
            what: entry.spec.what.clone(),
        });
        let watch = entry.watch.clone();
        let thread = std::thread::Builder::new()
            .name(format!("burn-in/{}", entry.spec.name))
            .spawn(move || {
                let result = stage.run(&watch);
                watch.ended();
                result
            });
        match thread {
            Ok(thread) => {
                entry.state = State::Running {
                    thread,
                    began: Instant::now(),
                    told_to_stop: None,
                };
                entry.beside.extend(&running);
                for other in running {
                    self.entries[other].beside.insert(place);
                }
            }
            Err(error) => {
                let why = format!("its thread cannot be started: {error}");
                let name = entry.spec.name.clone();
                self.finish(place, StageResult::incomplete(name, why), Duration::ZERO);
            }
        }
    }

    fn running(&self) -> Vec<usize> {
        let runs = |entry: &Entry| matches!(entry.state, State::Running { .. });
        self.entries
            .iter()
            .enumerate()
            .filter(|(_, entry)| runs(entry))
            .map(|(at, _)| at)
            .collect()
    }

    /// A stage whose thread has ended.
    fn end(&mut self, place: usize) {
        // What it said before it ended comes first.
        while let Ok(line) = self.heard.try_recv() {
            self.hear(line);
        }
        let entry = &mut self.entries[place];
        let State::Running { thread, began, .. } =
            std::mem::replace(&mut entry.state, State::Ended)
        else {
            return;
        };
        let took = began.elapsed();
        let result = thread.join().unwrap_or_else(|panic| StageResult {
            lost: entry
                .spec
                .claims
                .iter()
                .filter(|c| !c.dispensable)
                .map(|c| c.resource.clone())
                .collect(),
            ..StageResult::incomplete(
                entry.spec.name.clone(),
                format!("the stage died: {}", words_of(&*panic)),
            )
        });
        self.finish(place, result, took);
    }

    /// Tells a stage to stop when its time is up, and gives it up when it does not.
    fn hurry(&mut self, place: usize, cancelled: bool) {
        let grace = self.grace;
        let entry = &mut self.entries[place];
        let State::Running {
            began,
            told_to_stop,
            ..
        } = &mut entry.state
        else {
            return;
        };
        if cancelled {
            entry.watch.stop(Stopped::Cancelled);
        } else if began.elapsed() >= entry.spec.at_most {
            entry.watch.stop(Stopped::TimeUp);
        }
        if entry.watch.stopped().is_none() {
            return;
        }
        let since = *told_to_stop.get_or_insert_with(Instant::now);
        if since.elapsed() < grace {
            return;
        }
        let took = began.elapsed();
        let why = format!(
            "it did not end within {} s of being told to stop, and was given up",
            grace.as_secs_f64()
        );
        (self.progress)(Progress::GivenUp {
            stage: entry.spec.name.clone(),
            why: why.clone(),
        });
        let result = StageResult {
            class: (!cancelled).then_some(FailureClass::Lost),
            outcome: if cancelled {
                Outcome::Incomplete
            } else {
                Outcome::Fail
            },
            lost: entry
                .spec
                .claims
                .iter()
                .filter(|c| !c.dispensable)
                .map(|c| c.resource.clone())
                .collect(),
            ..StageResult::incomplete(entry.spec.name.clone(), why)
        };
        self.finish(place, result, took);
    }

    /// Files a result. The thread of a stage that was given up is left to itself.
    fn finish(&mut self, place: usize, mut result: StageResult, took: Duration) {
        self.lost
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend(result.lost.iter().cloned());
        let beside = self.entries[place]
            .beside
            .iter()
            .map(|at| self.entries[*at].spec.name.clone())
            .collect();
        let entry = &mut self.entries[place];
        entry.state = State::Ended;
        result.name = entry.spec.name.clone();
        result.stage = entry.spec.name.kind;
        if result.what.is_empty() {
            result.what.clone_from(&entry.spec.what);
        }
        result.required = entry.spec.required;
        result.beside = beside;
        result.elapsed_seconds = seconds(took);
        result.began_seconds = seconds(self.began.elapsed().saturating_sub(took));
        result
            .series
            .extend(std::mem::take(&mut entry.series).series());
        (self.progress)(Progress::StageFinished(Box::new(result.clone())));
        entry.result = Some(result);
    }

    fn listen(&mut self) {
        match self.heard.recv_timeout(TICK) {
            Ok(line) => {
                self.hear(line);
                while let Ok(line) = self.heard.try_recv() {
                    self.hear(line);
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            // Every stage has ended and was heard.
            Err(RecvTimeoutError::Disconnected) => {}
        }
    }

    fn hear(&mut self, (place, told): Line) {
        let at = self.began.elapsed();
        let Some(entry) = self.entries.get_mut(place) else {
            return;
        };
        if !matches!(entry.state, State::Running { .. }) {
            return;
        }
        let stage = entry.spec.name.clone();
        let event = match told {
            Told::Advanced { done, doing } => Progress::Advanced { stage, done, doing },
            Told::Sampled(sample) => {
                entry.series.add(at, &sample);
                Progress::Sampled { stage, sample }
            }
            Told::Mismatch(mismatch) => Progress::Mismatch { stage, mismatch },
            Told::Ended => return,
        };
        (self.progress)(event);
    }
}

fn words_of(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "it panicked".to_owned())
}
