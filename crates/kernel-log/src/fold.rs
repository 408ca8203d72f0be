//! Folding: a fault that repeats becomes one event with a count, its first and its last time.
//!
//! # Invariants
//! - One event for each source, kind, address, code and text, in the order of their first
//!   appearance; a text that a program wrote never raises the count of one that the kernel wrote.
//! - Nothing is lost: the counts add up to what came in.
//! - Memory is bounded: beyond [`Folder::LIMIT`] texts, new ones fold into one event for each
//!   source, kind, address and code; beyond as many of these, into one for each source and kind.
//! - Such an event has the raw text of its first, no pid and no process, and what its texts do not
//!   agree on is none; its severity and action are those of the worst. Where the codes differ it
//!   is named for all of them: `xid.several`.

use std::collections::HashMap;

use cupel_model::{Event, EventKind, LogSource, PciAddress, Timestamp};

#[derive(PartialEq, Eq, Hash)]
enum Key {
    Text(LogSource, EventKind, Option<PciAddress>, String, String),
    Code(LogSource, EventKind, Option<PciAddress>, String),
    Kind(LogSource, EventKind),
}

/// Folds a stream of events.
#[derive(Default)]
pub struct Folder {
    index: HashMap<Key, usize>,
    events: Vec<Event>,
}

impl Folder {
    /// Texts, and then codes, that are told apart.
    pub const LIMIT: usize = 4096;

    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes one event in; an event that was folded before counts with its repeats.
    pub fn push(&mut self, event: Event) {
        let by_text = Key::Text(
            event.source,
            event.kind,
            event.pci,
            event.code.clone(),
            event.raw.clone(),
        );
        if self.merged(&by_text, &event) {
            return;
        }
        let by_code = || Key::Code(event.source, event.kind, event.pci, event.code.clone());
        let key = if self.index.len() < Self::LIMIT {
            by_text
        } else if self.merged(&by_code(), &event) {
            return;
        } else if self.index.len() < 2 * Self::LIMIT {
            by_code()
        } else {
            Key::Kind(event.source, event.kind)
        };
        if self.merged(&key, &event) {
            return;
        }
        let one_text = matches!(key, Key::Text(..));
        self.index.insert(key, self.events.len());
        self.events.push(Event {
            pid: event.pid.filter(|_| one_text),
            process: event.process.filter(|_| one_text),
            first: event.first.or(event.time),
            last: event.last.or(event.time),
            ..event
        });
    }

    /// Merges into the event of that key, if there is one.
    fn merged(&mut self, key: &Key, event: &Event) -> bool {
        let known = self.index.get(key).and_then(|i| self.events.get_mut(*i));
        let found = known.is_some();
        if let Some(known) = known {
            match key {
                Key::Text(..) => {}
                Key::Code(..) | Key::Kind(..) => agree(known, event),
            }
            merge(known, event);
        }
        found
    }

    /// The events folded so far, in the order of their first appearance.
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// The folded events, in the order of their first appearance.
    pub fn into_events(self) -> Vec<Event> {
        self.events
    }
}

impl Extend<Event> for Folder {
    fn extend<T: IntoIterator<Item = Event>>(&mut self, events: T) {
        for event in events {
            self.push(event);
        }
    }
}

/// Folds a list of events.
pub fn fold(events: impl IntoIterator<Item = Event>) -> Vec<Event> {
    let mut folder = Folder::new();
    folder.extend(events);
    folder.into_events()
}

fn merge(known: &mut Event, event: &Event) {
    known.repeats = known.repeats.saturating_add(event.repeats);
    // Minimum and maximum of what is known: clocks step back, and files are joined in any order.
    known.first = earlier(known.first, event.first.or(event.time));
    known.last = known.last.max(event.last.or(event.time));
    known.time = earlier(known.time, event.time);
}

/// Leaves of `known` only what is true of `event` too.
fn agree(known: &mut Event, event: &Event) {
    fn keep<T: PartialEq>(known: &mut Option<T>, other: &Option<T>) {
        if known != other {
            *known = None;
        }
    }
    keep(&mut known.pci, &event.pci);
    keep(&mut known.mig, &event.mig);
    keep(&mut known.xid, &event.xid);
    keep(&mut known.sxid, &event.sxid);
    keep(&mut known.mnemonic, &event.mnemonic);
    keep(&mut known.nvidia, &event.nvidia);
    keep(&mut known.nvlink5, &event.nvlink5);
    if known.code != event.code {
        let group = known.code.split('.').next().unwrap_or_default();
        known.code = format!("{group}.several");
    }
    if event.severity > known.severity {
        (known.severity, known.action) = (event.severity, event.action);
    }
}

fn earlier(a: Option<Timestamp>, b: Option<Timestamp>) -> Option<Timestamp> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Options, decode_all};

    fn events(log: &str) -> Vec<Event> {
        decode_all(log.as_bytes(), Options::default()).0
    }

    #[test]
    fn repeats_become_a_count() {
        let log = "2025-01-21T04:41:45,000000+00:00 NVRM: Xid (PCI:0000:38:00): 95, x\n\
                   2025-01-21T04:41:44,000000+00:00 NVRM: Xid (PCI:0000:38:00): 95, x\n\
                   2025-01-21T04:41:46,000000+00:00 NVRM: Xid (PCI:0000:38:00): 95, y\n\
                   2025-01-21T04:41:47,000000+00:00 NVRM: Xid (PCI:0000:39:00): 95, x\n\
                   2025-01-21T04:41:48,000000+00:00 NVRM: Xid (PCI:0000:38:00): 95, x\n";
        let folded = fold(events(log));
        let repeats: Vec<u64> = folded.iter().map(|e| e.repeats).collect();
        assert_eq!(repeats, [3, 1, 1]);
        let first = folded.first().expect("one");
        assert_eq!(
            first.first.expect("time").to_string(),
            "2025-01-21T04:41:44.000000Z"
        );
        assert_eq!(
            first.last.expect("time").to_string(),
            "2025-01-21T04:41:48.000000Z"
        );
        assert_eq!(fold(folded.clone()), folded);
    }

    #[test]
    fn a_program_cannot_raise_the_kernels_count() {
        let folded = fold(events(
            "4,1,1,-;NVRM: Xid (PCI:0000:38:00): 95, x\n12,2,2,-;NVRM: Xid (PCI:0000:38:00): 95, x\n",
        ));
        assert_eq!(folded.len(), 2);
        assert!(folded.iter().all(|e| e.repeats == 1));
    }

    #[test]
    fn a_flood_of_texts_is_bounded_and_nothing_is_lost() {
        let mut folder = Folder::new();
        let total = 5 * Folder::LIMIT;
        for n in 0..total {
            let log = format!("NVRM: Xid (PCI:0000:38:00): {}, text {n}\n", n % 100_000);
            folder.extend(events(&log));
        }
        let folded = folder.into_events();
        assert!(folded.len() <= 2 * Folder::LIMIT + 1, "{}", folded.len());
        let sum: u64 = folded.iter().map(|e| e.repeats).sum();
        assert_eq!(usize::try_from(sum).expect("fits"), total);
    }

    #[test]
    fn what_stands_for_several_texts_says_nothing_of_one() {
        let mut folder = Folder::new();
        let flood = |folder: &mut Folder, bus: u8, count: usize, several: bool| {
            for n in 0..count {
                let code = if several { 200 + n } else { 43 };
                folder.extend(events(&format!(
                    "NVRM: Xid (PCI:0000:{bus:02x}:00 GPU-I:05): {code}, pid=7, name=x, text {n}\n"
                )));
            }
        };
        flood(&mut folder, 1, Folder::LIMIT, false);
        // Beyond the limit: one for each code, then one for each kind.
        flood(&mut folder, 2, 3, false);
        flood(&mut folder, 3, Folder::LIMIT - 1, true);
        flood(&mut folder, 4, 2, true);
        flood(&mut folder, 5, 1, true);
        let folded = folder.into_events();
        let one = folded.first().expect("a text");
        assert_eq!((one.pid, one.process.as_deref()), (Some(7), Some("x")));
        let told = |event: &Event| {
            assert_eq!((event.pid, event.process.as_deref()), (None, None));
            (
                event.code.clone(),
                event.xid,
                event.pci.is_some(),
                event.mig.is_some(),
                event.repeats,
            )
        };
        let code = folded.get(Folder::LIMIT).expect("a code");
        assert_eq!(told(code), ("xid.43".to_owned(), Some(43), true, true, 3));
        let kind = folded.last().expect("a kind");
        assert_eq!(told(kind), ("xid.several".to_owned(), None, false, true, 3));
        assert_eq!(kind.mnemonic, None);
    }
}
