//! The client of workers that burn in: one worker a job, watched by its beat.
//!
//! # Invariants
//! - No wait is without end: a worker that does not answer, or whose job's beat stands still for
//!   [`BurnOptions::still_limit`], is killed, and what it was doing is named.
//! - When [`burn`] returns, its worker has ended, or is waited for in the background and counted
//!   ([`unreaped`]).
//!
//! # What is absent
//! No judgement of an outcome; no second try.

use std::thread::sleep;
use std::time::{Duration, Instant};

use cupel_model::PciAddress;
use cupel_model::worker::{Answer, Ask};
use cupel_model::worker_burnin::{
    BurnAnswer, BurnAsk, BurnEnd, BurnErrorKind, BurnJob, BurnOutcome, BurnProgress, BurnWork,
};

use super::reaper::{UNREAPED_MAX, unreaped};
use super::worker::{Cause, Lost, Worker};
use super::{Library, WorkerProgram};

/// Where CUDA's library is looked for after the loader's own search.
const CUDA_SEARCH: [&str; 6] = [
    "libcuda.so.1",
    "/run/nvidia/driver/usr/lib/x86_64-linux-gnu/libcuda.so.1",
    "/run/nvidia/driver/usr/lib/aarch64-linux-gnu/libcuda.so.1",
    "/run/nvidia/driver/usr/lib64/libcuda.so.1",
    "/usr/lib/x86_64-linux-gnu/nvidia/current/libcuda.so.1",
    "/run/opengl-driver/lib/libcuda.so.1",
];

/// How often a job is asked how far it is.
const LOOK: Duration = Duration::from_millis(50);

/// How workers that burn in are started and watched.
#[derive(Clone, Debug)]
pub struct BurnOptions {
    /// The worker.
    pub worker: WorkerProgram,
    /// CUDA's library.
    pub cuda: Library,
    /// NVML's, for power and temperature.
    pub nvml: Library,
    /// For starting a worker and its job.
    pub start_deadline: Duration,
    /// For a poll, which the worker answers from memory.
    pub poll_deadline: Duration,
    /// How long a job may stand still. Longer than any kernel; compiling for a GPU without an image
    /// of its own takes the driver a minute.
    pub still_limit: Duration,
    /// How long a job may take to end after it was asked to.
    pub stop_grace: Duration,
}

impl BurnOptions {
    /// The usual deadlines, and the libraries where the loader finds them.
    pub fn new(worker: WorkerProgram) -> Self {
        Self {
            worker,
            cuda: Library::Search,
            nvml: Library::Search,
            start_deadline: Duration::from_secs(20),
            poll_deadline: Duration::from_secs(5),
            still_limit: Duration::from_secs(90),
            stop_grace: Duration::from_secs(25),
        }
    }
}

/// What is to be done to which GPUs.
#[derive(Clone, Debug, PartialEq)]
pub struct BurnTask {
    /// The GPUs.
    pub gpus: Vec<PciAddress>,
    /// What patterns and operands are derived from.
    pub seed: u64,
    /// Processors that the job is bound to; empty: any.
    pub cpus: Vec<u32>,
    /// The work.
    pub work: BurnWork,
}

/// Why there is no outcome.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BurnLost {
    /// No worker, or no library.
    #[error("{0}")]
    NotStarted(String),
    /// The job stood still, or did not end when it was asked to; its worker was killed.
    #[error("{doing}: {what} for {} s{}", .still.as_secs(), if *.wedged { ", and the worker cannot be killed" } else { "" })]
    Hung {
        /// What the job was doing.
        doing: String,
        /// The driver's function that did not return, or that nothing was done.
        what: String,
        /// For how long.
        still: Duration,
        /// Whether the worker sleeps where no signal reaches it.
        wedged: bool,
    },
    /// The worker died.
    #[error("{doing}: {how}")]
    Died {
        /// What the job was doing.
        doing: String,
        /// How it died, and its last words.
        how: String,
    },
}

/// Runs a job to its end. `look` is given what is known many times a second; when it says no, the
/// job is asked to end early, and still gives an outcome.
///
/// # Errors
/// [`BurnLost`].
pub fn burn(
    options: &BurnOptions,
    task: &BurnTask,
    look: &mut dyn FnMut(&BurnProgress) -> bool,
) -> Result<BurnOutcome, BurnLost> {
    let mut refused = Vec::new();
    for cuda in candidates(&options.cuda) {
        let job = BurnJob {
            cuda: cuda.clone(),
            nvml: nvml(&options.nvml),
            gpus: task.gpus.clone(),
            seed: task.seed,
            cpus: task.cpus.clone(),
            work: task.work.clone(),
        };
        let outcome = run(options, job, look)?;
        match &outcome.end {
            BurnEnd::Failed(error)
                if error.kind == BurnErrorKind::NoDriver && error.call == "dlopen" =>
            {
                refused.push(format!("{cuda}: {}", error.what));
            }
            BurnEnd::Failed(_)
            | BurnEnd::Done
            | BurnEnd::Stopped
            | BurnEnd::Unsupported(_)
            | BurnEnd::Unsafe(_) => return Ok(outcome),
        }
    }
    Err(BurnLost::NotStarted(if refused.is_empty() {
        "no CUDA library: none is named, and under another root none is looked for".to_owned()
    } else {
        format!("no CUDA library: {}", refused.join("; "))
    }))
}

fn candidates(library: &Library) -> Vec<String> {
    match library {
        Library::None => Vec::new(),
        // The worker runs in another directory; a bare name is for the loader to find.
        Library::At(path) if path.components().count() > 1 => {
            let path = std::path::absolute(path).unwrap_or_else(|_| path.clone());
            vec![path.to_string_lossy().into_owned()]
        }
        Library::At(path) => vec![path.to_string_lossy().into_owned()],
        Library::Search => CUDA_SEARCH
            .into_iter()
            .filter(|path| !path.starts_with('/') || std::path::Path::new(path).exists())
            .map(str::to_owned)
            .collect(),
    }
}

fn nvml(library: &Library) -> Option<String> {
    match library {
        Library::None => None,
        Library::At(_) => candidates(library).into_iter().next(),
        Library::Search => Some("libnvidia-ml.so.1".to_owned()),
    }
}

fn run(
    options: &BurnOptions,
    job: BurnJob,
    look: &mut dyn FnMut(&BurnProgress) -> bool,
) -> Result<BurnOutcome, BurnLost> {
    if unreaped() >= UNREAPED_MAX {
        return Err(BurnLost::NotStarted(format!(
            "{UNREAPED_MAX} earlier GPU workers cannot be killed: no further one is started until one of them dies"
        )));
    }
    let worker = Worker::start(&options.worker, options.start_deadline)
        .map_err(|lost| BurnLost::NotStarted(lost.why()))?;
    let start = BurnAsk::Start(Box::new(job));
    let mut doing = "starting".to_owned();
    let (mut worker, answer) = ask(worker, start, options.start_deadline, &doing)?;
    if answer != BurnAnswer::Started {
        return Err(BurnLost::NotStarted("the job was not started".to_owned()));
    }
    let mut asked_to_stop: Option<Instant> = None;
    loop {
        let request = match asked_to_stop {
            Some(_) => BurnAsk::Stop,
            None => BurnAsk::Poll,
        };
        let (living, answer) = ask(worker, request, options.poll_deadline, &doing)?;
        worker = living;
        let BurnAnswer::Progress(progress) = answer else {
            return Err(died(&doing, "the worker has no job".to_owned()));
        };
        doing.clone_from(&progress.phase);
        let go_on = look(&progress);
        if let Some(outcome) = progress.outcome {
            return Ok(*outcome);
        }
        let still = Duration::from_millis(progress.still_ms);
        let late = asked_to_stop.is_some_and(|since| since.elapsed() > options.stop_grace);
        if still > options.still_limit || late {
            let what = match (&progress.calling, late) {
                (Some(call), _) => format!("{call} did not return"),
                (None, true) => "it was asked to end and went on".to_owned(),
                (None, false) => "nothing was done".to_owned(),
            };
            let death = worker.kill();
            return Err(BurnLost::Hung {
                doing,
                what,
                still: still.max(asked_to_stop.map_or(Duration::ZERO, |since| since.elapsed())),
                wedged: death.is_some_and(|death| death.is_wedged()),
            });
        }
        if !go_on && asked_to_stop.is_none() {
            asked_to_stop = Some(Instant::now());
        }
        sleep(LOOK);
    }
}

fn died(doing: &str, how: String) -> BurnLost {
    BurnLost::Died {
        doing: doing.to_owned(),
        how,
    }
}

/// One request. After an error the worker is gone.
fn ask(
    worker: Worker,
    ask: BurnAsk,
    deadline: Duration,
    doing: &str,
) -> Result<(Worker, BurnAnswer), BurnLost> {
    match worker.ask(Ask::Burn(ask), deadline) {
        Ok((worker, Ok(answer))) => {
            // Admitted answers are of the kind that was asked for.
            let Answer::Burn(answer) = *answer else {
                return Err(died(doing, "the worker answered something else".to_owned()));
            };
            Ok((worker, answer))
        }
        Ok((_, Err(error))) => Err(BurnLost::NotStarted(error.to_string())),
        Err(lost) => Err(lost_why(lost, doing)),
    }
}

fn lost_why(lost: Lost, doing: &str) -> BurnLost {
    let why = lost.why();
    match lost.cause {
        Cause::Hung(still) => BurnLost::Hung {
            doing: doing.to_owned(),
            what: "the worker did not answer".to_owned(),
            still,
            wedged: lost.death.is_some_and(|death| death.is_wedged()),
        },
        Cause::Died(how) => died(doing, format!("the worker {how}")),
        Cause::Untrusted(_) | Cause::NotStarted(_) => died(doing, why),
    }
}
