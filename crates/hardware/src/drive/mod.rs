//! Whole drives as a burn-in reads and writes them: past the page cache, and written only when
//! nothing on earth seems to use them.
//!
//! # Invariants
//! - A drive is written through [`Unused`] alone, and there is one way to get that: the kernel gave
//!   it to us exclusively, knows of no user, and its content shows no trace of one.
//! - Nothing is written beneath a root other than `/`.

mod direct;
mod kernel;
mod signatures;
mod signs;
mod unused;

pub use direct::{Aligned, Drive, UNIT};
pub use kernel::{DriveName, with_serial};
pub use signs::{ReadAt, Sign, signs_in};
pub use unused::{Refusal, Unused};
