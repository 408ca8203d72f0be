//! What each fuzz target does with its bytes.
//!
//! # Invariants
//! - One module a target, named as the target, with a function of that name.
//! - A body panics only when a promise is broken: that is the finding.
//!
//! # What is absent
//! No fuzzer: `fuzz/` wraps these in libFuzzer, and this crate's test replays the seeds on a
//! stable compiler.

mod configuration;
mod enrolment;
mod installation;
mod ioctl_replies;
mod kernel_log;
mod platform;
mod smbios;
mod snapshot;
mod sysfs;
mod worker_frames;

pub use configuration::configuration;
pub use enrolment::enrolment;
pub use installation::installation;
pub use ioctl_replies::ioctl_replies;
pub use kernel_log::kernel_log;
pub use platform::platform;
pub use smbios::smbios;
pub use snapshot::snapshot;
pub use sysfs::sysfs;
pub use worker_frames::worker_frames;

/// A target's name and its body.
pub type Target = (&'static str, fn(&[u8]));

/// Every target, by name.
pub const TARGETS: &[Target] = &[
    ("configuration", configuration),
    ("enrolment", enrolment),
    ("installation", installation),
    ("ioctl_replies", ioctl_replies),
    ("kernel_log", kernel_log),
    ("platform", platform),
    ("smbios", smbios),
    ("snapshot", snapshot),
    ("sysfs", sysfs),
    ("worker_frames", worker_frames),
];
