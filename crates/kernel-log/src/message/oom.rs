//! Out of memory: who asked, who was killed.
//!
//! A kill is told in lines: the allocation that failed, then (after the kernel's lists) the choice
//! and the victim. The event is the victim's; the lists are not kept.

use cupel_model::{Event, EventKind, RemedyAction, Severity};

use super::{Accept, Opened, Thread, event};

/// A kill that goes on until its victim is named.
#[derive(Debug)]
pub(crate) struct Report {
    chosen: bool,
}

impl Report {
    pub fn offer(&mut self, event: &mut Event, message: &str) -> Accept {
        if message.contains(INVOKED) {
            return Accept::No;
        }
        if !self.chosen && message.starts_with(CHOSEN) {
            self.chosen = true;
            choice(event, message);
            return Accept::More;
        }
        if killed(event, message) {
            return Accept::Last;
        }
        Accept::No
    }
}

const INVOKED: &str = " invoked oom-killer: ";
const CHOSEN: &str = "oom-kill:";

fn opened(code: &str) -> Event {
    event(
        EventKind::Oom,
        code,
        Severity::Warning,
        RemedyAction::CheckApp,
    )
}

pub(super) fn decode(message: &str) -> Option<Opened> {
    if let Some((name, rest)) = message.split_once(INVOKED) {
        rest.starts_with("gfp_mask=").then_some(())?;
        let mut event = opened("oom.invoked");
        event.process = Some(name.to_owned());
        let thread = Some(Thread::Oom(Report { chosen: false }));
        return Some(Opened { event, thread });
    }
    if message.starts_with(CHOSEN) {
        let mut event = opened("oom.kill");
        choice(&mut event, message);
        let thread = Some(Thread::Oom(Report { chosen: true }));
        return Some(Opened { event, thread });
    }
    if let Some(rest) = message.strip_prefix("oom_reaper: reaped process ") {
        let mut event = event(
            EventKind::Oom,
            "oom.reaped",
            Severity::Info,
            RemedyAction::None,
        );
        victim(&mut event, rest);
        return Some(event.into());
    }
    let mut event = opened("oom.kill");
    killed(&mut event, message).then(|| event.into())
}

/// "oom-kill:constraint=CONSTRAINT_MEMCG,…,task=node,pid=863987,uid=0".
fn choice(event: &mut Event, message: &str) {
    let limited = message.contains("constraint=CONSTRAINT_MEMCG");
    event.code = if limited {
        "oom.cgroup-kill"
    } else {
        "oom.kill"
    }
    .to_owned();
    event.process = None;
    if let Some((_, rest)) = message.split_once(",task=")
        && let Some((task, rest)) = rest.rsplit_once(",pid=")
    {
        event.process = Some(task.to_owned());
        event.pid = rest.split(',').next().and_then(|pid| pid.parse().ok());
    }
}

/// "Out of memory: Killed process 123 (httpd) …", "Memory cgroup out of memory: …".
fn killed(event: &mut Event, message: &str) -> bool {
    let (rest, code) = if let Some(rest) = message.strip_prefix("Memory cgroup out of memory: ") {
        (rest, "oom.cgroup-kill")
    } else if let Some(rest) = message.strip_prefix("Out of memory: ") {
        (rest, "oom.kill")
    } else {
        return false;
    };
    let Some(rest) = rest
        .strip_prefix("Killed process ")
        .or_else(|| rest.strip_prefix("Kill process "))
    else {
        return false;
    };
    event.code = code.to_owned();
    victim(event, rest);
    true
}

/// "123 (httpd) …", or with words between number and name.
fn victim(event: &mut Event, text: &str) {
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    event.pid = text.get(..digits).and_then(|pid| pid.parse().ok());
    if let Some((_, rest)) = text.split_once('(')
        && let Some((name, _)) = rest.split_once(')')
    {
        event.process = Some(name.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn victims() {
        for (message, code, pid, name) in [
            (
                "Out of memory: Killed process 123 (httpd) total-vm:1kB, anon-rss:0kB",
                "oom.kill",
                Some(123),
                Some("httpd"),
            ),
            (
                "Out of memory: Killed process 123, UID 48, (httpd).",
                "oom.kill",
                Some(123),
                Some("httpd"),
            ),
            (
                "Out of memory: Kill process 456 (python) score 50 or sacrifice child",
                "oom.kill",
                Some(456),
                Some("python"),
            ),
            (
                "Memory cgroup out of memory: Killed process 7 (a) total-vm",
                "oom.cgroup-kill",
                Some(7),
                Some("a"),
            ),
            (
                "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),task_memcg=/x,task=node,pid=863987,uid=0",
                "oom.cgroup-kill",
                Some(863_987),
                Some("node"),
            ),
            (
                "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),",
                "oom.cgroup-kill",
                None,
                None,
            ),
            (
                "oom_reaper: reaped process 345646 (vector), now anon-rss:0kB",
                "oom.reaped",
                Some(345_646),
                Some("vector"),
            ),
        ] {
            let event = decode(message).expect(message).event;
            assert_eq!(event.code, code, "{message}");
            assert_eq!(event.pid, pid, "{message}");
            assert_eq!(event.process.as_deref(), name, "{message}");
        }
        assert!(decode("Out of memory: the film").is_none());
    }

    #[test]
    fn one_kill_is_one_event_and_the_victims() {
        let head = "train invoked oom-killer: gfp_mask=0x140cca(GFP_HIGHUSER), order=0";
        let Opened { mut event, thread } = decode(head).expect("invoked");
        let mut thread = thread.expect("goes on");
        let mut offer = |message| thread.offer(&mut event, message);
        assert_eq!(offer("Mem-Info:"), Accept::No);
        assert_eq!(
            offer("oom-kill:constraint=CONSTRAINT_NONE,task=python,pid=9,uid=0"),
            Accept::More
        );
        assert_eq!(
            offer("Out of memory: Killed process 9 (python) total-vm:1kB"),
            Accept::Last
        );
        assert_eq!(
            (event.pid, event.process.as_deref()),
            (Some(9), Some("python"))
        );
        assert_eq!(event.code, "oom.kill");
    }
}
