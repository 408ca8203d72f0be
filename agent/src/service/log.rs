//! The kernel log and the journal, followed on threads of their own.

use std::thread;
use std::time::Duration;

use cupel_hardware::journal::{self, Followed};
use cupel_hardware::kmsg::{self, Batch, EventLog};
use cupel_hardware::{ReadError, Root};
use cupel_model::Reading;

use super::input::{Input, Inputs, Places};

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
    let restarted = after.is_some_and(|after| is_another_log(root, after));
    if restarted {
        *after = None;
    }
    let mut log = EventLog::open(root, *after)?;
    // A log without a word is readable all the same.
    let opened = Batch {
        cursor: *after,
        restarted,
        ..Batch::default()
    };
    if !inputs.put(Input::Log(opened, None)) {
        return Ok(());
    }
    let places = Places::default();
    loop {
        let batch = folded(log.next(Some(WAIT))?);
        *after = batch.cursor;
        let empty = batch.records == 0 && batch.events.is_empty() && !batch.restarted;
        if !empty && !inputs.put(Input::Log(batch, Some(places.take()))) {
            return Ok(());
        }
    }
}

/// The same with events that are alike as one: a storm is small before it waits anywhere.
fn folded(mut batch: Batch) -> Batch {
    let first = batch.events.first().map_or(0, |(sequence, _)| *sequence);
    let events = cupel_kernel_log::fold(batch.events.into_iter().map(|(_, event)| event));
    batch.events = events.into_iter().map(|event| (first, event)).collect();
    batch
}

/// Whether the log ends before the record that was handled last: then it is another one. A kernel's
/// own never does that within a boot; a file that stands for one may.
fn is_another_log(root: &Root, after: u64) -> bool {
    if root.is_live() {
        return false;
    }
    let mut last = None;
    let read = kmsg::for_each(root, |record| {
        // `PRIORITY,SEQUENCE,…`
        let mut fields = record.split(|byte| *byte == b',');
        let number = fields
            .nth(1)
            .and_then(|field| std::str::from_utf8(field).ok());
        last = number
            .and_then(|number| number.parse::<u64>().ok())
            .max(last);
    });
    read.is_ok() && last.is_none_or(|last| last < after)
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
