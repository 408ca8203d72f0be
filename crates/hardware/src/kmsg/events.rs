//! The events of the log as it grows, with a cursor that can be stored beside them.
//!
//! # Invariants
//! - An event is handed out once, whenever the follower is ended and begun again with the cursor
//!   that was stored together with the events before it.
//! - A message that may go on is held back until it is whole, or nothing came for [`QUIET`].

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use cupel_kernel_log::{Decoder, DriverVersion, Options};
use cupel_model::{Event, Timestamp};

use super::follow::{Follower, Record};
use super::time;
use super::wake::Waker;
use crate::error::ReadError;
use crate::root::Root;
use crate::{clock, deadline, kernel};

/// How long nothing must come before a message that may go on counts as whole.
pub const QUIET: Duration = Duration::from_millis(200);

/// How often the time of the boot is asked for again: it moves when the clock is set.
const CLOCK: Duration = Duration::from_secs(60);

/// How long the version of the driver may take.
const DRIVER: Duration = Duration::from_secs(2);

/// Decodes records into events, each with the sequence number of its first record.
pub struct LogStream {
    root: Root,
    decoder: Decoder,
    /// The newest record that is done with.
    done: Option<Place>,
    /// Records behind it, while a message is held back: as many as a message can hold off.
    open: VecDeque<Place>,
    clock_asked: Instant,
}

/// A record's number, and the kernel's time of it, where its header tells.
#[derive(Clone, Copy, Debug)]
struct Place {
    sequence: u64,
    time: Option<Duration>,
}

impl LogStream {
    /// A stream for the log of `root`, after the record `after`. The driver's version is the one
    /// that runs until the log names another.
    pub fn new(root: &Root, after: Option<u64>) -> Self {
        let mut decoder = Decoder::new(Options {
            boot_time: boot_time(root),
            ..Options::default()
        });
        if let Some(driver) = driver(root) {
            decoder.suppose_driver(driver);
        }
        Self {
            root: root.clone(),
            decoder,
            done: after.map(|sequence| Place {
                sequence,
                time: None,
            }),
            open: VecDeque::new(),
            clock_asked: Instant::now(),
        }
    }

    /// Takes one record.
    pub fn feed(&mut self, record: Record<'_>, sink: impl FnMut(u64, Event)) {
        let last = self.open.back().or(self.done.as_ref());
        let last = last.map(|place| place.sequence);
        if self.clock_asked.elapsed() >= CLOCK {
            self.clock_asked = Instant::now();
            self.decoder.set_boot_time(boot_time(&self.root));
        }
        // One without a number belongs to those before it.
        let sequence = record.sequence.or(last).unwrap_or(0);
        self.decoder.feed_record(sequence, record.bytes, sink);
        self.open.push_back(Place {
            sequence,
            time: time(record.bytes),
        });
        self.settle();
    }

    /// Hands out what was held back because it might go on: nothing came for [`QUIET`].
    pub fn flush(&mut self, sink: impl FnMut(u64, Event)) {
        self.decoder.flush_records(sink);
        self.settle();
    }

    /// Moves what nothing holds back any longer to what is done with.
    fn settle(&mut self) {
        let held = self.decoder.held().unwrap_or(u64::MAX);
        while let Some(place) = self.open.pop_front_if(|place| place.sequence < held) {
            // A record without a header has no time; that of the one before it stands.
            let time = place.time.or(self.done.and_then(|done| done.time));
            self.done = Some(Place { time, ..place });
        }
    }

    /// Whether something is held back.
    pub fn holds(&self) -> bool {
        self.decoder.held().is_some()
    }

    /// The record after which to go on another time: every event of it and of those before it has
    /// been handed out, and none of a later one.
    pub fn cursor(&self) -> Option<u64> {
        self.done.map(|done| done.sequence)
    }

    /// The kernel's time of that record: by it the same records are known in the journal, when the
    /// boot is over ([`journal::Followed`](crate::journal::Followed)).
    pub fn followed_to(&self) -> Option<Duration> {
        self.done.and_then(|done| done.time)
    }
}

fn boot_time(root: &Root) -> Option<Timestamp> {
    clock::boot_time(root).ok()
}

fn driver(root: &Root) -> Option<DriverVersion> {
    let own = root.clone();
    let read = deadline::within(root, "nvidia-driver/log", DRIVER, move || {
        kernel::nvidia_driver(&own).0
    });
    read.ok()?.value()?.parse().ok()
}

/// What the log brought.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// Events, each with the sequence number of its first record, in the order of these.
    pub events: Vec<(u64, Event)>,
    /// Where to go on another time, to be stored together with the events. None where no record was
    /// read yet, or where the log is another one from here on.
    pub cursor: Option<u64>,
    /// The kernel's time of the record at the cursor, to be stored beside it with the boot's id:
    /// after the next boot the journal may be asked for what came later
    /// ([`journal::Followed`](crate::journal::Followed)).
    pub followed_to: Option<Duration>,
    /// Records read.
    pub records: u64,
    /// Records that the kernel had overwritten before they could be read.
    pub lost: u64,
    /// What comes after this batch is another log, from its start; the events of this batch are the
    /// last of the old one.
    pub restarted: bool,
    /// A [`Waker`] was used.
    pub woken: bool,
}

/// Follows the log and decodes it.
pub struct EventLog {
    root: Root,
    follower: Follower,
    stream: LogStream,
}

impl EventLog {
    /// Opens the log of this boot. `after` is the cursor that was stored in this boot, if one was.
    ///
    /// # Errors
    /// The log cannot be opened.
    pub fn open(root: &Root, after: Option<u64>) -> Result<Self, ReadError> {
        Ok(Self {
            follower: Follower::open(root, after)?,
            stream: LogStream::new(root, after),
            root: root.clone(),
        })
    }

    /// What ends waiting.
    pub fn waker(&self) -> Waker {
        self.follower.waker()
    }

    /// What came next, a bounded amount of it. Where there is nothing it waits: at most for
    /// `limit`, without one until something comes or it is woken.
    ///
    /// # Errors
    /// The log cannot be read. What it still held back is lost then, and comes again from the
    /// cursor.
    pub fn next(&mut self, limit: Option<Duration>) -> Result<Batch, ReadError> {
        let until = limit.map(|limit| Instant::now() + limit);
        let mut batch = Batch::default();
        loop {
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            let held = self.stream.holds();
            let wait = if held {
                Some(left.map_or(QUIET, |left| left.min(QUIET)))
            } else {
                left
            };
            let asked = Instant::now();
            let (stream, events) = (&mut self.stream, &mut batch.events);
            let step = self.follower.step(wait, |record| {
                stream.feed(record, |sequence, event| events.push((sequence, event)));
            })?;
            batch.records += step.records;
            batch.lost += step.lost;
            batch.woken |= step.woken;
            batch.restarted = step.restarted;
            let quiet = step.records == 0 && asked.elapsed() >= QUIET;
            if step.restarted || (held && quiet) {
                stream.flush(|sequence, event| events.push((sequence, event)));
            }
            batch.cursor = stream.cursor();
            batch.followed_to = stream.followed_to();
            if step.restarted {
                self.stream = LogStream::new(&self.root, None);
                (batch.cursor, batch.followed_to) = (None, None);
            }
            let over = left.is_some_and(|left| left.is_zero());
            let came = step.records > 0 || step.lost > 0 || (held && quiet);
            if came || batch.restarted || batch.woken || over {
                return Ok(batch);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::PATH;
    use super::*;
    use crate::testing::Tree;

    const XID: &str = "NVRM: Xid (PCI:0000:9b:00): 79, pid=1, name=x, GPU has fallen off the bus.";

    fn codes(batch: &Batch) -> Vec<(u64, &str)> {
        batch
            .events
            .iter()
            .map(|(sequence, event)| (*sequence, event.code.as_str()))
            .collect()
    }

    #[test]
    fn events_come_with_a_cursor_and_the_time_of_the_boot() {
        let tree = Tree::new();
        tree.file("/proc/stat", "btime 1700000000\n");
        tree.file(
            PATH,
            format!("6,0,0,-;Linux version 6.1\n3,1,2500000,-;{XID}\n"),
        );
        let mut log = EventLog::open(&tree.root(), None).expect("log");
        let batch = log.next(None).expect("batch");
        assert_eq!(codes(&batch), [(1, "xid.79")]);
        assert_eq!((batch.cursor, batch.records, batch.lost), (Some(1), 2, 0));
        let time = batch.events[0].1.time.expect("time");
        assert_eq!(time.to_string(), "2023-11-14T22:13:22.500000Z");
        tree.append(PATH, format!("3,2,3000000,-;{XID}\n"));
        let mut again = EventLog::open(&tree.root(), batch.cursor).expect("log");
        for log in [&mut log, &mut again] {
            let batch = log.next(None).expect("batch");
            assert_eq!(
                (codes(&batch), batch.cursor),
                (vec![(2, "xid.79")], Some(2))
            );
        }
    }

    #[test]
    fn a_message_that_may_go_on_is_held_until_it_is_quiet() {
        let tree = Tree::new();
        let aer = "nvme 0000:04:00.0: PCIe Bus Error: severity=Uncorrected (Fatal), type=Transaction Layer, (Requester ID)";
        tree.file(PATH, format!("6,0,0,-;x\n3,1,1,-;{aer}\n"));
        let mut log = EventLog::open(&tree.root(), None).expect("log");
        let first = log.next(None).expect("batch");
        assert_eq!((codes(&first), first.cursor), (Vec::new(), Some(0)));
        let more = "3,2,1,-;nvme 0000:04:00.0:    [14] CmpltTO                (First)\n";
        tree.append(PATH, more);
        let second = log.next(None).expect("batch");
        assert_eq!((codes(&second), second.cursor), (Vec::new(), Some(0)));
        let third = log.next(None).expect("batch");
        assert_eq!(codes(&third), [(1, "pcie.aer-fatal")]);
        assert!(third.events[0].1.raw.contains("CmpltTO"));
        assert_eq!(third.cursor, Some(2));
    }

    #[test]
    fn what_another_log_cuts_off_is_handed_out_before_it() {
        let tree = Tree::new();
        let aer = "nvme 0000:04:00.0: PCIe Bus Error: severity=Uncorrected (Fatal), type=Transaction Layer, (Requester ID)";
        tree.file(PATH, format!("6,8,0,-;xxxxxxxxxxxxxxxxx\n3,9,1,-;{aer}\n"));
        let mut log = EventLog::open(&tree.root(), None).expect("log");
        assert_eq!(log.next(None).expect("batch").cursor, Some(8));
        tree.replace(PATH, format!("3,0,0,-;{XID}\n"));
        let last = log.next(None).expect("batch");
        assert_eq!(codes(&last), [(9, "pcie.aer-fatal")]);
        assert!(last.restarted && last.cursor.is_none(), "{last:?}");
        let next = log.next(None).expect("batch");
        assert_eq!((codes(&next), next.cursor), (vec![(0, "xid.79")], Some(0)));
    }

    #[test]
    fn a_limit_and_a_waker_end_waiting() {
        let tree = Tree::new();
        tree.file(PATH, "");
        let mut log = EventLog::open(&tree.root(), None).expect("log");
        let batch = log.next(Some(Duration::from_millis(5))).expect("batch");
        assert_eq!(batch, Batch::default());
        log.waker().wake();
        assert!(log.next(None).expect("batch").woken);
    }

    #[test]
    fn the_log_names_the_driver_and_else_the_one_that_runs_is_supposed() {
        let tree = Tree::new();
        tree.file(
            "/proc/driver/nvidia/version",
            "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.161.08  Sat Feb 17\n",
        );
        let layout = |stream: &mut LogStream, before: &str| {
            let mut found = None;
            let nvlink = "NVRM: Xid (PCI:0009:01:00): 149, NETIR_LINK_EVT Fatal XC0 i0 Link 01 (0x021425c6 0x00000000 0x00000000 0x00000000 0x00000000 0x00000000)";
            for (number, text) in (0_u64..).zip([before, nvlink]) {
                let bytes = format!("3,{number},0,-;{text}");
                let record = Record {
                    sequence: Some(number),
                    bytes: bytes.as_bytes(),
                };
                stream.feed(record, |_, event| found = event.nvlink5);
            }
            stream.flush(|_, event| found = event.nvlink5);
            found.map(|nvlink5| nvlink5.layout)
        };
        let mut stream = LogStream::new(&tree.root(), None);
        assert_eq!(
            layout(&mut stream, "nothing"),
            Some(cupel_model::event::Nvlink5Layout::V1)
        );
        let loads =
            "NVRM: loading NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build";
        assert_eq!(
            layout(&mut stream, loads),
            Some(cupel_model::event::Nvlink5Layout::V2)
        );
    }

    /// Messages of one to three records.
    const MESSAGES: [&[&str]; 4] = [
        &[XID],
        &["usb 1-1: new high-speed USB device"],
        &[
            "nvme 0000:04:00.0: PCIe Bus Error: severity=Uncorrected (Fatal), type=Transaction Layer, (Requester ID)",
            "nvme 0000:04:00.0:   device [144d:a808] error status/mask=00004000/00000000",
            "nvme 0000:04:00.0:    [14] CmpltTO                (First)",
        ],
        &["nvme nvme3: controller is down; will reset: CSTS=0xffffffff, PCI_STATUS=0xffff"],
    ];

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn ending_at_any_record_loses_nothing_and_doubles_nothing(
            order in proptest::collection::vec(0..MESSAGES.len(), 0..12),
            ends in proptest::collection::vec(any::<proptest::sample::Index>(), 0..6),
        ) {
            let root = Tree::new().root();
            let records: Vec<String> = (0_u64..)
                .zip(order.iter().flat_map(|message| MESSAGES[*message]))
                .map(|(number, text)| format!("3,{number},{number},-;{text}"))
                .collect();
            let run = |stream: &mut LogStream, from: usize, to: usize, into: &mut Vec<(u64, Event)>| {
                for (number, record) in records.iter().enumerate().take(to).skip(from) {
                    let record = Record {
                        sequence: u64::try_from(number).ok(),
                        bytes: record.as_bytes(),
                    };
                    stream.feed(record, |sequence, event| into.push((sequence, event)));
                }
            };
            let mut want = Vec::new();
            let mut whole = LogStream::new(&root, None);
            run(&mut whole, 0, records.len(), &mut want);
            whole.flush(|sequence, event| want.push((sequence, event)));

            let mut places: Vec<usize> = ends.iter().map(|end| end.index(records.len() + 1)).collect();
            places.sort_unstable();
            let mut got = Vec::new();
            let mut cursor = None;
            for place in places {
                let from = cursor.map_or(0, |cursor: u64| usize::try_from(cursor).expect("small") + 1);
                let mut stream = LogStream::new(&root, cursor);
                run(&mut stream, from, place, &mut got);
                cursor = stream.cursor();
                // Killed: what it held back is gone.
            }
            let from = cursor.map_or(0, |cursor: u64| usize::try_from(cursor).expect("small") + 1);
            let mut stream = LogStream::new(&root, cursor);
            run(&mut stream, from, records.len(), &mut got);
            stream.flush(|sequence, event| got.push((sequence, event)));
            prop_assert_eq!(got, want);
        }
    }
}
