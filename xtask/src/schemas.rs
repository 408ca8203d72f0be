//! `cargo xtask schemas`: the JSON Schemas of what Cupel writes and reads.

use schemars::{JsonSchema, schema_for};

use crate::workspace::Workspace;

/// Writes or checks docs/schemas.
pub fn run(workspace: &Workspace, check: bool) -> anyhow::Result<u8> {
    workspace.generated(
        "docs/schemas",
        &all()?,
        |name| name.ends_with(".json"),
        check,
        "cargo xtask schemas",
    )
}

/// File names and their text.
fn all() -> anyhow::Result<Vec<(String, String)>> {
    Ok(vec![
        file::<cupel_agent::bringup::BringupReport>("bringup")?,
        file::<cupel_burnin::BurnInResult>("burn-in")?,
        file::<cupel_agent::burn_in::compare::Comparison>("burn-in-comparison")?,
        file::<cupel_model::CheckReport>("check-report")?,
        file::<cupel_model::Event>("event")?,
        file::<cupel_model::Platform>("platform")?,
        file::<cupel_model::Snapshot>("snapshot")?,
        file::<cupel_agent::status::Status>("status")?,
    ])
}

fn file<T: JsonSchema>(name: &str) -> anyhow::Result<(String, String)> {
    let schema = serde_json::to_string_pretty(&schema_for!(T))?;
    Ok((format!("{name}.schema.json"), schema + "\n"))
}
