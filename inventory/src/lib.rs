//! The inventory: what every node told, kept, judged for silence, and shown.
//!
//! # Invariants
//! - A report is answered with 2xx after it is on the disk, and stored once however often it comes.
//! - SQL is in [`store`] alone, HTTP in `web`, HTML in [`pages`]; what follows from what is in
//!   [`derive`] and [`boots`], which are pure.
//! - Every route is in one table, from which the router and the API's description are made.
//!
//! # What is absent
//! Nothing here reaches into a node: nodes report, and take their wishes from the answer.

pub mod auth;
pub mod authority;
pub mod boots;
pub mod cli;
pub mod clock;
pub mod derive;
pub mod expected;
pub mod ingest;
pub mod name;
pub mod pages;
pub mod record;
pub mod store;
pub mod web;
