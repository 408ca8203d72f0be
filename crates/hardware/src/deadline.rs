//! Work that may hang gets its own thread and a deadline.
//!
//! # Invariants
//! - Waiting ends at the deadline, whatever the work does: a thread inside a kernel call cannot be
//!   stopped, only left behind.
//! - What was left behind is not started a second time while it still hangs, so a service that
//!   collects every minute leaves one thread behind for each hung source, not one for each minute.
//! - Many things of a kind share one thread as long as none of them is slow ([`each`]).

mod each;

pub use each::each;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::root::Root;

/// Why work gave no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Late {
    /// It did not end in time. It may still hang.
    #[error("did not answer in {limit_seconds} s")]
    TimedOut {
        /// The deadline it had.
        limit_seconds: u64,
    },
    /// An earlier attempt still hangs, so it was not started again.
    #[error("an earlier attempt has been hanging for {seconds} s")]
    StillHung {
        /// How long ago the earlier attempt passed its deadline.
        seconds: u64,
    },
    /// A defect of Cupel: the reader panicked.
    #[error("the reader panicked (a defect of Cupel: please report it)")]
    Panicked,
    /// The system gives no thread.
    #[error("cannot start a thread for it")]
    NoThread,
}

/// One that passed its deadline: when, and whether it has ended since.
struct Hung {
    since: Instant,
    ended: Arc<AtomicBool>,
}

static HUNG: Mutex<BTreeMap<String, Hung>> = Mutex::new(BTreeMap::new());

fn hung() -> MutexGuard<'static, BTreeMap<String, Hung>> {
    HUNG.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Work under way.
pub struct Pending<T> {
    key: String,
    until: Instant,
    limit: Duration,
    ended: Arc<AtomicBool>,
    receiver: Result<Receiver<T>, Late>,
}

/// Starts `work` on its own thread. `name` says which source and device it is, such as
/// `nvme/nvme0`; with `root` it tells whether an earlier attempt still hangs.
pub fn start<T: Send + 'static>(
    root: &Root,
    name: &str,
    limit: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Pending<T> {
    let ended = Arc::new(AtomicBool::new(false));
    let mut pending = Pending {
        key: key(root, name),
        until: Instant::now() + limit,
        limit,
        ended: Arc::clone(&ended),
        receiver: Err(Late::NoThread),
    };
    if let Some(late) = still_hung(&pending.key) {
        pending.receiver = Err(late);
        return pending;
    }
    let (sender, receiver) = sync_channel(1);
    let spawned = std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || {
            // Dropped whatever happens, so that a panic also counts as ended.
            let _ended = SetOnDrop(ended);
            let result = work();
            // Nobody waits any longer when the deadline has passed.
            let _ = sender.send(result);
        });
    if spawned.is_ok() {
        pending.receiver = Ok(receiver);
    }
    pending
}

/// Sets the flag when dropped.
struct SetOnDrop(Arc<AtomicBool>);

impl Drop for SetOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

impl<T> Pending<T> {
    /// The result, or why there is none by the deadline.
    ///
    /// # Errors
    /// [`Late`].
    pub fn wait(self) -> Result<T, Late> {
        let receiver = self.receiver?;
        let left = self.until.saturating_duration_since(Instant::now());
        match receiver.recv_timeout(left) {
            Ok(result) => Ok(result),
            Err(RecvTimeoutError::Disconnected) => Err(Late::Panicked),
            Err(RecvTimeoutError::Timeout) => Err(leave(self.key, self.ended, self.limit)),
        }
    }
}

/// By what work is known again.
fn key(root: &Root, name: &str) -> String {
    format!("{} {name}", root.path().display())
}

/// Whether an earlier attempt still hangs.
fn still_hung(key: &str) -> Option<Late> {
    let mut hung = hung();
    let earlier = hung.get(key)?;
    if !earlier.ended.load(Ordering::Acquire) {
        let seconds = earlier.since.elapsed().as_secs();
        return Some(Late::StillHung { seconds });
    }
    hung.remove(key);
    None
}

/// Leaves work behind that passed its deadline.
fn leave(key: String, ended: Arc<AtomicBool>, limit: Duration) -> Late {
    let mut hung = hung();
    // Things that are gone from the machine are asked for no more.
    hung.retain(|_, earlier| !earlier.ended.load(Ordering::Acquire));
    let since = Instant::now();
    hung.insert(key, Hung { since, ended });
    let whole = limit.as_secs();
    let limit_seconds = whole + u64::from(limit > Duration::from_secs(whole));
    Late::TimedOut { limit_seconds }
}

/// Starts `work` and waits for it.
///
/// # Errors
/// [`Late`].
pub fn within<T: Send + 'static>(
    root: &Root,
    name: &str,
    limit: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Late> {
    start(root, name, limit, work).wait()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_hangs_is_left_behind_once() {
        let root = Root::live();
        let (release, held) = sync_channel::<()>(0);
        let limit = Duration::from_millis(30);
        let began = Instant::now();
        let first = within(&root, "test/hangs", limit, move || held.recv().is_ok());
        assert_eq!(first, Err(Late::TimedOut { limit_seconds: 1 }));
        assert!(began.elapsed() < Duration::from_secs(2));
        let second = within(&root, "test/hangs", limit, || true);
        assert!(matches!(second, Err(Late::StillHung { .. })), "{second:?}");
        release.send(()).expect("the first attempt still waits");
        // The thread ends soon after; then the source may be tried again.
        let again = (0..200).find_map(|_| {
            std::thread::sleep(Duration::from_millis(10));
            within(&root, "test/hangs", limit, || 7).ok()
        });
        assert_eq!(again, Some(7));
    }

    #[test]
    fn a_panic_is_told_and_not_taken_for_a_hang() {
        let root = Root::live();
        let limit = Duration::from_secs(5);
        let result = within(&root, "test/panics", limit, || -> u8 {
            panic!("on purpose")
        });
        assert_eq!(result, Err(Late::Panicked));
        assert_eq!(within(&root, "test/panics", limit, || 1), Ok(1));
    }
}
