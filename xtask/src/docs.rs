//! `cargo xtask docs`: docs/checks and the journal's catalogue, generated from the text that
//! `cupel explain` shows, and docs/metrics.md, generated from the table that the metrics are made
//! from.

use crate::workspace::Workspace;

/// Writes or checks docs/checks, systemd/cupel.catalog and docs/metrics.md.
pub fn run(workspace: &Workspace, check: bool) -> anyhow::Result<u8> {
    let again = "cargo xtask docs";
    let checks = workspace.generated(
        "docs/checks",
        &cupel_health::docs(),
        |name| name.ends_with(".md"),
        check,
        again,
    )?;
    let page = [("metrics.md".to_owned(), cupel_agent::metrics::docs())];
    let metrics = workspace.generated("docs", &page, |_| false, check, again)?;
    let catalog = [("cupel.catalog".to_owned(), cupel_agent::catalog::text())];
    let catalog = workspace.generated("systemd", &catalog, |_| false, check, again)?;
    Ok(checks.max(metrics).max(catalog))
}
