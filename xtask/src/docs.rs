//! `cargo xtask docs`: docs/checks, generated from the text that `cupel explain` shows.

use crate::workspace::Workspace;

/// Writes or checks docs/checks.
pub fn run(workspace: &Workspace, check: bool) -> anyhow::Result<u8> {
    workspace.generated(
        "docs/checks",
        &cupel_health::docs(),
        |name| name.ends_with(".md"),
        check,
        "cargo xtask docs",
    )
}
