//! The types whose products are measured.

use cupel_model::worker_burnin::Element;

/// Products of one type, and what they are called.
pub struct Product {
    /// The type.
    pub element: Element,
    /// For the peer.
    pub what: &'static str,
    /// In the table.
    pub name: &'static str,
    /// The step with random operands.
    pub random: &'static str,
    /// And with exact ones.
    pub exact: &'static str,
}

impl Product {
    /// Of a type.
    pub const fn of(element: Element) -> Self {
        let (what, name, random, exact) = match element {
            Element::Bf16 => (
                "bf16",
                "TFLOP/s of bf16 products, 8192^3",
                "bf16 products, random",
                "bf16 products, exact",
            ),
            Element::Fp8 => (
                "fp8",
                "TFLOP/s of fp8 products, 8192^3",
                "fp8 products, random",
                "fp8 products, exact",
            ),
            Element::Fp32 => (
                "fp32",
                "TFLOP/s of fp32 products, 8192^3, no tensor core",
                "fp32 products, random",
                "fp32 products, exact",
            ),
            Element::Fp64 => (
                "fp64",
                "TFLOP/s of fp64 products, 8192^3; PyTorch uses tensor cores",
                "fp64 products, random",
                "fp64 products, exact",
            ),
        };
        Self {
            element,
            what,
            name,
            random,
            exact,
        }
    }
}
