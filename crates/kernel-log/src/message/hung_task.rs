//! Tasks that sleep uninterruptibly for too long: `INFO: task name:pid blocked for more than n
//! seconds.` A driver that hangs in the kernel shows here.

use cupel_model::{EventKind, RemedyAction, Severity};

use super::{Opened, event, process};

pub(super) fn decode(message: &str) -> Option<Opened> {
    let rest = message.strip_prefix("INFO: task ")?;
    let (task, rest) = rest.split_once(" blocked ")?;
    let known =
        rest.starts_with("for more than ") || rest.starts_with("in I/O wait for more than ");
    known.then_some(())?;
    let mut event = event(
        EventKind::HungTask,
        "hung-task",
        Severity::Warning,
        RemedyAction::RunDiagnostic,
    );
    (event.process, event.pid) = process(task);
    Some(event.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_task_is_named() {
        let event = decode("INFO: task nvidia-smi:12345 blocked for more than 120 seconds.")
            .expect("hung")
            .event;
        assert_eq!(
            (event.process.as_deref(), event.pid),
            (Some("nvidia-smi"), Some(12345))
        );
        assert!(decode("INFO: task manager started").is_none());
    }
}
