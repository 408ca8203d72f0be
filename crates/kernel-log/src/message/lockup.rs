//! Processors that do not get on: soft and hard lockups, RCU stalls, stuck work queues.

use cupel_model::EventKind;
use cupel_model::RemedyAction::{RebootNode, RunDiagnostic};
use cupel_model::Severity::{Critical, Warning};

use super::{Opened, event, process};

pub(super) fn decode(message: &str) -> Option<Opened> {
    let text = message.strip_prefix("NMI ").unwrap_or(message);
    let text = text.strip_prefix("watchdog: ").unwrap_or(text);
    let (code, severity, action) = if text.starts_with("BUG: soft lockup - CPU#") {
        ("lockup.soft", Critical, RebootNode)
    } else if text.starts_with("Watchdog detected hard LOCKUP")
        || text.starts_with("BUG: hard lockup")
    {
        ("lockup.hard", Critical, RebootNode)
    } else if text.starts_with("BUG: workqueue lockup") {
        ("lockup.workqueue", Warning, RunDiagnostic)
    } else if stall(text) {
        ("lockup.rcu-stall", Warning, RunDiagnostic)
    } else {
        return None;
    };
    let mut event = event(EventKind::Lockup, code, severity, action);
    if let Some((_, victim)) = text.rsplit_once(" [")
        && code == "lockup.soft"
    {
        (event.process, event.pid) = process(victim.trim_end().trim_end_matches(']'));
    }
    Some(event.into())
}

fn stall(text: &str) -> bool {
    let text = text.strip_prefix("rcu: ").unwrap_or(text);
    let Some(text) = text.strip_prefix("INFO: rcu") else {
        return false;
    };
    text.contains("self-detected stall")
        || text.contains("detected stalls")
        || text.contains("detected expedited stalls")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes() {
        for (message, code) in [
            (
                "watchdog: BUG: soft lockup - CPU#12 stuck for 22s! [kworker/12:1:345]",
                Some("lockup.soft"),
            ),
            (
                "NMI watchdog: BUG: soft lockup - CPU#12 stuck for 22s! [nv_queue:345]",
                Some("lockup.soft"),
            ),
            (
                "BUG: soft lockup - CPU#1 stuck for 67s! [x:1]",
                Some("lockup.soft"),
            ),
            (
                "NMI watchdog: Watchdog detected hard LOCKUP on cpu 0",
                Some("lockup.hard"),
            ),
            (
                "watchdog: Watchdog detected hard LOCKUP on cpu 3",
                Some("lockup.hard"),
            ),
            (
                "rcu: INFO: rcu_sched self-detected stall on CPU",
                Some("lockup.rcu-stall"),
            ),
            (
                "rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:",
                Some("lockup.rcu-stall"),
            ),
            (
                "INFO: rcu_sched detected stalls on CPUs/tasks:",
                Some("lockup.rcu-stall"),
            ),
            ("watchdog: Delayed init of the lockup detector", None),
        ] {
            let got = decode(message).map(|opened| opened.event.code);
            assert_eq!(got.as_deref(), code, "{message}");
        }
        let event = decode("watchdog: BUG: soft lockup - CPU#12 stuck for 22s! [kworker/12:1:345]")
            .expect("soft")
            .event;
        assert_eq!(
            (event.process.as_deref(), event.pid),
            (Some("kworker/12:1"), Some(345))
        );
    }
}
