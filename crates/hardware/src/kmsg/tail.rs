//! A file of raw records that grows.
//!
//! # Invariants
//! - Each byte is read once. A file that was put in the place of the old one is gone on with where
//!   the old one was left, if it begins as that one did; otherwise it is another log.
//! - A line without an end may still be written: it counts once it has not grown between two looks.
//!
//! # What is absent
//! Records that are changed in place: a log only grows.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use nix::sys::stat::{FileStat, fstat};

use super::{PATH, RECORD_BYTES};
use crate::error::ReadError;
use crate::root::Root;

/// Bytes read at once. The longest record fits several times.
const BLOCK: usize = 4 * RECORD_BYTES;

/// Bytes before the place that was reached, by which the log is known again.
const KNOWN: usize = 256;

/// How often the file is looked at where the kernel cannot say that it changed.
const LOOK: Duration = Duration::from_millis(200);

/// How often it is looked at all the same where the kernel can.
const LOOK_ANYWAY: Duration = Duration::from_secs(5);

/// A file that is followed.
pub(super) struct Tail {
    root: Root,
    file: File,
    /// Device and inode of the file.
    identity: (u64, u64),
    /// Length of the file at the last look.
    length: u64,
    /// What was read of it.
    offset: u64,
    /// The bytes just before `offset`.
    known: Vec<u8>,
    /// A line without an end that was there at the last look: where it begins, and how long the
    /// file was.
    unfinished: Option<(u64, u64)>,
    /// The rest of a line that was too long is passed over.
    passes_over: bool,
    /// Tells of changes in the directory of the file.
    sign: Option<Inotify>,
    buffer: Vec<u8>,
}

fn identity(about: &FileStat) -> (u64, u64) {
    (about.st_dev, about.st_ino)
}

fn length(about: &FileStat) -> u64 {
    u64::try_from(about.st_size).unwrap_or(0)
}

impl Tail {
    pub(super) fn open(root: &Root) -> Result<Self, ReadError> {
        // The sign first: what changes from here on is told.
        let sign = sign(root);
        let file = root.open(PATH)?;
        let about = about(&file)?;
        Ok(Self {
            root: root.clone(),
            file,
            identity: identity(&about),
            length: length(&about),
            offset: 0,
            known: Vec::new(),
            unfinished: None,
            passes_over: false,
            sign,
            buffer: vec![0; BLOCK],
        })
    }

    /// What can be read when the file may have changed.
    pub(super) fn sign(&self) -> Option<BorrowedFd<'_>> {
        self.sign.as_ref().map(AsFd::as_fd)
    }

    /// Takes the sign down, until the next change.
    pub(super) fn clear_sign(&mut self) {
        if let Some(sign) = &self.sign {
            // More than one reading holds is a sign again.
            let _ = sign.read_events();
        }
    }

    /// When to look again although nothing was told.
    pub(super) fn look_again_after(&self) -> Duration {
        if self.sign.is_none() || self.unfinished.is_some() {
            LOOK
        } else {
            LOOK_ANYWAY
        }
    }

    /// Looks at the file; says whether it is another log.
    pub(super) fn look(&mut self) -> Result<bool, ReadError> {
        // Between two files there may be none for a moment; what is open is still read.
        let unless_missing = |error: ReadError| error.is_missing().then_some(false).ok_or(error);
        let there = match self.root.about(PATH) {
            Ok(there) => there,
            Err(error) => return unless_missing(error),
        };
        if identity(&there) != self.identity {
            self.file = match self.root.open(PATH) {
                Ok(file) => file,
                Err(error) => return unless_missing(error),
            };
            let about = about(&self.file)?;
            self.identity = identity(&about);
            self.length = length(&about);
            if self.length < self.offset || !self.is_known() {
                self.restart();
                return Ok(true);
            }
            return Ok(false);
        }
        self.length = length(&there);
        if self.length < self.offset {
            self.restart();
            return Ok(true);
        }
        Ok(false)
    }

    /// Whether the bytes before the place that was reached are those that were read there.
    fn is_known(&self) -> bool {
        let known = u64::try_from(self.known.len()).unwrap_or(u64::MAX);
        let mut bytes = vec![0_u8; self.known.len()];
        let from = self.offset.saturating_sub(known);
        self.file.read_exact_at(&mut bytes, from).is_ok() && bytes == self.known
    }

    fn restart(&mut self) {
        self.offset = 0;
        self.known.clear();
        self.unfinished = None;
        self.passes_over = false;
    }

    /// Gives the records of the next block; says whether more may be.
    pub(super) fn read(&mut self, mut take: impl FnMut(&[u8])) -> Result<bool, ReadError> {
        if self.offset >= self.length {
            return Ok(false);
        }
        let got = match self.file.read_at(&mut self.buffer, self.offset) {
            Ok(got) => got,
            Err(error) if error.raw_os_error() == Some(Errno::EINTR as i32) => return Ok(true),
            Err(error) => return Err(ReadError::from_io(PATH, &error)),
        };
        if got == 0 {
            // It was cut meanwhile: the next look tells.
            self.length = self.offset;
            return Ok(false);
        }
        let reached = self
            .offset
            .saturating_add(u64::try_from(got).unwrap_or(u64::MAX));
        let at_end = reached >= self.length;
        let block = Block {
            bytes: self.buffer.get(..got).unwrap_or_default(),
            full: got == self.buffer.len(),
            at_end,
            settled: self.unfinished == Some((self.offset, self.length)),
            passes_over: self.passes_over,
        };
        let taken = block.records(&mut take);
        self.passes_over = taken.passes_over;
        let whole = self.buffer.get(..taken.bytes).unwrap_or_default();
        self.known.extend_from_slice(
            whole
                .get(whole.len().saturating_sub(KNOWN)..)
                .unwrap_or_default(),
        );
        let old = self.known.len().saturating_sub(KNOWN);
        self.known.drain(..old);
        self.offset = self
            .offset
            .saturating_add(u64::try_from(taken.bytes).unwrap_or(u64::MAX));
        let unfinished = at_end && taken.bytes < got;
        self.unfinished = unfinished.then_some((self.offset, self.length));
        // An unfinished line waits for the next look.
        Ok(self.offset < self.length && !unfinished)
    }
}

fn about(file: &File) -> Result<FileStat, ReadError> {
    fstat(file).map_err(|errno| ReadError::from_errno(PATH, errno))
}

/// Told by the kernel when something changes in the directory of the file.
fn sign(root: &Root) -> Option<Inotify> {
    let (directory, _) = PATH.rsplit_once('/')?;
    let sign = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC).ok()?;
    let changes = AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO;
    root.watch(&sign, directory, changes).ok()?;
    Some(sign)
}

/// A block of a log, beginning with a line.
struct Block<'b> {
    bytes: &'b [u8],
    /// It is as large as a block can be.
    full: bool,
    /// Nothing comes behind it yet.
    at_end: bool,
    /// A line without an end at its beginning has not grown since the last look.
    settled: bool,
    /// It begins with the rest of a line that was too long.
    passes_over: bool,
}

/// What became of a block.
#[derive(Debug, PartialEq, Eq)]
struct Taken {
    /// How much of it is done with.
    bytes: usize,
    /// What comes behind begins with the rest of a line that was too long.
    passes_over: bool,
}

impl Block<'_> {
    /// Gives the whole records. The last one of a block waits where more of it may come: lines that
    /// begin with a blank belong to the record before them.
    fn records(&self, take: &mut impl FnMut(&[u8])) -> Taken {
        let mut at = 0;
        let mut begun: Option<usize> = None;
        if self.passes_over {
            let Some(end) = memchr::memchr(b'\n', self.bytes) else {
                return Taken {
                    bytes: self.bytes.len(),
                    passes_over: true,
                };
            };
            at = end + 1;
        }
        while let Some(rest) = self.bytes.get(at..).filter(|rest| !rest.is_empty()) {
            let end = memchr::memchr(b'\n', rest);
            let goes_on = rest.starts_with(b" ") && begun.is_some();
            if !goes_on && let Some(start) = begun.take() {
                give(self.bytes.get(start..at).unwrap_or_default(), take);
            }
            let Some(end) = end else {
                return self.unended(begun, at, take);
            };
            // A line of properties whose record is gone is nobody's, and an empty one is no record.
            let line = rest.get(..end).unwrap_or_default();
            if !goes_on && !line.starts_with(b" ") && !line.trim_ascii().is_empty() {
                begun = Some(at);
            }
            at += end + 1;
        }
        match begun {
            Some(start) if self.at_end || (start == 0 && self.full) => {
                give(self.bytes.get(start..at).unwrap_or_default(), take);
                Taken {
                    bytes: at,
                    passes_over: false,
                }
            }
            Some(start) => Taken {
                bytes: start,
                passes_over: false,
            },
            None => Taken {
                bytes: at,
                passes_over: false,
            },
        }
    }

    /// The last line has no end: it begins at `at`, the record that it may belong to at `begun`.
    fn unended(&self, begun: Option<usize>, at: usize, take: &mut impl FnMut(&[u8])) -> Taken {
        let start = begun.unwrap_or(at);
        let whole = self.bytes.len();
        if start == 0 && self.full {
            // It fills the block: longer than any record.
            give(self.bytes, take);
            return Taken {
                bytes: whole,
                passes_over: true,
            };
        }
        if start == 0 && self.settled {
            give(self.bytes, take);
            return Taken {
                bytes: whole,
                passes_over: false,
            };
        }
        Taken {
            bytes: start,
            passes_over: false,
        }
    }
}

/// Gives one record, cut to the longest that there may be.
fn give(record: &[u8], take: &mut impl FnMut(&[u8])) {
    let record = record.trim_ascii_end();
    let record = record.get(..RECORD_BYTES).unwrap_or(record);
    if !record.is_empty() {
        take(record);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::once::from_file;
    use super::*;
    use crate::testing::Tree;

    /// Everything that is there now; whether the log was another one.
    fn read(tail: &mut Tail) -> (Vec<String>, bool) {
        let mut records = Vec::new();
        let restarted = tail.look().expect("look");
        while tail
            .read(|record| records.push(String::from_utf8_lossy(record).into_owned()))
            .expect("read")
        {}
        (records, restarted)
    }

    fn opened(tree: &Tree) -> Tail {
        Tail::open(&tree.root()).expect("a log")
    }

    #[test]
    fn what_was_read_is_not_read_again_whether_the_file_grows_or_is_replaced() {
        let tree = Tree::new();
        tree.file(PATH, "6,0,0,-;one\n KEY=1\n");
        let mut tail = opened(&tree);
        assert_eq!(
            read(&mut tail),
            (vec!["6,0,0,-;one\n KEY=1".to_owned()], false)
        );
        tree.append(PATH, "6,1,0,-;two\n");
        assert_eq!(read(&mut tail), (vec!["6,1,0,-;two".to_owned()], false));
        tree.replace(PATH, "6,0,0,-;one\n KEY=1\n6,1,0,-;two\n6,2,0,-;three\n");
        assert_eq!(read(&mut tail), (vec!["6,2,0,-;three".to_owned()], false));
        assert_eq!(read(&mut tail), (Vec::new(), false));
    }

    #[test]
    fn a_shorter_file_and_one_with_another_beginning_are_other_logs() {
        let tree = Tree::new();
        tree.file(PATH, "6,0,0,-;one\n6,1,0,-;two\n");
        let mut tail = opened(&tree);
        assert_eq!(read(&mut tail).0.len(), 2);
        tree.replace(PATH, "6,0,0,-;next\n");
        assert_eq!(read(&mut tail), (vec!["6,0,0,-;next".to_owned()], true));
        tree.replace(PATH, "6,0,0,-;others, and as long\n");
        let (records, restarted) = read(&mut tail);
        assert_eq!((records.len(), restarted), (1, true));
        // Written over in place.
        tree.file(PATH, "6,0,0,-;x\n");
        assert_eq!(read(&mut tail), (vec!["6,0,0,-;x".to_owned()], true));
    }

    #[test]
    fn a_file_that_is_away_for_a_moment_is_waited_for() {
        let tree = Tree::new();
        tree.file(PATH, "6,0,0,-;one\n");
        let mut tail = opened(&tree);
        assert_eq!(read(&mut tail).0.len(), 1);
        tree.remove(PATH);
        assert_eq!(read(&mut tail), (Vec::new(), false));
        tree.file(PATH, "6,0,0,-;one\n6,1,0,-;two\n");
        assert_eq!(read(&mut tail), (vec!["6,1,0,-;two".to_owned()], false));
    }

    #[test]
    fn a_line_without_an_end_counts_once_it_stays_as_it_is() {
        let tree = Tree::new();
        tree.file(PATH, "6,0,0,-;one\n6,1,0,-;tw");
        let mut tail = opened(&tree);
        assert_eq!(read(&mut tail).0, ["6,0,0,-;one"]);
        assert!(tail.look_again_after() <= LOOK, "soon");
        tree.append(PATH, "o");
        assert_eq!(read(&mut tail).0, [""; 0]);
        assert_eq!(read(&mut tail).0, ["6,1,0,-;two"]);
        tree.append(PATH, "\n6,2,0,-;three\n");
        assert_eq!(read(&mut tail).0, ["6,2,0,-;three"]);
    }

    #[test]
    fn a_line_longer_than_any_record_is_cut_and_the_next_one_read() {
        let tree = Tree::new();
        let long = "x".repeat(3 * BLOCK);
        tree.file(PATH, format!("6,0,0,-;{long}\n6,1,0,-;two\n"));
        let mut tail = opened(&tree);
        let (records, _) = read(&mut tail);
        assert_eq!(records.len(), 2);
        assert_eq!(records[0].len(), RECORD_BYTES);
        assert_eq!(records[1], "6,1,0,-;two");
        // Even when its end has not been written yet.
        tree.append(PATH, format!("6,2,0,-;{long}"));
        assert_eq!(read(&mut tail).0.len(), 1);
        tree.append(PATH, "yyy\n6,3,0,-;four\n");
        assert_eq!(read(&mut tail).0, ["6,3,0,-;four"]);
    }

    #[test]
    fn a_log_of_many_blocks_is_read_to_its_end() {
        let tree = Tree::new();
        let lines: Vec<String> = (0..40_000)
            .map(|n| format!("6,{n},{n},-;line {n}\n SUBSYSTEM=pci\n"))
            .collect();
        tree.file(PATH, lines.concat());
        let (records, _) = read(&mut opened(&tree));
        assert_eq!(records.len(), lines.len());
        for (record, line) in records.iter().zip(&lines) {
            assert_eq!(record, line.trim_end());
        }
    }

    fn line() -> impl Strategy<Value = String> {
        prop_oneof![
            3 => "[0-9]{1,2},[0-9]{1,3},[0-9],-;[a-z ]{0,20}\n",
            1 => " [A-Z]{1,5}=[a-z]{0,5}\n",
            1 => "[a-z;, ]{0,12}\n",
            1 => Just("\n".to_owned()),
            1 => Just("\u{fffd}\r\n".to_owned()),
        ]
    }

    /// First lines of records that are no stray properties.
    fn first_lines(records: &[String]) -> Vec<String> {
        records
            .iter()
            .filter(|record| !record.starts_with(' '))
            .map(|record| {
                record
                    .lines()
                    .next()
                    .unwrap_or_default()
                    .trim_end()
                    .to_owned()
            })
            .collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn however_it_grows_it_has_the_records_of_the_whole_file(
            lines in proptest::collection::vec(line(), 0..30),
            cuts in proptest::collection::vec(any::<proptest::sample::Index>(), 0..6),
            replaced in any::<bool>(),
        ) {
            let whole = lines.concat();
            let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(whole.len() + 1)).collect();
            places.push(whole.len());
            places.sort_unstable();
            places.dedup();
            let tree = Tree::new();
            tree.file(PATH, "");
            let mut tail = opened(&tree);
            let mut records = Vec::new();
            let mut before = 0;
            for place in places {
                let bytes = whole.as_bytes();
                if replaced {
                    tree.replace(PATH, &bytes[..place]);
                } else {
                    tree.append(PATH, &bytes[before..place]);
                }
                before = place;
                let (more, restarted) = read(&mut tail);
                prop_assert!(!restarted);
                records.extend(more);
            }
            let mut want = Vec::new();
            from_file(whole.as_bytes(), &mut |record| {
                want.push(String::from_utf8_lossy(record).into_owned());
            })
            .expect("whole");
            prop_assert_eq!(first_lines(&records), first_lines(&want));
        }
    }

    #[test]
    fn the_sign_tells_of_a_file_that_is_put_in_place() {
        let tree = Tree::new();
        tree.file(PATH, "6,0,0,-;one\n");
        let mut tail = opened(&tree);
        if tail.sign().is_none() {
            println!("skipped: no inotify here");
            return;
        }
        tail.clear_sign();
        tree.replace(PATH, "6,0,0,-;one\n6,1,0,-;two\n");
        let sign = tail.sign.as_ref().expect("a sign");
        assert!(!sign.read_events().expect("events").is_empty());
    }
}
