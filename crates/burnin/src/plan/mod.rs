//! What a burn-in is asked to do.
//!
//! # Invariants
//! - A plan that exists can be run: shares and times are in range, stages are named once.
//! - Everything that a run does follows from its plan and the machine; the seed is in it.

mod parse;

use std::time::Duration;

use cupel_model::units::{Percent, Seconds, Watts};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use parse::{PlanError, parse_duration, parse_gpus, parse_share, parse_stages};

use crate::result::Word;
use crate::stage_kind::StageKind;

/// How long a burn-in is meant to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PlanKind {
    /// At most two minutes: is anything plainly broken?
    Quick,
    /// At most a quarter of an hour: fit for work?
    Standard,
    /// At most two hours.
    Extended,
    /// Hours, as many as are asked for.
    Soak,
}

impl PlanKind {
    /// All, shortest first.
    pub const ALL: [Self; 4] = [Self::Quick, Self::Standard, Self::Extended, Self::Soak];

    /// Its name on the command line and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Quick => "quick",
            Self::Standard => "standard",
            Self::Extended => "extended",
            Self::Soak => "soak",
        }
    }

    /// Seconds that a stage of this kind may take. Chosen so that stages which disturb each other
    /// fit into the plan's time one after the other.
    fn seconds(self, stage: StageKind) -> u32 {
        let [quick, standard, extended] = match stage {
            StageKind::Cpu => [10, 180, 1500],
            StageKind::MemoryBandwidth => [4, 10, 30],
            StageKind::Memory => [90, 600, 5400],
            StageKind::Nvme => [15, 300, 3600],
            StageKind::NvmeWrite => [30, 300, 3600],
            StageKind::Rdma => [15, 120, 900],
            StageKind::GpuMemory => [20, 210, 1500],
            StageKind::GpuCompute => [20, 240, 2100],
            StageKind::GpuPower => [20, 120, 1200],
            StageKind::GpuPulse => [10, 60, 600],
            StageKind::GpuHostLinks => [12, 60, 450],
            StageKind::GpuLinks => [12, 90, 750],
            StageKind::GpuAllReduce => [6, 40, 300],
        };
        match self {
            Self::Quick => quick,
            Self::Standard => standard,
            Self::Extended => extended,
            Self::Soak => extended * SOAK_FACTOR,
        }
    }

    fn has(self, stage: StageKind) -> bool {
        match stage {
            // Only when a drive is named.
            StageKind::NvmeWrite => false,
            StageKind::GpuPulse => self != Self::Quick,
            StageKind::Cpu
            | StageKind::MemoryBandwidth
            | StageKind::Memory
            | StageKind::Nvme
            | StageKind::Rdma
            | StageKind::GpuMemory
            | StageKind::GpuCompute
            | StageKind::GpuPower
            | StageKind::GpuHostLinks
            | StageKind::GpuLinks
            | StageKind::GpuAllReduce => true,
        }
    }
}

/// A soak lasts six times an extended plan, twelve hours, unless told otherwise.
const SOAK_FACTOR: u32 = 6;

/// Stages that always disturb each other: their times add up.
const CHAINS: [&[StageKind]; 4] = [
    &[
        StageKind::Cpu,
        StageKind::MemoryBandwidth,
        StageKind::Memory,
    ],
    &[StageKind::Nvme, StageKind::NvmeWrite],
    &[StageKind::Rdma],
    &[
        StageKind::GpuMemory,
        StageKind::GpuCompute,
        StageKind::GpuPower,
        StageKind::GpuPulse,
        StageKind::GpuHostLinks,
        StageKind::GpuLinks,
        StageKind::GpuAllReduce,
    ],
];

/// How long the stages of a kind may take.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Budget {
    /// Which kind.
    pub stage: StageKind,
    /// How long each stage of it may take.
    pub seconds: Seconds,
}

/// What a burn-in is asked to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Plan {
    /// Which plan.
    pub kind: PlanKind,
    /// Its kinds of stages, in the order in which those run that disturb each other.
    pub stages: Vec<StageKind>,
    /// How long each may take.
    pub budgets: Vec<Budget>,
    /// Whether the stages were named by whoever asked: then each of them is required.
    #[serde(default)]
    pub named: bool,
    /// Share of the free memory that is tested.
    pub memory_share: Percent,
    /// Whether memory passes are repeated until their time is up, or one is enough.
    pub memory_repeats: bool,
    /// GPUs that are tested, by NVML index; null for all.
    #[serde(default)]
    pub gpus: Option<Vec<u32>>,
    /// Serials of the drives that are written, whatever is on them being gone afterwards.
    #[serde(default)]
    pub write_serials: Vec<String>,
    /// Whether power pulses of all GPUs are in step, which stresses the site's supply.
    #[serde(default)]
    pub in_step: bool,
    /// What all GPUs together may draw; null for no limit.
    #[serde(default)]
    pub power_budget_watts: Option<Watts>,
    /// What patterns and operands are derived from; the same seed gives the same ones.
    pub seed: Word,
}

/// A time as the model writes it; every duration is finite.
pub(crate) fn seconds(time: Duration) -> Seconds {
    match Seconds::new(time.as_secs_f64()) {
        Ok(seconds) => seconds,
        Err(_) => unreachable!("a duration is finite"),
    }
}

/// A ratio as per cent; what is no number is none.
pub(crate) fn percent(part: f64, whole: f64) -> Percent {
    let value = if whole > 0.0 {
        part / whole * 100.0
    } else {
        0.0
    };
    match Percent::new(value) {
        Ok(percent) => percent,
        Err(_) => unreachable!("both are finite and the divisor is not zero"),
    }
}

impl Plan {
    /// The plan of this kind for a whole machine.
    pub fn new(kind: PlanKind, seed: Word) -> Self {
        let budget = |stage| Budget {
            stage,
            seconds: seconds(Duration::from_secs(kind.seconds(stage).into())),
        };
        Self {
            kind,
            stages: StageKind::ALL
                .into_iter()
                .filter(|stage| kind.has(*stage))
                .collect(),
            budgets: StageKind::ALL.map(budget).to_vec(),
            named: false,
            memory_share: percent(if kind == PlanKind::Quick { 50.0 } else { 90.0 }, 100.0),
            memory_repeats: kind != PlanKind::Quick,
            gpus: None,
            write_serials: Vec::new(),
            in_step: false,
            power_budget_watts: None,
            seed,
        }
    }

    /// The quick plan.
    pub fn quick(seed: Word) -> Self {
        Self::new(PlanKind::Quick, seed)
    }

    /// The same with these stages only.
    #[must_use]
    pub fn only(mut self, stages: &[StageKind]) -> Self {
        self.stages = StageKind::ALL
            .into_iter()
            .filter(|stage| stages.contains(stage))
            .filter(|stage| *stage != StageKind::NvmeWrite || !self.write_serials.is_empty())
            .collect();
        self.named = true;
        self
    }

    /// The same, and these drives are written.
    #[must_use]
    pub fn writing(mut self, serials: Vec<String>) -> Self {
        if !serials.is_empty() && !self.stages.contains(&StageKind::NvmeWrite) {
            self.stages.push(StageKind::NvmeWrite);
            self.stages.sort_unstable();
        }
        self.write_serials = serials;
        self
    }

    /// The same, as long as this in all: stages that disturb each other share it out in the
    /// proportion that the plan has.
    #[must_use]
    pub fn lasting(mut self, time: Duration) -> Self {
        for chain in CHAINS {
            let of = |kind: &&StageKind| self.stages.contains(kind);
            let sum: Duration = chain.iter().filter(of).map(|kind| self.budget(*kind)).sum();
            if sum.is_zero() {
                continue;
            }
            let factor = time.as_secs_f64() / sum.as_secs_f64();
            for budget in &mut self.budgets {
                if chain.contains(&budget.stage) {
                    budget.seconds = Seconds::new(budget.seconds.get() * factor)
                        .unwrap_or_else(|_| seconds(time));
                }
            }
        }
        self.memory_repeats = true;
        self
    }

    /// The same over this share of the free memory.
    #[must_use]
    pub fn memory_share(mut self, share: Percent) -> Self {
        self.memory_share = share;
        self
    }

    /// How long each stage of this kind may take.
    pub fn budget(&self, stage: StageKind) -> Duration {
        self.budgets
            .iter()
            .find(|budget| budget.stage == stage)
            .and_then(|budget| Duration::try_from_secs_f64(budget.seconds.get()).ok())
            .unwrap_or(Duration::ZERO)
    }

    /// The same with another time for the stages of one kind.
    #[must_use]
    pub fn with_budget(mut self, stage: StageKind, time: Duration) -> Self {
        self.budgets.retain(|budget| budget.stage != stage);
        self.budgets.push(Budget {
            stage,
            seconds: seconds(time),
        });
        self.budgets.sort_by_key(|budget| budget.stage);
        self
    }

    /// Whether a GPU is to be tested.
    pub fn wants_gpu(&self, index: u32) -> bool {
        self.gpus.as_ref().is_none_or(|gpus| gpus.contains(&index))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_plan_keeps_its_time() {
        for (kind, most) in [
            (PlanKind::Quick, 120),
            (PlanKind::Standard, 900),
            (PlanKind::Extended, 7200),
            (PlanKind::Soak, 43_200),
        ] {
            let plan = Plan::new(kind, Word(1));
            for chain in CHAINS {
                let stages = chain.iter().filter(|stage| plan.stages.contains(stage));
                let sum: Duration = stages.map(|stage| plan.budget(*stage)).sum();
                assert!(
                    sum <= Duration::from_secs(most),
                    "{kind:?} {chain:?} {sum:?}"
                );
            }
            assert!(!plan.stages.contains(&StageKind::NvmeWrite));
        }
        let of_chains: usize = CHAINS.iter().map(|chain| chain.len()).sum();
        assert_eq!(of_chains, StageKind::ALL.len());
    }

    #[test]
    fn time_is_shared_out_over_the_stages_that_disturb_each_other() {
        let whole = Duration::from_secs(30);
        let plan = Plan::quick(Word(1)).lasting(whole);
        let sum = |plan: &Plan, chain: &[StageKind]| {
            let of = chain.iter().filter(|stage| plan.stages.contains(stage));
            of.map(|stage| plan.budget(*stage)).sum::<Duration>()
        };
        for chain in CHAINS {
            let gap = sum(&plan, chain).abs_diff(whole);
            assert!(gap < Duration::from_millis(1), "{chain:?} {gap:?}");
        }
        let plan = Plan::quick(Word(1)).only(&[StageKind::Cpu]).lasting(whole);
        assert_eq!(plan.budget(StageKind::Cpu), whole);
    }

    #[test]
    fn a_drive_is_written_only_when_it_is_named() {
        let plan = Plan::quick(Word(1)).only(&StageKind::ALL);
        assert!(!plan.stages.contains(&StageKind::NvmeWrite));
        let plan = Plan::quick(Word(1)).writing(vec!["S1".to_owned()]);
        assert!(plan.stages.contains(&StageKind::NvmeWrite));
    }
}
