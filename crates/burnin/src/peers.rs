//! Parts of a node against each other: what is alike should measure alike.
//!
//! # Invariants
//! - Only values that a stage put into a peer group are compared, each with those of its own
//!   stage, name, unit and group.
//! - Two cannot tell which of them is wrong: it takes three to call one slow.

use cupel_model::units::Percent;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::plan::percent;
use crate::result::{FailureClass, Outcome, StageResult};
use crate::stage_kind::{StageKind, StageName};

/// Below this share of the median a part is slow. Unverified: healthy GPUs of one node were seen
/// within a few per cent of each other, and the faults that are known (a GPU at a third of its
/// speed, a link at half of its width) are far below.
const SLOW_PERCENT: f64 = 90.0;

/// Fewest members that can be compared.
const LEAST: usize = 3;

/// One of those that are compared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PeerMember {
    /// Stage that measured it.
    pub stage: StageName,
    /// Of what, where the stage measured several.
    pub on: Option<String>,
    /// What it measured.
    pub value: f64,
    /// Of the median.
    pub percent: Percent,
    /// Whether it is slow.
    pub slow: bool,
}

/// A value of parts that are alike.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PeerComparison {
    /// Kind of the stages.
    pub stage: StageKind,
    /// What was measured.
    pub name: String,
    /// In which unit.
    pub unit: String,
    /// What makes them alike, e.g. the product's name.
    pub group: String,
    /// The middle one.
    pub median: f64,
    /// The members, in the order of the stages.
    pub members: Vec<PeerMember>,
}

/// Compares, and makes the stages of those that are slow fail.
pub(crate) fn compare(stages: &mut [StageResult]) -> Vec<PeerComparison> {
    let mut found: Vec<PeerComparison> = Vec::new();
    for stage in stages.iter() {
        for measured in &stage.measured {
            let Some(group) = &measured.peer_group else {
                continue;
            };
            let member = PeerMember {
                stage: stage.name.clone(),
                on: measured.on.as_ref().map(ToString::to_string),
                value: measured.value,
                percent: percent(0.0, 0.0),
                slow: false,
            };
            let same = |other: &&mut PeerComparison| {
                other.stage == stage.stage
                    && other.name == measured.name
                    && other.unit == measured.unit
                    && other.group == *group
            };
            match found.iter_mut().find(same) {
                Some(comparison) => comparison.members.push(member),
                None => found.push(PeerComparison {
                    stage: stage.stage,
                    name: measured.name.clone(),
                    unit: measured.unit.clone(),
                    group: group.clone(),
                    median: 0.0,
                    members: vec![member],
                }),
            }
        }
    }
    found.retain(|comparison| comparison.members.len() >= LEAST);
    for comparison in &mut found {
        judge(comparison, stages);
    }
    found
}

fn judge(comparison: &mut PeerComparison, stages: &mut [StageResult]) {
    let mut values: Vec<f64> = comparison.members.iter().map(|m| m.value).collect();
    values.sort_by(f64::total_cmp);
    let median = values.get(values.len() / 2).copied().unwrap_or(0.0);
    comparison.median = median;
    for member in &mut comparison.members {
        member.percent = percent(member.value, median);
        member.slow = member.percent.get() < SLOW_PERCENT;
        if !member.slow {
            continue;
        }
        let Some(stage) = stages.iter_mut().find(|stage| stage.name == member.stage) else {
            continue;
        };
        let on = member
            .on
            .as_ref()
            .map(|on| format!(" of {on}"))
            .unwrap_or_default();
        stage.reasons.push(format!(
            "{}{on} is {:.4} {}, {:.0} % of what its peers have ({:.4})",
            comparison.name,
            member.value,
            comparison.unit,
            member.percent.get(),
            median
        ));
        stage.class = stage.class.max(Some(FailureClass::BelowPeers));
        stage.outcome = Outcome::Fail;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::result::{Measured, Proof};

    fn stages(values: &[f64]) -> Vec<StageResult> {
        values
            .iter()
            .enumerate()
            .map(|(at, value)| {
                StageResult {
                    proof: Proof::of(1, 1, true),
                    measured: vec![
                        Measured::uncalibrated("bf16", *value, "TFLOP/s").among("NVIDIA H200"),
                    ],
                    ..StageResult::new(StageName::on(StageKind::GpuCompute, format!("gpu{at}")))
                }
                .judged()
            })
            .collect()
    }

    #[test]
    fn the_slow_one_of_many_is_named_and_fails() {
        let mut eight = stages(&[780.0, 775.0, 770.0, 260.0, 781.0, 779.0, 777.0, 776.0]);
        let comparisons = compare(&mut eight);
        assert_eq!(comparisons.len(), 1);
        let slow: Vec<_> = comparisons[0].members.iter().filter(|m| m.slow).collect();
        assert_eq!(slow.len(), 1);
        assert_eq!(slow[0].stage.to_string(), "gpu-compute/gpu3");
        for (at, stage) in eight.iter().enumerate() {
            let slow = at == 3;
            assert_eq!(stage.outcome == Outcome::Fail, slow, "{:?}", stage.reasons);
            assert_eq!(stage.class == Some(FailureClass::BelowPeers), slow);
        }
    }

    #[test]
    fn two_are_not_compared_and_a_spread_of_a_few_per_cent_is_none() {
        assert!(compare(&mut stages(&[780.0, 100.0])).is_empty());
        let mut near = stages(&[780.0, 760.0, 750.0, 740.0]);
        assert!(compare(&mut near)[0].members.iter().all(|m| !m.slow));
        assert!(near.iter().all(|stage| stage.outcome == Outcome::Pass));
    }
}
