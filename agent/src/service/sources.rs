//! The sources, each on a thread of its own with its own cadence.
//!
//! # Invariants
//! - A source that hangs delays no other: its thread waits until its deadline, and no other thread
//!   waits for it.
//! - The first readings come at once; afterwards readings of the same cadence fall on the same
//!   moments, so that the processor wakes once for all of them.
//! - Where a GPU driver is released, its thread touches nothing of it until the time is over.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use cupel_hardware::clock;
use cupel_hardware::collect::{Data, Fragment, Machine, Reader, Source};
use cupel_model::snapshot::WorkerState;

use super::input::{Input, Inputs};

/// How long the driver is watched for events in one go, where the kernel log cannot be read: it is
/// let go of within this time.
const WATCH: Duration = Duration::from_secs(2);

/// Stack of a reading thread; the readers' own work runs on threads of its own.
const STACK: usize = 256 * 1024;

/// What one thread is told.
#[derive(Debug)]
struct Orders {
    every: Duration,
    /// Read now, whatever the cadence says.
    now: bool,
    /// Something happened: what is believed for a while is read as well.
    afresh: bool,
    /// The driver is let go until then, in time since boot.
    released_until: Option<Duration>,
    /// The machine is read otherwise from now on.
    machine: Option<Machine>,
    end: bool,
}

#[derive(Debug)]
struct Desk {
    orders: Mutex<Orders>,
    changed: Condvar,
}

impl Desk {
    fn orders(&self) -> MutexGuard<'_, Orders> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn order(&self, change: impl FnOnce(&mut Orders)) {
        change(&mut self.orders());
        self.changed.notify_all();
    }
}

/// The running sources.
#[derive(Debug)]
pub struct Sources {
    desks: BTreeMap<Source, Arc<Desk>>,
    watch_gpus: Arc<AtomicBool>,
}

impl Sources {
    /// Starts a thread for each source. What is not in `every` is not read.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(
        machine: &Machine,
        every: &BTreeMap<Source, Duration>,
        inputs: &Inputs,
    ) -> std::io::Result<Self> {
        let watch_gpus = Arc::new(AtomicBool::new(false));
        let mut desks = BTreeMap::new();
        for (source, every) in every {
            let desk = Arc::new(Desk {
                orders: Mutex::new(Orders {
                    every: *every,
                    now: true,
                    afresh: false,
                    released_until: None,
                    machine: None,
                    end: false,
                }),
                changed: Condvar::new(),
            });
            let thread = Thread {
                reader: machine.reader(*source),
                desk: Arc::clone(&desk),
                inputs: inputs.clone(),
                watch_gpus: Arc::clone(&watch_gpus),
            };
            thread::Builder::new()
                .name(format!("read-{source}"))
                .stack_size(STACK)
                .spawn(move || thread.run())?;
            desks.insert(*source, desk);
        }
        Ok(Self { desks, watch_gpus })
    }

    /// Another cadence.
    pub fn set_every(&self, every: &BTreeMap<Source, Duration>) {
        for (source, every) in every {
            if let Some(desk) = self.desks.get(source) {
                desk.order(|orders| orders.every = *every);
            }
        }
    }

    /// The machine is read otherwise from now on: what readers hold is let go.
    pub fn set_machine(&self, machine: &Machine) {
        for desk in self.desks.values() {
            desk.order(|orders| {
                orders.machine = Some(machine.clone());
                orders.now = true;
            });
        }
    }

    /// Reads these sources now, and all of them: something happened.
    pub fn poke(&self, sources: &[Source]) {
        for source in sources {
            if let Some(desk) = self.desks.get(source) {
                desk.order(|orders| (orders.now, orders.afresh) = (true, true));
            }
        }
    }

    /// Lets go of the GPU driver until then, in time since boot; `None` takes it up again.
    pub fn release(&self, until: Option<Duration>) {
        if let Some(desk) = self.desks.get(&Source::Gpu) {
            desk.order(|orders| {
                orders.released_until = until;
                orders.now = true;
            });
        }
    }

    /// Whether the driver is to be watched for events between two readings: where the kernel log
    /// cannot be read.
    pub fn watch_gpus(&self, watch: bool) {
        self.watch_gpus.store(watch, Ordering::Relaxed);
    }

    /// Tells every thread to end. One that hangs is left behind.
    pub fn end(&self) {
        for desk in self.desks.values() {
            desk.order(|orders| orders.end = true);
        }
    }
}

struct Thread {
    reader: Reader,
    desk: Arc<Desk>,
    inputs: Inputs,
    watch_gpus: Arc<AtomicBool>,
}

/// What a thread does next.
enum Next {
    Read,
    /// Something happened: what is kept between two readings is not believed.
    ReadAnew,
    Release,
    Exchange(Machine),
    End,
}

impl Thread {
    fn run(mut self) {
        loop {
            match self.next() {
                Next::End => return,
                Next::Exchange(machine) => {
                    let source = self.reader.source();
                    self.reader = machine.reader(source);
                }
                Next::Release => {
                    self.reader.release();
                    if !self.inputs.put(Input::Released) {
                        return;
                    }
                }
                next @ (Next::Read | Next::ReadAnew) => {
                    if matches!(next, Next::ReadAnew) {
                        self.reader.expire();
                    }
                    if std::mem::take(&mut self.desk.orders().afresh) {
                        self.reader.expire();
                    }
                    let began = Instant::now();
                    let fragment = Box::new(self.reader.read());
                    let answered = answered(&fragment);
                    let took = began.elapsed();
                    if !self.inputs.put(Input::Read { fragment, took }) {
                        return;
                    }
                    if answered && !self.watch() {
                        return;
                    }
                }
            }
        }
    }

    /// Waits until there is something to do.
    fn next(&self) -> Next {
        let mut orders = self.desk.orders();
        let mut due = next_moment(orders.every);
        loop {
            if orders.end {
                return Next::End;
            }
            if let Some(machine) = orders.machine.take() {
                return Next::Exchange(machine);
            }
            let now = clock::since_boot();
            match orders.released_until {
                Some(until) if now < until => {
                    if std::mem::take(&mut orders.now) {
                        return Next::Release;
                    }
                    due = until;
                }
                Some(_) => {
                    orders.released_until = None;
                    return Next::Read;
                }
                None => {
                    if std::mem::take(&mut orders.now) {
                        return Next::ReadAnew;
                    }
                    if now >= due {
                        return Next::Read;
                    }
                    due = due.min(next_moment(orders.every));
                }
            }
            let wait = due
                .saturating_sub(clock::since_boot())
                .max(Duration::from_millis(1));
            orders = self
                .desk
                .changed
                .wait_timeout(orders, wait)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// Watches the driver until the next reading is due. `false`: the engine is gone.
    fn watch(&mut self) -> bool {
        let every = self.desk.orders().every;
        let due = next_moment(every);
        while self.watch_gpus.load(Ordering::Relaxed) {
            let left = due.saturating_sub(clock::since_boot());
            let waiting = {
                let orders = self.desk.orders();
                orders.now || orders.end || orders.released_until.is_some()
            };
            if left < Duration::from_millis(100) || waiting {
                break;
            }
            let watched = self.reader.watch(left.min(WATCH));
            let failed = watched.events.is_failed();
            if !self.inputs.put(Input::GpuEvents(watched.events)) {
                return false;
            }
            if failed {
                break;
            }
        }
        true
    }
}

/// The next moment at which a source of this cadence is read: multiples of it since boot.
fn next_moment(every: Duration) -> Duration {
    moment_after(clock::since_boot(), every)
}

fn moment_after(now: Duration, every: Duration) -> Duration {
    let every = every.max(Duration::from_millis(100)).as_nanos();
    let next = (now.as_nanos() / every + 1) * every;
    Duration::from_nanos(u64::try_from(next).unwrap_or(u64::MAX))
}

/// Whether a GPU driver answered.
fn answered(fragment: &Fragment) -> bool {
    let Data::Gpu(survey) = &fragment.data else {
        return false;
    };
    matches!(survey.driver.worker, WorkerState::Answered { .. })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readings_of_one_cadence_fall_on_the_same_moments() {
        let seconds = Duration::from_secs;
        assert_eq!(moment_after(seconds(31), seconds(15)), seconds(45));
        assert_eq!(moment_after(seconds(45), seconds(15)), seconds(60));
        assert_eq!(moment_after(seconds(59), seconds(60)), seconds(60));
    }
}
