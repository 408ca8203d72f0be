//! `cupel run` as a program on a simulated node: what it does over time, what it is asked, and how
//! it ends.
//!
//! `CUPEL_REPEATS` above 10 asks for the long counts (`cargo xtask soak`).

mod disk;
mod end;
mod faults;
mod findings;
mod hook;
mod journal;
mod log;
mod node;
#[path = "../chaos/disk.rs"]
mod small_disk;
mod sources;
mod start;
mod storm;
