//! The streaming decoder: bytes in, events out.
//!
//! # Invariants
//! - Memory is bounded, whatever comes: lines are cut at [`MAX_LINE`], an event holds at most
//!   [`MAX_PARTS`] lines and [`MAX_RAW`] bytes, at most [`MAX_OPEN`] messages are open.
//! - Events leave in the order of their first lines.
//! - How the bytes are cut into chunks changes nothing.
//! - Only the first line of a record opens a message: a name with a line break in it, printed by
//!   the kernel in the middle of a record, cannot pass for a message of its own.

use std::collections::VecDeque;
use std::io::{self, Read};

use cupel_model::{Event, LogSource, Timestamp};

use crate::format::{self, Fragment, Record};
use crate::message::{self, Accept, Thread};
use crate::version::DriverVersion;
use crate::{Options, needles};

/// Bytes of a line that are looked at; the rest is skipped.
pub const MAX_LINE: usize = 64 * 1024;
/// Lines that one event holds.
pub const MAX_PARTS: u16 = 64;
/// Bytes of text that one event holds.
pub const MAX_RAW: usize = 64 * 1024;
/// Messages that may be open at once.
pub const MAX_OPEN: usize = 64;
/// A message goes on for at most this long.
const MAX_SECONDS: f64 = 10.0;
/// Pieces that go on with a line's first one.
const MAX_FURTHER: u8 = 32;

/// How much was read, and what came of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Lines read, without the dictionary lines of `/dev/kmsg`.
    pub lines: u64,
    /// Lines that became an event or part of one.
    pub meaningful: u64,
    /// Events that were handed out.
    pub events: u64,
}

impl Counts {
    /// Lines that meant nothing.
    pub fn meaningless(self) -> u64 {
        self.lines.saturating_sub(self.meaningful)
    }
}

/// An event in the queue; open while its message may go on.
struct Slot {
    event: Event,
    /// Mark of its first line.
    mark: u64,
    open: Option<Open>,
    /// Announced, and nothing followed: it is no event.
    void: bool,
}

impl Slot {
    fn close(&mut self) {
        if let Some(open) = self.open.take() {
            self.void = !open.thread.complete();
        }
    }
}

struct Open {
    thread: Thread,
    patience: u16,
    parts: u16,
}

/// A piece of a line of `/dev/kmsg` that means nothing by itself, and those that go on with it.
struct Pieces {
    /// Mark of the first one.
    mark: u64,
    time: Option<Timestamp>,
    source: LogSource,
    text: String,
    /// How many go on with the first one.
    further: u8,
}

/// Turns a log, in any format and any mixture of them, into events.
///
/// Feed bytes as they come; call [`Decoder::flush`] when the source is idle and
/// [`Decoder::finish`] at its end, or messages that may go on stay inside.
pub struct Decoder {
    options: Options,
    /// The driver's version: as given, else as the log says it.
    driver: Option<DriverVersion>,
    carry: Vec<u8>,
    /// Mark of the lines that are being read.
    mark: u64,
    queue: VecDeque<Slot>,
    open: usize,
    pieces: Option<Pieces>,
    counts: Counts,
}

impl Decoder {
    /// A decoder at the start of a log.
    pub fn new(options: Options) -> Self {
        Self {
            driver: options.driver,
            options,
            carry: Vec::new(),
            mark: 0,
            queue: VecDeque::new(),
            open: 0,
            pieces: None,
            counts: Counts::default(),
        }
    }

    /// What was read so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// What the log does not say by itself, for the lines that come. A clock that was set gives
    /// another time of the boot.
    pub fn set_boot_time(&mut self, boot_time: Option<Timestamp>) {
        self.options.boot_time = boot_time;
    }

    /// Supposes a driver until the log names one.
    pub fn suppose_driver(&mut self, driver: DriverVersion) {
        self.driver.get_or_insert(driver);
    }

    /// Reads bytes; a line may end in a later call.
    pub fn feed(&mut self, bytes: &[u8], mut sink: impl FnMut(Event)) {
        self.bytes(bytes, &mut |_, event| sink(event));
    }

    /// Reads one whole record: lines of which the last one needs no end. `mark` names it; events
    /// come with the mark of their first record, in the order of these.
    pub fn feed_record(&mut self, mark: u64, record: &[u8], mut sink: impl FnMut(u64, Event)) {
        let sink = &mut sink;
        if !self.carry.is_empty() {
            self.bytes(b"\n", sink);
        }
        self.mark = mark;
        self.block(record, sink);
    }

    /// Mark of the oldest message that is held back because it may go on.
    pub fn held(&self) -> Option<u64> {
        let joined = self.pieces.as_ref().filter(|pieces| pieces.further > 0);
        let pieces = joined.map(|pieces| pieces.mark);
        self.queue.front().map(|slot| slot.mark).or(pieces)
    }

    /// As [`Self::flush`], with marks.
    pub fn flush_records(&mut self, mut sink: impl FnMut(u64, Event)) {
        self.flush_all(&mut sink);
    }

    fn bytes(&mut self, bytes: &[u8], sink: &mut impl FnMut(u64, Event)) {
        let mut bytes = bytes;
        if !self.carry.is_empty() {
            let end = memchr::memchr(b'\n', bytes);
            let piece = bytes.get(..end.unwrap_or(bytes.len())).unwrap_or_default();
            self.keep(piece);
            let Some(end) = end else {
                return;
            };
            let mut line = std::mem::take(&mut self.carry);
            self.block(&line, sink);
            line.clear();
            self.carry = line;
            bytes = bytes.get(end + 1..).unwrap_or_default();
        }
        let whole = memchr::memrchr(b'\n', bytes).map_or(0, |end| end + 1);
        let (lines, rest) = bytes.split_at_checked(whole).unwrap_or((bytes, &[]));
        self.block(lines, sink);
        self.keep(rest);
    }

    /// Hands out what is still open: the source is idle, so nothing goes on. A line that has not
    /// ended stays.
    pub fn flush(&mut self, mut sink: impl FnMut(Event)) {
        self.flush_all(&mut |_, event| sink(event));
    }

    fn flush_all(&mut self, sink: &mut impl FnMut(u64, Event)) {
        self.join_pieces(sink);
        self.queue.iter_mut().for_each(Slot::close);
        self.open = 0;
        self.drain(sink);
    }

    /// Reads the last line if it has no end, and hands out everything.
    pub fn finish(&mut self, mut sink: impl FnMut(Event)) -> Counts {
        let line = std::mem::take(&mut self.carry);
        self.block(&line, &mut |_, event| sink(event));
        self.flush(&mut sink);
        self.counts
    }

    /// Reads all of `reader`, then finishes.
    ///
    /// # Errors
    /// Those of the reader; what was read before is handed out.
    pub fn read(
        &mut self,
        mut reader: impl Read,
        mut sink: impl FnMut(Event),
    ) -> io::Result<Counts> {
        let mut chunk = vec![0; 256 * 1024];
        loop {
            let got = match reader.read(&mut chunk) {
                Ok(0) => return Ok(self.finish(&mut sink)),
                Ok(got) => got,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    self.finish(&mut sink);
                    return Err(error);
                }
            };
            self.feed(chunk.get(..got).unwrap_or_default(), &mut sink);
        }
    }

    /// Keeps the start of a line that goes on in the next call.
    fn keep(&mut self, piece: &[u8]) {
        let room = MAX_LINE.saturating_sub(self.carry.len());
        self.carry
            .extend_from_slice(piece.get(..piece.len().min(room)).unwrap_or_default());
    }

    /// Reads whole lines. While nothing is open it leaps from needle to needle.
    fn block(&mut self, block: &[u8], sink: &mut impl FnMut(u64, Event)) {
        let mut rest = block;
        while !rest.is_empty() {
            if self.open == 0 && self.pieces.is_none() {
                let Some(hit) = needles::find(rest) else {
                    self.count(rest);
                    return;
                };
                let start = rest
                    .get(..hit)
                    .and_then(|before| memchr::memrchr(b'\n', before))
                    .map_or(0, |newline| newline + 1);
                let (skipped, tail) = rest.split_at_checked(start).unwrap_or((&[], rest));
                self.count(skipped);
                rest = tail;
            }
            let end = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
            let line = rest.get(..end).unwrap_or_default();
            self.count_line(line);
            self.line(line, sink);
            rest = rest.get(end + 1..).unwrap_or_default();
        }
    }

    /// Counts the lines in `block`, whose last one may lack its end.
    fn count(&mut self, block: &[u8]) {
        let mut start = 0;
        for end in memchr::memchr_iter(b'\n', block) {
            self.count_line(block.get(start..end).unwrap_or_default());
            start = end + 1;
        }
        if start < block.len() {
            self.count_line(block.get(start..).unwrap_or_default());
        }
    }

    fn count_line(&mut self, line: &[u8]) {
        self.counts.lines += u64::from(!is_dictionary(line));
    }

    fn line(&mut self, line: &[u8], sink: &mut impl FnMut(u64, Event)) {
        if is_dictionary(line) {
            return;
        }
        let line = line.get(..line.len().min(MAX_LINE)).unwrap_or_default();
        let line = String::from_utf8_lossy(line);
        let options = self.options;
        let record = format::parse(&line, &options);
        if record.fragment == Fragment::Further && self.goes_on(&record) {
            return;
        }
        self.join_pieces(sink);
        let meant = self.record(self.mark, record.time, record.source, &record.text, sink);
        // Kernels since 4.10 call whatever was printed as a continuation a piece, and NVIDIA's
        // driver prints whole lines so: it is read at once. Older ones mark what goes on with it.
        if record.fragment == Fragment::Piece && !meant {
            self.pieces = Some(Pieces {
                mark: self.mark,
                time: record.time,
                source: record.source,
                text: record.text.into_owned(),
                further: 0,
            });
        }
    }

    /// Takes a further piece of a line; says whether there is a first one.
    fn goes_on(&mut self, record: &Record<'_>) -> bool {
        let Some(pieces) = &mut self.pieces else {
            return false;
        };
        if pieces.source != record.source || pieces.further >= MAX_FURTHER {
            return false;
        }
        if pieces.text.len() + record.text.len() <= MAX_LINE {
            pieces.text.push_str(&record.text);
        }
        pieces.further += 1;
        true
    }

    fn join_pieces(&mut self, sink: &mut impl FnMut(u64, Event)) {
        if let Some(pieces) = self.pieces.take()
            && pieces.further > 0
        {
            self.record(pieces.mark, pieces.time, pieces.source, &pieces.text, sink);
        }
    }

    /// Reads one record; its later lines only go on with what its first one began. Says whether it
    /// means something.
    fn record(
        &mut self,
        mark: u64,
        time: Option<Timestamp>,
        source: LogSource,
        text: &str,
        sink: &mut impl FnMut(u64, Event),
    ) -> bool {
        let mut first = true;
        let mut meaningful = false;
        for part in parts(text) {
            let part = part.trim();
            if part.is_empty() {
                continue;
            }
            if self.offer(time, source, part) {
                meaningful = true;
            } else if first {
                meaningful = self.begin(mark, time, source, part);
            }
            first = false;
        }
        self.counts.meaningful += u64::from(meaningful);
        self.drain(sink);
        meaningful
    }

    /// Offers a message to those that are open, the youngest first.
    fn offer(&mut self, time: Option<Timestamp>, source: LogSource, part: &str) -> bool {
        let mut taken = false;
        for slot in self.queue.iter_mut().rev() {
            let Some(open) = &mut slot.open else {
                continue;
            };
            let late = match (slot.event.time, time) {
                (Some(begun), Some(now)) => now.seconds_since(begun).abs() > MAX_SECONDS,
                (None, _) | (_, None) => false,
            };
            let full = slot.event.raw.len() + part.len() >= MAX_RAW;
            let answer = if taken || late || full || slot.event.source != source {
                Accept::No
            } else {
                open.thread.offer(&mut slot.event, part)
            };
            match answer {
                Accept::No => open.patience = open.patience.saturating_sub(1),
                Accept::More | Accept::Last => {
                    taken = true;
                    open.parts += 1;
                    open.patience = open.thread.patience();
                    slot.event.raw.push('\n');
                    slot.event.raw.push_str(part);
                }
            }
            let over = late || full || open.patience == 0 || open.parts >= MAX_PARTS;
            if answer == Accept::Last || over {
                slot.close();
                self.open -= 1;
            }
        }
        taken
    }

    /// Opens an event if the message is the start of one.
    fn begin(&mut self, mark: u64, time: Option<Timestamp>, source: LogSource, part: &str) -> bool {
        if self.options.driver.is_none()
            && source != LogSource::User
            && let Some(version) = message::driver_version(part)
        {
            self.driver = Some(version);
        }
        // Bytes that are no text became longer as text.
        let part = part
            .get(..part.floor_char_boundary(MAX_RAW))
            .unwrap_or(part);
        let Some(opened) = message::decode(part, self.driver) else {
            return false;
        };
        let mut event = opened.event;
        event.time = time;
        event.first = time;
        event.last = time;
        event.source = source;
        event.raw = part.to_owned();
        let open = opened.thread.map(|thread| Open {
            patience: thread.patience(),
            parts: 1,
            thread,
        });
        self.open += usize::from(open.is_some());
        self.queue.push_back(Slot {
            event,
            mark,
            open,
            void: false,
        });
        if self.queue.len() > MAX_OPEN
            && let Some(oldest) = self.queue.iter_mut().find(|slot| slot.open.is_some())
        {
            oldest.close();
            self.open -= 1;
        }
        true
    }

    /// Hands out events from the front until an open one.
    fn drain(&mut self, sink: &mut impl FnMut(u64, Event)) {
        while self.queue.front().is_some_and(|slot| slot.open.is_none()) {
            if let Some(slot) = self.queue.pop_front()
                && !slot.void
            {
                self.counts.events += 1;
                sink(slot.mark, slot.event);
            }
        }
    }
}

/// Whether a line is ` KEY=value`, which `/dev/kmsg` puts behind a record.
fn is_dictionary(line: &[u8]) -> bool {
    let Some((b' ', rest)) = line.split_first() else {
        return false;
    };
    let key = rest
        .iter()
        .take_while(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || **b == b'_')
        .count();
    key > 0 && rest.get(key) == Some(&b'=')
}

/// Splits a record's text into lines: at line breaks, and at a written-out `\n` before a driver's
/// next line, as tools that print a record on one line leave it.
fn parts(text: &str) -> impl Iterator<Item = &str> {
    text.split('\n').flat_map(|line| {
        let mut rest = Some(line);
        std::iter::from_fn(move || {
            let line = rest?;
            match line.split_once("\\nNVRM: ") {
                Some((part, next)) => {
                    // The mark itself is cut off; the driver's prefix belongs to the next line.
                    let start = line.len() - next.len() - "NVRM: ".len();
                    rest = line.get(start..);
                    Some(part)
                }
                None => {
                    rest = None;
                    Some(line)
                }
            }
        })
    })
}
