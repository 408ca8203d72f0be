//! Burning in: jobs that load GPUs and verify what they do, in a thread of their own.
//!
//! # Invariants
//! - The thread that answers polls never calls the driver and never waits for the job.
//! - Every job plants faults in its own data and does not tell its checks where.
//! - Every wait for a GPU has an end. After a hang or a loss nothing is given back: the process is
//!   to be ended.
//!
//! # What is absent
//! No verdict, and no limit that a value is held against.

mod allreduce;
mod board;
mod control;
mod gpu;
mod hostlink;
mod log;
mod memory;
mod operands;
mod oracle;
mod pattern;
mod peerlink;
mod power;
mod product;
mod products;
mod report;
mod sensor;
mod staying;

pub use board::Board;

use std::rc::Rc;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Instant;

use cupel_model::worker_burnin::{
    BurnAnswer, BurnAsk, BurnEnd, BurnErrorKind, BurnJob, BurnOutcome, BurnWork,
};

use crate::cuda::{Context, Cuda};
use report::{Report, Stop};

/// The job of this worker.
#[derive(Default)]
pub struct Burner {
    running: Option<(Arc<Board>, JoinHandle<()>)>,
}

impl Burner {
    /// Answers, at once.
    ///
    /// # Errors
    /// A job is running already, or no thread can be started.
    pub fn answer(&mut self, ask: BurnAsk) -> Result<BurnAnswer, String> {
        match ask {
            BurnAsk::Start(job) => self.start(*job).map(|()| BurnAnswer::Started),
            BurnAsk::Poll => Ok(self.progress()),
            BurnAsk::Stop => {
                if let Some((board, _)) = &self.running {
                    board.ask_to_stop();
                }
                Ok(self.progress())
            }
        }
    }

    fn progress(&mut self) -> BurnAnswer {
        match &self.running {
            Some((board, thread)) => {
                if thread.is_finished() && !board.is_over() {
                    board.over(died());
                }
                BurnAnswer::Progress(board.progress())
            }
            None => BurnAnswer::Idle,
        }
    }

    fn start(&mut self, job: BurnJob) -> Result<(), String> {
        if let Some((board, _)) = &self.running
            && !board.is_over()
        {
            return Err("a job is running".to_owned());
        }
        let board = Arc::new(Board::new());
        let shown = Arc::clone(&board);
        let thread = thread::Builder::new()
            .name("burn".to_owned())
            .spawn(move || {
                let outcome = run(&job, &shown);
                shown.over(outcome);
            })
            .map_err(|error| format!("cannot start a thread: {error}"))?;
        self.running = Some((board, thread));
        Ok(())
    }
}

/// Runs a job to its end.
fn run(job: &BurnJob, board: &Arc<Board>) -> BurnOutcome {
    let began = Instant::now();
    let mut report = Report::new(board);
    bind(&job.cpus, &mut report);
    let sensor = job
        .nvml
        .as_deref()
        .and_then(|library| sensor::start(library, &job.gpus, board, &mut report));
    let result = open(job, board, &mut report).and_then(|(cuda, gpus)| {
        let result = work(job, &gpus, sensor.as_ref(), board, &mut report);
        if let Err(Stop::Failed(error)) = &result
            && matches!(
                error.kind,
                BurnErrorKind::Hung
                    | BurnErrorKind::Lost
                    | BurnErrorKind::UncorrectableEcc
                    | BurnErrorKind::NvlinkError
            )
        {
            cuda.abandon();
        }
        result
    });
    if let Some(sensor) = sensor {
        sensor.stop();
    }
    let end = match (board.unsafe_why(), result) {
        (Some(why), _) => BurnEnd::Unsafe(why),
        (None, Ok(())) => BurnEnd::Done,
        (None, Err(Stop::Stopped)) => BurnEnd::Stopped,
        (None, Err(Stop::Failed(error))) => BurnEnd::Failed(error),
        (None, Err(Stop::Unsupported(why))) => BurnEnd::Unsupported(why),
    };
    report.outcome(end, began.elapsed().as_secs_f64())
}

fn open(
    job: &BurnJob,
    board: &Arc<Board>,
    report: &mut Report,
) -> Result<(Rc<Cuda>, Vec<Rc<Context>>), Stop> {
    board.phase("opening the driver");
    let cuda = Cuda::open(&job.cuda, board)?;
    let mut gpus = Vec::new();
    for (index, pci) in (0_u32..).zip(&job.gpus) {
        board.phase(format!("opening the GPU at {pci}"));
        let context = Context::open(&cuda, *pci).map_err(|error| Stop::on(error, index))?;
        report.gpus.push(context.about.clone());
        gpus.push(context);
    }
    Ok((cuda, gpus))
}

fn work(
    job: &BurnJob,
    gpus: &[Rc<Context>],
    sensor: Option<&sensor::Sensor>,
    board: &Arc<Board>,
    report: &mut Report,
) -> Result<(), Stop> {
    let first = || {
        gpus.first()
            .ok_or_else(|| Stop::Unsupported("no GPU was named".to_owned()))
    };
    match &job.work {
        BurnWork::Describe => Ok(()),
        BurnWork::Memory {
            share,
            passes,
            seconds,
        } => memory::run(
            &gpu::Gpu::new(first()?, 0, board)?,
            job.seed,
            &memory::Wanted {
                share: *share,
                passes: *passes,
                seconds: *seconds,
            },
            report,
        ),
        BurnWork::Product {
            element,
            operands,
            size,
            seconds,
        } => product::run(
            &gpu::Gpu::new(first()?, 0, board)?,
            &product::Wanted {
                element: *element,
                operands: *operands,
                size: *size,
                seconds: *seconds,
                seed: job.seed,
            },
            report,
        ),
        BurnWork::Power {
            element,
            size,
            seconds,
            pulse,
        } => power::run(
            &gpu::Gpu::new(first()?, 0, board)?,
            &power::Wanted {
                element: *element,
                size: *size,
                seconds: *seconds,
                pulse: *pulse,
                seed: job.seed,
            },
            sensor,
            report,
        ),
        BurnWork::HostLink { bytes, seconds } => hostlink::run(
            &gpu::Gpu::new(first()?, 0, board)?,
            job.seed,
            *bytes,
            *seconds,
            report,
        ),
        BurnWork::PeerLink { bytes, seconds } => {
            let gpus = gpu::all(gpus, board)?;
            peerlink::run(&gpus, job.seed, *bytes, *seconds, report)
        }
        BurnWork::AllReduce { bytes, seconds } => {
            let gpus = gpu::all(gpus, board)?;
            allreduce::run(&gpus, job.seed, *bytes, *seconds, report)
        }
    }
}

/// Binds this thread to processors, so that pinned memory lies near them.
fn bind(cpus: &[u32], report: &mut Report) {
    if cpus.is_empty() {
        return;
    }
    let mut set = nix::sched::CpuSet::new();
    for cpu in cpus {
        // A number beyond what a set holds is none of this machine's.
        let _ = usize::try_from(*cpu).map(|cpu| set.set(cpu));
    }
    if let Err(errno) = nix::sched::sched_setaffinity(nix::unistd::Pid::from_raw(0), &set) {
        report.note(format!("not bound to its processors: {}", errno.desc()));
    }
}

fn died() -> BurnOutcome {
    let board = Arc::new(Board::new());
    Report::new(&board).outcome(
        BurnEnd::Failed(cupel_model::worker_burnin::BurnError {
            kind: BurnErrorKind::Other,
            call: "thread".to_owned(),
            code: None,
            what: "the job's thread ended by itself".to_owned(),
            gpu: None,
        }),
        0.0,
    )
}
