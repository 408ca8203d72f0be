//! The time between two samples, spent watching for events.
//!
//! # Invariants
//! - A hang or a crash while watching costs events, and no GPU its next reading: nothing that
//!   happens here leaves a GPU alone.
//! - A GPU in whose registration the worker died is left out of the rest of the time.
//! - Time that was not watched is never told as time without events.

use std::time::{Duration, Instant};

use cupel_model::Reading;
use cupel_model::snapshot::{GpuEvent, Problem};
use cupel_model::worker::{Answer, Ask, Opened, Watched, WorkerError};

use super::super::skip::same_list;
use super::super::worker::Lost;
use super::{Client, Open, closed_why};

impl Client {
    /// Watches for events, for at most `time` and the deadline of one read. Only after
    /// [`Client::collect`], with the worker that it left.
    pub fn watch(&mut self, time: Duration) -> Watched {
        let until = Instant::now() + time;
        let mut problems = Vec::new();
        let mut left_out: Vec<u32> = Vec::new();
        let events = loop {
            let left = until.saturating_duration_since(Instant::now());
            let Some(open) = self.open.take() else {
                break Reading::failed("there is no worker to watch with");
            };
            let first = open.opened.clone();
            match self.watch_once(open, left, &left_out) {
                Ok(Ok(watched)) => {
                    problems.extend(watched.problems);
                    break watched.events.and_then(|events| known(events, &first));
                }
                Ok(Err(error)) => break Reading::failed(error.to_string()),
                Err(lost) => {
                    let why = lost.why();
                    problems.push(problem(format!("while watching for events: {why}")));
                    let concerned = lost.call.and_then(|call| call.gpu);
                    let Some(index) = concerned.filter(|index| !left_out.contains(index)) else {
                        break Reading::failed(why);
                    };
                    left_out.push(index);
                    if Instant::now() >= until {
                        break Reading::failed(why);
                    }
                    if let Err(why) = self.open_to_watch(&first) {
                        break Reading::failed(why);
                    }
                }
            }
        };
        Watched { events, problems }
    }

    fn watch_once(
        &mut self,
        open: Open,
        time: Duration,
        left_out: &[u32],
    ) -> Result<Result<Watched, WorkerError>, Lost> {
        let ask = Ask::Watch {
            milliseconds: u64::try_from(time.as_millis()).unwrap_or(u64::MAX),
            skip: left_out.to_vec(),
        };
        let deadline = time.saturating_add(self.options.read_deadline);
        let (worker, result) = open.worker.ask(ask, deadline)?;
        self.open = Some(Open { worker, ..open });
        Ok(result.map(|answer| {
            if let Answer::Watched(watched) = *answer {
                return watched;
            }
            // Never: admitted answers are of the kind that was asked for.
            Watched {
                events: Reading::failed("the worker gave no events"),
                problems: Vec::new(),
            }
        }))
    }

    /// Opens the driver once more, as far as GPUs are not left alone.
    fn open_to_watch(&mut self, first: &Opened) -> Result<(), String> {
        let now = Instant::now();
        let skip: Vec<u32> = self
            .skips
            .iter()
            .filter(|(_, skip)| skip.is_active(now))
            .map(|(index, _)| *index)
            .collect();
        let open = self
            .open_once(&skip)
            .map_err(|closed| closed_why(&closed))?
            .map_err(|lost| lost.why())?;
        if !same_list(&open.opened.gpus, &first.gpus) {
            return Err("the driver's list of GPUs changed while it was watched".to_owned());
        }
        self.open = Some(open);
        Ok(())
    }
}

/// Events of GPUs that the driver lists, each at the address that the list gives.
fn known(mut events: Vec<GpuEvent>, listed: &Opened) -> Reading<Vec<GpuEvent>> {
    for event in &mut events {
        let at = usize::try_from(event.index).ok();
        match at.and_then(|at| listed.gpus.get(at)) {
            Some(pci) => event.pci = pci.clone(),
            None => {
                return Reading::failed(format!(
                    "an event of GPU {}, which the driver does not list",
                    event.index
                ));
            }
        }
    }
    Reading::Value(events)
}

fn problem(why: String) -> Problem {
    Problem {
        source: "gpu-worker".to_owned(),
        why,
    }
}
