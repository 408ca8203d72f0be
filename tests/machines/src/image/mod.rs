//! The disk that every machine boots from: built once, kept outside the checkout.
//!
//! # Invariants
//! - An image is known by a hash of all that went into it: another recipe is another image.
//! - What is under its final name is complete: it is built beside it and renamed.
//! - A host that cannot build one is a [`Prepared::Skipped`] that says why, never an error; a recipe
//!   that does not work is an error.

mod build;
mod recipe;
mod tools;

pub use build::prepare;
pub use tools::installed;

use std::path::PathBuf;

/// A thing, or why this host cannot have it.
#[derive(Debug)]
pub enum Prepared<T> {
    /// Here it is.
    Ready(T),
    /// Why not.
    Skipped(String),
}

/// What machines boot from.
#[derive(Clone, Debug)]
pub struct Image {
    directory: PathBuf,
}

impl Image {
    /// The kernel.
    pub fn kernel(&self) -> PathBuf {
        self.directory.join("vmlinuz")
    }

    /// The initial file system.
    pub fn start(&self) -> PathBuf {
        self.directory.join("start.img")
    }

    /// The root file system, which machines only read.
    pub fn root(&self) -> PathBuf {
        self.directory.join("root.img")
    }
}
