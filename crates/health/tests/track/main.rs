//! The life of findings over time, step by step and for any sequence of steps.

mod clearing;
mod identity;
mod life;
mod properties;
mod stage;
