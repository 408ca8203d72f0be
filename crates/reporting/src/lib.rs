//! What a node remembers over restarts, and what it has yet to tell the inventory.
//!
//! [`Outbox`] keeps state and unsent reports in one SQLite file; [`Delivery`] posts one report and
//! says what came of it; [`Backoff`] says how long to wait after a failure. [`IdentityDirectory`]
//! keeps what the inventory knows the node by. The service joins them:
//!
//! ```text
//! Outbox::next -> Delivery::post -> Delivered -> Outbox::acknowledge
//!                                   Refused   -> Outbox::refuse
//!                                   Later     -> wait Backoff::after, then Outbox::next again
//! ```
//!
//! # Invariants
//! - What belongs together is kept together: findings, events, cursor and the reports about them
//!   are one transaction.
//! - A report leaves the spool in three ways: an answer named it, the inventory refused it for
//!   good, or it was dropped for lack of space; the last two are counted and told.
//! - A disk that is full, read-only or broken stops nothing: the outbox goes on in memory, says so,
//!   and writes everything down once it can.
//! - A token goes only over TLS, or to this machine itself.
//!
//! # What is absent
//! When a report is made and what stands in it; what is done about the wishes of the inventory.

mod delivery;
mod fetch;
mod identity;
mod store;

pub use delivery::{
    Backoff, Credential, Delivered, Delivery, DeliveryError, DeliverySettings, Outcome, WantedNews,
    check_url, delay,
};
pub use fetch::{FetchError, fetch};
pub use identity::{
    EnrolError, IdentityDirectory, IdentityDocument, IdentityError, Key, KeyError, KeyFile, Lock,
    NodeIdentity, ParseError, enrol, is_same_authority, is_same_inventory, parse_join, renew,
};
pub use store::{
    Change, Class, CommitError, Committed, EventRow, KernelCursor, Limits, OpenError, Opened,
    Outbox, RefusedReport, Remembered, SetAside, Spooled, StartsAt, State, Stats, WantedDocument,
};
