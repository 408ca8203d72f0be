//! A GPU has less memory than its kind.
//!
//! # What it checks
//! The framebuffer that the driver reports for each GPU, against the platform's least size. Without
//! a platform nothing says how much there should be, and it is skipped.
//!
//! # Why it matters
//! A GPU that lost part of its memory, or is another model than the others, fails the jobs that
//! were sized for it.
//!
//! # Remedy
//! 1. Let running work end, then reset the GPU and look again.
//! 2. Compare its name and part number with the order; replace the GPU.
//!
//! # Sources
//! - NVML, `nvmlDeviceGetMemoryInfo`; the platform file's memory size.

use cupel_model::{Clears, ComponentKind, Evidence, Mode, RemedyAction};

use crate::context::Context;
use crate::doc::module_doc;
use crate::draft::Draft;
use crate::gpu_parts::each_gpu;
use crate::outcome::Outcome;
use crate::registry::{Basis, Check, Window};
#[cfg(test)]
use crate::testing::{Case, Expect};

const CODE: &str = "gpu.memory-size";

/// The check.
pub const CHECK: Check = Check {
    code: CODE,
    mode: Mode::Enforce,
    window: Window::none("the size does not change while the driver runs"),
    basis: Basis::State,
    doc: module_doc!("gpu_memory_size.rs"),
    evaluate,
    #[cfg(test)]
    cases: CASES,
};

fn evaluate(context: &Context<'_>) -> Outcome {
    let expected = context
        .platform
        .and_then(|platform| platform.gpu.memory_bytes.as_ref());
    let Some(expected) = expected else {
        return Outcome::skipped("no platform says how much memory its GPUs have");
    };
    each_gpu(context, |part, gpu, outcome| {
        let reading = &gpu.memory.total_bytes;
        let total = outcome.need(&part.short(), "framebuffer", reading, true);
        let Some(total) = total.filter(|total| **total < expected.value) else {
            return;
        };
        let name = part.name();
        let text = format!(
            "{name} has {} of memory where this platform's GPUs have {}",
            total.human(),
            expected.value.human()
        );
        outcome.find(
            Draft::critical(CODE, part.component(ComponentKind::Gpu), text)
                .capped(expected)
                .clears(Clears::WhileObserved)
                .evidence(
                    Evidence::value("framebuffer", total.get())
                        .unit("B")
                        .limit(expected.value.get(), expected.source.as_str()),
                )
                .opt_in(
                    RemedyAction::ResetGpu,
                    format!("Let running work end, then reset {name} and look again"),
                )
                .human(
                    RemedyAction::ReplacePart,
                    format!("Compare name and part number with the order; replace {name}"),
                ),
        );
    })
}

#[cfg(test)]
const CASES: &[Case] = &[
    Case {
        name: "all of it",
        expect: Expect::Pass,
        change: |_| {},
    },
    Case {
        name: "a smaller one",
        expect: Expect::Fail,
        change: |node| {
            node.gpu(3).memory.total_bytes = cupel_model::units::Bytes(80_000_000_000).into();
        },
    },
    Case {
        name: "does not tell",
        expect: Expect::Unknown,
        change: |node| node.gpu(3).memory.total_bytes = cupel_model::Reading::failed("crashed"),
    },
    Case {
        name: "no platform",
        expect: Expect::Skip,
        change: |node| node.platform = None,
    },
];
