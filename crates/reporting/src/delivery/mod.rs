//! How a report gets to the inventory, and what the answer means.

mod answer;
mod backoff;
mod client;
mod target;
mod token;

pub use answer::{Delivered, Outcome, WantedNews};
pub(crate) use answer::{problem, shown};
pub use backoff::{Backoff, delay};
pub use client::{Credential, Delivery, DeliverySettings};
pub(crate) use client::{Way, certificates, connection, read};
pub use target::DeliveryError;
pub(crate) use target::Target;

/// Whether reports may go to this address.
///
/// # Errors
/// Why not, and what to write instead.
pub fn check_url(url: &str) -> Result<(), DeliveryError> {
    target::Target::parse(url).map(drop)
}
