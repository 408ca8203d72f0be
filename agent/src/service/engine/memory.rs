//! The kernel log of this boot as the engine has it: folded, with what was and was not written down.
//!
//! # Invariants
//! - An event is in `fresh` from the moment it comes until it stands in a report; the cursor that is
//!   given out with a report covers exactly the events that were reported with it and before.
//! - Memory is bounded by the folder's own limits, however long the storm.

use std::time::Duration;

use cupel_kernel_log::Folder;
use cupel_model::{Event, Reading, Timestamp};
use cupel_reporting::EventRow;

/// The kernel log of this boot.
#[derive(Default)]
pub struct LogMemory {
    /// Everything of this boot.
    all: Folder,
    /// What came since the last report.
    fresh: Folder,
    /// `repeats` of each event of `all` as it is on disk.
    written: Vec<u64>,
    cursor: Option<u64>,
    /// The cursor as it is on disk.
    written_cursor: Option<u64>,
    /// The kernel's time of the record at the cursor.
    followed_to: Option<Duration>,
    /// The log is another one than the cursor on disk is of.
    restarted: bool,
    /// Records read in the life of this service.
    records: u64,
    /// Records that were overwritten before they were read.
    lost: u64,
    /// Why the log cannot be read; `None` when it can.
    unreadable: Option<Reading<u64>>,
    /// Whether anything was heard of the log yet.
    heard: bool,
}

impl LogMemory {
    /// From what is on disk of this boot.
    pub fn restore(rows: &[EventRow], cursor: Option<u64>) -> Self {
        let mut memory = Self {
            cursor,
            written_cursor: cursor,
            ..Self::default()
        };
        for row in rows {
            match serde_json::from_slice::<Event>(row.json.as_bytes()) {
                Ok(event) => memory.all.push(event),
                Err(error) => tracing::warn!("an event on disk is no event: {error}"),
            }
        }
        memory.written = memory
            .all
            .events()
            .iter()
            .map(|event| event.repeats)
            .collect();
        memory
    }

    /// Takes what the log brought. `true`: it tells more than before, an event or that it can be
    /// read.
    pub fn take(&mut self, batch: cupel_hardware::kmsg::Batch) -> bool {
        let readable = self.unreadable.take().is_some() || !self.heard;
        self.heard = true;
        if batch.restarted {
            self.restarted = true;
            self.cursor = None;
        }
        self.records = self.records.saturating_add(batch.records);
        self.lost = self.lost.saturating_add(batch.lost);
        self.cursor = batch.cursor.or(self.cursor);
        self.followed_to = batch.followed_to.or(self.followed_to);
        let any = !batch.events.is_empty();
        for (_, event) in batch.events {
            self.fresh.push(event.clone());
            self.all.push(event);
        }
        any || readable
    }

    /// The log cannot be read.
    pub fn unreadable(&mut self, why: Reading<u64>) {
        self.heard = true;
        self.unreadable = Some(why);
    }

    /// Whether the log was opened, or could not be.
    pub fn heard(&self) -> bool {
        self.heard
    }

    /// Why the log cannot be read.
    pub fn why_unreadable(&self) -> Option<&str> {
        self.unreadable.as_ref().and_then(Reading::why)
    }

    /// Events of this boot, folded, oldest first.
    pub fn events(&self) -> &[Event] {
        self.all.events()
    }

    /// Records of this boot that are known, for the snapshot.
    pub fn known_records(&self) -> Reading<u64> {
        match &self.unreadable {
            Some(why) => why.clone(),
            None if self.heard => {
                Reading::Value(self.cursor.map_or(self.records, |at| at.saturating_add(1)))
            }
            None => Reading::failed("not read yet"),
        }
    }

    /// Records read, and lost, in the life of this service.
    pub fn counts(&self) -> (u64, u64) {
        (self.records, self.lost)
    }

    /// When the last event happened.
    pub fn last_event(&self) -> Option<Timestamp> {
        self.all
            .events()
            .iter()
            .filter_map(|event| event.last.or(event.time))
            .max()
    }

    /// Whether something came that stands in no report yet.
    pub fn has_fresh(&self) -> bool {
        !self.fresh.events().is_empty()
    }

    /// What came since the last time, folded.
    pub fn take_fresh(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.fresh).into_events()
    }

    /// The cursor that belongs to what was taken so far.
    pub fn cursor(&self) -> Option<u64> {
        self.cursor
    }

    /// The cursor, if it stands for more than is on disk: that it is given out again means that it
    /// was written. While something is fresh there is none to write without it.
    pub fn cursor_to_write(&mut self) -> Option<u64> {
        if self.has_fresh() || self.cursor == self.written_cursor {
            return None;
        }
        self.restarted &= self.cursor.is_none();
        self.written_cursor = self.cursor;
        self.cursor
    }

    /// The kernel's time of the record at the cursor: the journal of this boot need not tell what
    /// came until then.
    pub fn followed_to(&self) -> Option<Duration> {
        self.followed_to
    }

    /// Whether the cursor on disk would lead astray, and a better one is known.
    pub fn has_urgent_cursor(&self) -> bool {
        self.restarted && self.cursor.is_some() && !self.has_fresh()
    }

    /// Rows of events that are not on disk as they are now, which they count as from here on.
    pub fn rows_to_write(&mut self) -> Vec<EventRow> {
        let events = self.all.events();
        self.written.resize(events.len(), 0);
        events
            .iter()
            .zip(&mut self.written)
            .enumerate()
            .filter(|(_, (event, written))| event.repeats != **written)
            .map(|(index, (event, written))| {
                *written = event.repeats;
                EventRow {
                    key: format!("{index:06}"),
                    json: serde_json::to_string(event).unwrap_or_default(),
                }
            })
            .collect()
    }

    /// Nothing is on disk any more.
    pub fn forget_written(&mut self) {
        self.written.clear();
        self.written_cursor = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cupel_hardware::kmsg::Batch;
    use cupel_kernel_log::{Decoder, Options};

    fn events(lines: &str) -> Vec<(u64, Event)> {
        let mut events = Vec::new();
        let mut decoder = Decoder::new(Options::default());
        decoder.feed(lines.as_bytes(), |event| events.push((0, event)));
        decoder.finish(|event| events.push((0, event)));
        events
    }

    const LINE: &str = "3,7,100,-;NVRM: Xid (PCI:0000:9b:00): 48, DBE\n";

    fn batch(count: usize, cursor: u64) -> Batch {
        Batch {
            events: events(&LINE.repeat(count)),
            cursor: Some(cursor),
            records: 10,
            ..Batch::default()
        }
    }

    #[test]
    fn what_is_on_disk_and_what_comes_add_up_and_nothing_is_told_twice() {
        let mut memory = LogMemory::default();
        assert!(memory.take(batch(3, 7)));
        let rows = memory.rows_to_write();
        assert_eq!(rows.len(), 1);
        assert!(memory.rows_to_write().is_empty(), "written");
        assert_eq!(memory.take_fresh()[0].repeats, 3);
        assert!(!memory.has_fresh());

        let mut again = LogMemory::restore(&rows, memory.cursor());
        assert!(!again.has_fresh());
        assert_eq!(again.events()[0].repeats, 3);
        again.take(batch(2, 9));
        assert_eq!(again.events()[0].repeats, 5);
        assert_eq!(again.take_fresh()[0].repeats, 2);
        assert_eq!(again.rows_to_write()[0].key, rows[0].key);
        assert_eq!(again.cursor(), Some(9));
    }

    #[test]
    fn a_log_that_was_never_heard_of_is_not_read() {
        let mut memory = LogMemory::default();
        assert!(memory.known_records().is_failed());
        memory.take(Batch::default());
        assert_eq!(memory.known_records(), Reading::Value(0));
        memory.unreadable(Reading::absent("no /dev/kmsg"));
        assert_eq!(memory.why_unreadable(), Some("no /dev/kmsg"));
        assert!(memory.take(Batch::default()), "it can be read again");
        assert_eq!(memory.why_unreadable(), None);
        assert!(!memory.take(batch(0, 4)), "lines that mean nothing");
    }

    #[test]
    fn the_cursor_goes_on_disk_alone_only_when_no_event_waits() {
        let mut memory = LogMemory::restore(&[], Some(5));
        assert_eq!(memory.cursor_to_write(), None, "it is there");
        memory.take(batch(1, 9));
        assert_eq!(memory.cursor_to_write(), None, "its event first");
        memory.take_fresh();
        assert_eq!(memory.cursor_to_write(), Some(9));
        assert_eq!(memory.cursor_to_write(), None, "written");
        assert!(!memory.has_urgent_cursor());
        memory.take(Batch {
            restarted: true,
            ..Batch::default()
        });
        assert!(!memory.has_urgent_cursor(), "none is known yet");
        memory.take(batch(0, 2));
        assert!(memory.has_urgent_cursor());
        assert_eq!(memory.cursor_to_write(), Some(2));
        assert!(!memory.has_urgent_cursor());
    }
}
