//! Installations on temporary directories, with a systemd that is played.

mod plans;
mod played;
mod power;
mod releases;
mod upgrades;

/// A program, as far as its bytes go, for the processors that this runs on.
pub fn program_of_this_machine() -> Vec<u8> {
    let machine = match crate::Architecture::of_this_program().expect("architecture") {
        crate::Architecture::X86_64 => 62,
        crate::Architecture::Aarch64 => 183,
    };
    played::program("9.0.0", played::Behaviour::Good, machine)
}
