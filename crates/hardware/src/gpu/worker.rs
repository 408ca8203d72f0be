//! One worker process: asked one thing at a time, with a deadline, and killed when it misses one.
//!
//! # Invariants
//! - Which call the worker is in is looked up when it is lost, not before: it notes that in a file
//!   in memory, and sends it only where there is none.
//! - No wait is without end. What the worker writes to standard error is drained while it is waited
//!   for, so that a talkative driver never blocks on a full pipe.
//! - Dropping a worker ends and reaps it.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStderr};
use std::time::{Duration, Instant};

use cupel_model::worker::{Answer, Ask, Request, WorkerError, write_frame};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::fstat;

use super::frames::{Admitted, FrameError, admit, greet, take};
use super::program::{SpawnError, Started, WorkerProgram, start};
use super::reaper::{self, Death};
use crate::clock;

/// Most kept of what a worker says on standard error, bytes.
const STDERR_MAX: usize = 64 * 1024;

/// Most of it that goes into an error, characters.
const STDERR_SHOWN: usize = 400;

/// How long a killed worker may take to die before it counts as wedged.
const DYING: Duration = Duration::from_millis(500);

/// How long a worker may take to end by itself when its socket does.
const ENDING: Duration = Duration::from_millis(200);

/// A call that was announced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastCall {
    /// The C function.
    pub call: String,
    /// The GPU, where one is concerned.
    pub gpu: Option<u32>,
    /// When.
    pub entered: Instant,
}

/// Why a worker gave no answer. It is gone.
#[derive(Clone, Debug)]
pub struct Lost {
    /// What it did.
    pub cause: Cause,
    /// The call that it was in.
    pub call: Option<LastCall>,
    /// Whether it could be killed.
    pub death: Option<Death>,
}

/// What a worker did instead of answering.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// It missed its deadline.
    Hung(Duration),
    /// It died: how, and its last words.
    Died(String),
    /// It said what cannot be trusted, or the socket failed.
    Untrusted(String),
    /// There was none to ask.
    NotStarted(String),
}

impl Lost {
    /// It died before it came to a call: neither the driver nor a GPU can have done that.
    pub fn is_not_by_a_call(&self) -> bool {
        self.call.is_none() && matches!(self.cause, Cause::Died(_))
    }

    /// In words, naming the call.
    pub fn why(&self) -> String {
        let call = self.call.as_ref().map_or("start", |call| &call.call);
        match &self.cause {
            Cause::Hung(limit) => {
                format!("{call}: did not return within {} s", limit.as_secs_f64())
            }
            Cause::Died(how) if self.call.is_none() => {
                format!("worker {how} before it came to a call")
            }
            Cause::Died(how) => format!("worker {how} in {call}"),
            Cause::Untrusted(what) => format!("worker sent {what}"),
            Cause::NotStarted(why) => why.clone(),
        }
    }
}

/// A worker that answered its greeting.
pub struct Worker {
    child: Option<Child>,
    socket: UnixStream,
    stderr: Option<ChildStderr>,
    notes: Option<File>,
    said: Vec<u8>,
    buffer: Vec<u8>,
    next_id: u64,
    last_call: Option<LastCall>,
}

/// Why there is no answer.
enum End {
    Died,
    Late,
    Untrusted(FrameError),
}

enum Event {
    Message(cupel_model::worker::FromWorker),
    End,
    Late,
}

impl Worker {
    /// Starts one and waits for its greeting.
    pub fn start(program: &WorkerProgram, deadline: Duration) -> Result<Self, Lost> {
        let started = start(program).map_err(|error| not_started(&error))?;
        let Started {
            child,
            socket,
            stderr,
            notes,
        } = started;
        let mut worker = Self {
            child: Some(child),
            socket,
            stderr,
            notes,
            said: Vec::new(),
            buffer: Vec::new(),
            next_id: 1,
            last_call: None,
        };
        let prepared = worker.prepare();
        prepared.map_err(|error| not_started(&SpawnError::Socket(error)))?;
        match worker.event(Instant::now() + deadline) {
            Ok(Event::Message(hello)) => match greet(hello, env!("CARGO_PKG_VERSION")) {
                Ok(()) => Ok(worker),
                Err(error) => Err(worker.untrusted(&error)),
            },
            Ok(Event::End) => Err(worker.died()),
            Ok(Event::Late) => Err(worker.hung(deadline)),
            Err(error) => Err(worker.untrusted(&error)),
        }
    }

    /// Neither end may block: a worker that does not read cannot hold the agent.
    fn prepare(&self) -> std::io::Result<()> {
        self.socket.set_nonblocking(true)?;
        self.socket
            .set_write_timeout(Some(Duration::from_secs(1)))?;
        if let Some(stderr) = &self.stderr {
            let flags = nix::fcntl::OFlag::O_NONBLOCK;
            nix::fcntl::fcntl(stderr.as_fd(), nix::fcntl::FcntlArg::F_SETFL(flags))?;
        }
        Ok(())
    }

    /// Asks, and waits for the answer until the deadline. After an error the worker is gone.
    pub fn ask(
        mut self,
        ask: Ask,
        deadline: Duration,
    ) -> Result<(Self, Result<Box<Answer>, WorkerError>), Lost> {
        let begun = Instant::now();
        let id = self.next_id;
        self.next_id += 1;
        self.last_call = None;
        let request = Request { id, ask };
        let end = match self.answer(&request, begun + deadline) {
            Ok(result) => return Ok((self, result)),
            Err(end) => end,
        };
        let noted = self.noted(&request, begun);
        self.last_call = noted.or(self.last_call.take());
        Err(match end {
            End::Died => self.died(),
            End::Late => self.hung(deadline),
            End::Untrusted(error) => self.untrusted(&error),
        })
    }

    fn answer(
        &mut self,
        request: &Request,
        until: Instant,
    ) -> Result<Result<Box<Answer>, WorkerError>, End> {
        // A worker that died in between; how it died says more than the broken socket.
        write_frame(&mut &self.socket, request).map_err(|_| End::Died)?;
        loop {
            let message = match self.event(until).map_err(End::Untrusted)? {
                Event::Message(message) => message,
                Event::End => return Err(End::Died),
                Event::Late => return Err(End::Late),
            };
            match admit(message, request.id, &request.ask).map_err(End::Untrusted)? {
                Admitted::Calling { call, gpu } => {
                    self.last_call = Some(LastCall {
                        call,
                        gpu,
                        entered: Instant::now(),
                    });
                }
                Admitted::Answer(result) => return Ok(result),
            }
        }
    }

    /// The call that the worker noted last, if it was for this request.
    fn noted(&self, request: &Request, begun: Instant) -> Option<LastCall> {
        let notes = self.notes.as_ref()?;
        let mut page = [0_u8; 4096];
        let got = notes.read_at(&mut page, 0).ok()?;
        let (message, _) = take(page.get(..got)?).ok()??;
        let Ok(Admitted::Calling { call, gpu }) = admit(message, request.id, &request.ask) else {
            return None;
        };
        let entered = written(notes).map_or(begun, |entered| entered.max(begun));
        Some(LastCall { call, gpu, entered })
    }

    /// The next message, the socket's end, or the deadline.
    fn event(&mut self, until: Instant) -> Result<Event, FrameError> {
        loop {
            if let Some((message, taken)) = take(&self.buffer)? {
                self.buffer.drain(..taken);
                return Ok(Event::Message(message));
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(Event::Late);
            }
            if self.wait(left) {
                self.drain_stderr();
            }
            let mut chunk = [0_u8; 16 * 1024];
            match self.socket.read(&mut chunk) {
                Ok(0) => return Ok(Event::End),
                Ok(count) => self.buffer.extend_from_slice(&chunk[..count]),
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
                // A reset socket is a dead worker.
                Err(_) => return Ok(Event::End),
            }
        }
    }

    /// Until there is something to read, or `left` has passed; says whether it is worth looking at
    /// standard error.
    fn wait(&self, left: Duration) -> bool {
        let timeout = PollTimeout::try_from(left.as_millis().min(60_000) + 1)
            .unwrap_or(PollTimeout::from(100_u16));
        let mut watched = vec![PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
        if let Some(stderr) = &self.stderr {
            watched.push(PollFd::new(stderr.as_fd(), PollFlags::POLLIN));
        }
        // Interrupted or failed: the caller looks again, and its deadline ends it.
        match poll(&mut watched, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => std::thread::sleep(Duration::from_millis(1)),
        }
        let stderr = watched.get(1).and_then(PollFd::revents);
        stderr.is_some_and(|told| !told.is_empty())
    }

    fn drain_stderr(&mut self) {
        let Some(stderr) = &mut self.stderr else {
            return;
        };
        let mut chunk = [0_u8; 4096];
        // A bounded number of turns: a flood must not keep the deadline from being looked at.
        for _ in 0..64 {
            match stderr.read(&mut chunk) {
                Ok(0) => {
                    self.stderr = None;
                    return;
                }
                Ok(count) => {
                    let room = STDERR_MAX.saturating_sub(self.said.len());
                    self.said.extend_from_slice(&chunk[..count.min(room)]);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    }

    fn hung(self, deadline: Duration) -> Lost {
        self.lose(|_| Cause::Hung(deadline))
    }

    fn untrusted(self, error: &FrameError) -> Lost {
        self.lose(|_| Cause::Untrusted(error.to_string()))
    }

    fn died(mut self) -> Lost {
        // The socket ends a moment before the process does.
        let status = self.child.as_mut().and_then(|child| {
            reaper::died_within(child, ENDING)
                .then(|| child.try_wait().ok().flatten())
                .flatten()
        });
        self.drain_stderr();
        self.lose(|worker| {
            let how = match status {
                Some(status) => match (status.signal(), status.code()) {
                    (Some(signal), _) => format!("died of signal {signal}"),
                    (None, Some(code)) => format!("ended with status {code}"),
                    (None, None) => "died".to_owned(),
                },
                None => "closed its socket".to_owned(),
            };
            Cause::Died(match worker.last_words() {
                Some(words) => format!("{how} ({words})"),
                None => how,
            })
        })
    }

    /// Kills it; what became of that.
    pub fn kill(mut self) -> Option<Death> {
        self.child.take().map(|child| reaper::kill(child, DYING))
    }

    fn lose(mut self, cause: impl FnOnce(&Self) -> Cause) -> Lost {
        let cause = cause(&self);
        let death = self.child.take().map(|child| reaper::kill(child, DYING));
        Lost {
            cause,
            call: self.last_call.take(),
            death,
        }
    }

    /// The end of what it said on standard error, on one line.
    fn last_words(&self) -> Option<String> {
        let text = String::from_utf8_lossy(&self.said);
        let words: Vec<&str> = text
            .split(|c: char| c.is_control() || c.is_whitespace())
            .filter(|word| !word.is_empty())
            .collect();
        let line = words.join(" ");
        let skipped = line.chars().count().saturating_sub(STDERR_SHOWN);
        let shown: String = line.chars().skip(skipped).collect();
        (!shown.is_empty()).then_some(shown)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // The end of its socket is its sign to end.
            let _ = self.socket.shutdown(std::net::Shutdown::Both);
            if !reaper::died_within(&mut child, ENDING) {
                reaper::kill(child, DYING);
            }
        }
    }
}

/// When a file was written to last.
fn written(file: &File) -> Option<Instant> {
    let about = fstat(file).ok()?;
    let microseconds = about
        .st_mtime
        .checked_mul(1_000_000)?
        .checked_add(about.st_mtime_nsec / 1000)?;
    let ago = clock::now().microseconds().checked_sub(microseconds)?;
    // A clock that was set back meanwhile: just now.
    let ago = Duration::from_micros(u64::try_from(ago).unwrap_or(0));
    Instant::now().checked_sub(ago)
}

fn not_started(error: &SpawnError) -> Lost {
    let mut why = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        why.push_str(": ");
        why.push_str(&error.to_string());
        source = error.source();
    }
    Lost {
        cause: Cause::NotStarted(why),
        call: None,
        death: None,
    }
}
