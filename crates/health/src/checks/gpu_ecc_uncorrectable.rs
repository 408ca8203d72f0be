//! A GPU's memory has had errors that could not be corrected.
//!
//! # What it checks
//! That the volatile counters of uncorrectable ECC errors are zero: DRAM, SRAM and their sum, counted
//! since the driver loaded or the GPU was reset; and that the SRAM error threshold for replacement was
//! not passed. Counts over the GPU's life are history and raise nothing by themselves.
//!
//! # Why it matters
//! Work that used the bad memory was stopped or is wrong. Until the GPU is reset the affected rows are
//! not remapped; past the SRAM threshold the GPU is due for replacement.
//!
//! # Remedy
//! 1. Let running work end, then reset the GPU: bad rows are remapped and the counters start anew.
//! 2. Run a memory diagnostic on it.
//! 3. If errors return, or the SRAM threshold was passed, replace the GPU.
//!
//! # Sources
//! - NVML, `nvmlDeviceGetMemoryErrorCounter`, `nvmlDeviceGetSramEccErrorStatus`.
//! - NVIDIA GPU memory error management; Xid catalogue, workflow of XID 48.

use cupel_model::snapshot::EccCounts;
use cupel_model::{Clears, ComponentKind, Counter, Evidence, Impact, Mode, Reading, RemedyAction};

use crate::context::Context;
use crate::doc::module_doc;
use crate::draft::Draft;
use crate::gpu_parts::each_gpu;
use crate::hbm::expects_memory_health;
use crate::outcome::Outcome;
use crate::registry::{Basis, Check, Window};
#[cfg(test)]
use crate::testing::{Case, Expect};

const CODE: &str = "gpu.ecc-uncorrectable";

/// The check.
pub const CHECK: Check = Check {
    code: CODE,
    mode: Mode::Enforce,
    window: Window::none("the GPU counted the errors itself"),
    basis: Basis::State,
    doc: module_doc!("gpu_ecc_uncorrectable.rs"),
    evaluate,
    #[cfg(test)]
    cases: CASES,
};

fn evaluate(context: &Context<'_>) -> Outcome {
    each_gpu(context, |part, gpu, outcome| {
        let (short, expected) = (part.short(), expects_memory_health(gpu));
        let threshold = outcome
            .need(
                &short,
                "SRAM threshold",
                &gpu.ecc.sram_threshold_exceeded,
                false,
            )
            .copied();
        match outcome.need(&short, "ECC mode", &gpu.ecc.enabled, expected) {
            Some(true) => {}
            Some(false) if expected => {
                outcome.unknown(
                    &short,
                    "ECC is switched off, so that errors are not counted",
                );
                return;
            }
            Some(false) => {
                outcome.not_here("ECC is switched off");
                return;
            }
            None => return,
        }
        let counts = counted(&short, &gpu.ecc.volatile, expected, outcome);
        if counts.is_empty() && threshold != Some(true) {
            return;
        }
        let name = part.name();
        let told: Vec<String> = counts
            .iter()
            .map(|(what, count)| format!("{count} in {what}"))
            .collect();
        let summary = if told.is_empty() {
            format!("{name} has passed its SRAM error threshold for replacement")
        } else {
            format!(
                "{name} has uncorrectable memory errors since its last reset: {}",
                told.join(", ")
            )
        };
        let mut draft = Draft::critical(CODE, part.component(ComponentKind::Gpu), summary)
            .impact(Impact::BlocksAllocation)
            .clears(Clears::GpuReset);
        for (what, count) in &counts {
            draft = draft.evidence(
                Evidence::value(&format!("volatile_uncorrected_{what}"), count.value)
                    .limit(0, "NVIDIA GPU memory error management"),
            );
        }
        if threshold == Some(true) {
            draft = draft
                .clears(Clears::PartReplaced)
                .evidence(Evidence::value("sram_threshold_exceeded", true).limit(false, "NVML"));
        }
        outcome.find(
            draft
                .opt_in(
                    RemedyAction::ResetGpu,
                    format!("Let running work end, then reset {name}"),
                )
                .human(
                    RemedyAction::RunDiagnostic,
                    format!("Run a memory diagnostic on {name}"),
                )
                .human(
                    RemedyAction::ReplacePart,
                    format!("Replace {name} if errors return or its SRAM threshold was passed"),
                ),
        );
    })
}

/// The counters that are not zero. The sum is named only where neither part explains it.
fn counted(
    part: &str,
    counts: &EccCounts,
    expected: bool,
    outcome: &mut Outcome,
) -> Vec<(&'static str, Counter)> {
    let parts = [
        ("sram", &counts.sram_uncorrected),
        ("dram", &counts.dram_uncorrected),
    ];
    let total = &counts.total_uncorrected;
    // One of the three is enough: drivers differ in which they offer.
    let any = parts.iter().any(|(_, r)| r.value().is_some()) || total.value().is_some();
    let mut found: Vec<(&'static str, Counter)> = Vec::new();
    for (what, reading) in parts {
        let wanted = expected && !any;
        if let Some(count) = outcome.need(
            part,
            &format!("uncorrectable errors in {what}"),
            reading,
            wanted,
        ) && count.value > 0
        {
            found.push((what, *count));
        }
    }
    let total = match total {
        Reading::Failed(_) if any => None,
        Reading::Value(_) | Reading::Absent(_) | Reading::Unsupported(_) | Reading::Failed(_) => {
            outcome.need(part, "uncorrectable errors", total, expected && !any)
        }
    };
    if let Some(total) = total
        && total.value > 0
        && found.is_empty()
    {
        found.push(("memory", *total));
    }
    found
}

#[cfg(test)]
const CASES: &[Case] = &[
    Case {
        name: "no error",
        expect: Expect::Pass,
        change: |_| {},
    },
    Case {
        name: "errors of an earlier life",
        expect: Expect::Pass,
        change: |node| {
            node.gpu(1).ecc.aggregate.dram_uncorrected = Counter::exact(3).into();
        },
    },
    Case {
        name: "an uncorrectable error in DRAM",
        expect: Expect::Fail,
        change: |node| {
            node.gpu(1).ecc.volatile.dram_uncorrected = Counter::exact(1).into();
            node.gpu(1).ecc.volatile.total_uncorrected = Counter::exact(1).into();
        },
    },
    Case {
        name: "threshold passed",
        expect: Expect::Fail,
        change: |node| node.gpu(1).ecc.sram_threshold_exceeded = true.into(),
    },
    Case {
        name: "counter failed",
        expect: Expect::Unknown,
        change: |node| node.gpu(1).ecc.volatile.dram_uncorrected = Reading::failed("unknown error"),
    },
    Case {
        name: "ECC off on a part with HBM",
        expect: Expect::Unknown,
        change: |node| node.gpu(1).ecc.enabled = false.into(),
    },
    Case {
        name: "off the bus",
        expect: Expect::Unknown,
        change: |node| node.gpu(1).on_bus = false.into(),
    },
    Case {
        name: "MIG does not offer it",
        expect: Expect::Pass,
        change: |node| {
            let gpu = node.gpu(1);
            gpu.identity.mig_mode = true.into();
            gpu.ecc.volatile = EccCounts {
                sram_corrected: Reading::unsupported("MIG"),
                sram_uncorrected: Reading::unsupported("MIG"),
                dram_corrected: Reading::unsupported("MIG"),
                dram_uncorrected: Reading::unsupported("MIG"),
                total_corrected: Reading::unsupported("MIG"),
                total_uncorrected: Reading::unsupported("MIG"),
            };
        },
    },
];
