//! A GPU driver library made of a file: every answer, error, hang and crash is an option.
//!
//! The cdylib stands in for `libnvidia-ml.so.1` and for `libcuda.so.1` ([`cuda`]), with the C
//! signatures of their headers; the rlib
//! writes its answer book ([`state::State`]) and takes symbols out of copies of the cdylib
//! ([`patch_out_symbol`]).
//!
//! # Invariants
//! - It answers from the book alone: no device, no driver, no environment variable.
//! - What a real library would do with a null pointer, a wrong version of a structure, a short
//!   buffer or a call before initialising, it does too.
//!
//! # What is absent
//! Whatever Cupel does not ask for: setting anything, MIG instances, vGPU.
#![expect(
    unsafe_code,
    reason = "C functions that write through their caller's pointers; each block says why it is sound"
)]

mod book;
mod cuda;
mod elf;
mod exports;
mod fault;
pub mod models;
pub mod state;

pub use cuda::{kernel_layout, kernel_pattern};
pub use elf::{PatchError, patch_out_symbol};
