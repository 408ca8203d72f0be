//! Workers that were killed and have not died yet.
//!
//! # Invariants
//! - Every child is reaped: at once where it dies at once, else by a thread that lives as long as
//!   there is one to wait for.

use std::process::Child;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// With as many workers that cannot be killed, no further one is started.
pub const UNREAPED_MAX: usize = 2;

/// How often the unreaped are looked at.
const LOOK: Duration = Duration::from_millis(50);

struct Unreaped {
    child: Child,
    reaped: Arc<AtomicBool>,
}

static UNREAPED: Mutex<Vec<Unreaped>> = Mutex::new(Vec::new());

/// How many workers of this process were killed and have not died.
pub fn unreaped() -> usize {
    UNREAPED
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .len()
}

/// What became of a killed worker.
#[derive(Clone, Debug)]
pub struct Death(Option<Arc<AtomicBool>>);

impl Death {
    /// Whether it still has not died: it sleeps in the kernel where no signal reaches it.
    pub fn is_wedged(&self) -> bool {
        self.0
            .as_ref()
            .is_some_and(|reaped| !reaped.load(Ordering::SeqCst))
    }
}

/// Kills a child and waits for at most `grace`; one that is not dead by then is waited for in the
/// background.
pub fn kill(mut child: Child, grace: Duration) -> Death {
    // An error means that it is dead already.
    let _ = child.kill();
    if died_within(&mut child, grace) {
        return Death(None);
    }
    let reaped = Arc::new(AtomicBool::new(false));
    let mut unreaped = UNREAPED.lock().unwrap_or_else(PoisonError::into_inner);
    unreaped.push(Unreaped {
        child,
        reaped: Arc::clone(&reaped),
    });
    // The thread ends under the lock when nothing is left, so one runs exactly while something is.
    // Where no thread can be started, the next one that is needed reaps this child too.
    if unreaped.len() == 1 {
        let _ = thread::Builder::new()
            .name("gpu-reaper".to_owned())
            .spawn(reap);
    }
    Death(Some(reaped))
}

/// Whether the child dies in time; if so, it is reaped.
pub fn died_within(child: &mut Child, grace: Duration) -> bool {
    let until = Instant::now() + grace;
    let mut pause = Duration::from_micros(200);
    loop {
        // An error means that there is no such child: nothing is left to reap.
        if !matches!(child.try_wait(), Ok(None)) {
            return true;
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        thread::sleep(pause.min(left));
        pause = (pause * 2).min(Duration::from_millis(10));
    }
}

fn reap() {
    loop {
        thread::sleep(LOOK);
        let mut unreaped = UNREAPED.lock().unwrap_or_else(PoisonError::into_inner);
        unreaped.retain_mut(|waiting| {
            let alive = matches!(waiting.child.try_wait(), Ok(None));
            if !alive {
                waiting.reaped.store(true, Ordering::SeqCst);
            }
            alive
        });
        if unreaped.is_empty() {
            return;
        }
    }
}
