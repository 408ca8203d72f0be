//! Ends a wait on a file descriptor from another thread.

use std::io::{PipeReader, PipeWriter, Read, Write, pipe};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// Ends the waiting of a [`Follower`](super::Follower), from any thread.
#[derive(Clone, Debug)]
pub struct Waker(Arc<PipeWriter>);

impl Waker {
    /// Ends this or the next waiting, at once.
    pub fn wake(&self) {
        // A full pipe wakes just as well, and a closed one has nobody to wake.
        let _ = (&*self.0).write(&[0]);
    }
}

/// The end that waits.
pub(super) struct Sleeper {
    pipe: PipeReader,
    waker: Waker,
}

impl Sleeper {
    pub(super) fn new() -> nix::Result<Self> {
        let system =
            |error: std::io::Error| error.raw_os_error().map_or(Errno::EIO, Errno::from_raw);
        let (reader, writer) = pipe().map_err(system)?;
        // Neither end may block: not who wakes, and not who looks whether it was woken.
        fcntl(&reader, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        fcntl(&writer, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        Ok(Self {
            pipe: reader,
            waker: Waker(Arc::new(writer)),
        })
    }

    pub(super) fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// Sleeps until `other` can be read, at most for `limit`; says whether it was woken.
    pub(super) fn sleep(
        &mut self,
        other: Option<BorrowedFd<'_>>,
        limit: Option<Duration>,
    ) -> nix::Result<bool> {
        let mut watched = vec![PollFd::new(self.pipe.as_fd(), PollFlags::POLLIN)];
        watched.extend(other.map(|other| PollFd::new(other, PollFlags::POLLIN)));
        let timeout = match limit {
            // Rounded up: half a millisecond early would be a loop without a wait.
            Some(limit) => PollTimeout::try_from(limit.saturating_add(Duration::from_micros(999)))
                .unwrap_or(PollTimeout::MAX),
            None => PollTimeout::NONE,
        };
        match poll(&mut watched, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
        drop(watched);
        Ok(self.woken())
    }

    /// Whether it was woken since it was last asked.
    pub(super) fn woken(&mut self) -> bool {
        let mut woken = false;
        let mut bytes = [0_u8; 64];
        while let Ok(1..) = self.pipe.read(&mut bytes) {
            woken = true;
        }
        woken
    }
}
