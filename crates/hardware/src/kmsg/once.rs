//! The log from end to end: on the machine itself `/dev/kmsg` is read without waiting, from the
//! oldest record that the kernel still has to the newest.

use std::io::{BufRead, BufReader, Read};

use nix::errno::Errno;

use super::{PATH, RECORD_BYTES, sequence};
use crate::error::ReadError;
use crate::root::Root;

/// Most records read at once: far above what a kernel's buffer holds.
const RECORDS: u64 = 4_000_000;

/// How reading went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Records read.
    pub records: u64,
    /// Records that the kernel had already overwritten: before the first one, or between two.
    pub lost: u64,
}

/// Gives every record of this boot to `take`, oldest first.
///
/// # Errors
/// The log cannot be opened or read.
pub fn for_each(root: &Root, mut take: impl FnMut(&[u8])) -> Result<Summary, ReadError> {
    let file = root.open(PATH)?;
    let mut counting = Counting::default();
    let mut counted = |record: &[u8]| {
        counting.see(record);
        take(record);
    };
    if root.is_live() {
        from_device(file, &mut counted)?;
        return Ok(counting.summary);
    }
    from_file(file, &mut counted)?;
    Ok(Summary {
        lost: 0,
        ..counting.summary
    })
}

/// Each read of the device gives one record.
fn from_device(mut device: impl Read, take: &mut dyn FnMut(&[u8])) -> Result<(), ReadError> {
    let mut buffer = vec![0_u8; RECORD_BYTES];
    for _ in 0..RECORDS {
        match device.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => take(buffer[..count].trim_ascii_end()),
            Err(error) => {
                let errno = error.raw_os_error().map_or(Errno::EIO, Errno::from_raw);
                if errno == Errno::EAGAIN {
                    break;
                }
                // EPIPE: the next record was overwritten meanwhile; the kernel goes on with the
                // oldest it has, and the gap shows in the sequence numbers.
                if errno != Errno::EPIPE && errno != Errno::EINTR {
                    return Err(ReadError::from_errno(PATH, errno));
                }
            }
        }
    }
    Ok(())
}

/// Records of a file are lines; a line that begins with a blank belongs to the record before it.
pub(super) fn from_file(file: impl Read, take: &mut dyn FnMut(&[u8])) -> Result<(), ReadError> {
    let mut reader = BufReader::new(file);
    let mut record = Vec::new();
    loop {
        let mut line = Vec::new();
        let limit = u64::try_from(RECORD_BYTES).unwrap_or(u64::MAX);
        let count = reader
            .by_ref()
            .take(limit)
            .read_until(b'\n', &mut line)
            .map_err(|error| ReadError::from_io(PATH, &error))?;
        let line = line.trim_ascii_end();
        let continues = count > 0 && line.starts_with(b" ") && !record.is_empty();
        if continues && record.len() + line.len() < RECORD_BYTES {
            record.push(b'\n');
            record.extend_from_slice(line);
            continue;
        }
        if !record.is_empty() {
            take(&record);
        }
        record.clear();
        record.extend_from_slice(line);
        if count == 0 {
            return Ok(());
        }
    }
}

/// Counts records, and the gaps between their sequence numbers.
#[derive(Default)]
struct Counting {
    summary: Summary,
    next: u64,
}

impl Counting {
    fn see(&mut self, record: &[u8]) {
        self.summary.records += 1;
        if let Some(sequence) = sequence(record) {
            self.summary.lost += sequence.saturating_sub(self.next);
            self.next = sequence.saturating_add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Tree;

    fn records(tree: &Tree) -> (Vec<String>, Summary) {
        let mut records = Vec::new();
        let summary = for_each(&tree.root(), |record| {
            records.push(String::from_utf8_lossy(record).into_owned());
        });
        (records, summary.expect("log"))
    }

    #[test]
    fn lines_are_records_and_properties_belong_to_them() {
        let tree = Tree::new();
        tree.file(
            PATH,
            "6,0,0,-;Linux version 6.1\n3,1,5,-;NVRM: Xid (PCI:0000:9b:00): 79\n SUBSYSTEM=pci\n DEVICE=+pci:0000:9b:00.0\n4,5,9,-;last",
        );
        let (records, summary) = records(&tree);
        assert_eq!(records.len(), 3);
        assert!(records[1].ends_with("\n DEVICE=+pci:0000:9b:00.0"));
        assert_eq!(
            summary,
            Summary {
                records: 3,
                lost: 0
            }
        );
    }

    #[test]
    fn a_device_that_overwrites_goes_on() {
        struct Device(Vec<std::io::Result<&'static [u8]>>);
        impl Read for Device {
            fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
                let record = self.0.remove(0)?;
                buffer[..record.len()].copy_from_slice(record);
                Ok(record.len())
            }
        }
        let errno = |errno: Errno| Err(std::io::Error::from_raw_os_error(errno as i32));
        let device = Device(vec![
            Ok(b"6,3,1,-;one\n"),
            errno(Errno::EPIPE),
            Ok(b"6,9,2,-;two\n"),
            errno(Errno::EAGAIN),
        ]);
        let mut counting = Counting::default();
        from_device(device, &mut |record| counting.see(record)).expect("read");
        assert_eq!(
            counting.summary,
            Summary {
                records: 2,
                lost: 8
            }
        );
    }

    #[test]
    fn no_log_is_told() {
        let error = for_each(&Tree::new().root(), |_| ()).expect_err("no log");
        assert!(error.is_missing());
    }
}
