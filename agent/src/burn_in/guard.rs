//! The guardian of a burn-in: waits for the end of the process that runs it, and finishes its result
//! if that process could not.
//!
//! # Invariants
//! - It does nothing while the burn-in lives, and nothing when the result is finished.
//! - What it writes is incomplete, or a failure that was found before: never a pass.

use std::ffi::OsString;
use std::io::Read;
use std::path::Path;
use std::time::Duration;

use cupel_hardware::guardian::Guardian;

use super::{keep, perform};
use crate::context::Context;
use crate::exit::Exit;
use crate::output::note;
use crate::render::html::burn_in_page;
use crate::state::replace;

/// The hidden command.
pub const COMMAND: &str = "burn-in-guard";

/// How long GPU workers may take to end once their agent is gone, before counters are read.
const WORKERS_END: Duration = Duration::from_secs(2);

/// Starts the guardian of a run whose evidence is in `directory`.
///
/// # Errors
/// The system's.
pub fn start(context: &Context, directory: &Path) -> std::io::Result<Guardian> {
    let mut arguments: Vec<OsString> = vec![COMMAND.into(), directory.into()];
    if !context.root.is_live() {
        arguments.extend(["--root".into(), context.root.path().into()]);
    }
    arguments.extend(["--state-dir".into(), context.state_dir().into()]);
    Guardian::start(&arguments)
}

/// Waits for the end of standard input, then does what is left to do.
///
/// # Errors
/// The result cannot be read or written.
pub fn guard(context: &Context, directory: &Path) -> anyhow::Result<Exit> {
    let mut nothing = Vec::new();
    // An error is an end as well.
    let _ = std::io::stdin().lock().read_to_end(&mut nothing);
    let path = directory.join(keep::RESULT);
    let Ok(result) = keep::load(&path) else {
        return Ok(Exit::Fine);
    };
    if !result.in_progress {
        return Ok(Exit::Fine);
    }
    std::thread::sleep(WORKERS_END);
    let result = result.cut_short("the process that ran it was killed: incomplete");
    let settings = context.settings()?;
    let result = match keep::before(directory) {
        Some(before) => perform::with_counters(context, &settings, result, &before),
        None => result,
    };
    let mut json = serde_json::to_vec(&result)?;
    json.push(b'\n');
    replace(&path, &json)?;
    replace(
        &directory.join(keep::PAGE),
        burn_in_page(&result).as_bytes(),
    )?;
    keep::forget_before(directory);
    note(&format!(
        "the burn-in was killed; what it found so far is in {}",
        path.display()
    ));
    Ok(Exit::Unknown)
}
