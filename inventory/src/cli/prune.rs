//! `cupel-inventory prune`.

use super::exit::Exit;
use super::output::{self, Format};
use super::retention::RetentionArgs;
use super::{GlobalArgs, open};

/// Options of `prune`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    retention: RetentionArgs,
}

/// Forgets what is old.
pub async fn run(args: &Args, global: &GlobalArgs) -> anyhow::Result<Exit> {
    let store = open(global).await?;
    store.retain(args.retention.retention());
    let pruned = store.prune().await?;
    let counts = [
        ("reports", pruned.reports),
        ("samples", pruned.samples),
        ("snapshots", pruned.snapshots),
        ("history", pruned.history),
        ("changes", pruned.changes),
    ];
    match global.output {
        Format::Text => {
            for (what, count) in counts {
                output::line(&format!("{what:<10} {count}"))?;
            }
        }
        Format::Json => {
            let map: serde_json::Map<_, _> = counts
                .into_iter()
                .map(|(what, count)| (what.to_owned(), count.into()))
                .collect();
            output::json(&map)?;
        }
    }
    Ok(Exit::Fine)
}
