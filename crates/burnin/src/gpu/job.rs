//! A stage's jobs: run in a worker, watched, and put into the stage's result.

use std::time::Duration;

use cupel_hardware::gpu::{BurnLost, BurnTask, burn};
use cupel_model::worker_burnin::{
    BurnEnd, BurnErrorKind, BurnOutcome, BurnProgress, BurnSample, BurnWork,
};

use super::mismatch::GpuMismatch;
use super::set::{Context, GpuUnderTest};
use crate::plan::percent;
use crate::resource::{Claim, Resource};
use crate::result::{FailureClass, Measured, Mismatch, Proof, StageResult};
use crate::stage::{StageSpec, Watch};
use crate::stage_kind::StageName;

/// What a stage may take beyond its time: opening GPUs, operands, the host's sums, planted faults.
const SLACK: Duration = Duration::from_secs(150);
/// Most differences that are kept in full.
const KEPT: usize = 64;

/// The resource that a GPU is.
pub(super) fn gpu_resource(gpu: &GpuUnderTest) -> Resource {
    Resource::Gpu { index: gpu.index }
}

/// The name of a stage of one GPU.
pub(super) fn name_of(context: &Context, gpu: &GpuUnderTest) -> StageName {
    StageName::on(context.kind, format!("gpu{}", gpu.index))
}

/// The description of a stage of one GPU.
pub(super) fn spec_of(context: &Context, gpu: &GpuUnderTest, what: String) -> StageSpec {
    let budget = context.plan.budget(context.kind);
    StageSpec {
        name: name_of(context, gpu),
        what,
        claims: vec![Claim::alone(gpu_resource(gpu))],
        expected: budget,
        at_most: budget * 2 + SLACK,
        required: true,
    }
}

/// The description of a stage over several GPUs.
pub(super) fn spec_over(
    context: &Context,
    gpus: &[GpuUnderTest],
    more: Vec<Claim>,
    what: String,
) -> StageSpec {
    let budget = context.plan.budget(context.kind);
    let of_gpus = gpus
        .iter()
        .map(|gpu| Claim::alone(gpu_resource(gpu)).dispensable());
    StageSpec {
        name: StageName::only(context.kind),
        what,
        claims: of_gpus.chain(more).collect(),
        expected: budget,
        at_most: budget * 2 + SLACK,
        required: true,
    }
}

/// Planted faults of all jobs of a stage.
#[derive(Default)]
struct Planted {
    planted: u64,
    found: u64,
    cut_short: bool,
    /// Jobs that plant and have been run.
    jobs: u32,
}

/// A stage's result in the making.
pub(super) struct Jobs<'w> {
    context: &'w Context,
    watch: &'w Watch,
    planted: Planted,
    /// What came of the stage so far.
    pub(super) result: StageResult,
    /// Whether the stage must not go on: a GPU hung or was lost, or it was told to stop.
    pub(super) over: bool,
    asked: u64,
    covered: u64,
}

impl<'w> Jobs<'w> {
    pub(super) fn new(context: &'w Context, watch: &'w Watch, name: StageName) -> Self {
        Self {
            context,
            watch,
            planted: Planted::default(),
            result: StageResult::new(name),
            over: false,
            asked: 0,
            covered: 0,
        }
    }

    /// Runs a job on GPUs; its outcome where there is one. `share` is the part of the stage that is
    /// done before and after it.
    pub(super) fn run(
        &mut self,
        gpus: &[GpuUnderTest],
        cpus: &[u32],
        work: BurnWork,
        doing: &str,
        seconds: f64,
    ) -> Option<BurnOutcome> {
        if self.over {
            return None;
        }
        let task = BurnTask {
            gpus: gpus.iter().map(|gpu| gpu.pci).collect(),
            seed: self.context.plan.seed.0,
            cpus: cpus.to_vec(),
            work,
        };
        let began = std::time::Instant::now();
        let watch = self.watch;
        let came = burn(&self.context.options, &task, &mut |progress| {
            let part = began.elapsed().as_secs_f64().min(seconds);
            watch.advance(
                percent(part, seconds.max(0.1)),
                format!("{doing}: {}", progress.phase),
            );
            show(watch, gpus, progress);
            watch.stopped().is_none()
        });
        match came {
            Ok(outcome) => {
                self.take(gpus, &outcome, doing);
                Some(outcome)
            }
            Err(lost) => {
                self.lose(gpus, &lost);
                None
            }
        }
    }

    fn lose(&mut self, gpus: &[GpuUnderTest], lost: &BurnLost) {
        self.over = true;
        self.result.reasons.push(lost.to_string());
        match lost {
            BurnLost::NotStarted(_) => {}
            BurnLost::Hung { .. } | BurnLost::Died { .. } => {
                self.result.class = Some(FailureClass::Lost);
                self.result.lost.extend(gpus.iter().map(gpu_resource));
            }
        }
    }

    fn take(&mut self, gpus: &[GpuUnderTest], outcome: &BurnOutcome, doing: &str) {
        let result = &mut self.result;
        self.planted.planted += outcome.planted;
        self.planted.found += outcome.found;
        self.planted.cut_short |= !outcome.proof_complete;
        self.planted.jobs += 1;
        self.asked += outcome.asked;
        self.covered += outcome.covered;
        result.mismatch_count += outcome.mismatch_count;
        for told in &outcome.mismatches {
            let at = usize::try_from(told.gpu).unwrap_or(usize::MAX);
            let index = gpus.get(at).map_or(told.gpu, |gpu| gpu.index);
            let mismatch = Mismatch::Gpu(GpuMismatch::of(told, index, doing));
            self.watch.mismatch(mismatch.clone());
            if result.mismatches.len() < KEPT {
                result.mismatches.push(mismatch);
            }
        }
        for note in &outcome.notes {
            if !result.notes.contains(note) {
                result.notes.push(note.clone());
            }
        }
        match &outcome.end {
            BurnEnd::Done => {}
            BurnEnd::Stopped => {
                self.over = true;
                result
                    .reasons
                    .push(format!("{doing}: it was stopped before its time"));
            }
            BurnEnd::Unsupported(why) => result.notes.push(format!("{doing}: {why}")),
            BurnEnd::Unsafe(why) => {
                self.over = true;
                result.class = Some(FailureClass::Lost);
                result
                    .reasons
                    .push(format!("stopped for the sake of the GPU: {why}"));
                result.lost.extend(gpus.iter().map(gpu_resource));
            }
            BurnEnd::Failed(error) => {
                self.over = true;
                result.reasons.push(format!("{doing}: {error}"));
                let class = class_of(error.kind);
                if let Some(class) = class {
                    result.class = Some(class);
                    let concerned = gpus.iter().zip(0_u32..);
                    let lost = concerned
                        .filter(|(_, number)| error.gpu.is_none_or(|gpu| gpu == *number))
                        .map(|(gpu, _)| gpu_resource(gpu));
                    result.lost.extend(lost);
                }
            }
        }
    }

    /// A value with its floor, compared with that of the same product's other GPUs.
    pub(super) fn measure(&mut self, gpu: &GpuUnderTest, name: &str, value: f64, unit: &str) {
        let measured = Measured::uncalibrated(name, value, unit)
            .on(gpu_resource(gpu))
            .among(&gpu.name);
        let measured = self.context.floors.hold(self.context.kind, measured);
        self.result.measured.push(measured);
    }

    /// A value that is compared with nothing.
    pub(super) fn tell(&mut self, gpu: &GpuUnderTest, name: &str, value: f64, unit: &str) {
        let measured = Measured::uncalibrated(name, value, unit).on(gpu_resource(gpu));
        self.result.measured.push(measured);
    }

    /// The end: planted faults and coverage in the result, and the verdict.
    pub(super) fn judged(mut self, unit: &str) -> StageResult {
        let planted = &self.planted;
        self.result.proof = Proof::of(planted.planted, planted.found, !planted.cut_short);
        self.result.coverage = crate::result::Coverage {
            unit: unit.to_owned(),
            asked: self.asked,
            covered: self.covered,
            percent: share(self.covered, self.asked),
        };
        if self.watch.stopped().is_some() && self.result.reasons.is_empty() {
            self.result
                .reasons
                .push("it was stopped before its time".to_owned());
        }
        self.result.judged()
    }

    /// Coverage as a share that is enough: what is missing of it is no shortfall.
    pub(super) fn enough(&mut self, least: f64) {
        let share = share(self.covered, self.asked).get();
        if share >= least {
            self.result.notes.push(format!(
                "{share:.2} % of the free memory was tested; the driver keeps the rest for itself"
            ));
            self.asked = self.covered;
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn share(part: u64, whole: u64) -> cupel_model::units::Percent {
    percent(part as f64, whole as f64)
}

/// What a failure of the driver says of the GPU; none where it says nothing.
fn class_of(kind: BurnErrorKind) -> Option<FailureClass> {
    match kind {
        BurnErrorKind::Lost | BurnErrorKind::Hung => Some(FailureClass::Lost),
        BurnErrorKind::UncorrectableEcc | BurnErrorKind::NvlinkError => {
            Some(FailureClass::ErrorsCounted)
        }
        BurnErrorKind::NoDriver
        | BurnErrorKind::NoGpu
        | BurnErrorKind::FabricNotReady
        | BurnErrorKind::OutOfMemory
        | BurnErrorKind::Image
        | BurnErrorKind::Other => None,
    }
}

/// The names that the live view and the plots know.
fn shown(sample: &BurnSample) -> Option<&'static str> {
    match (sample.name.as_str(), sample.unit.as_str()) {
        ("power", _) => Some("power"),
        ("temperature", _) => Some("temperature"),
        (_, "TFLOP/s") => Some("compute"),
        (_, "GB/s") => Some("bandwidth"),
        _ => None,
    }
}

fn show(watch: &Watch, gpus: &[GpuUnderTest], progress: &BurnProgress) {
    for sample in &progress.samples {
        let at = usize::try_from(sample.gpu).unwrap_or(usize::MAX);
        if let (Some(gpu), Some(name)) = (gpus.get(at), shown(sample)) {
            watch.sample(name, Some(gpu_resource(gpu)), sample.value, &sample.unit);
        }
    }
    if let [gpu] = gpus {
        let errors = u32::try_from(progress.mismatch_count).unwrap_or(u32::MAX);
        watch.sample("errors", Some(gpu_resource(gpu)), f64::from(errors), "");
    }
}

/// A value of an outcome.
pub(super) fn value(outcome: &BurnOutcome, name: &str) -> Option<f64> {
    outcome
        .measured
        .iter()
        .find(|sample| sample.name == name)
        .map(|sample| sample.value)
}
