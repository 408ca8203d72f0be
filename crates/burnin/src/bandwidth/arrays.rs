//! The arrays of a NUMA node, and the passes over them that are timed.
//!
//! # Invariants
//! - A pass is timed from when its first thread begins to when its last one is done; bytes are
//!   counted as the program moves them, not as the memory does. Both as STREAM does it.
//! - The clock is read by the threads that work: one that only watched may be let run too late.
//! - Threads are pinned before anything is timed, and one that cannot be pinned takes no part.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Barrier, Mutex, PoisonError};
use std::time::{Duration, Instant};

use cupel_hardware::processor::pin;
use cupel_hardware::streaming;

use crate::memory::Pattern;

/// What is done to the arrays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Motion {
    /// `b = a` past the caches: a read and a write of each word.
    Copy,
    /// `b = a` through the caches: most processors read what is overwritten as well.
    CopyThroughCaches,
    /// Every word of `a` is read.
    Read,
    /// Every word of `b` is written.
    Write,
}

impl Motion {
    pub(super) const ALL: [Self; 4] =
        [Self::Copy, Self::CopyThroughCaches, Self::Read, Self::Write];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Copy => "copy",
            Self::CopyThroughCaches => "copy through caches",
            Self::Read => "read",
            Self::Write => "write",
        }
    }

    fn bytes(self, words: u64) -> u64 {
        match self {
            Self::Copy | Self::CopyThroughCaches => 16 * words,
            Self::Read | Self::Write => 8 * words,
        }
    }
}

/// A thread's part of both arrays.
#[derive(Debug, Default)]
pub(super) struct Part {
    /// Number of its first word.
    pub(super) first: u64,
    pub(super) a: Vec<u64>,
    pub(super) b: Vec<u64>,
}

/// The arrays of a node, in as many parts as the node has processors.
#[derive(Debug)]
pub(super) struct Arrays {
    pub(super) node: u32,
    parts: Vec<Mutex<Part>>,
    words: u64,
}

/// Arrays could not be made; why.
pub(super) type Refused = String;

impl Arrays {
    /// Takes `words` words for each of the two arrays, touched first by the node's own processors.
    pub(super) fn take(
        node: u32,
        cpus: &[u32],
        words: u64,
        pattern: Pattern,
    ) -> Result<Self, Refused> {
        let each = words / (cpus.len() as u64).max(1);
        let length = usize::try_from(each).map_err(|_| "too many words".to_owned())?;
        let parts: Vec<Result<Part, Refused>> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0_u64..)
                .zip(cpus)
                .map(|(number, cpu)| {
                    scope.spawn(move || {
                        pin(*cpu).map_err(|errno| {
                            format!(
                                "this process may not run on processor {cpu}: {}",
                                errno.desc()
                            )
                        })?;
                        part(number * each, length, pattern)
                    })
                })
                .collect();
            threads
                .into_iter()
                .map(|thread| {
                    thread
                        .join()
                        .unwrap_or_else(|_| Err("a thread died".to_owned()))
                })
                .collect()
        });
        let parts = parts
            .into_iter()
            .map(|part| part.map(Mutex::new))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            node,
            words: each * parts.len() as u64,
            parts,
        })
    }

    /// The parts, once no thread works on them.
    pub(super) fn parts(&mut self) -> impl Iterator<Item = &mut Part> {
        self.parts
            .iter_mut()
            .map(|part| part.get_mut().unwrap_or_else(PoisonError::into_inner))
    }
}

fn part(first: u64, length: usize, pattern: Pattern) -> Result<Part, Refused> {
    let refused = |_| "the system refused to allocate memory".to_owned();
    let mut part = Part {
        first,
        ..Part::default()
    };
    part.a.try_reserve_exact(length).map_err(refused)?;
    part.b.try_reserve_exact(length).map_err(refused)?;
    part.a
        .extend((first..).take(length).map(|index| pattern.word(index)));
    part.b.resize(length, 0);
    Ok(part)
}

/// Processors that work on a node's arrays.
#[derive(Debug)]
pub(super) struct Crew<'a> {
    pub(super) cpus: &'a [u32],
    pub(super) arrays: &'a Arrays,
}

/// What was timed for a crew.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Rate {
    /// The fastest pass, as STREAM reports it, in GB/s.
    pub(super) best: f64,
    /// Passes.
    pub(super) passes: u32,
}

/// Times passes of all crews at once, for `time`, three passes at least. Returns a rate a crew;
/// `heard` gets that of each pass of the first crew to be told.
pub(super) fn time(
    crews: &[Crew<'_>],
    motion: Motion,
    time: Duration,
    stopped: &(dyn Fn() -> bool + Sync),
    heard: &(dyn Fn(usize, f64) + Sync),
) -> Vec<Rate> {
    /// The first passes warm caches of pages and clocks up.
    const LEAST: u32 = 3;
    let began = Instant::now();
    std::thread::scope(|scope| {
        let teams: Vec<_> = crews
            .iter()
            .enumerate()
            .map(|(place, crew)| {
                scope.spawn(move || {
                    one_crew(
                        crew,
                        motion,
                        &|passes| stopped() || (passes >= LEAST && began.elapsed() >= time),
                        &|rate| heard(place, rate),
                    )
                })
            })
            .collect();
        teams
            .into_iter()
            .map(|team| team.join().unwrap_or_default())
            .collect()
    })
}

fn one_crew(
    crew: &Crew<'_>,
    motion: Motion,
    done: &(dyn Fn(u32) -> bool + Sync),
    heard: &(dyn Fn(f64) + Sync),
) -> Rate {
    let workers = crew.cpus.len().min(crew.arrays.parts.len());
    if workers == 0 {
        return Rate::default();
    }
    let barrier = Barrier::new(workers + 1);
    let over = AtomicBool::new(false);
    let clock = Instant::now();
    // Nanoseconds of the clock when each thread began its pass and when it was done.
    let spans: Vec<[AtomicU64; 2]> = (0..workers).map(|_| Default::default()).collect();
    std::thread::scope(|scope| {
        for (number, cpu) in crew.cpus.iter().take(workers).enumerate() {
            let (barrier, over, span) = (&barrier, &over, &spans[number]);
            let now = move || u64::try_from(clock.elapsed().as_nanos()).unwrap_or(u64::MAX);
            scope.spawn(move || {
                // Every processor was pinned to before; one that was taken away since then makes
                // the pass slow and its time true.
                let _ = pin(*cpu);
                let mut own: Vec<_> = crew
                    .arrays
                    .parts
                    .iter()
                    .skip(number)
                    .step_by(workers)
                    .map(|part| part.lock().unwrap_or_else(PoisonError::into_inner))
                    .collect();
                loop {
                    barrier.wait();
                    if over.load(Ordering::Relaxed) {
                        return;
                    }
                    span[0].store(now(), Ordering::Relaxed);
                    for part in &mut own {
                        pass(part, motion);
                    }
                    span[1].store(now(), Ordering::Relaxed);
                    barrier.wait();
                }
            });
        }
        let mut rate = Rate::default();
        loop {
            if done(rate.passes) {
                over.store(true, Ordering::Relaxed);
                barrier.wait();
                return rate;
            }
            barrier.wait();
            barrier.wait();
            let of = |which: usize| spans.iter().map(move |s| s[which].load(Ordering::Relaxed));
            let (first, last) = (of(0).min().unwrap_or(0), of(1).max().unwrap_or(0));
            let seconds = last.saturating_sub(first) as f64 / 1e9;
            rate.passes += 1;
            if seconds > 0.0 {
                let now = motion.bytes(crew.arrays.words) as f64 / seconds / 1e9;
                rate.best = rate.best.max(now);
                heard(now);
            }
        }
    })
}

#[inline(never)]
fn pass(part: &mut Part, motion: Motion) {
    match motion {
        Motion::Copy => streaming::copy(&part.a, &mut part.b),
        Motion::CopyThroughCaches => {
            part.b.copy_from_slice(std::hint::black_box(&part.a));
            std::hint::black_box(&part.b);
        }
        Motion::Read => {
            let sum = std::hint::black_box(&part.a)
                .iter()
                .fold(0_u64, |sum, word| sum ^ word);
            std::hint::black_box(sum);
        }
        Motion::Write => streaming::fill(std::hint::black_box(0x5555), &mut part.b),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cupel_hardware::processor::allowed;

    #[test]
    fn passes_are_counted_and_copy_what_is_there() {
        let cpus = allowed().expect("affinity");
        let pattern = Pattern::new(3);
        let mut arrays = Arrays::take(0, &cpus, 10_000, pattern).expect("memory");
        let crew = Crew {
            cpus: &cpus,
            arrays: &arrays,
        };
        let told = std::sync::atomic::AtomicU32::new(0);
        let rates = time(&[crew], Motion::Copy, Duration::ZERO, &|| false, &|_, _| {
            told.fetch_add(1, Ordering::Relaxed);
        });
        assert_eq!(rates.len(), 1);
        assert_eq!(rates[0].passes, 3);
        assert!(rates[0].best > 0.0);
        assert_eq!(told.into_inner(), 3);
        for part in arrays.parts() {
            assert!(!part.a.is_empty() && part.a == part.b);
            assert_eq!(part.a[1], pattern.word(part.first + 1));
        }
    }

    #[test]
    fn fewer_processors_than_parts_do_all_parts() {
        let cpus = allowed().expect("affinity");
        let twice: Vec<_> = cpus.iter().chain(&cpus).copied().collect();
        let mut arrays = Arrays::take(0, &twice, 8000, Pattern::new(3)).expect("memory");
        let crew = Crew {
            cpus: &cpus[..1],
            arrays: &arrays,
        };
        time(&[crew], Motion::Copy, Duration::ZERO, &|| false, &|_, _| {});
        assert!(arrays.parts().all(|part| part.a == part.b));
    }

    #[test]
    fn a_processor_that_may_not_be_used_is_refused() {
        let error = Arrays::take(0, &[1020], 100, Pattern::new(1)).expect_err("no such processor");
        assert!(error.contains("1020"), "{error}");
    }
}
