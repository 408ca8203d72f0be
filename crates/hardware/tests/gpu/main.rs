//! GPUs through the real worker and the fake driver: every fault in every function.

mod bench;
mod client;
mod faults;
mod healthy;
mod lacks;
mod watch;
