//! Whole servers in a box: Debian with systemd, booted in QEMU, for what a directory tree cannot
//! play: units, power cuts, real device files.
//!
//! # Invariants
//! - What runs in a machine are the built programs, unchanged, driven by the documented commands.
//! - Nothing listens beyond the host's loopback; everything written is in a directory that goes, or
//!   in the cache of images.
//! - A host that cannot do it is told why, and nothing fails.

mod authority;
pub mod host;
mod image;
mod machine;
mod release;
pub mod scenarios;
mod wire;

pub use image::{Image, Prepared, prepare};
pub use machine::{Drive, Hardware, Machine, Ran, Started};
pub use release::{Release, Releases, Wrong};
