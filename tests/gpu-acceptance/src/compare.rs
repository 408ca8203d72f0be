//! Holds the GPUs of a Snapshot against `nvidia-smi -q -x`.
//!
//! # Invariants
//! - Every value of every GPU ends in one row: it matches, it does not, Cupel knows more, or
//!   nvidia-smi does not tell it.
//! - Where nvidia-smi has a value and Cupel has none, that is a mismatch.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::fields::{FIELDS, Field, How};
use crate::smi::{Smi, SmiGpu, Told};

/// What came of one value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// They differ.
    Mismatch,
    /// They agree, or both have no value.
    Match,
    /// Cupel has a value, nvidia-smi says N/A.
    CupelOnly,
    /// nvidia-smi does not tell this value.
    NotTold,
}

/// One value of one GPU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// PCI address, or `driver`.
    pub part: String,
    /// JSON pointer in the Snapshot.
    pub value: String,
    /// As Cupel has it.
    pub cupel: String,
    /// As nvidia-smi has it, before and after.
    pub smi: String,
    /// What came of it.
    pub outcome: Outcome,
}

/// All rows. `before` and `after` are runs of nvidia-smi around the Snapshot.
pub fn compare(snapshot: &Value, before: &Smi, after: &Smi) -> Vec<Row> {
    let mut rows = top(snapshot, before);
    let none = Vec::new();
    let gpus = snapshot["gpus"].as_array().unwrap_or(&none);
    for told in &before.gpus {
        let later = after
            .gpus
            .iter()
            .find(|gpu| gpu.pci == told.pci)
            .unwrap_or(told);
        match gpus.iter().find(|gpu| gpu["pci"] == told.pci.as_str()) {
            Some(gpu) => rows.extend(one(gpu, told, later)),
            None => rows.push(Row {
                part: told.pci.clone(),
                value: String::new(),
                cupel: "no such GPU".to_owned(),
                smi: "there".to_owned(),
                outcome: Outcome::Mismatch,
            }),
        }
    }
    for gpu in gpus {
        let pci = text(&gpu["pci"]);
        if !before.gpus.iter().any(|told| told.pci == pci) {
            // In a container the bus shows GPUs that the driver does not give to it.
            let in_driver = gpu["in_driver"] == true;
            rows.push(Row {
                part: pci,
                value: "/in_driver".to_owned(),
                cupel: text(&gpu["in_driver"]),
                smi: "not listed".to_owned(),
                outcome: if in_driver {
                    Outcome::Mismatch
                } else {
                    Outcome::Match
                },
            });
        }
    }
    rows
}

fn top(snapshot: &Value, smi: &Smi) -> Vec<Row> {
    [
        ("/driver/kernel_version", "driver_version", false),
        ("/driver/library_version", "driver_version", true),
        ("/driver/cuda_version", "cuda_version", true),
    ]
    .iter()
    .map(|(pointer, name, required)| {
        let cupel = snapshot.pointer(pointer).unwrap_or(&Value::Null);
        let told = smi.told(name);
        let outcome = match (&told, reading(cupel)) {
            (Told::Value(want), Some(have)) if text(have) == *want => Outcome::Match,
            // A container may hide the kernel module's own file.
            (Told::Value(_), None) if !required => Outcome::NotTold,
            (Told::Value(_), _) => Outcome::Mismatch,
            (Told::NotAvailable | Told::Missing, _) => Outcome::NotTold,
        };
        Row {
            part: "driver".to_owned(),
            value: (*pointer).to_owned(),
            cupel: text(cupel),
            smi: shown(&told),
            outcome,
        }
    })
    .collect()
}

fn one(gpu: &Value, before: &SmiGpu, after: &SmiGpu) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut told = BTreeSet::from(["/pci".to_owned()]);
    let mut push = |value: &str, cupel: String, smi: String, outcome: Outcome| {
        told.insert(value.to_owned());
        rows.push(Row {
            part: before.pci.clone(),
            value: value.to_owned(),
            cupel,
            smi,
            outcome,
        });
    };
    for field in FIELDS {
        let cupel = find(gpu, field.cupel);
        let (outcome, smi) = field_outcome(field, cupel, before, after);
        push(field.cupel, text(cupel), smi, outcome);
    }

    let reasons = "/clocks/throttle_reasons";
    let cupel = find(gpu, reasons);
    let (earlier, later) = (active_reasons(before), active_reasons(after));
    let have: BTreeSet<String> = cupel.as_array().into_iter().flatten().map(text).collect();
    let outcome = match (earlier.is_empty() && later.is_empty(), reading(cupel)) {
        (_, Some(_)) if have == earlier || have == later => Outcome::Match,
        // Reasons that come and go between the two runs.
        (false, Some(_))
            if have.is_subset(&(&earlier | &later)) && have.is_superset(&(&earlier & &later)) =>
        {
            Outcome::Match
        }
        (_, _) => Outcome::Mismatch,
    };
    push(
        reasons,
        text(cupel),
        format!("{earlier:?} / {later:?}"),
        outcome,
    );

    let compute = "/processes/compute";
    let cupel = find(gpu, compute);
    let have: Vec<u64> = cupel
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|process| process["pid"].as_u64())
        .collect();
    let (earlier, later) = (before.compute_pids(), after.compute_pids());
    // In a container nvidia-smi hides the processes of others.
    let hidden = earlier.is_empty() && later.is_empty();
    let outcome = match reading(cupel) {
        Some(_) if have == earlier || have == later => Outcome::Match,
        Some(_) if hidden => Outcome::CupelOnly,
        Some(_) | None => Outcome::Mismatch,
    };
    push(
        compute,
        format!("{have:?}"),
        format!("{earlier:?} / {later:?}"),
        outcome,
    );

    let mut leaves = Vec::new();
    leaf_pointers(gpu, String::new(), &mut leaves);
    for (pointer, value) in leaves {
        let covered = |told: &String| pointer == *told || pointer.starts_with(&format!("{told}/"));
        if !told.iter().any(covered) {
            rows.push(Row {
                part: before.pci.clone(),
                value: pointer,
                cupel: text(value),
                smi: String::new(),
                outcome: Outcome::NotTold,
            });
        }
    }
    rows
}

/// The value at a pointer; where a whole group has no value, its reason stands for each member.
fn find<'a>(gpu: &'a Value, pointer: &str) -> &'a Value {
    let mut at = gpu;
    for key in pointer.split('/').skip(1) {
        match at.get(key) {
            Some(next) => at = next,
            None if is_reason(at) => return at,
            None => return &Value::Null,
        }
    }
    at
}

fn field_outcome(
    field: &Field,
    cupel: &Value,
    before: &SmiGpu,
    after: &SmiGpu,
) -> (Outcome, String) {
    let mut texts = Vec::new();
    let mut available = true;
    let mut per_run = Vec::new();
    for run in [before, after] {
        let mut parts = Vec::new();
        for path in field.smi {
            match run.told(path) {
                Told::Value(value) => parts.push(value),
                Told::NotAvailable => available = false,
                Told::Missing => {}
            }
        }
        texts.extend(parts.iter().cloned());
        per_run.push(parts);
    }
    let shown = texts.join(" / ");
    if texts.is_empty() {
        let outcome = match (available, reading(cupel)) {
            (true, _) => Outcome::NotTold,
            (false, None) => Outcome::Match,
            (false, Some(_)) => Outcome::CupelOnly,
        };
        let shown = if available { "" } else { "N/A" };
        return (outcome, shown.to_owned());
    }
    let Some(cupel) = reading(cupel) else {
        return (Outcome::Mismatch, shown);
    };
    let have = text(cupel);
    let fits = match field.how {
        How::Text => texts.iter().any(|told| told.eq_ignore_ascii_case(&have)),
        How::Word => texts.iter().any(|told| word(told) == have),
        How::FirstWord => texts.iter().any(|told| {
            told.split(' ')
                .next()
                .is_some_and(|first| word(first) == have)
        }),
        How::Truth => texts
            .iter()
            .any(|told| truth(told).is_some_and(|told| cupel == &Value::Bool(told))),
        How::Hexadecimal => texts.iter().any(|told| {
            let digits = told.trim_start_matches("0x");
            u64::from_str_radix(digits, 16).ok() == cupel.as_u64()
        }),
        How::Number {
            factor,
            more,
            share,
        } => {
            let numbers: Vec<f64> = if field.sum {
                per_run
                    .iter()
                    .map(|parts| parts.iter().filter_map(|part| number(part)).sum())
                    .collect()
            } else {
                texts.iter().filter_map(|part| number(part)).collect()
            };
            near(cupel, &numbers, factor, more, share)
        }
    };
    (
        if fits {
            Outcome::Match
        } else {
            Outcome::Mismatch
        },
        shown,
    )
}

fn near(cupel: &Value, told: &[f64], factor: f64, more: f64, share: f64) -> bool {
    // A saturated counter says "at least".
    let (value, saturated) = match cupel.get("value") {
        Some(value) => (value.as_f64(), true),
        None => (cupel.as_f64(), false),
    };
    let low = told.iter().copied().fold(f64::INFINITY, f64::min) * factor;
    let high = told.iter().copied().fold(f64::NEG_INFINITY, f64::max) * factor;
    let (low, high) = (
        low - more - low.abs() * share,
        high + more + high.abs() * share,
    );
    value.is_some_and(|value| {
        if saturated {
            high >= value
        } else {
            (low..=high).contains(&value)
        }
    })
}

/// The number at the front of `20475 MiB`, `16x`, `P0`, `96 bank(s)`.
fn number(text: &str) -> Option<f64> {
    let text = text.trim().trim_start_matches('P');
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.' && c != '-')
        .unwrap_or(text.len());
    text[..end].parse().ok()
}

fn truth(text: &str) -> Option<bool> {
    match text {
        "Enabled" | "Yes" | "Active" => Some(true),
        "Disabled" | "No" | "Not Active" => Some(false),
        _ => None,
    }
}

fn word(text: &str) -> String {
    text.trim().to_lowercase().replace([' ', '_'], "-")
}

/// The reasons that are active, as Cupel names them.
fn active_reasons(gpu: &SmiGpu) -> BTreeSet<String> {
    let mut active = BTreeSet::new();
    for (group, prefix) in [
        ("clocks_event_reasons", "clocks_event_reason_"),
        ("clocks_throttle_reasons", "clocks_throttle_reason_"),
    ] {
        for (name, state) in gpu.below(group) {
            if state == "Active" {
                let name = word(name.trim_start_matches(prefix));
                active.insert(name.trim_end_matches("-setting").to_owned());
            }
        }
    }
    active
}

fn is_reason(value: &Value) -> bool {
    value.get("state").is_some_and(Value::is_string)
        && value.get("why").is_some_and(Value::is_string)
        && value.as_object().is_some_and(|object| object.len() == 2)
}

/// The value of a reading, if it has one.
fn reading(value: &Value) -> Option<&Value> {
    (!value.is_null() && !is_reason(value)).then_some(value)
}

fn shown(told: &Told) -> String {
    match told {
        Told::Value(text) => text.clone(),
        Told::NotAvailable => "N/A".to_owned(),
        Told::Missing => String::new(),
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        Value::Object(_) if is_reason(value) => {
            format!("{}: {}", text(&value["state"]), text(&value["why"]))
        }
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

fn leaf_pointers<'a>(value: &'a Value, at: String, leaves: &mut Vec<(String, &'a Value)>) {
    match value {
        Value::Object(object) if !is_reason(value) => {
            for (key, value) in object {
                leaf_pointers(value, format!("{at}/{key}"), leaves);
            }
        }
        Value::Object(_)
        | Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Array(_) => {
            leaves.push((at, value));
        }
    }
}

#[cfg(test)]
#[path = "compare_tests.rs"]
mod tests;
