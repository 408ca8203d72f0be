//! Arithmetic on every online processor, verified against another processor and against an
//! oracle that computes differently.

mod board;
mod int8;
mod kernel;
mod operands;
mod oracle;
mod soft_float;
mod stage;

pub use kernel::Kernel;
pub(crate) use stage::CpuStage;
