//! A second process of the same program that lives a moment longer: when the first one dies, of
//! whatever, it finishes what is on disk.
//!
//! # Invariants
//! - It learns of the end by its standard input being closed, which the kernel does for a process
//!   that was killed as well.
//! - It is in a process group of its own: what the terminal sends to the first does not reach it.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Stdio};
use std::time::{Duration, Instant};

/// How long it may take to end when there is nothing left to do.
const ENDS: Duration = Duration::from_secs(5);

/// A guardian that waits.
#[derive(Debug)]
pub struct Guardian {
    child: Child,
    /// Held, not written: its end is the message.
    tie: Option<ChildStdin>,
}

impl Guardian {
    /// Starts this same program with other arguments.
    ///
    /// # Errors
    /// The system's.
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that starts this program a second time"
    )]
    pub fn start(arguments: &[OsString]) -> io::Result<Self> {
        // Not the path of the program: an upgrade may have replaced what stands there.
        let mut child = std::process::Command::new("/proc/self/exe")
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .process_group(0)
            .spawn()?;
        let tie = child.stdin.take();
        Ok(Self { child, tie })
    }
}

impl Drop for Guardian {
    fn drop(&mut self) {
        drop(self.tie.take());
        let until = Instant::now() + ENDS;
        while Instant::now() < until {
            match self.child.try_wait() {
                Ok(None) => std::thread::sleep(Duration::from_millis(5)),
                Ok(Some(_)) | Err(_) => return,
            }
        }
    }
}
