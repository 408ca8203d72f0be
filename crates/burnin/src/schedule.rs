//! What runs when, and why: pure, so that it can be shown before anything begins.
//!
//! # Invariants
//! - A stage begins as soon as the earlier stages that it would disturb have ended, and waits for
//!   no other.
//! - The order of stages that disturb each other is that in which they are given.

use std::collections::BTreeSet;
use std::time::Duration;

use cupel_model::units::Seconds;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::plan::seconds;
use crate::resource::{Claim, Resource};
use crate::stage::StageSpec;
use crate::stage_kind::StageName;

/// A stage in its place.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Slot {
    /// Which.
    pub stage: StageName,
    /// What it does to what.
    pub what: String,
    /// What it is laid on.
    pub claims: Vec<Claim>,
    /// The stages that must have ended before it begins.
    pub after: Vec<StageName>,
    /// Planned begin, in seconds since the run begins.
    pub begins_seconds: Seconds,
    /// Planned end.
    pub ends_seconds: Seconds,
    /// Why then.
    pub why: String,
    /// Whether the verdict needs it.
    pub required: bool,
}

/// What runs when.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Schedule {
    /// The stages, in the order in which they were given.
    pub slots: Vec<Slot>,
}

impl Schedule {
    /// Lays stages out in time.
    pub fn of(specs: &[StageSpec]) -> Self {
        let mut slots: Vec<Slot> = Vec::new();
        let mut ends: Vec<Duration> = Vec::new();
        // For each stage, all that come before it, directly or not.
        let mut before: Vec<BTreeSet<usize>> = Vec::new();
        for spec in specs {
            let disturbed: Vec<(usize, &Claim)> = slots
                .iter()
                .enumerate()
                .filter_map(|(at, slot)| Some((at, first_disturbed(&slot.claims, &spec.claims)?)))
                .collect();
            let direct: Vec<(usize, &Claim)> = disturbed
                .iter()
                .filter(|(at, _)| {
                    !disturbed
                        .iter()
                        .any(|(other, _)| before[*other].contains(at))
                })
                .copied()
                .collect();
            let begin = direct
                .iter()
                .map(|(at, _)| ends[*at])
                .max()
                .unwrap_or(Duration::ZERO);
            let end = begin + spec.expected;
            let after: Vec<_> = direct
                .iter()
                .map(|(at, claim)| (slots[*at].stage.clone(), claim.resource.clone()))
                .collect();
            let mut all: BTreeSet<usize> = direct.iter().map(|(at, _)| *at).collect();
            for (at, _) in &direct {
                all.extend(&before[*at]);
            }
            before.push(all);
            ends.push(end);
            slots.push(Slot {
                stage: spec.name.clone(),
                what: spec.what.clone(),
                claims: spec.claims.clone(),
                why: why(&after),
                after: after.into_iter().map(|(stage, _)| stage).collect(),
                begins_seconds: seconds(begin),
                ends_seconds: seconds(end),
                required: spec.required,
            });
        }
        Self { slots }
    }

    /// How long the whole is planned to take.
    pub fn lasts(&self) -> Seconds {
        let last = self
            .slots
            .iter()
            .map(|slot| slot.ends_seconds.get())
            .fold(0.0, f64::max);
        Seconds::new(last).unwrap_or_else(|_| seconds(Duration::ZERO))
    }

    /// The most stages that are planned to run at once.
    pub fn most_at_once(&self) -> usize {
        self.slots
            .iter()
            .map(|at| {
                let begin = at.begins_seconds.get();
                let runs = |slot: &&Slot| {
                    slot.begins_seconds.get() <= begin && slot.ends_seconds.get() > begin
                };
                self.slots.iter().filter(runs).count()
            })
            .max()
            .unwrap_or(0)
    }
}

/// The first of the claims of a stage that an earlier stage's claims disturb.
fn first_disturbed<'a>(earlier: &[Claim], claims: &'a [Claim]) -> Option<&'a Claim>
where
{
    claims
        .iter()
        .find(|claim| earlier.iter().any(|other| other.disturbs(claim)))
}

fn why(after: &[(StageName, Resource)]) -> String {
    if after.is_empty() {
        return "at once: it shares nothing with a stage before it".to_owned();
    }
    let mut parts: Vec<(String, Vec<String>)> = Vec::new();
    for (stage, resource) in after {
        let resource = resource.to_string();
        match parts.iter_mut().find(|(other, _)| *other == resource) {
            Some((_, stages)) => stages.push(stage.to_string()),
            None => parts.push((resource, vec![stage.to_string()])),
        }
    }
    let said: Vec<_> = parts
        .into_iter()
        .map(|(resource, stages)| format!("{} ({resource})", stages.join(", ")))
        .collect();
    format!("after {}", said.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::Resource;
    use crate::stage_kind::StageKind;

    fn spec(name: &str, seconds: u64, claims: Vec<Claim>) -> StageSpec {
        StageSpec {
            name: name.parse().expect("a name"),
            what: String::new(),
            claims,
            expected: Duration::from_secs(seconds),
            at_most: Duration::from_secs(2 * seconds),
            required: true,
        }
    }

    fn gpu(index: u32) -> Claim {
        Claim::alone(Resource::Gpu { index })
    }

    /// A node with eight GPUs, as the quick plan loads it.
    fn eight() -> Vec<StageSpec> {
        let processors = || Claim::alone(Resource::Processors);
        let memory = |how: fn(Resource) -> Claim| how(Resource::Memory { node: 0 });
        let mut specs = vec![
            spec("cpu", 10, vec![processors()]),
            spec(
                "memory-bandwidth",
                5,
                vec![processors(), memory(Claim::alone)],
            ),
            spec("memory", 60, vec![processors(), memory(Claim::shared)]),
            spec(
                "nvme/nvme0",
                20,
                vec![Claim::alone(Resource::Drive {
                    name: "nvme0".to_owned(),
                })],
            ),
        ];
        for kind in [StageKind::GpuMemory, StageKind::GpuCompute] {
            for index in 0..8 {
                let name = StageName::on(kind, format!("gpu{index}")).to_string();
                specs.push(spec(&name, 30, vec![gpu(index)]));
            }
        }
        let all: Vec<_> = (0..8).map(gpu).map(Claim::dispensable).collect();
        specs.push(spec("gpu-links", 10, all));
        specs
    }

    #[test]
    fn what_does_not_disturb_runs_at_once() {
        let schedule = Schedule::of(&eight());
        let at = |name: &str| {
            schedule
                .slots
                .iter()
                .find(|slot| slot.stage.to_string() == name)
                .unwrap_or_else(|| panic!("{name}"))
        };
        for name in ["cpu", "nvme/nvme0", "gpu-memory/gpu0", "gpu-memory/gpu7"] {
            assert_eq!(at(name).begins_seconds.get(), 0.0, "{name}");
            assert!(at(name).why.starts_with("at once"), "{}", at(name).why);
        }
        assert_eq!(at("memory-bandwidth").begins_seconds.get(), 10.0);
        assert_eq!(at("memory-bandwidth").why, "after cpu (every processor)");
        assert_eq!(at("memory").begins_seconds.get(), 15.0);
        assert_eq!(
            at("memory").after,
            [StageName::only(StageKind::MemoryBandwidth)]
        );
        assert_eq!(at("gpu-compute/gpu3").why, "after gpu-memory/gpu3 (GPU 3)");
        assert_eq!(at("gpu-links").begins_seconds.get(), 60.0);
        assert_eq!(at("gpu-links").after.len(), 8);
        assert_eq!(schedule.most_at_once(), 10);
        assert_eq!(schedule.lasts().get(), 75.0);
    }

    #[test]
    fn the_whole_node_is_for_one_alone() {
        let schedule = Schedule::of(&[
            spec("cpu", 1, vec![Claim::alone(Resource::Processors)]),
            spec("gpu-pulse", 1, vec![Claim::alone(Resource::Node)]),
            spec("gpu-links", 1, vec![gpu(0)]),
        ]);
        let begins: Vec<_> = schedule
            .slots
            .iter()
            .map(|s| s.begins_seconds.get())
            .collect();
        assert_eq!(begins, [0.0, 1.0, 2.0]);
    }
}
