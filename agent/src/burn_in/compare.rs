//! Two results beside each other: `cupel burn-in compare A B`.
//!
//! # Invariants
//! - Stages and values are matched by name; what is in one alone is said, not left out.
//! - A difference is told in per cent of the first and judged by nobody: what it means depends on
//!   what was changed between the two.

use cupel_burnin::{BurnInResult, Machine, Measured, Outcome, StageResult};
use cupel_model::SCHEMA_VERSION;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A value of both.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ValueChange {
    /// What was measured.
    pub name: String,
    /// Of what, where a stage measured several.
    pub on: Option<String>,
    /// In which unit.
    pub unit: String,
    /// In the first; null when it is not there.
    pub a: Option<f64>,
    /// In the second; null when it is not there.
    pub b: Option<f64>,
    /// By how many per cent of the first the second is more.
    pub change_percent: Option<f64>,
}

/// A stage of both.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StageChange {
    /// Its name.
    pub name: String,
    /// What came of it in the first; null when it is not there.
    pub a: Option<Outcome>,
    /// What came of it in the second; null when it is not there.
    pub b: Option<Outcome>,
    /// Wrong words in the first.
    pub a_mismatches: Option<u64>,
    /// Wrong words in the second.
    pub b_mismatches: Option<u64>,
    /// What was measured.
    pub values: Vec<ValueChange>,
}

/// Two results beside each other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Comparison {
    /// Version of this JSON.
    pub schema_version: u32,
    /// Verdict of the first.
    pub a: Outcome,
    /// Verdict of the second.
    pub b: Outcome,
    /// In what the two runs differ, so that their values may differ for that reason.
    pub differences: Vec<String>,
    /// Stages, in the order of the first.
    pub stages: Vec<StageChange>,
}

/// Compares.
pub fn compare(a: &BurnInResult, b: &BurnInResult) -> Comparison {
    let mut stages: Vec<StageChange> = a
        .stages
        .iter()
        .map(|stage| {
            let other = b.stages.iter().find(|other| other.name == stage.name);
            change(Some(stage), other)
        })
        .collect();
    let alone = |stage: &&StageResult| !a.stages.iter().any(|other| other.name == stage.name);
    stages.extend(
        b.stages
            .iter()
            .filter(alone)
            .map(|stage| change(None, Some(stage))),
    );
    Comparison {
        schema_version: SCHEMA_VERSION,
        a: a.verdict,
        b: b.verdict,
        differences: differences(a, b),
        stages,
    }
}

/// What a machine says of itself.
type Field = fn(&Machine) -> Option<String>;

fn differences(a: &BurnInResult, b: &BurnInResult) -> Vec<String> {
    let mut said = Vec::new();
    let mut tell = |what: &str, a: String, b: String| {
        if a != b {
            said.push(format!("{what}: {a}, then {b}"));
        }
    };
    let kind = |result: &BurnInResult| result.plan.kind.name().to_owned();
    tell("plan", kind(a), kind(b));
    let machine = |result: &BurnInResult, of: Field| {
        result
            .machine
            .as_ref()
            .and_then(of)
            .unwrap_or_else(|| "unknown".to_owned())
    };
    let fields: [(&str, Field); 6] = [
        ("node", |m| m.node_id.value().cloned()),
        ("product", |m| m.product.value().cloned()),
        ("platform", |m| m.platform.clone()),
        ("kernel", |m| m.kernel.value().cloned()),
        ("NVIDIA driver", |m| m.driver.value().cloned()),
        ("cupel", |m| Some(m.cupel_version.clone())),
    ];
    for (what, of) in fields {
        tell(what, machine(a, of), machine(b, of));
    }
    let gpus = |result: &BurnInResult| -> Vec<String> {
        let gpus = result.machine.iter().flat_map(|machine| &machine.gpus);
        gpus.map(|gpu| {
            let serial = gpu.serial.value().or(gpu.uuid.value());
            serial.cloned().unwrap_or_else(|| "unknown".to_owned())
        })
        .collect()
    };
    let (old, new) = (gpus(a), gpus(b));
    for (place, (old, new)) in old.iter().zip(&new).enumerate() {
        tell(&format!("GPU {place}"), old.clone(), new.clone());
    }
    tell("GPUs", old.len().to_string(), new.len().to_string());
    said
}

fn change(a: Option<&StageResult>, b: Option<&StageResult>) -> StageChange {
    let name = a
        .or(b)
        .map_or_else(String::new, |stage| stage.name.to_string());
    StageChange {
        name,
        a: a.map(|stage| stage.outcome),
        b: b.map(|stage| stage.outcome),
        a_mismatches: a.map(|stage| stage.mismatch_count),
        b_mismatches: b.map(|stage| stage.mismatch_count),
        values: values(a, b),
    }
}

fn values(a: Option<&StageResult>, b: Option<&StageResult>) -> Vec<ValueChange> {
    let of = |stage: Option<&StageResult>| -> Vec<Measured> {
        stage.map_or_else(Vec::new, |stage| stage.measured.clone())
    };
    let same = |x: &Measured, y: &Measured| x.name == y.name && x.on == y.on && x.unit == y.unit;
    let (old, new) = (of(a), of(b));
    let value = |one: &Measured, a: Option<f64>, b: Option<f64>| ValueChange {
        name: one.name.clone(),
        on: one.on.as_ref().map(ToString::to_string),
        unit: one.unit.clone(),
        a,
        b,
        change_percent: a
            .zip(b)
            .filter(|(a, _)| *a != 0.0)
            .map(|(a, b)| ((b - a) / a * 1000.0).round() / 10.0),
    };
    let mut values: Vec<_> = old
        .iter()
        .map(|one| {
            let other = new.iter().find(|other| same(one, other));
            value(one, Some(one.value), other.map(|other| other.value))
        })
        .collect();
    let alone = |one: &&Measured| !old.iter().any(|other| same(one, other));
    values.extend(
        new.iter()
            .filter(alone)
            .map(|one| value(one, None, Some(one.value))),
    );
    values
}

/// As text: a line a stage, a line a value that both have or one lacks.
pub fn text(comparison: &Comparison) -> String {
    use std::fmt::Write as _;
    let mut text = String::new();
    let word = |outcome: Option<Outcome>| outcome.map_or("-", super::text::outcome);
    let _ = writeln!(
        text,
        "Verdict: {}, then {}",
        word(Some(comparison.a)),
        word(Some(comparison.b))
    );
    for difference in &comparison.differences {
        let _ = writeln!(text, "  ! {}", crate::output::printable(difference));
    }
    for stage in &comparison.stages {
        let _ = writeln!(
            text,
            "\n  {}: {}, then {}",
            stage.name,
            word(stage.a),
            word(stage.b)
        );
        for value in &stage.values {
            let name = match &value.on {
                Some(on) => format!("{} of {on}", value.name),
                None => value.name.clone(),
            };
            let number = |value: Option<f64>| {
                value.map_or_else(|| "-".to_owned(), crate::render::words::significant)
            };
            let change = value
                .change_percent
                .map(|change| format!("{change:+.1} %"))
                .unwrap_or_default();
            let _ = writeln!(
                text,
                "    {name:<44} {:>12} {:>12} {:<8} {change:>9}",
                number(value.a),
                number(value.b),
                value.unit
            );
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use cupel_burnin::{Plan, PlanKind, Proof, Run, StageKind, StageName, Word};

    fn result(kind: PlanKind, rates: &[(&str, f64)]) -> BurnInResult {
        let plan = Plan::new(kind, Word(1));
        let mut result = BurnInResult::begun(&Run::new(plan, Vec::new()));
        let stage = StageResult {
            proof: Proof::of(1, 1, true),
            measured: rates
                .iter()
                .map(|(name, value)| Measured::uncalibrated(*name, *value, "GB/s"))
                .collect(),
            ..StageResult::new(StageName::only(StageKind::MemoryBandwidth))
        };
        result.add(stage.judged());
        result
    }

    #[test]
    fn values_are_matched_and_what_one_lacks_is_said() {
        let a = result(PlanKind::Quick, &[("copy", 100.0), ("read", 80.0)]);
        let b = result(PlanKind::Standard, &[("copy", 90.0), ("write", 70.0)]);
        let comparison = compare(&a, &b);
        assert_eq!(comparison.differences, ["plan: quick, then standard"]);
        let values = &comparison.stages[0].values;
        assert_eq!(values[0].change_percent, Some(-10.0));
        assert_eq!((values[1].a, values[1].b), (Some(80.0), None));
        assert_eq!((values[2].a, values[2].b), (None, Some(70.0)));
        let text = text(&comparison);
        assert!(text.contains("-10.0 %"), "{text}");
        assert!(
            text.lines().all(|line| line.chars().count() <= 100),
            "{text}"
        );
    }
}
