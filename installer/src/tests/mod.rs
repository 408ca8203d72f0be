//! Installations on temporary directories, with a systemd that is played.

mod plans;
mod played;
mod power;
mod releases;
mod upgrades;
