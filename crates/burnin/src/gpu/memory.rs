//! A GPU's free memory: written and verified in marches and at random.

use cupel_model::worker_burnin::BurnWork;

use super::job::{Jobs, name_of, spec_of, value};
use super::set::{Context, GpuUnderTest};
use crate::result::StageResult;
use crate::stage::{Stage, StageSpec, Watch};

/// Share of the free memory that is asked for.
const SHARE: f64 = 0.99;
/// Less than this per cent of the free memory is short coverage.
const LEAST_PERCENT: f64 = 97.0;

/// The stage of one GPU.
#[derive(Debug)]
pub(super) struct MemoryStage {
    pub(super) context: Context,
    pub(super) gpu: GpuUnderTest,
}

impl Stage for MemoryStage {
    fn spec(&self) -> StageSpec {
        let what = "patterns over all free memory, marching and in random order".to_owned();
        spec_of(&self.context, &self.gpu, what)
    }

    fn run(self: Box<Self>, watch: &Watch) -> StageResult {
        let name = name_of(&self.context, &self.gpu);
        if let Some(why) = &self.gpu.unfit {
            return StageResult::unsupported(name, why);
        }
        let mut jobs = Jobs::new(&self.context, watch, name);
        let seconds = self.context.plan.budget(self.context.kind).as_secs_f64();
        let work = BurnWork::Memory {
            share: SHARE,
            passes: u32::MAX,
            // No pass is begun that would not end in time; the first one is always made.
            seconds: seconds * 0.8,
        };
        let gpus = std::slice::from_ref(&self.gpu);
        if let Some(outcome) = jobs.run(gpus, &[], work, "memory", seconds) {
            for (told, name) in [
                ("write, upwards", "write rate"),
                ("verify, upwards", "verify rate"),
                ("verify and write, upwards", "copy rate"),
                ("verify and write, random order", "rate in random order"),
            ] {
                if let Some(rate) = value(&outcome, told) {
                    jobs.measure(&self.gpu, name, rate, "GB/s");
                }
            }
            if let Some(sweep) = value(&outcome, "write and verify sweep") {
                jobs.tell(&self.gpu, "write and verify sweep", sweep, "s");
            }
            let verified = u32::try_from(outcome.verified).unwrap_or(u32::MAX);
            jobs.tell(&self.gpu, "passes", f64::from(verified), "");
            jobs.enough(LEAST_PERCENT);
        }
        jobs.judged("bytes")
    }
}
