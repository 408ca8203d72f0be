//! Tests of what the service sees of this crate: files, a real server, a real full disk, kill -9.

mod damage;
mod delivery;
mod disk_full;
mod identity;
mod identity_kill;
mod kept;
mod kill;
mod proxy;
mod support;
mod tls;
