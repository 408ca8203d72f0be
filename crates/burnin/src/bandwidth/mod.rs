//! How fast memory is: copies, reads and fills of arrays far larger than the caches, by NUMA node.

mod arrays;
mod stage;

pub(crate) use stage::BandwidthStage;
