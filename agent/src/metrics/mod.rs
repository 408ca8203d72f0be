//! What the node and its agent measure, in the Prometheus text format 0.0.4.
//!
//! # Invariants
//! - A family is declared once: name, unit, labels, help and the code that gives its samples stand
//!   side by side in [`families`]. The page for users is made from the same table.
//! - Unknown is left out, never zero, and counted in `cupel_readings_unread`.
//! - A counter whose register stands at its maximum keeps that value and is named by
//!   `cupel_saturated`.
//! - The order is that of the table and of the snapshot; no two samples have the same labels;
//!   whatever text the machine gives is escaped and cut, so that it stays one label.
//! - One pass into one string; nothing is remembered between two scrapes.
//!
//! # What is absent
//! The HTTP server, and every judgement: verdict and findings come in as they are.

mod docs;
mod families;
mod family;
mod number;
mod parts;
mod text;
mod view;

#[cfg(test)]
mod tests;

pub use docs::docs;
pub use view::{DriverEvents, IdentityUse, Own, ProcessUse, Reporting, SourceState, View};

use families::GROUPS;
use parts::Parts;
use text::Sink;

/// Media type of what [`exposition`] gives.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Everything that is known, as one text.
pub fn exposition(view: &View<'_>) -> String {
    let parts = Parts::of(view);
    let mut sink = Sink::new();
    for group in GROUPS {
        for family in group.families {
            sink.family(family, group.source);
            (family.samples)(&parts, &mut sink);
        }
    }
    sink.finish()
}
