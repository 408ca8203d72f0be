//! The inventory: what every node told, kept, judged for silence, and shown.

pub mod pages;
