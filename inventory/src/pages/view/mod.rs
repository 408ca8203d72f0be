//! What the pages show: plain values, filled from the store by whoever serves them.
//!
//! # Invariants
//! - No clock and no query here: "now" is a field, lists come sorted as their comment says.
//! - What is not known is `None`, never an empty text or 0; the pages write it as a word.
//! - Texts are as the machine told them: the pages make them harmless.
//!
//! # What is absent
//! Numbers that can be counted from the rest.

mod fleet;
mod line;
mod node;
mod other;

pub use fleet::{
    Capacity, CodeCount, Counts, Fleet, FleetCapacity, FleetQuery, Rack, RackCounts, Show,
};
pub use line::{Expectation, FindingLine, Mismatch, NodeLine, Place, RackPlace, Standing};
pub use node::{Identity, Node, NodePart, Record, StandingChange, Upgrade, VitalsAt, Worth};
pub use other::{Login, LoginError, Part, PartFinding, PartLine, PartStay, Problem, Search};

use cupel_model::Timestamp;

/// What every page needs.
#[derive(Clone, Debug)]
pub struct Context {
    /// The server's time when the page is made: ages are told from it.
    pub now: Timestamp,
    /// Version of the inventory.
    pub version: String,
    /// Name of the token that the reader signed in with; `None` where nobody is signed in.
    pub signed_in: Option<String>,
}
