//! Ends the process when the agent is gone, even while a driver call hangs.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// How long the main thread has to shut the driver down in good order after the agent is gone.
const GRACE: Duration = Duration::from_secs(2);

/// Starts the watch.
///
/// # Errors
/// No thread can be started.
pub fn watch(socket: UnixStream) -> io::Result<()> {
    thread::Builder::new()
        .name("hang-up".to_owned())
        .stack_size(64 * 1024)
        .spawn(move || {
            // No events are asked for: poll returns on a hang-up alone.
            let mut watched = [PollFd::new(socket.as_fd(), PollFlags::empty())];
            while poll(&mut watched, PollTimeout::NONE) == Err(Errno::EINTR) {}
            thread::sleep(GRACE);
            // SAFETY: `_exit` takes an integer and does not return. The driver's own exit handlers
            // must not run: they may be what hangs.
            unsafe { libc::_exit(3) }
        })
        .map(|_| ())
}
