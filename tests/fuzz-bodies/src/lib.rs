//! What each fuzz target does with its bytes.
//!
//! # Invariants
//! - One module a target, named as the target, with a function of that name.
//! - A body panics only when a promise is broken: that is the finding.
//!
//! # What is absent
//! No fuzzer: `fuzz/` wraps these in libFuzzer, and this crate's test replays the seeds on a
//! stable compiler.

/// A target's name and its body.
pub type Target = (&'static str, fn(&[u8]));

/// Every target, by name.
pub const TARGETS: &[Target] = &[];
