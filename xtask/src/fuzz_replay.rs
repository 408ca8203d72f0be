//! `cargo xtask fuzz-replay`: every fuzz target's body over its seeds, without a fuzzer.

use crate::workspace::Workspace;

/// The test of `tests/fuzz-bodies`, which is also part of `cargo xtask test`.
pub const REPLAY: &[&str] = &["test", "--locked", "--workspace", "--test", "replay"];

/// Replays on the stable compiler.
pub fn run(workspace: &Workspace) -> anyhow::Result<u8> {
    let mut args = REPLAY.to_vec();
    args.extend(["--", "--nocapture"]);
    Ok(u8::from(!workspace.cargo(&args, &[])?))
}
