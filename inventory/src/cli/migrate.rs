//! `cupel-inventory migrate`.

use serde::Serialize;

use super::exit::Exit;
use super::output::{self, Format};
use super::{GlobalArgs, refused};
use crate::clock::Clock;
use crate::store::{Options, Store};

/// Options of `migrate`.
#[derive(Debug, clap::Args)]
pub struct Args {}

#[derive(Serialize)]
struct Migrated {
    before: i64,
    now: i64,
}

/// Brings the database to this version's schema.
pub async fn run(_: &Args, global: &GlobalArgs) -> anyhow::Result<Exit> {
    let options = Options {
        data: global.data.clone(),
        clock: Clock::system(),
        migrate: true,
    };
    let (store, opened) = Store::open(&options).await.map_err(refused)?;
    store.close().await;
    match global.output {
        Format::Json => output::json(&Migrated {
            before: opened.before,
            now: opened.now,
        })?,
        Format::Text if opened.before == opened.now => {
            output::line(&format!("schema {}: nothing to do", opened.now))?;
        }
        Format::Text => output::line(&format!("schema {} -> {}", opened.before, opened.now))?,
    }
    Ok(Exit::Fine)
}
