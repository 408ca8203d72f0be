//! The kernel log of this boot, decoded and folded.

use cupel_kernel_log::{Decoder, Folder, Options};
use cupel_model::snapshot::Problem;
use cupel_model::{Event, Reading};

use crate::root::Root;
use crate::{clock, kernel, kmsg};

/// Events, how many records the log had, and what belongs to neither.
pub(super) struct Log {
    pub(super) events: Vec<Event>,
    pub(super) records: Reading<u64>,
    pub(super) problems: Vec<Problem>,
}

impl Log {
    /// A log that was not read.
    pub(super) fn unread(records: Reading<u64>) -> Self {
        Self {
            events: Vec::new(),
            records,
            problems: Vec::new(),
        }
    }
}

/// Reads, decodes and folds the log.
pub(super) fn read(root: &Root) -> Log {
    let mut problems = Vec::new();
    let mut problem = |why: String| {
        problems.push(Problem {
            source: "kernel-log".to_owned(),
            why,
        });
    };
    let boot_time = match clock::boot_time(root) {
        Ok(time) => Some(time),
        Err(error) => {
            problem(format!("events have no time: {error}"));
            None
        }
    };
    let (version, _) = kernel::nvidia_driver(root);
    let driver = version.value().and_then(|version| version.parse().ok());
    let mut decoder = Decoder::new(Options {
        driver,
        boot_time,
        ..Options::default()
    });
    let mut folder = Folder::new();
    let summary = kmsg::for_each(root, |record| {
        decoder.feed(record, |event| folder.push(event));
        decoder.feed(b"\n", |event| folder.push(event));
    });
    decoder.finish(|event| folder.push(event));
    let records = match summary {
        Ok(summary) => {
            if summary.lost > 0 {
                problem(format!(
                    "{} records of this boot are no longer in the kernel's buffer",
                    summary.lost
                ));
            }
            Reading::Value(summary.records)
        }
        Err(error) => error.into_reading(),
    };
    Log {
        events: folder.into_events(),
        records,
        problems,
    }
}
