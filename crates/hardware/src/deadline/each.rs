//! Many things of a kind: one thread reads them in turn, as long as none of them is slow.
//!
//! A thread for each of a hundred devices, every few seconds, would cost more than reading them. So
//! one thread takes them in turn. When one of them keeps it for longer than [`PATIENCE`], those
//! behind it get threads of their own: it delays them by no more than that, and each has its whole
//! deadline.

use std::collections::VecDeque;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::{Late, Pending, SetOnDrop, key, leave, start, still_hung};
use crate::root::Root;

/// How long one thing may keep the others waiting.
const PATIENCE: Duration = Duration::from_millis(250);

/// A thing that waits for its turn.
struct Waiting<I> {
    place: usize,
    name: String,
    item: I,
}

/// What waits, and what is being read since when.
struct Queue<I> {
    waiting: VecDeque<Waiting<I>>,
    current: Option<(usize, Instant)>,
}

type Shared<I> = Arc<Mutex<Queue<I>>>;

fn lock<I>(shared: &Shared<I>) -> MutexGuard<'_, Queue<I>> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Does `work` on each of `items`, which are named as for [`start`], and gives what came of each,
/// in their order. Ends at the latest `limit` and a quarter of a second later.
pub fn each<I, T, W>(
    root: &Root,
    limit: Duration,
    items: Vec<(String, I)>,
    work: W,
) -> Vec<(String, Result<T, Late>)>
where
    I: Send + 'static,
    T: Send + 'static,
    W: Fn(&str, I) -> T + Send + Sync + 'static,
{
    let mut told: Vec<(String, Result<T, Late>)> = Vec::with_capacity(items.len());
    let mut waiting = VecDeque::new();
    for (place, (name, item)) in items.into_iter().enumerate() {
        let late = still_hung(&key(root, &name));
        if late.is_none() {
            waiting.push_back(Waiting {
                place,
                name: name.clone(),
                item,
            });
        }
        // Who gives no answer at all has fallen with the thread.
        told.push((name, Err(late.unwrap_or(Late::Panicked))));
    }
    if waiting.is_empty() {
        return told;
    }
    let round = Round {
        root,
        limit,
        work: Arc::new(work),
        shared: Arc::new(Mutex::new(Queue {
            waiting,
            current: None,
        })),
        ended: Arc::new(AtomicBool::new(false)),
    };
    round.run(&mut told);
    told
}

struct Round<'r, I, W> {
    root: &'r Root,
    limit: Duration,
    work: Arc<W>,
    shared: Shared<I>,
    ended: Arc<AtomicBool>,
}

type Told<T> = [(String, Result<T, Late>)];

impl<I, W> Round<'_, I, W>
where
    I: Send + 'static,
{
    fn run<T>(&self, told: &mut Told<T>)
    where
        T: Send + 'static,
        W: Fn(&str, I) -> T + Send + Sync + 'static,
    {
        let Some(results) = self.in_turn::<T>() else {
            let mut pending = self.apart();
            settle(&mut pending, told);
            return;
        };
        loop {
            match results.recv_timeout(PATIENCE) {
                Ok((place, result)) => put(told, place, Ok(result)),
                // The end, or a panic: whoever waited behind it is read apart.
                Err(RecvTimeoutError::Disconnected) => {
                    let mut pending = self.apart();
                    settle(&mut pending, told);
                    return;
                }
                Err(RecvTimeoutError::Timeout) => break,
            }
        }
        let slow = lock(&self.shared).current;
        let mut pending = self.apart();
        match slow {
            Some((place, since)) => self.wait_for(&results, place, since, told),
            // It came to its end just now.
            None => {
                for (place, result) in results.try_iter() {
                    put(told, place, Ok(result));
                }
            }
        }
        settle(&mut pending, told);
    }

    /// One thread that takes all in turn; `None` where the system gives none.
    fn in_turn<T>(&self) -> Option<Receiver<(usize, T)>>
    where
        T: Send + 'static,
        W: Fn(&str, I) -> T + Send + Sync + 'static,
    {
        let (sender, receiver) = channel();
        let (shared, work) = (Arc::clone(&self.shared), Arc::clone(&self.work));
        let ended = Arc::clone(&self.ended);
        let first = lock(&shared)
            .waiting
            .front()
            .map(|first| first.name.clone());
        let thread = std::thread::Builder::new()
            .name(first.unwrap_or_default())
            .spawn(move || {
                let _ended = SetOnDrop(ended);
                loop {
                    let next = {
                        let mut queue = lock(&shared);
                        let next = queue.waiting.pop_front();
                        queue.current = next.as_ref().map(|next| (next.place, Instant::now()));
                        next
                    };
                    let Some(next) = next else {
                        return;
                    };
                    let result = work(&next.name, next.item);
                    if sender.send((next.place, result)).is_err() {
                        return;
                    }
                }
            });
        thread.ok().map(|_| receiver)
    }

    /// Starts each that still waits on a thread of its own.
    fn apart<T>(&self) -> Vec<(usize, Pending<T>)>
    where
        T: Send + 'static,
        W: Fn(&str, I) -> T + Send + Sync + 'static,
    {
        let waiting = std::mem::take(&mut lock(&self.shared).waiting);
        waiting
            .into_iter()
            .map(|Waiting { place, name, item }| {
                let work = Arc::clone(&self.work);
                let own = name.clone();
                let pending = start(self.root, &name, self.limit, move || work(&own, item));
                (place, pending)
            })
            .collect()
    }

    /// Waits for the slow one, and leaves it behind at its deadline.
    fn wait_for<T>(
        &self,
        results: &Receiver<(usize, T)>,
        place: usize,
        since: Instant,
        told: &mut Told<T>,
    ) {
        let until = since + self.limit;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match results.recv_timeout(left) {
                Ok((of, result)) => put(told, of, Ok(result)),
                // It has ended: nothing else was left for it to read.
                Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {
                    let name = told.get(place).map(|(name, _)| key(self.root, name));
                    let ended = Arc::clone(&self.ended);
                    let late = leave(name.unwrap_or_default(), ended, self.limit);
                    put(told, place, Err(late));
                    return;
                }
            }
        }
    }
}

fn settle<T>(pending: &mut Vec<(usize, Pending<T>)>, told: &mut Told<T>) {
    for (place, pending) in pending.drain(..) {
        put(told, place, pending.wait());
    }
}

fn put<T>(told: &mut Told<T>, place: usize, result: Result<T, Late>) {
    if let Some((_, place)) = told.get_mut(place) {
        *place = result;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(5);

    fn named(names: &[&str]) -> Vec<(String, u64)> {
        let numbered = names.iter().zip(0_u64..);
        numbered.map(|(name, n)| ((*name).to_owned(), n)).collect()
    }

    fn threads_of(told: &[(String, Result<std::thread::ThreadId, Late>)]) -> usize {
        let mut threads: Vec<_> = told
            .iter()
            .filter_map(|(_, thread)| thread.as_ref().ok())
            .collect();
        threads.dedup();
        threads.len()
    }

    #[test]
    fn quick_ones_share_a_thread_and_keep_their_order() {
        let names = ["each/a", "each/b", "each/c"];
        let told = each(&Root::live(), LIMIT, named(&names), |_, n| n * 10);
        let want: Vec<_> = named(&names)
            .into_iter()
            .map(|(name, n)| (name, Ok(n * 10)))
            .collect();
        assert_eq!(told, want);
        let told = each(&Root::live(), LIMIT, named(&names), |_, _| {
            std::thread::current().id()
        });
        assert_eq!(threads_of(&told), 1);
        assert_eq!(each(&Root::live(), LIMIT, Vec::new(), |_, n: u64| n), []);
    }

    #[test]
    fn one_that_hangs_harms_itself_alone_and_is_left_alone() {
        let (release, held) = sync_channel::<()>(0);
        let held = Mutex::new(held);
        let names = ["each/1", "each/2 hangs", "each/3", "each/4"];
        let limit = Duration::from_millis(400);
        let read = move |name: &str, n: u64| {
            if name.ends_with("hangs") {
                let _ = held.lock().expect("lock").recv();
            }
            n
        };
        let told = each(&Root::live(), limit, named(&names), read);
        let results: Vec<_> = told.into_iter().map(|(_, result)| result).collect();
        let late = Err(Late::TimedOut { limit_seconds: 1 });
        assert_eq!(results, [Ok(0), late, Ok(2), Ok(3)]);
        let again = each(&Root::live(), LIMIT, named(&names), |_, n| n);
        assert!(
            matches!(again[1].1, Err(Late::StillHung { .. })),
            "{again:?}"
        );
        assert_eq!((&again[0].1, &again[2].1), (&Ok(0), &Ok(2)));
        release.send(()).expect("it still waits");
        let better = (0..200).any(|_| {
            std::thread::sleep(Duration::from_millis(10));
            let told = each(&Root::live(), LIMIT, named(&names), |_, n| n);
            told[1].1 == Ok(1)
        });
        assert!(better, "it is read again once it has ended");
    }

    #[test]
    fn several_that_hang_take_one_deadline_together() {
        let (_release, held) = sync_channel::<()>(0);
        let held = Arc::new(Mutex::new(held));
        let names = ["each/x1", "each/x2", "each/x3", "each/fine"];
        let limit = Duration::from_millis(500);
        let began = Instant::now();
        let told = each(&Root::live(), limit, named(&names), move |name, n| {
            if name != "each/fine" {
                let _ = held.lock().map(|held| held.recv());
            }
            n
        });
        let late = told
            .iter()
            .filter(|(_, result)| matches!(result, Err(Late::TimedOut { .. })));
        assert_eq!(late.count(), 3);
        assert_eq!(told[3].1, Ok(3));
        assert!(began.elapsed() < 3 * limit, "{:?}", began.elapsed());
    }

    #[test]
    fn a_panic_takes_no_other_with_it() {
        let names = ["each/p1", "each/p2", "each/p3"];
        let told = each(&Root::live(), LIMIT, named(&names), |name, n| {
            assert!(name != "each/p2", "on purpose");
            n
        });
        let results: Vec<_> = told.into_iter().map(|(_, result)| result).collect();
        assert_eq!(results, [Ok(0), Err(Late::Panicked), Ok(2)]);
    }
}
