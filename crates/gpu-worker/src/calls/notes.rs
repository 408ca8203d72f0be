//! A place where the worker notes which call comes next, when the agent gave it one: its standard
//! output, a file in memory of a fixed size. Sending each call over the socket would wake the agent
//! a thousand times for one reading of eight GPUs; a note waits until somebody wants to know.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::FileExt;
use std::sync::OnceLock;

static PLACE: OnceLock<Option<File>> = OnceLock::new();

/// Notes a message over the one before; says whether there is a place for it.
pub fn note(frame: &[u8]) -> bool {
    let place = PLACE.get_or_init(|| take_place().ok().flatten());
    place
        .as_ref()
        .is_some_and(|place| place.write_all_at(frame, 0).is_ok())
}

/// Takes standard output for notes if it is meant for them: what a driver prints goes nowhere.
fn take_place() -> io::Result<Option<File>> {
    let stdout = io::stdout();
    // SAFETY: asks for the seals of an open file; no memory is passed.
    let seals = unsafe { libc::fcntl(stdout.as_raw_fd(), libc::F_GET_SEALS) };
    if seals < 0 || seals & libc::F_SEAL_GROW == 0 {
        return Ok(None);
    }
    let place = File::from(stdout.as_fd().try_clone_to_owned()?);
    let nowhere = File::options().write(true).open("/dev/null")?;
    // SAFETY: both are open files of this process, and nothing else holds standard output by value.
    if unsafe { libc::dup2(nowhere.as_raw_fd(), stdout.as_raw_fd()) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(Some(place))
}
