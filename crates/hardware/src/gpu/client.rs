//! The client: one worker at a time, its replacements, and which GPUs are left alone.
//!
//! # Invariants
//! - After a hang the GPU is not asked again in the same collection, nor before its pause is over
//!   ([`retry_after`](super::retry_after)).
//! - A GPU that crashes the worker costs at most [`CRASHES_MAX`] workers a collection.
//! - The list of GPUs of a replacement must be the one that its predecessor gave; otherwise
//!   indices would name other GPUs.

mod doubt;
mod driver;
mod kept;
mod watch;

use std::collections::BTreeMap;
use std::time::Instant;

use cupel_model::snapshot::{HungCall, PciDevice, Problem, WorkerState};
use cupel_model::worker::{Answer, Ask, Group, Opened, Refused, WorkerError};
use cupel_model::{PciAddress, Reading, Timestamp};

use super::reaper::{UNREAPED_MAX, unreaped};
use super::skip::{Hang, Skip, same_list};
use super::survey::{self, Listed};
use super::worker::{Cause, LastCall, Lost, Worker};
use super::{GpuCollection, GpuOptions, GpuSurvey, KernelDriver, Library};
use doubt::Doubt;
use kept::Kept;

/// Workers that one GPU may crash before it is left alone.
const CRASHES_MAX: u32 = 2;

/// Where the library is looked for after the loader's own search: the GPU operator's driver
/// container, then the places of distributions that keep it apart.
const SEARCH: [&str; 7] = [
    "libnvidia-ml.so.1",
    "/run/nvidia/driver/usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1",
    "/run/nvidia/driver/usr/lib/aarch64-linux-gnu/libnvidia-ml.so.1",
    "/run/nvidia/driver/usr/lib64/libnvidia-ml.so.1",
    "/usr/lib/x86_64-linux-gnu/nvidia/current/libnvidia-ml.so.1",
    "/usr/lib64/nvidia/libnvidia-ml.so.1",
    "/run/opengl-driver/lib/libnvidia-ml.so.1",
];

/// An open driver: the worker, and what it listed.
struct Open {
    worker: Worker,
    library: String,
    opened: Opened,
    since: Instant,
}

/// What came of asking a worker.
type Asked = Result<Result<Box<Answer>, WorkerError>, Lost>;

/// Why the driver was not opened.
enum Closed {
    NotStarted(String),
    Failed {
        why: String,
        hung: Option<HungCall>,
    },
    /// The library does not start; what it tells all the same.
    Refused {
        why: String,
        told: Box<Refused>,
    },
}

/// Owns the GPU worker. Dropping it ends the worker.
pub struct Client {
    options: GpuOptions,
    open: Option<Open>,
    skips: BTreeMap<u32, Skip>,
    /// NVML's list as last seen, to tell when its indices mean other GPUs.
    known: Vec<Reading<PciAddress>>,
    /// The whole driver, where opening it hung or crashed the worker.
    blocked: Option<Skip>,
    /// Answers of this very worker that are believed for a while.
    kept: Kept,
    doubt: Doubt,
}

/// One collection's own state.
struct Run {
    taken_at: Timestamp,
    begun: Instant,
    replaced: u32,
    problems: Vec<Problem>,
}

impl Run {
    /// A moment of this collection as wall time.
    fn time(&self, at: Instant) -> Timestamp {
        let since = at.saturating_duration_since(self.begun);
        let microseconds = i64::try_from(since.as_micros()).unwrap_or(0);
        Timestamp::from_microseconds(self.taken_at.microseconds().saturating_add(microseconds))
            .unwrap_or(self.taken_at)
    }

    fn hang(&self, lost: &Lost) -> Option<Hang> {
        let Cause::Hung(_) = lost.cause else {
            return None;
        };
        let (call, entered) = match &lost.call {
            Some(LastCall { call, entered, .. }) => (call.clone(), *entered),
            None => ("start".to_owned(), self.begun),
        };
        Some(Hang {
            call,
            since: self.time(entered),
            death: lost.death.clone(),
        })
    }

    fn problem(&mut self, why: impl Into<String>) {
        self.problems.push(Problem {
            source: "gpu-worker".to_owned(),
            why: why.into(),
        });
    }
}

impl Client {
    /// A client without a worker: the first collection starts one.
    pub fn new(options: GpuOptions) -> Self {
        Self {
            options,
            open: None,
            skips: BTreeMap::new(),
            known: Vec::new(),
            blocked: None,
            kept: Kept::default(),
            doubt: Doubt::default(),
        }
    }

    /// Asks for everything in the next collection, also for what is believed for a while.
    pub fn expire(&mut self) {
        self.kept.clear();
    }

    /// Lets go of the driver, so that a GPU can be reset: the library is shut down and the worker
    /// ends. The next collection starts another.
    pub fn release(&mut self) {
        if let Some(open) = self.open.take() {
            // Refused or hung, the end of the process lets go all the same.
            let _ = open.worker.ask(Ask::Close, self.options.read_deadline);
        }
    }

    /// Reads all GPUs and merges them with what is on the PCI bus.
    pub fn collect(
        &mut self,
        kernel: &KernelDriver,
        pci: &[PciDevice],
        taken_at: Timestamp,
    ) -> GpuCollection {
        let on_bus = || pci.iter().any(PciDevice::is_nvidia_gpu);
        let survey = self.survey(kernel, on_bus, taken_at);
        GpuCollection {
            gpus: survey.gpus(pci),
            driver: survey.driver,
            problems: survey.problems,
        }
    }

    /// Reads all GPUs. Whether there is one on the PCI bus is asked only where nothing else tells
    /// whether there is a driver to search for.
    pub fn survey(
        &mut self,
        kernel: &KernelDriver,
        on_bus: impl FnOnce() -> bool,
        taken_at: Timestamp,
    ) -> GpuSurvey {
        let mut run = Run {
            taken_at,
            begun: Instant::now(),
            replaced: 0,
            problems: Vec::new(),
        };
        let now = run.begun;
        let mut gpus = Vec::new();
        let mut refused = None;
        let state = match self.nothing_to_ask(kernel, on_bus) {
            Some(why) => WorkerState::NotStarted { why },
            None => match self.read_twice_if_in_doubt(&mut run, now, &mut gpus) {
                Ok(()) => WorkerState::Answered {
                    replaced: run.replaced,
                },
                Err(Closed::NotStarted(why)) => WorkerState::NotStarted { why },
                Err(Closed::Failed { why, hung }) => WorkerState::Failed { why, hung },
                Err(Closed::Refused { why, told }) => {
                    refused = Some(told);
                    WorkerState::Failed { why, hung: None }
                }
            },
        };
        GpuSurvey {
            told: Ok(gpus),
            driver: self.driver(kernel, state, refused.as_deref()),
            problems: run.problems,
        }
    }

    /// Why there is nothing to ask a driver library about, if so.
    fn nothing_to_ask(
        &self,
        kernel: &KernelDriver,
        on_bus: impl FnOnce() -> bool,
    ) -> Option<String> {
        match &self.options.library {
            Library::None => Some(
                "under a root other than / a driver library is loaded only when CUPEL_NVML names it"
                    .to_owned(),
            ),
            Library::At(_) => None,
            Library::Search => {
                let any = kernel.version.value().is_some() || on_bus();
                (!any).then(|| "no NVIDIA GPU on the PCI bus".to_owned())
            }
        }
    }

    /// Reads every GPU that NVML lists into `gpus`.
    fn read_all(
        &mut self,
        run: &mut Run,
        now: Instant,
        gpus: &mut Vec<Listed>,
    ) -> Result<(), Closed> {
        let Some(first) = self.list(run, now)? else {
            return Ok(());
        };
        *gpus = survey::list(&first);
        let mut ended = Ok(());
        for listed in gpus.iter_mut() {
            if let Some(skip) = self.skips.get(&listed.index)
                && skip.is_active(now)
            {
                skip.tell(listed);
                continue;
            }
            if listed.address.value().is_none() {
                continue;
            }
            if let Err(closed) = &ended {
                listed.give_up(&Group::ALL, &closed_why(closed), None);
                continue;
            }
            if let Err(closed) = self.read(run, now, listed, &first) {
                ended = Err(closed);
            }
        }
        ended
    }

    /// The driver's list. Opens the driver again where a pause is over, so that its GPU gets a
    /// handle, and where indices mean other GPUs than those that are left alone.
    fn list(&mut self, run: &mut Run, now: Instant) -> Result<Option<Opened>, Closed> {
        let over = self.skips.iter().any(|(_, skip)| !skip.is_active(now));
        if over {
            self.open = None;
        }
        self.opened(run, now)?;
        let changed = !self.known.is_empty()
            && self
                .open
                .as_ref()
                .is_some_and(|open| !same_list(&open.opened.gpus, &self.known));
        if changed {
            self.known.clear();
            let before = self.skips.len();
            // Those of this very collection go by the new list.
            self.skips.retain(|_, skip| skip.since == now);
            if self.skips.len() < before {
                self.open = None;
                self.opened(run, now)?;
            }
        }
        let Some(open) = &self.open else {
            return Ok(None);
        };
        if self.known.len() != open.opened.gpus.len() {
            self.known.clone_from(&open.opened.gpus);
        }
        for (known, told) in self.known.iter_mut().zip(&open.opened.gpus) {
            if told.value().is_some() {
                known.clone_from(told);
            }
        }
        Ok(Some(open.opened.clone()))
    }

    /// Reads one GPU. An error ends the collection: the rest of this GPU says why.
    fn read(
        &mut self,
        run: &mut Run,
        now: Instant,
        listed: &mut Listed,
        first: &Opened,
    ) -> Result<(), Closed> {
        let index = listed.index;
        let mut crashes = 0;
        for (position, group) in Group::ALL.into_iter().enumerate() {
            let rest = &Group::ALL[position..];
            if run.begun.elapsed() > self.options.budget {
                let why = format!(
                    "time for reading GPUs ran out after {} s",
                    self.options.budget.as_secs_f64()
                );
                listed.give_up(rest, &why, None);
                return Err(Closed::Failed { why, hung: None });
            }
            let keep = (self.options.keep)(group);
            if let Some(answer) = self.kept.get(index, group, keep) {
                survey::fill(&mut listed.gpu, answer);
                continue;
            }
            let asked = match self.ask(index, group) {
                // Once more.
                Some(Err(lost)) if lost.is_not_by_a_call() => {
                    run.problem(lost.why());
                    run.replaced += 1;
                    if let Err(closed) = self.reopened(run, now, first) {
                        listed.give_up(rest, &closed_why(&closed), None);
                        return Err(closed);
                    }
                    self.ask(index, group)
                }
                asked => asked,
            };
            let lost = match asked {
                Some(Ok(Ok(answer))) => {
                    self.kept.take_note(index, group, &answer, keep);
                    survey::fill(&mut listed.gpu, *answer);
                    continue;
                }
                Some(Ok(Err(error))) => {
                    survey::fail(&mut listed.gpu, group, &error.to_string());
                    continue;
                }
                Some(Err(lost)) => lost,
                None => return Ok(()),
            };
            let why = lost.why();
            run.problem(format!("GPU {index}: {why}"));
            let hang = run.hang(&lost);
            crashes += 1;
            let leave_alone = hang.is_some() || crashes >= CRASHES_MAX;
            if leave_alone {
                let hung = hang.as_ref().map(Hang::told);
                listed.give_up(rest, &why, hung);
                self.leave_alone(index, now, why, hang);
                if let Some(skip) = self.skips.get_mut(&index) {
                    skip.address = listed.address.clone();
                    skip.identity = (position > 0).then(|| listed.gpu.identity.clone());
                }
            } else {
                survey::fail(&mut listed.gpu, group, &why);
            }
            run.replaced += 1;
            if let Err(closed) = self.reopened(run, now, first) {
                if !leave_alone {
                    listed.give_up(&Group::ALL[position + 1..], &closed_why(&closed), None);
                }
                return Err(closed);
            }
            if leave_alone {
                return Ok(());
            }
        }
        self.skips.remove(&index);
        Ok(())
    }

    /// Asks the worker, if there is one. After an error there is none.
    fn ask(&mut self, gpu: u32, group: Group) -> Option<Asked> {
        let open = self.open.take()?;
        let ask = Ask::Read { gpu, group };
        let asked = open.worker.ask(ask, self.options.read_deadline);
        Some(asked.map(|(worker, result)| {
            self.open = Some(Open { worker, ..open });
            result
        }))
    }

    fn leave_alone(&mut self, index: u32, now: Instant, why: String, hung: Option<Hang>) {
        let skip = Skip::after(
            self.skips.remove(&index),
            now,
            self.options.pause,
            why,
            hung,
        );
        self.skips.insert(index, skip);
    }

    /// Opens the driver again after a worker was lost, and holds its list against the first one.
    fn reopened(&mut self, run: &mut Run, now: Instant, first: &Opened) -> Result<(), Closed> {
        self.opened(run, now)?;
        let Some(open) = &self.open else {
            return Ok(());
        };
        if same_list(&open.opened.gpus, &first.gpus) {
            return Ok(());
        }
        self.open = None;
        Err(Closed::Failed {
            why: "the driver's list of GPUs changed while they were read; run again".to_owned(),
            hung: None,
        })
    }

    /// Makes sure that the driver is open. A GPU on which opening hangs or crashes is left alone.
    fn opened(&mut self, run: &mut Run, now: Instant) -> Result<(), Closed> {
        if self.open.is_some() {
            return Ok(());
        }
        if let Some(blocked) = self.blocked.as_ref().filter(|skip| skip.is_active(now)) {
            return Err(Closed::Failed {
                why: blocked.why.clone(),
                hung: blocked.hung(),
            });
        }
        let mut crashed: BTreeMap<u32, u32> = BTreeMap::new();
        let mut may_try_again = true;
        loop {
            let skip = self.left_alone(now);
            let lost = match self.open_once(&skip)? {
                Ok(open) => {
                    self.open = Some(open);
                    self.kept.clear();
                    self.blocked = None;
                    return Ok(());
                }
                Err(lost) => lost,
            };
            let why = lost.why();
            if lost.is_not_by_a_call() && may_try_again {
                may_try_again = false;
                run.problem(why);
                run.replaced += 1;
                continue;
            }
            let hang = run.hang(&lost);
            let concerned = lost.call.as_ref().and_then(|call| call.gpu);
            let Some(index) = concerned.filter(|index| !skip.contains(index)) else {
                let hung = hang.as_ref().map(Hang::told);
                if !matches!(lost.cause, Cause::NotStarted(_)) {
                    self.blocked = Some(Skip::after(
                        self.blocked.take(),
                        now,
                        self.options.pause,
                        why.clone(),
                        hang,
                    ));
                }
                return Err(Closed::Failed { why, hung });
            };
            run.problem(format!("GPU {index}: {why}"));
            run.replaced += 1;
            let crashes = crashed.entry(index).or_default();
            *crashes += 1;
            if hang.is_some() || *crashes >= CRASHES_MAX {
                self.leave_alone(index, now, why, hang);
            }
        }
    }

    /// GPUs that are left alone now.
    fn left_alone(&self, now: Instant) -> Vec<u32> {
        let active = self.skips.iter().filter(|(_, skip)| skip.is_active(now));
        active.map(|(index, _)| *index).collect()
    }

    /// One attempt with one worker: the outer error ends the collection, the inner one is a lost
    /// worker.
    fn open_once(&self, skip: &[u32]) -> Result<Result<Open, Lost>, Closed> {
        if unreaped() >= UNREAPED_MAX {
            return Err(Closed::Failed {
                why: format!(
                    "{UNREAPED_MAX} earlier GPU workers cannot be killed: no further one is started until one of them dies"
                ),
                hung: self.blocked.as_ref().and_then(Skip::hung),
            });
        }
        let mut worker = match Worker::start(&self.options.worker, self.options.open_deadline) {
            Ok(worker) => worker,
            Err(lost) => return Ok(Err(lost)),
        };
        let mut refused = Vec::new();
        for library in self.candidates() {
            let ask = Ask::Open {
                library: library.clone(),
                skip: skip.to_vec(),
            };
            let (living, result) = match worker.ask(ask, self.options.open_deadline) {
                Ok(answered) => answered,
                Err(lost) => return Ok(Err(lost)),
            };
            worker = living;
            match result.map(|answer| *answer) {
                Ok(Answer::Opened(opened)) => {
                    return Ok(Ok(Open {
                        worker,
                        library,
                        opened,
                        since: Instant::now(),
                    }));
                }
                Ok(Answer::Refused(told)) => {
                    return Err(Closed::Refused {
                        why: format!("{library}: {}", told.error),
                        told: Box::new(told),
                    });
                }
                // Admitted answers are of the kind that was asked for.
                Ok(_) => refused.push(format!("{library}: no list of GPUs")),
                Err(error) if error.call == "dlopen" => {
                    refused.push(format!("{library}: {}", error.what));
                }
                Err(error) => return Err(not_opened(&library, &error)),
            }
        }
        let why = refused.join("; ");
        Err(match &self.options.library {
            // It is there, and cannot be loaded: broken, or for another machine.
            Library::At(path) if path.exists() => Closed::Failed {
                why: format!("cannot load the driver library: {why}"),
                hung: None,
            },
            Library::At(_) | Library::Search | Library::None => {
                Closed::NotStarted(format!("no driver library: {why}"))
            }
        })
    }

    fn candidates(&self) -> Vec<String> {
        match &self.options.library {
            Library::None => Vec::new(),
            // The worker runs in another directory; a bare name is for the loader to find.
            Library::At(path) => {
                let named = path.components().count() > 1;
                let path = match std::path::absolute(path) {
                    Ok(absolute) if named => absolute,
                    Ok(_) | Err(_) => path.clone(),
                };
                vec![path.to_string_lossy().into_owned()]
            }
            Library::Search => SEARCH
                .into_iter()
                .filter(|path| !path.starts_with('/') || std::path::Path::new(path).exists())
                .map(str::to_owned)
                .collect(),
        }
    }
}

fn not_opened(library: &str, error: &WorkerError) -> Closed {
    Closed::Failed {
        why: format!("{library}: {error}"),
        hung: None,
    }
}

fn closed_why(closed: &Closed) -> String {
    match closed {
        Closed::NotStarted(why) | Closed::Failed { why, .. } | Closed::Refused { why, .. } => {
            why.clone()
        }
    }
}
