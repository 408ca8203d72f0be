//! What the thread of a shard does: write, verify, look again, invert, verify.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use cupel_hardware::host_memory::MemorySource;
use cupel_hardware::processor::pin;
use cupel_model::Reading;
use cupel_model::units::Bytes;

use super::detector::{Difference, Found, verify, write};
use super::pattern::{Pattern, Phase};
use super::planting::{Planter, compare};
use super::shard::Shard;
use crate::fault::FaultPlan;
use crate::result::{MemoryMismatch, Persistence, Word};

/// What all threads share.
pub(super) struct Shared<'a> {
    pub(super) pattern: Pattern,
    pub(super) source: &'a MemorySource,
    pub(super) faults: &'a FaultPlan,
    /// Bytes that stay free.
    pub(super) reserve: u64,
    /// Words of all shards.
    pub(super) words: u64,
    /// Of one last-level cache.
    pub(super) cache_bytes: Option<u64>,
    pub(super) repeats: bool,
    pub(super) end: Instant,
    pub(super) stop: AtomicBool,
    /// Bytes written and read.
    pub(super) moved: AtomicU64,
    /// Bytes taken.
    pub(super) taken: AtomicU64,
    /// Most bytes seen in swap.
    pub(super) swapped: AtomicU64,
}

/// What a thread brings home.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// Why less was tested than was asked.
    pub(super) short: Option<String>,
    /// Words that were verified with pattern and inverse.
    pub(super) covered: u64,
    pub(super) passes: u64,
    pub(super) planted: u64,
    pub(super) hits: u64,
    /// Whether every planted fault had its chance to be found.
    pub(super) whole: bool,
    /// Words that were wrong and that nobody planted.
    pub(super) wrong: u64,
    pub(super) mismatches: Vec<MemoryMismatch>,
    pub(super) first_write: (u64, Duration),
    pub(super) write: (u64, Duration),
    pub(super) verify: (u64, Duration),
}

/// Most differences that a thread keeps in full.
const KEPT: usize = 64;

/// A pass was cut short.
struct Cut;

impl Shared<'_> {
    pub(super) fn work(&self, place: usize, mut shard: Shard) -> Report {
        let mut report = Report::default();
        if let Err(errno) = pin(shard.cpu) {
            report.short = Some(format!(
                "this process may not run on processor {}: {}",
                shard.cpu,
                errno.desc()
            ));
            return report;
        }
        let mut planter = Planter::new(self.pattern, self.faults, &shard);
        report.whole = true;
        for pass in 1.. {
            if self
                .pass(place, pass, &mut shard, &mut planter, &mut report)
                .is_err()
            {
                if pass == 1 {
                    report.whole = false;
                    if !self.stop.load(Ordering::Relaxed) {
                        report.short = Some(
                            "its time was up before one pass was done: give it more time or a \
                             smaller share"
                                .to_owned(),
                        );
                    }
                }
                break;
            }
            report.passes = pass;
            if let Some(swapped) = self.source.swapped().get() {
                self.swapped.fetch_max(swapped.get(), Ordering::Relaxed);
            }
            if !self.repeats {
                break;
            }
        }
        report
    }

    fn cut(&self) -> Result<(), Cut> {
        if self.stop.load(Ordering::Relaxed) || Instant::now() >= self.end {
            Err(Cut)
        } else {
            Ok(())
        }
    }

    fn pass(
        &self,
        place: usize,
        pass: u64,
        shard: &mut Shard,
        planter: &mut Planter,
        report: &mut Report,
    ) -> Result<(), Cut> {
        let mut verified = 0;
        for phase in Phase::ALL {
            if pass == 1 && phase == Phase::Pattern {
                self.fill(shard, report)?;
                planter.choose(shard);
            } else {
                self.write(shard, phase, report)?;
            }
            let planted = planter.after_write(shard, pass, phase);
            if self.faults.dies == Some(place) {
                std::panic::resume_unwind(Box::new("killed by the test's fault plan"));
            }
            let found = self.verify(shard, phase, report)?;
            verified = shard.len();
            let overflow = found.count - found.kept.len() as u64;
            let seen = self.look_again(shard, phase, planter, found.kept);
            let (hits, real) = compare(&planted, seen);
            report.planted += planted.len() as u64;
            report.hits += hits;
            report.whole &= overflow == 0;
            report.wrong += overflow + real.len() as u64;
            self.keep(shard, pass, phase, real, report);
        }
        if pass == 1 {
            self.clear(shard, planter, report);
            report.covered = verified;
        }
        Ok(())
    }

    /// Takes memory, chunk by chunk, as long as enough stays free.
    fn fill(&self, shard: &mut Shard, report: &mut Report) -> Result<(), Cut> {
        let began = Instant::now();
        while shard.len() < shard.target {
            self.cut()?;
            let taken = self.taken.load(Ordering::Relaxed);
            let scarce = self
                .faults
                .scarce_after_bytes
                .is_some_and(|most| taken >= most)
                || match self.source.available() {
                    Ok(available) => available.bytes.get() < self.reserve / 2,
                    Err(_) => true,
                };
            if scarce {
                report.short = Some(
                    "memory became scarce: no more was taken, so that nothing is killed".to_owned(),
                );
                break;
            }
            match shard.grow(self.pattern, Phase::Pattern) {
                Ok(0) => break,
                Ok(words) => {
                    self.taken.fetch_add(words * 8, Ordering::Relaxed);
                    self.moved.fetch_add(words * 8, Ordering::Relaxed);
                }
                Err(refused) => {
                    report.short = Some(refused.to_string());
                    break;
                }
            }
        }
        report.first_write = (shard.len() * 8, began.elapsed());
        Ok(())
    }

    fn write(&self, shard: &mut Shard, phase: Phase, report: &mut Report) -> Result<(), Cut> {
        let began = Instant::now();
        for (first, words) in shard.chunks_mut() {
            self.cut()?;
            write(words, first, self.pattern, phase);
            self.moved
                .fetch_add(words.len() as u64 * 8, Ordering::Relaxed);
        }
        report.write.0 += shard.len() * 8;
        report.write.1 += began.elapsed();
        Ok(())
    }

    fn verify(&self, shard: &Shard, phase: Phase, report: &mut Report) -> Result<Found, Cut> {
        let began = Instant::now();
        let mut found = Found::default();
        for (first, words) in shard.chunks() {
            self.cut()?;
            verify(words, first, self.pattern, phase, &mut found);
            self.moved
                .fetch_add(words.len() as u64 * 8, Ordering::Relaxed);
        }
        report.verify.0 += shard.len() * 8;
        report.verify.1 += began.elapsed();
        Ok(found)
    }

    /// Bytes to stream so that nothing looked at before is in a cache; `None` when the shard is
    /// too small for that or the cache is not known.
    fn flush(&self, shard: &Shard) -> Option<u64> {
        let bytes = self.cache_bytes?.checked_mul(2)?;
        (shard.len() * 8 >= bytes).then_some(bytes)
    }

    /// Reads wrong words a second time, writes them again, reads them a third time.
    fn look_again(
        &self,
        shard: &mut Shard,
        phase: Phase,
        planter: &Planter,
        found: Vec<Difference>,
    ) -> Vec<(Difference, Persistence)> {
        if found.is_empty() {
            return Vec::new();
        }
        let flush = self.flush(shard);
        let stream = |shard: &Shard| {
            if let Some(bytes) = flush {
                shard.stream(bytes);
            }
        };
        planter.before_second_look(shard, phase);
        stream(shard);
        let right = |shard: &Shard| -> Vec<bool> {
            found
                .iter()
                .map(|seen| std::hint::black_box(shard.get(seen.word)) == Some(&seen.expected))
                .collect()
        };
        let second = right(shard);
        for seen in &found {
            if let Some(slot) = shard.get_mut(seen.word) {
                *slot = seen.expected;
            }
        }
        planter.after_rewrite(shard);
        stream(shard);
        let third = right(shard);
        found
            .into_iter()
            .zip(second.into_iter().zip(third))
            .map(|(seen, (second, third))| {
                let persistence = match (flush, second, third) {
                    (None, _, _) => Persistence::NotTold,
                    (Some(_), true, _) => Persistence::Transient,
                    (Some(_), false, true) => Persistence::Stored,
                    (Some(_), false, false) => Persistence::Stuck,
                };
                (seen, persistence)
            })
            .collect()
    }

    /// Takes the run's own faults away and verifies their words once more without them.
    fn clear(&self, shard: &mut Shard, planter: &mut Planter, report: &mut Report) {
        let phase = Phase::Inverse;
        let words = planter.retire();
        let belongs = |word: u64| self.pattern.word(word) ^ phase.mask();
        for word in &words {
            if let Some(slot) = shard.get_mut(*word) {
                *slot = belongs(*word);
            }
        }
        planter.after_rewrite(shard);
        if let Some(bytes) = self.flush(shard) {
            shard.stream(bytes);
        }
        let wrong: Vec<_> = words
            .iter()
            .filter_map(|word| {
                let got = *std::hint::black_box(shard.get(*word))?;
                let expected = belongs(*word);
                (got != expected).then_some((
                    Difference {
                        word: *word,
                        expected,
                        got,
                    },
                    Persistence::NotTold,
                ))
            })
            .collect();
        report.wrong += wrong.len() as u64;
        self.keep(shard, 1, phase, wrong, report);
    }

    /// Keeps the first differences in full.
    fn keep(
        &self,
        shard: &Shard,
        pass: u64,
        phase: Phase,
        real: Vec<(Difference, Persistence)>,
        report: &mut Report,
    ) {
        let room = KEPT.saturating_sub(report.mismatches.len());
        for (seen, persistence) in real.into_iter().take(room) {
            let address = match shard.get(seen.word) {
                Some(slot) => self
                    .source
                    .physical_address(std::ptr::from_ref(slot).addr())
                    .map(Word),
                None => Reading::failed("no such word"),
            };
            report.mismatches.push(MemoryMismatch {
                numa_node: shard.node,
                word: seen.word,
                offset_bytes: Bytes(seen.word * 8).get(),
                pass,
                phase,
                expected: Word(seen.expected),
                got: Word(seen.got),
                xor: Word(seen.mask()),
                bits: Word(seen.mask()).bits(),
                persistence,
                holds_word: self.content_of(seen.got),
                physical_address: address,
            });
        }
    }

    /// The word of the tested memory to which this content belongs, in either phase.
    fn content_of(&self, got: u64) -> Option<u64> {
        Phase::ALL
            .into_iter()
            .map(|phase| self.pattern.index_of(got ^ phase.mask()))
            .find(|word| *word < self.words)
    }
}
