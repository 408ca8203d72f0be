//! The kernel log and the journal, followed on threads of their own.

use std::thread;
use std::time::Duration;

use cupel_hardware::journal::{self, Followed};
use cupel_hardware::kmsg::EventLog;
use cupel_hardware::{ReadError, Root};
use cupel_model::Reading;

use super::input::{Input, Inputs};

/// How long to wait before a log that cannot be read is tried again.
const RETRY: Duration = Duration::from_secs(60);

/// How long a batch may be waited for: what has come by then is handed on.
const WAIT: Duration = Duration::from_secs(3600);

/// Follows the kernel log after the cursor that was stored in this boot, if one was.
///
/// # Errors
/// The system gives no thread.
pub fn follow(root: &Root, after: Option<u64>, inputs: &Inputs) -> std::io::Result<()> {
    let (root, inputs) = (root.clone(), inputs.clone());
    thread::Builder::new()
        .name("kernel-log".to_owned())
        .spawn(move || {
            let mut after = after;
            loop {
                let error = match one_log(&root, &mut after, &inputs) {
                    Ok(()) => return,
                    Err(error) => error,
                };
                if !inputs.put(Input::LogUnreadable(error.into_reading())) {
                    return;
                }
                thread::sleep(RETRY);
            }
        })?;
    Ok(())
}

/// Follows one log until the engine is gone.
fn one_log(root: &Root, after: &mut Option<u64>, inputs: &Inputs) -> Result<(), ReadError> {
    let mut log = EventLog::open(root, *after)?;
    // A log without a word is readable all the same.
    if !inputs.put(Input::Log(cupel_hardware::kmsg::Batch {
        cursor: *after,
        ..Default::default()
    })) {
        return Ok(());
    }
    loop {
        let batch = log.next(Some(WAIT))?;
        *after = batch.cursor;
        let empty = batch.records == 0 && batch.events.is_empty() && !batch.restarted;
        if !empty && !inputs.put(Input::Log(batch)) {
            return Ok(());
        }
    }
}

/// Reads what the journal has of earlier boots that was neither told before nor followed while they
/// lasted.
///
/// # Errors
/// The system gives no thread.
pub fn earlier_boots(
    root: &Root,
    boot: String,
    after: Option<String>,
    followed: Vec<Followed>,
    inputs: &Inputs,
) -> std::io::Result<()> {
    let (root, inputs) = (root.clone(), inputs.clone());
    thread::Builder::new()
        .name("earlier-boots".to_owned())
        .spawn(move || {
            let mut after = after;
            loop {
                let told = journal::earlier_boots_since(&root, &boot, after.as_deref(), &followed);
                let more = match &told {
                    Reading::Value(boots) => {
                        after.clone_from(&boots.cursor);
                        boots.more
                    }
                    Reading::Absent(_) | Reading::Unsupported(_) | Reading::Failed(_) => false,
                };
                if !inputs.put(Input::EarlierBoots(told)) || !more {
                    return;
                }
            }
        })?;
    Ok(())
}
