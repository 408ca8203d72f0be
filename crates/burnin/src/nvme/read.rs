//! The stage that reads a drive: single requests for latency, many for bandwidth, then the drive's
//! own test.
//!
//! # Invariants
//! - It writes nothing, whatever is on the drive.
//! - A request that fails is an error of the drive with its byte, and the scan goes on.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use cupel_hardware::drive::{Aligned, Drive, UNIT};
use cupel_hardware::{Root, nvme};
use cupel_model::snapshot::NvmeController;
use cupel_model::units::Bytes;
use rand::RngExt;

use super::histogram::Histogram;
use super::plan::{DriveUnderTest, REQUEST, Scan};
use super::self_test::{self, Ended};
use crate::counters::drive_changes;
use crate::floors::Floors;
use crate::plan::{Plan, PlanKind, percent};
use crate::resource::{Claim, Resource};
use crate::result::{Coverage, FailureClass, Measured, Proof, StageResult};
use crate::stage::{Stage, StageSpec, Watch};
use crate::stage_kind::{StageKind, StageName};

/// Requests in flight of the scan: what an NVMe drive needs for its full bandwidth.
const READERS: usize = 16;
/// Errors that are kept with their place.
const KEPT: usize = 16;
/// What it may take beyond its time: the requests in flight of a slow drive.
const SLACK: Duration = Duration::from_secs(60);

/// Reads a drive.
#[derive(Debug)]
pub(crate) struct ReadStage {
    pub(crate) plan: Plan,
    pub(crate) drive: DriveUnderTest,
    pub(crate) root: Root,
    pub(crate) floors: Arc<Floors>,
    pub(crate) required: bool,
}

impl Stage for ReadStage {
    fn spec(&self) -> StageSpec {
        let time = self.plan.budget(StageKind::Nvme);
        if let Some(why) = &self.drive.unsupported {
            return StageSpec {
                name: self.name(),
                what: format!("cannot be tested: {why}"),
                claims: Vec::new(),
                expected: Duration::ZERO,
                at_most: SLACK,
                required: self.required,
            };
        }
        let mut claims = vec![Claim::alone(self.resource())];
        if let Some(node) = self.drive.numa_node {
            claims.push(Claim::shared(Resource::Memory { node }));
        }
        StageSpec {
            name: self.name(),
            what: format!(
                "reads of {}{}",
                self.drive.model.as_deref().unwrap_or("a drive"),
                self.drive
                    .serial
                    .as_ref()
                    .map(|serial| format!(", serial {serial}"))
                    .unwrap_or_default()
            ),
            claims,
            expected: time,
            at_most: time + SLACK,
            required: self.required,
        }
    }

    fn run(self: Box<Self>, watch: &Watch) -> StageResult {
        if let Some(why) = &self.drive.unsupported {
            return StageResult::unsupported(self.name(), why.clone());
        }
        let mut result = StageResult {
            proof: Proof::none(),
            ..StageResult::new(self.name())
        };
        let drives = self
            .drive
            .paths
            .iter()
            .map(Drive::open)
            .collect::<Result<Vec<_>, _>>();
        let drives = match drives {
            Ok(drives) if !drives.is_empty() => drives,
            Ok(_) => return StageResult::skipped(self.name(), "it has no namespace"),
            Err(error) => return StageResult::incomplete(self.name(), error.to_string()),
        };
        let before = self.state();
        let budget = self.plan.budget(StageKind::Nvme);
        let began = Instant::now();
        let own_test = self.time_for_own_test(budget);
        let end = began + (budget - own_test);
        let share = (end - began) / 10;
        self.latency(&drives[0], began + share, watch, &mut result);
        self.scan(&drives, end, watch, &mut result);
        if watch.stopped().is_none() {
            let left = budget.saturating_sub(began.elapsed());
            match self_test::run(&self.root, &self.drive.controller, left, watch) {
                Ended::Passed(which) => result.notes.push(format!("{which} self-test passed")),
                Ended::None(why) => result.notes.push(why),
                Ended::Incomplete(why) => result.reasons.push(why),
                Ended::Failed(why) => {
                    result.class = result.class.max(Some(FailureClass::ErrorsCounted));
                    result.reasons.push(why);
                }
            }
        } else {
            result
                .reasons
                .push("it was stopped before its time".to_owned());
        }
        if let (Some(before), Some(after)) = (before, self.state()) {
            result.counters = drive_changes(&before, &after);
        }
        if drives.iter().any(|drive| !drive.is_direct()) {
            result
                .notes
                .push("it was read through the page cache".to_owned());
        }
        result.judged()
    }
}

impl ReadStage {
    fn name(&self) -> StageName {
        StageName::on(StageKind::Nvme, self.drive.controller.clone())
    }

    fn resource(&self) -> Resource {
        Resource::Drive {
            name: self.drive.controller.clone(),
        }
    }

    /// SMART and the rest, of a drive that is one.
    fn state(&self) -> Option<NvmeController> {
        self.root
            .is_live()
            .then(|| nvme::one(&self.root, &self.drive.controller))
    }

    /// Time that is kept for the drive's own test: none in a quick plan, half in long ones.
    fn time_for_own_test(&self, budget: Duration) -> Duration {
        match self.plan.kind {
            PlanKind::Quick => Duration::ZERO,
            PlanKind::Standard | PlanKind::Extended | PlanKind::Soak
                if budget >= 2 * self_test::SHORT =>
            {
                budget / 2
            }
            PlanKind::Standard | PlanKind::Extended | PlanKind::Soak => Duration::ZERO,
        }
    }

    fn held(&self, name: &str, value: f64, unit: &str) -> Measured {
        let measured = Measured::uncalibrated(name, value, unit);
        let measured = match &self.drive.model {
            Some(model) if unit == "GB/s" => measured.among(model.clone()),
            Some(_) | None => measured,
        };
        self.floors.hold(StageKind::Nvme, measured)
    }

    /// One request of 4 KiB at a time, anywhere.
    fn latency(&self, drive: &Drive, until: Instant, watch: &Watch, result: &mut StageResult) {
        watch.advance(percent(0.0, 1.0), "random reads of 4 KiB, one at a time");
        let units = drive.bytes() / UNIT as u64;
        let mut times = Histogram::default();
        let mut buffer = Aligned::new(1);
        let mut rng = rand::rng();
        while units > 0 && watch.stopped().is_none() && Instant::now() < until {
            let offset = rng.random_range(0..units) * UNIT as u64;
            let began = Instant::now();
            match drive.read(&mut buffer, offset) {
                Ok(()) => times.add(began.elapsed()),
                Err(error) => failed(result, offset, &error.to_string()),
            }
        }
        if times.total() > 0 {
            for (name, value) in [
                ("random read, median", times.share(0.5)),
                ("random read, 99 %", times.share(0.99)),
                ("random read, 99.9 %", times.share(0.999)),
                ("random read, longest", times.longest()),
            ] {
                result.measured.push(self.held(name, value, "µs"));
            }
        }
    }

    fn scans(&self, drives: &[Drive]) -> Vec<Scan> {
        // A quick look at a gigabyte, a standard one at sixteen; longer plans read all there is.
        let most = match self.plan.kind {
            PlanKind::Quick => Some(1_u64 << 30),
            PlanKind::Standard => Some(16 << 30),
            PlanKind::Extended | PlanKind::Soak => None,
        };
        drives
            .iter()
            .map(|drive| match most {
                Some(most) => Scan::sample(drive.bytes(), most / drives.len() as u64),
                None => Scan::whole(drive.bytes()),
            })
            .collect()
    }

    fn scan(&self, drives: &[Drive], end: Instant, watch: &Watch, result: &mut StageResult) {
        let scans = self.scans(drives);
        let shared = Shared {
            drives,
            scans: &scans,
            next: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            stop: AtomicBool::new(false),
            times: Mutex::default(),
            errors: Mutex::default(),
            end,
        };
        let asked: u64 = scans.iter().map(Scan::covers).sum();
        let began = Instant::now();
        let mut last = (began, 0);
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..READERS)
                .map(|_| scope.spawn(|| shared.read()))
                .collect();
            while threads.iter().any(|thread| !thread.is_finished()) {
                if watch.stopped().is_some() {
                    shared.stop.store(true, Ordering::Relaxed);
                }
                let bytes = shared.bytes.load(Ordering::Relaxed);
                watch.advance(
                    percent(bytes.min(asked) as f64, asked as f64),
                    format!("scan, {} of {}", Bytes(bytes).human(), Bytes(asked).human()),
                );
                let elapsed = last.0.elapsed();
                if elapsed >= Duration::from_secs(1) {
                    let rate = (bytes - last.1) as f64 / elapsed.as_secs_f64() / 1e9;
                    watch.sample("bandwidth", Some(self.resource()), rate, "GB/s");
                    last = (Instant::now(), bytes);
                }
                std::thread::sleep(Duration::from_millis(50));
            }
        });
        let took = began.elapsed().as_secs_f64();
        let covered = shared.bytes.load(Ordering::Relaxed);
        let times = shared
            .times
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        let errors = shared
            .errors
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        for (offset, error) in errors {
            failed(result, offset, &error);
        }
        result.coverage = Coverage {
            unit: "bytes".to_owned(),
            asked,
            covered,
            percent: percent(covered as f64, asked as f64),
        };
        if times.total() > 0 && took > 0.0 {
            let rate = covered as f64 / took / 1e9;
            result
                .measured
                .push(self.held("sequential read", rate, "GB/s"));
            let slow = times.share(0.99);
            result
                .measured
                .push(self.held("request of 1 MiB, 99 %", slow, "µs"));
        }
    }
}

fn failed(result: &mut StageResult, offset: u64, error: &str) {
    result.class = result.class.max(Some(FailureClass::ErrorsCounted));
    if result.reasons.len() < KEPT {
        result
            .reasons
            .push(format!("reading at byte {offset} failed: {error}"));
    }
}

/// What the readers of a scan share.
struct Shared<'a> {
    drives: &'a [Drive],
    scans: &'a [Scan],
    /// Number of the next request over all namespaces.
    next: AtomicU64,
    bytes: AtomicU64,
    stop: AtomicBool,
    times: Mutex<Histogram>,
    errors: Mutex<Vec<(u64, String)>>,
    end: Instant,
}

impl Shared<'_> {
    /// Takes requests until there are none left.
    fn read(&self) {
        let mut buffer = Aligned::new(usize::try_from(REQUEST).unwrap_or(UNIT) / UNIT);
        let mut times = Histogram::default();
        while !self.stop.load(Ordering::Relaxed) && Instant::now() < self.end {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let Some((drive, request)) = self.request(number) else {
                break;
            };
            let Some((offset, length)) = request else {
                continue;
            };
            let wanted = usize::try_from(length).unwrap_or(UNIT);
            if wanted != buffer.len() {
                buffer = Aligned::new(wanted / UNIT);
            }
            let began = Instant::now();
            match drive.read(&mut buffer, offset) {
                Ok(()) => {
                    times.add(began.elapsed());
                    self.bytes.fetch_add(length, Ordering::Relaxed);
                }
                Err(error) => {
                    let mut errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
                    if errors.len() < KEPT {
                        errors.push((offset, error.to_string()));
                    }
                }
            }
        }
        self.times
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .merge(&times);
    }

    fn request(&self, mut number: u64) -> Option<(&Drive, Option<(u64, u64)>)> {
        for (drive, scan) in self.drives.iter().zip(self.scans) {
            if number < scan.requests() {
                return Some((drive, scan.request(number)));
            }
            number -= scan.requests();
        }
        None
    }
}
