//! What a running job shows of itself, for the thread that answers polls.
//!
//! # Invariants
//! - Reading the board never waits for the job: no lock is held across a driver call.
//! - The beat grows with every call that returned and every wait that ended, and with nothing else:
//!   asking again and again whether a kernel has ended is not progress.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use cupel_model::worker_burnin::{BurnOutcome, BurnProgress, BurnSample};

/// Functions whose return says nothing about the GPU's progress.
const ASKING: [&str; 2] = ["cuEventQuery", "cuCtxSetCurrent"];

struct State {
    phase: String,
    calling: Option<&'static str>,
    last: Instant,
    samples: Vec<BurnSample>,
    outcome: Option<Box<BurnOutcome>>,
    unsafe_why: Option<String>,
}

/// The board of one job.
pub struct Board {
    beat: AtomicU64,
    mismatches: AtomicU64,
    stop: AtomicBool,
    state: Mutex<State>,
}

impl Board {
    /// An empty one.
    pub fn new() -> Self {
        Self {
            beat: AtomicU64::new(0),
            mismatches: AtomicU64::new(0),
            stop: AtomicBool::new(false),
            state: Mutex::new(State {
                phase: "starting".to_owned(),
                calling: None,
                last: Instant::now(),
                samples: Vec::new(),
                outcome: None,
                unsafe_why: None,
            }),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// About to call a function of the driver.
    pub fn calling(&self, call: &'static str) {
        self.state().calling = Some(call);
    }

    /// It has returned.
    pub fn returned(&self) {
        let mut state = self.state();
        let asked = state
            .calling
            .take()
            .is_some_and(|call| ASKING.contains(&call));
        if !asked {
            state.last = Instant::now();
            self.beat.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A wait has ended.
    pub fn step(&self) {
        self.state().last = Instant::now();
        self.beat.fetch_add(1, Ordering::Relaxed);
    }

    /// What is done now.
    pub fn phase(&self, phase: impl Into<String>) {
        self.state().phase = phase.into();
        self.step();
    }

    /// A value as it is now.
    pub fn sample(&self, gpu: u32, name: &str, value: f64, unit: &str) {
        if !value.is_finite() {
            return;
        }
        let mut state = self.state();
        match state
            .samples
            .iter_mut()
            .find(|sample| sample.gpu == gpu && sample.name == name)
        {
            Some(sample) => sample.value = value,
            None => state.samples.push(BurnSample {
                name: name.to_owned(),
                gpu,
                value,
                unit: unit.to_owned(),
            }),
        }
    }

    /// Differences that nobody planted.
    pub fn mismatches(&self, count: u64) {
        self.mismatches.store(count, Ordering::Relaxed);
    }

    /// Asks the job to end.
    pub fn ask_to_stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Whether it was asked to.
    pub fn is_asked_to_stop(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// The part would be harmed: the job ends.
    pub fn make_unsafe(&self, why: String) {
        self.state().unsafe_why.get_or_insert(why);
        self.ask_to_stop();
    }

    /// Why the job has to end for the part's sake.
    pub fn unsafe_why(&self) -> Option<String> {
        self.state().unsafe_why.clone()
    }

    /// The job is over.
    pub fn over(&self, outcome: BurnOutcome) {
        let mut state = self.state();
        state.outcome = Some(Box::new(outcome));
        state.last = Instant::now();
        drop(state);
        self.beat.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether it is.
    pub fn is_over(&self) -> bool {
        self.state().outcome.is_some()
    }

    /// What is on the board.
    pub fn progress(&self) -> BurnProgress {
        let state = self.state();
        BurnProgress {
            beat: self.beat.load(Ordering::Relaxed),
            phase: state.phase.clone(),
            calling: state.calling.map(str::to_owned),
            still_ms: u64::try_from(state.last.elapsed().as_millis()).unwrap_or(u64::MAX),
            samples: state.samples.clone(),
            mismatch_count: self.mismatches.load(Ordering::Relaxed),
            outcome: state.outcome.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asking_whether_a_kernel_has_ended_is_no_progress() {
        let board = Board::new();
        board.calling("cuEventQuery");
        assert_eq!(board.progress().calling.as_deref(), Some("cuEventQuery"));
        board.returned();
        assert_eq!(board.progress().beat, 0);
        board.calling("cuMemAlloc_v2");
        board.returned();
        assert_eq!(board.progress().beat, 1);
        assert_eq!(board.progress().calling, None);
    }
}
