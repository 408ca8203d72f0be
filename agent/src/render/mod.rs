//! Snapshots and reports as text for people and as pages.
//!
//! # Invariants
//! - What could not be read is shown as such, never as an empty cell or a zero.
//! - Text fits [`COLUMNS`](crate::cli::COLUMNS) columns and means the same without colour.
//! - Text from the machine passes through [`printable`](crate::output::printable).

pub mod check;
pub mod event;
pub mod html;
pub mod inventory;
pub mod plot;
pub mod status;
pub mod table;
pub mod words;

#[cfg(test)]
mod tests;
