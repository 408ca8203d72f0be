//! The log as it grows.
//!
//! # Invariants
//! - Waiting costs nothing: the kernel says when there is more.
//! - One step gives a bounded number of records, so that whoever follows a storm can do its other
//!   work in between.

use std::io::Read;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::tail::Tail;
use super::wake::{Sleeper, Waker};
use super::{PATH, RECORD_BYTES, sequence};
use crate::error::ReadError;
use crate::root::Root;

/// Most records that one step gives.
pub(super) const STEP: u64 = 2048;

/// One record, without the line break at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// The kernel's number of it; none where the header is garbage.
    pub sequence: Option<u64>,
    /// Header, text, and the lines with its properties.
    pub bytes: &'a [u8],
}

/// What one step brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// Records that were given.
    pub records: u64,
    /// Records that the kernel had overwritten before they could be read.
    pub lost: u64,
    /// The log is another one: what comes next is its start. Nothing else came with this step.
    pub restarted: bool,
    /// A [`Waker`] was used.
    pub woken: bool,
}

/// Follows the log.
pub struct Follower {
    way: Way,
    sleeper: Sleeper,
    place: Place,
}

enum Way {
    /// The kernel's device: each read gives one record.
    Device {
        device: std::fs::File,
        buffer: Vec<u8>,
    },
    /// A file of records.
    File(Box<Tail>),
}

/// How far the log was followed.
struct Place {
    /// Records up to this one were handled before.
    after: Option<u64>,
    /// The number that should come next.
    next: u64,
    counts_gaps: bool,
}

impl Place {
    /// Counts what is missing before this record; gives it on, if it was not handled before.
    fn take(&mut self, bytes: &[u8], step: &mut Step, take: &mut impl FnMut(Record<'_>)) {
        let sequence = sequence(bytes);
        match (sequence, self.after) {
            (Some(sequence), Some(after)) if sequence <= after => return,
            // Garbage among what was handled before.
            (None, Some(_)) => return,
            (Some(_), Some(_)) => self.after = None,
            (_, None) => {}
        }
        if let Some(sequence) = sequence {
            if self.counts_gaps {
                step.lost += sequence.saturating_sub(self.next);
            }
            self.next = sequence.saturating_add(1);
        }
        step.records += 1;
        take(Record { sequence, bytes });
    }
}

impl Follower {
    /// Opens the log. `after` is the sequence number of the last record that was handled in this
    /// boot; without one the log is followed from the oldest record that there is.
    ///
    /// # Errors
    /// The log cannot be opened.
    pub fn open(root: &Root, after: Option<u64>) -> Result<Self, ReadError> {
        let way = if root.is_live() {
            Way::device(root.open(PATH)?)
        } else {
            Way::File(Box::new(Tail::open(root)?))
        };
        Self::with(way, after)
    }

    fn with(way: Way, after: Option<u64>) -> Result<Self, ReadError> {
        let counts_gaps = matches!(way, Way::Device { .. });
        Ok(Self {
            way,
            sleeper: Sleeper::new().map_err(|errno| ReadError::from_errno(PATH, errno))?,
            place: Place {
                after,
                next: after.map_or(0, |after| after.saturating_add(1)),
                counts_gaps,
            },
        })
    }

    /// What ends waiting.
    pub fn waker(&self) -> Waker {
        self.sleeper.waker()
    }

    /// Gives the records that are there, a bounded number of them, oldest first. Where there are
    /// none it waits for some: at most for `limit`, without one until there are or it is woken.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn step(
        &mut self,
        limit: Option<Duration>,
        mut take: impl FnMut(Record<'_>),
    ) -> Result<Step, ReadError> {
        let until = limit.map(|limit| Instant::now() + limit);
        let mut step = Step::default();
        loop {
            let more = self.read(&mut step, &mut take)?;
            if step.records > 0 || step.lost > 0 || step.restarted {
                step.woken = self.sleeper.woken();
                return Ok(step);
            }
            if more {
                // Nothing but what was handled before: there is more behind it.
                continue;
            }
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            step.woken = self.wait(left)?;
            if step.woken || left.is_some_and(|left| left.is_zero()) {
                return Ok(step);
            }
        }
    }

    /// Gives what is there; says whether more may be.
    fn read(
        &mut self,
        step: &mut Step,
        take: &mut impl FnMut(Record<'_>),
    ) -> Result<bool, ReadError> {
        let place = &mut self.place;
        match &mut self.way {
            Way::Device { device, buffer } => {
                from_device(device, buffer, |record| place.take(record, step, take))
            }
            Way::File(tail) => {
                if tail.look()? {
                    place.after = None;
                    step.restarted = true;
                    return Ok(true);
                }
                tail.read(|record| place.take(record, step, take))
            }
        }
    }

    fn wait(&mut self, left: Option<Duration>) -> Result<bool, ReadError> {
        let told = |errno| ReadError::from_errno(PATH, errno);
        match &mut self.way {
            Way::Device { device, .. } => {
                self.sleeper.sleep(Some(device.as_fd()), left).map_err(told)
            }
            Way::File(tail) => {
                let look = tail.look_again_after();
                let left = left.map_or(look, |left| left.min(look));
                let woken = self.sleeper.sleep(tail.sign(), Some(left)).map_err(told)?;
                tail.clear_sign();
                Ok(woken)
            }
        }
    }
}

impl Way {
    fn device(device: std::fs::File) -> Self {
        Self::Device {
            device,
            buffer: vec![0; RECORD_BYTES],
        }
    }
}

/// Gives the records that are there; says whether more may be.
fn from_device(
    device: &mut impl Read,
    buffer: &mut [u8],
    mut take: impl FnMut(&[u8]),
) -> Result<bool, ReadError> {
    for _ in 0..STEP {
        match device.read(buffer) {
            // A device that ends is none: waiting for more of it would never wait.
            Ok(0) => {
                return Err(ReadError::Binary {
                    path: PATH.to_owned(),
                    detail: "ends, which the kernel's log never does".to_owned(),
                });
            }
            Ok(count) => take(buffer.get(..count).unwrap_or_default().trim_ascii_end()),
            Err(error) => {
                let errno = error.raw_os_error().map_or(Errno::EIO, Errno::from_raw);
                if errno == Errno::EAGAIN {
                    return Ok(false);
                }
                // EPIPE: the next record was overwritten meanwhile; the kernel goes on with the
                // oldest it has, and the gap shows in the sequence numbers.
                if errno != Errno::EPIPE && errno != Errno::EINTR {
                    return Err(ReadError::from_errno(PATH, errno));
                }
            }
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixDatagram;

    use super::*;
    use crate::testing::Tree;

    /// A device of which each read gives one record, as the kernel's does.
    fn device(after: Option<u64>) -> (Follower, UnixDatagram) {
        let (ours, theirs) = UnixDatagram::pair().expect("sockets");
        ours.set_nonblocking(true).expect("non-blocking");
        let device = File::from(OwnedFd::from(ours));
        let follower = Follower::with(Way::device(device), after).expect("follower");
        (follower, theirs)
    }

    fn step(follower: &mut Follower, limit: Option<Duration>) -> (Vec<Option<u64>>, Step) {
        let mut given = Vec::new();
        let step = follower.step(limit, |record| given.push(record.sequence));
        (given, step.expect("a step"))
    }

    const AT_ONCE: Option<Duration> = Some(Duration::ZERO);

    #[test]
    fn gaps_of_the_device_are_losses() {
        let (mut follower, kernel) = device(None);
        for record in ["6,3,1,-;a\n", "6,4,2,-;b\n KEY=1\n", "6,9,3,-;c\n"] {
            kernel.send(record.as_bytes()).expect("record");
        }
        let (given, told) = step(&mut follower, None);
        assert_eq!(given, [Some(3), Some(4), Some(9)]);
        assert_eq!((told.records, told.lost), (3, 3 + 4));
        assert_eq!(step(&mut follower, AT_ONCE), (Vec::new(), Step::default()));
        kernel.send(b"6,10,4,-;d\n").expect("record");
        assert_eq!(step(&mut follower, None).1.lost, 0);
    }

    #[test]
    fn what_was_handled_is_not_given_again() {
        let (mut follower, kernel) = device(Some(4));
        for record in [
            "6,3,1,-;a\n",
            "garbage\n",
            "6,4,2,-;b\n",
            "6,6,3,-;c\n",
            "garbage\n",
        ] {
            kernel.send(record.as_bytes()).expect("record");
        }
        let (given, told) = step(&mut follower, None);
        assert_eq!(given, [Some(6), None]);
        assert_eq!((told.records, told.lost), (2, 1));
    }

    #[test]
    fn one_step_is_bounded() {
        let tree = Tree::new();
        let log: String = (0..3 * STEP).map(|n| format!("6,{n},0,-;x\n")).collect();
        tree.file(PATH, log);
        let mut follower = Follower::open(&tree.root(), Some(STEP)).expect("log");
        let mut all = Vec::new();
        loop {
            let (given, told) = step(&mut follower, AT_ONCE);
            if told.records == 0 {
                break;
            }
            assert!(told.records <= 100_000, "{told:?}");
            assert_eq!(told.lost, 0, "a file has no losses");
            all.extend(given.into_iter().flatten());
        }
        assert!(all.into_iter().eq(STEP + 1..3 * STEP));
    }

    #[test]
    fn waiting_ends_when_woken_and_when_the_log_grows() {
        let tree = Tree::new();
        tree.file(PATH, "");
        let mut follower = Follower::open(&tree.root(), None).expect("log");
        let waker = follower.waker();
        waker.wake();
        assert!(step(&mut follower, None).1.woken, "before it waits");
        let (mut from_device, _kernel) = device(None);
        let (one, other) = (follower.waker(), from_device.waker());
        let thread = std::thread::spawn(move || {
            one.wake();
            other.wake();
        });
        assert!(step(&mut follower, None).1.woken);
        assert!(step(&mut from_device, None).1.woken);
        thread.join().expect("thread");
        std::thread::scope(|scope| {
            scope.spawn(|| tree.replace(PATH, "6,0,0,-;x\n"));
            assert_eq!(step(&mut follower, None).0, [Some(0)]);
        });
    }

    #[test]
    fn another_log_is_told_before_its_records() {
        let tree = Tree::new();
        tree.file(PATH, "6,7,0,-;x\n6,8,0,-;y\n");
        let mut follower = Follower::open(&tree.root(), Some(7)).expect("log");
        assert_eq!(step(&mut follower, AT_ONCE).0, [Some(8)]);
        tree.replace(PATH, "6,0,0,-;x\n");
        let (given, told) = step(&mut follower, None);
        assert!(given.is_empty() && told.restarted, "{told:?}");
        assert_eq!(step(&mut follower, None).0, [Some(0)]);
    }

    #[test]
    fn what_ends_is_no_device() {
        let null = File::open("/dev/null").expect("/dev/null");
        let mut follower = Follower::with(Way::device(null), None).expect("follower");
        let error = follower.step(None, |_| ()).expect_err("no log");
        assert!(error.to_string().contains("ends"), "{error}");
    }

    #[test]
    fn this_machines_own_log_is_followed() {
        let mut follower = match Follower::open(&Root::live(), None) {
            Ok(follower) => follower,
            Err(error) => {
                println!("skipped: {error}");
                return;
            }
        };
        let mut last = None;
        loop {
            let mut in_order = true;
            let step = follower.step(AT_ONCE, |record| {
                in_order &= record.sequence > last;
                last = record.sequence.or(last);
            });
            match step {
                Ok(step) if step.records == 0 => break,
                Ok(_) => assert!(in_order, "up to {last:?}"),
                Err(error) => {
                    println!("skipped: {error}");
                    return;
                }
            }
        }
        // Nothing of it comes again.
        let mut again = Follower::open(&Root::live(), last).expect("it was opened before");
        let step = again.step(AT_ONCE, |record| assert!(record.sequence > last));
        assert_eq!(step.expect("it was read before").lost, 0);
    }

    #[test]
    fn no_log_is_told() {
        let error = Follower::open(&Tree::new().root(), None)
            .err()
            .expect("none");
        assert!(error.is_missing());
    }
}
