//! Booted machines: the scenarios that take long.

use cupel_machines::Prepared;
use cupel_machines::scenarios::{ALL, Bench, Outcome as Came};

use super::{Outcome, Soak};
use crate::workspace::Workspace;

/// Runs each as a job of its own, so that an interrupted soak goes on with the next.
pub fn run(workspace: &Workspace, soak: &mut Soak<'_>) -> anyhow::Result<()> {
    crate::e2e::build(workspace)?;
    let bench = match Bench::new()? {
        Prepared::Ready(bench) => Ok(bench),
        Prepared::Skipped(why) => Err(why),
    };
    for scenario in ALL.iter().filter(|scenario| !scenario.short) {
        soak.take(&format!("machines {}", scenario.name), || {
            let bench = match &bench {
                Ok(bench) => bench,
                Err(why) => return Ok((Outcome::NotRun, why.clone())),
            };
            Ok(match scenario.run(bench).0 {
                Came::Passed(figures) => (Outcome::Passed, figures),
                Came::Failed(why) => (Outcome::Failed, why),
                Came::Skipped(why) => (Outcome::NotRun, why),
            })
        })?;
    }
    Ok(())
}
