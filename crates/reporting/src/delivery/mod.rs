//! How a report gets to the inventory, and what the answer means.

mod answer;
mod backoff;
mod client;
mod target;
mod token;

pub use answer::{Delivered, Outcome, WantedNews};
pub use backoff::{Backoff, delay};
pub use client::{Delivery, DeliverySettings};
pub use target::DeliveryError;
