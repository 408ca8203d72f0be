//! A storm of faults whose every event is counted, and the world that it must survive.

pub mod disk;
pub mod proxy;
pub mod random;
pub mod storm;
pub mod world;
