//! A GPU driver library made of a file: every answer, error, hang and crash is an option.
//!
//! The cdylib stands in for `libnvidia-ml.so.1`; the rlib writes its answer book
//! ([`state::State`]).

pub mod models;
pub mod state;
