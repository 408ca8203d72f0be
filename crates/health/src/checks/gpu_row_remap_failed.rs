//! A GPU could not replace a bad row of its memory.
//!
//! # What it checks
//! That the driver reports no failed row remapping. Row remapping exists from Ampere on, on GPUs with
//! HBM; with MIG on it is not reported for the whole GPU, and older or other GPUs have none.
//!
//! # Why it matters
//! No spare row is left for the bad one: the same memory will fail again, under the next job.
//!
//! # Remedy
//! 1. Let running work end, then reset the GPU and look again.
//! 2. Replace the GPU: a remapping failure is NVIDIA's criterion for return.
//!
//! # Sources
//! - NVML, `nvmlDeviceGetRemappedRows`; NVIDIA GPU memory error management, row remapping.
//! - Xid catalogue, XID 64.

use cupel_model::{Clears, ComponentKind, Evidence, Mode, RemedyAction};

use crate::context::Context;
use crate::doc::module_doc;
use crate::draft::Draft;
use crate::gpu_parts::each_gpu;
use crate::hbm::expects_memory_health;
use crate::outcome::Outcome;
use crate::registry::{Basis, Check, Window};
#[cfg(test)]
use crate::testing::{Case, Expect};

const CODE: &str = "gpu.row-remap-failed";

/// The check.
pub const CHECK: Check = Check {
    code: CODE,
    mode: Mode::Enforce,
    window: Window::none("the GPU keeps the failure over resets"),
    basis: Basis::State,
    doc: module_doc!("gpu_row_remap_failed.rs"),
    evaluate,
    #[cfg(test)]
    cases: CASES,
};

fn evaluate(context: &Context<'_>) -> Outcome {
    each_gpu(context, |part, gpu, outcome| {
        let (short, expected) = (part.short(), expects_memory_health(gpu));
        let rows = outcome.need(&short, "row remapping", &gpu.remapped_rows, expected);
        let set = rows.and_then(|rows| {
            outcome.need(&short, "row remapping failure", &rows.failure, expected)
        });
        if set != Some(&true) {
            return;
        }
        let name = part.name();
        outcome.find(
            Draft::critical(
                CODE,
                part.component(ComponentKind::Gpu),
                format!("{name} could not replace a bad row of its memory: no spare row is left"),
            )
            .clears(Clears::PartReplaced)
            .evidence(Evidence::value("row_remap_failure", true).limit(false, "NVML"))
            .opt_in(
                RemedyAction::ResetGpu,
                format!("Let running work end, then reset {name} and look again"),
            )
            .human(RemedyAction::ReplacePart, format!("Replace {name}")),
        );
    })
}

#[cfg(test)]
fn rows(node: &mut crate::testing::Node) -> &mut cupel_model::snapshot::GpuRemappedRows {
    use cupel_model::Reading;
    match &mut node.gpu(6).remapped_rows {
        Reading::Value(rows) => rows,
        Reading::Absent(why) | Reading::Unsupported(why) | Reading::Failed(why) => panic!("{why}"),
    }
}

#[cfg(test)]
const CASES: &[Case] = &[
    Case {
        name: "none",
        expect: Expect::Pass,
        change: |_| {},
    },
    Case {
        name: "set",
        expect: Expect::Fail,
        change: |node| rows(node).failure = true.into(),
    },
    Case {
        name: "does not tell",
        expect: Expect::Unknown,
        change: |node| rows(node).failure = cupel_model::Reading::failed("timed out"),
    },
    Case {
        name: "not offered where it must be",
        expect: Expect::Unknown,
        change: |node| {
            node.gpu(6).remapped_rows = cupel_model::Reading::unsupported("no such symbol");
        },
    },
    Case {
        name: "not offered with MIG on",
        expect: Expect::Pass,
        change: |node| {
            node.gpu(6).identity.mig_mode = true.into();
            node.gpu(6).remapped_rows = cupel_model::Reading::unsupported("MIG");
        },
    },
    Case {
        name: "GPUs without row remapping",
        expect: Expect::Skip,
        change: |node| {
            for gpu in &mut node.snapshot.gpus {
                gpu.identity.name = "NVIDIA L40S".to_owned().into();
                gpu.remapped_rows = cupel_model::Reading::unsupported("not offered");
            }
        },
    },
];
