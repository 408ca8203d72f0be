//! A bad row of a GPU's memory waits for a reset to be replaced.
//!
//! # What it checks
//! That the driver reports no pending row remapping. Row remapping exists from Ampere on, on GPUs with
//! HBM; with MIG on it is not reported for the whole GPU, and older or other GPUs have none.
//!
//! # Why it matters
//! The GPU may go on and take new work: the driver keeps off the page. The row is replaced only by a
//! reset, and a GPU that needs one should get it at a convenient time.
//!
//! # Remedy
//! 1. When the running work has ended, reset the GPU.
//!
//! # Sources
//! - NVML, `nvmlDeviceGetRemappedRows`; NVIDIA GPU memory error management, row remapping.
//! - Xid catalogue, XID 63.

use cupel_model::{Clears, ComponentKind, Evidence, Impact, Mode, RemedyAction};

use crate::context::Context;
use crate::doc::module_doc;
use crate::draft::Draft;
use crate::gpu_parts::each_gpu;
use crate::hbm::expects_memory_health;
use crate::outcome::Outcome;
use crate::registry::{Basis, Check, Window};
#[cfg(test)]
use crate::testing::{Case, Expect};

const CODE: &str = "gpu.row-remap-pending";

/// The check.
pub const CHECK: Check = Check {
    code: CODE,
    mode: Mode::Enforce,
    window: Window::none("the GPU keeps it until its next reset"),
    basis: Basis::State,
    doc: module_doc!("gpu_row_remap_pending.rs"),
    evaluate,
    #[cfg(test)]
    cases: CASES,
};

fn evaluate(context: &Context<'_>) -> Outcome {
    each_gpu(context, |part, gpu, outcome| {
        let (short, expected) = (part.short(), expects_memory_health(gpu));
        let rows = outcome.need(&short, "row remapping", &gpu.remapped_rows, expected);
        let set = rows.and_then(|rows| {
            outcome.need(&short, "pending row remapping", &rows.pending, expected)
        });
        if set != Some(&true) {
            return;
        }
        let name = part.name();
        outcome.find(
            Draft::warning(
                CODE,
                part.component(ComponentKind::Gpu),
                format!("{name} has a bad row of memory that the next reset will replace"),
            )
            .impact(Impact::None)
            .clears(Clears::GpuReset)
            .evidence(Evidence::value("row_remap_pending", true).limit(false, "NVML"))
            .opt_in(
                RemedyAction::ResetGpu,
                format!("When the running work has ended, reset {name}"),
            ),
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
        change: |node| rows(node).pending = true.into(),
    },
    Case {
        name: "does not tell",
        expect: Expect::Unknown,
        change: |node| rows(node).pending = cupel_model::Reading::failed("timed out"),
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
