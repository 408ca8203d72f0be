//! How fast: the log decoder, and `cupel check` of a simulated node.

use crate::process;
use crate::workspace::Workspace;

use super::Outcome;

/// The criterion benchmark of the decoder; its throughput lines are the figures.
pub fn decode(workspace: &Workspace) -> anyhow::Result<(Outcome, String)> {
    let args = ["bench", "--locked", "-p", "cupel-kernel-log", "--bench", "decode"];
    let output = process::output(&process::cargo(), &args, &[], &workspace.root)?;
    let text = String::from_utf8_lossy(&output.stdout);
    let figures: Vec<_> = text.lines().filter(|line| line.contains("thrpt:")).map(str::trim).collect();
    if output.status.success() && !figures.is_empty() {
        Ok((Outcome::Passed, figures.join("; ")))
    } else {
        Ok((Outcome::Failed, "the benchmark gave no throughput".to_owned()))
    }
}
