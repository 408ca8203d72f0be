//! How a report gets to the inventory, and what the answer means.

mod answer;
mod backoff;
mod client;
mod target;
mod token;

pub use answer::{Delivered, Outcome, WantedNews};
pub use backoff::{Backoff, delay};
pub(crate) use client::certificates;
pub use client::{Delivery, DeliverySettings};
pub use target::DeliveryError;

/// Whether reports may go to this address.
///
/// # Errors
/// Why not, and what to write instead.
pub fn check_url(url: &str) -> Result<(), DeliveryError> {
    target::Target::parse(url).map(drop)
}
