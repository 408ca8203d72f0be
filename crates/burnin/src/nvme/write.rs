//! The stage that writes a drive, verifies it, and leaves it blank.
//!
//! # Invariants
//! - Only a drive that was named by its serial, and only through
//!   [`Unused`](cupel_hardware::drive::Unused): whatever shows a sign of use is refused.
//! - What belongs at a place follows from seed and byte alone, so that a misplaced write names where
//!   it came from.
//! - Cut short, it leaves its mark, and the next run takes the drive again; else it is blank.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use cupel_hardware::drive::{Aligned, UNIT, Unused, with_serial};
use cupel_hardware::{ReadError, Root};
use cupel_model::units::Bytes;
use rand::RngExt;

use super::plan::{REQUEST, Scan};
use crate::fault::FaultPlan;
use crate::floors::Floors;
use crate::memory::{Found, Pattern, Phase, verify};
use crate::plan::{Plan, percent};
use crate::resource::{Claim, Resource};
use crate::result::{
    Coverage, DriveMismatch, FailureClass, Measured, Mismatch, Proof, StageResult, Word,
};
use crate::stage::{Stage, StageSpec, Watch};
use crate::stage_kind::{StageKind, StageName};

/// Requests in flight.
const WRITERS: usize = 8;
/// Units in which a bit is planted.
const PLANTED: usize = 16;
/// Most differences that are kept in full.
const KEPT: usize = 64;
/// What it may take beyond its time.
const SLACK: Duration = Duration::from_secs(120);

/// Where the drive to be written is.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    /// The drive with the stage's serial.
    Serial(Root),
    /// A file that stands for one.
    #[cfg(test)]
    File(std::path::PathBuf),
}

/// Writes a drive.
#[derive(Debug)]
pub(crate) struct WriteStage {
    pub(crate) plan: Plan,
    pub(crate) serial: String,
    pub(crate) target: Target,
    pub(crate) floors: Arc<Floors>,
    pub(crate) faults: Arc<FaultPlan>,
}

impl WriteStage {
    fn name(&self) -> StageName {
        StageName::on(StageKind::NvmeWrite, self.serial.clone())
    }

    /// The name of the controller, so that it is not read at the same time.
    fn controller(&self) -> String {
        match &self.target {
            Target::Serial(root) => with_serial(root, &self.serial)
                .map_or_else(|_| self.serial.clone(), |name| name.controller),
            #[cfg(test)]
            Target::File(_) => self.serial.clone(),
        }
    }

    fn take(&self) -> Result<(String, Unused), String> {
        match &self.target {
            Target::Serial(root) => {
                let name = with_serial(root, &self.serial).map_err(|sign| sign.to_string())?;
                let unused = Unused::take(root, &name.block).map_err(|error| error.to_string())?;
                Ok((name.block, unused))
            }
            #[cfg(test)]
            Target::File(path) => {
                let unused = Unused::take_file(path).map_err(|error| error.to_string())?;
                Ok((path.display().to_string(), unused))
            }
        }
    }
}

impl Stage for WriteStage {
    fn spec(&self) -> StageSpec {
        let time = self.plan.budget(StageKind::NvmeWrite);
        StageSpec {
            name: self.name(),
            what: format!(
                "the drive with serial {} is WRITTEN and blank afterwards, if nothing uses it",
                self.serial
            ),
            claims: vec![Claim::alone(Resource::Drive {
                name: self.controller(),
            })],
            expected: time,
            at_most: time + SLACK,
            required: true,
        }
    }

    fn run(self: Box<Self>, watch: &Watch) -> StageResult {
        let (drive, unused) = match self.take() {
            Ok(taken) => taken,
            Err(why) => return StageResult::incomplete(self.name(), why),
        };
        let mut result = StageResult::new(self.name());
        let test = Test {
            stage: &self,
            drive,
            unused: &unused,
            pattern: Pattern::new(self.plan.seed.0),
            watch,
        };
        if let Err(error) = test.run(&mut result) {
            result.class = Some(FailureClass::ErrorsCounted);
            result.reasons.push(error.to_string());
        }
        if watch.stopped().is_some() {
            result.reasons.push(
                "it was stopped before its time: the drive holds test data, marked as such"
                    .to_owned(),
            );
        }
        result.judged()
    }
}

struct Test<'a> {
    stage: &'a WriteStage,
    drive: String,
    unused: &'a Unused,
    pattern: Pattern,
    watch: &'a Watch,
}

/// How a pass over requests went.
#[derive(Debug, Default)]
struct Pass {
    requests: u64,
    bytes: u64,
    seconds: f64,
}

/// Words that were not what had been written, planted ones among them.
#[derive(Debug, Default)]
struct Seen {
    /// By word: what was written, and what was read.
    kept: Mutex<BTreeMap<u64, (u64, u64)>>,
    count: AtomicU64,
}

impl Pass {
    fn rate(&self) -> f64 {
        if self.seconds > 0.0 {
            self.bytes as f64 / self.seconds / 1e9
        } else {
            0.0
        }
    }
}

impl Test<'_> {
    fn run(&self, result: &mut StageResult) -> Result<(), ReadError> {
        let budget = self.stage.plan.budget(StageKind::NvmeWrite);
        let began = Instant::now();
        let scan = Scan::whole(self.unused.bytes());
        self.unused.mark()?;
        // Two fifths to write, two to verify, one to make it blank.
        let written = self.pass(
            &scan,
            scan.requests(),
            began + budget * 2 / 5,
            "write",
            &|buffer, offset| {
                self.fill(buffer, offset);
                self.unused.write(buffer, offset)
            },
        )?;
        self.unused.flush()?;
        let planted = self.plant(&scan, written.requests)?;
        let seen = Seen::default();
        let read = self.pass(
            &scan,
            written.requests,
            began + budget * 4 / 5,
            "verify",
            &|buffer, offset| {
                self.unused.read(buffer, offset)?;
                self.look(buffer, offset, &seen);
                Ok(())
            },
        )?;
        self.judge(result, (&written, &read), &planted, seen);
        if written.bytes < scan.covers() - Unused::first() {
            result.notes.push(format!(
                "{} of {} were written in the time that there is",
                Bytes(written.bytes).human(),
                Bytes(scan.covers()).human()
            ));
        }
        if self.watch.stopped().is_none() {
            let end = Instant::now() + budget.max(SLACK);
            self.pass(
                &scan,
                written.requests,
                end,
                "make blank",
                &|buffer, offset| {
                    buffer.fill(0);
                    self.unused.write(buffer, offset)
                },
            )?;
            if self.watch.stopped().is_none() {
                self.unused.unmark()?;
            }
        }
        Ok(())
    }

    /// Does `work` with the first `count` requests of the scan, several at a time, until `end`.
    fn pass(
        &self,
        scan: &Scan,
        count: u64,
        end: Instant,
        doing: &str,
        work: &(dyn Fn(&mut Aligned, u64) -> Result<(), ReadError> + Sync),
    ) -> Result<Pass, ReadError> {
        let next = AtomicU64::new(0);
        let bytes = AtomicU64::new(0);
        let stop = AtomicBool::new(false);
        let error: Mutex<Option<ReadError>> = Mutex::default();
        let began = Instant::now();
        let worker = || {
            let mut buffer = Aligned::new(1);
            while !stop.load(Ordering::Relaxed) && Instant::now() < end {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    next.fetch_sub(1, Ordering::Relaxed);
                    break;
                }
                let Some((offset, length)) = scan.request(number) else {
                    continue;
                };
                // The mark keeps its unit.
                let skip = if offset == 0 { Unused::first() } else { 0 };
                let length = length - skip;
                let wanted = usize::try_from(length).unwrap_or(UNIT);
                if wanted != buffer.len() {
                    buffer = Aligned::new(wanted / UNIT);
                }
                if buffer.is_empty() {
                    continue;
                }
                if let Err(failed) = work(&mut buffer, offset + skip) {
                    *error.lock().unwrap_or_else(PoisonError::into_inner) = Some(failed);
                    stop.store(true, Ordering::Relaxed);
                }
                bytes.fetch_add(length, Ordering::Relaxed);
            }
        };
        let mut last = (began, 0);
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..WRITERS).map(|_| scope.spawn(worker)).collect();
            while threads.iter().any(|thread| !thread.is_finished()) {
                if self.watch.stopped().is_some() {
                    stop.store(true, Ordering::Relaxed);
                }
                let done = bytes.load(Ordering::Relaxed);
                let whole = (count * REQUEST) as f64;
                self.watch.advance(
                    percent((done as f64).min(whole), whole),
                    format!("{doing}, {}", Bytes(done).human()),
                );
                let elapsed = last.0.elapsed();
                if elapsed >= Duration::from_secs(1) {
                    let rate = (done - last.1) as f64 / elapsed.as_secs_f64() / 1e9;
                    self.watch.sample("bandwidth", None, rate, "GB/s");
                    last = (Instant::now(), done);
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        let pass = Pass {
            requests: next.into_inner().min(count),
            bytes: bytes.into_inner(),
            seconds: began.elapsed().as_secs_f64(),
        };
        match error.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(error) => Err(error),
            None => Ok(pass),
        }
    }

    fn fill(&self, buffer: &mut Aligned, offset: u64) {
        for (word, bytes) in (offset / 8..).zip(buffer.chunks_exact_mut(8)) {
            bytes.copy_from_slice(&self.pattern.word(word).to_le_bytes());
        }
    }

    /// Writes some units once more with a bit inverted; returns word and mask of each.
    fn plant(&self, scan: &Scan, requests: u64) -> Result<BTreeMap<u64, u64>, ReadError> {
        let mut planted = BTreeMap::new();
        let mut rng = rand::rng();
        let mut buffer = Aligned::new(1);
        for _ in 0..PLANTED {
            if requests == 0 {
                break;
            }
            let Some((offset, length)) = scan.request(rng.random_range(0..requests)) else {
                continue;
            };
            let unit = offset + rng.random_range(0..length / UNIT as u64) * UNIT as u64;
            if unit < Unused::first() {
                continue;
            }
            let word = unit / 8 + rng.random_range(0..UNIT as u64 / 8);
            let mask = 1 << rng.random_range(0..64);
            let same = |other: &u64| other * 8 / UNIT as u64 == unit / UNIT as u64;
            if planted.keys().any(same) {
                continue;
            }
            self.fill(&mut buffer, unit);
            if !self.stage.faults.blind {
                let at = usize::try_from(word * 8 - unit).unwrap_or(0);
                let flipped = self.pattern.word(word) ^ mask;
                buffer[at..at + 8].copy_from_slice(&flipped.to_le_bytes());
            }
            self.unused.write(&buffer, unit)?;
            planted.insert(word, mask);
        }
        self.unused.flush()?;
        Ok(planted)
    }

    fn look(&self, buffer: &Aligned, offset: u64, seen: &Seen) {
        let mut words: Vec<u64> = buffer
            .chunks_exact(8)
            .map(|bytes| bytes.try_into().map_or(0, u64::from_le_bytes))
            .collect();
        self.stage.faults.misread(&mut words, offset / 8);
        let mut found = Found::default();
        verify(&words, offset / 8, self.pattern, Phase::Pattern, &mut found);
        seen.count.fetch_add(found.count, Ordering::Relaxed);
        if !found.kept.is_empty() {
            let mut kept = seen.kept.lock().unwrap_or_else(PoisonError::into_inner);
            for word in found.kept {
                kept.insert(word.word, (word.expected, word.got));
            }
        }
    }

    fn judge(
        &self,
        result: &mut StageResult,
        (written, read): (&Pass, &Pass),
        planted: &BTreeMap<u64, u64>,
        seen: Seen,
    ) {
        let mut found = seen
            .kept
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        let mut hits = 0;
        for (word, mask) in planted {
            if found
                .get(word)
                .is_some_and(|(want, got)| want ^ got == *mask)
            {
                found.remove(word);
                hits += 1;
            }
        }
        let whole = read.bytes >= written.bytes;
        result.proof = Proof::of(planted.len() as u64, hits, whole);
        result.mismatch_count = seen.count.into_inner().saturating_sub(hits);
        for (word, (expected, got)) in found.into_iter().take(KEPT) {
            let mismatch = Mismatch::Drive(DriveMismatch {
                drive: self.drive.clone(),
                serial: self.stage.serial.clone(),
                offset_bytes: word * 8,
                expected: Word(expected),
                got: Word(got),
                xor: Word(expected ^ got),
                bits: Word(expected ^ got).bits(),
            });
            self.watch.mismatch(mismatch.clone());
            result.mismatches.push(mismatch);
        }
        result.coverage = Coverage {
            unit: "bytes".to_owned(),
            asked: written.bytes,
            covered: read.bytes.min(written.bytes),
            percent: percent(read.bytes.min(written.bytes) as f64, written.bytes as f64),
        };
        for (name, pass) in [("sequential write", written), ("read back", read)] {
            let measured = Measured::uncalibrated(name, pass.rate(), "GB/s");
            let measured = self.stage.floors.hold(StageKind::NvmeWrite, measured);
            result.measured.push(measured);
        }
    }
}
