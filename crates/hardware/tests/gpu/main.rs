//! GPUs through the real worker and the fake driver: every fault in every function.

mod bench;
mod client;
mod doubt;
mod faults;
mod healthy;
mod keep;
mod lacks;
mod watch;
