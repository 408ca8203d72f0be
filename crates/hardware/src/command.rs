//! The one runner of external commands.
//!
//! # Invariants
//! - Absolute path, clean environment with `LC_ALL=C`, a deadline, and a cap on what is kept of the
//!   output. Standard input is nothing, or a file that the caller names.
//! - The command has its own process group. When it ends, or its deadline passes, the whole group
//!   is killed; nothing is left as a zombie.
//! - Under a root other than `/` no command runs.
//!
//! # What is absent
//! No shell, no search of `PATH`, no inherited variable but those that the caller names.

use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use cupel_model::Reading;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;

use crate::root::Root;

/// How often a running command is looked at when it says nothing.
const LOOK: Duration = Duration::from_millis(20);

/// How long a killed command may take to die before waiting for it moves to a thread of its own.
const DYING: Duration = Duration::from_secs(1);

/// Most bytes that a pipe holds, without privileges.
const PIPE_BYTES: usize = 1 << 20;

/// What a command may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Until when it must have ended.
    pub time: Duration,
    /// Most bytes kept of standard output, and of standard error.
    pub output_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            time: Duration::from_secs(10),
            output_bytes: 4 << 20,
        }
    }
}

/// What a command is given beside its arguments.
#[derive(Debug, Default)]
pub struct Given<'a> {
    /// Its standard input; nothing when there is none.
    pub input: Option<std::fs::File>,
    /// Variables of this process that it inherits, where they are set.
    pub inherited: &'a [&'a str],
}

/// What a command said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Exit status; 128 plus the signal's number when a signal ended it, as shells have it.
    pub status: i32,
    /// Standard output, at most the cap.
    pub stdout: Vec<u8>,
    /// Standard error, at most the cap.
    pub stderr: Vec<u8>,
    /// Whether more was said than was kept.
    pub truncated: bool,
}

/// Why a command gave no output.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// Only the machine itself runs commands.
    #[error("{program}: no command is run under a root other than /")]
    NotLive {
        /// The program.
        program: String,
    },
    /// The path is relative.
    #[error("{program}: not an absolute path")]
    NotAbsolute {
        /// The program.
        program: String,
    },
    /// It is not installed.
    #[error("{program}: not installed")]
    Missing {
        /// The program.
        program: String,
    },
    /// It could not be started or watched.
    #[error("{program}: {}", .errno.desc())]
    System {
        /// The program.
        program: String,
        /// What the system said.
        errno: Errno,
    },
    /// It did not end in time and was killed.
    #[error("{program}: did not end in {} s and was killed", .limit.as_secs_f64())]
    TimedOut {
        /// The program.
        program: String,
        /// Its deadline.
        limit: Duration,
    },
}

impl CommandError {
    /// Missing and not live become unsupported, all else failed.
    pub fn into_reading<T>(self) -> Reading<T> {
        let why = self.to_string();
        match self {
            Self::NotLive { .. } | Self::Missing { .. } => Reading::Unsupported(why),
            Self::NotAbsolute { .. } | Self::System { .. } | Self::TimedOut { .. } => {
                Reading::Failed(why)
            }
        }
    }
}

/// Runs `program` to its end. Whether its exit status means success is for the caller to say.
///
/// # Errors
/// [`CommandError`].
pub fn run(
    root: &Root,
    program: &Path,
    arguments: &[&str],
    limits: Limits,
) -> Result<Output, CommandError> {
    run_with(root, program, arguments, limits, Given::default())
}

/// As [`run`], with a file as standard input and some variables of this process.
///
/// # Errors
/// [`CommandError`].
pub fn run_with(
    root: &Root,
    program: &Path,
    arguments: &[&str],
    limits: Limits,
    given: Given<'_>,
) -> Result<Output, CommandError> {
    let mut kept = Vec::new();
    let mut keep = |bytes: &[u8]| kept.extend_from_slice(bytes);
    let at_cap = AtCap::Discard;
    let asked = (program, arguments, given);
    let output = go(root, asked, limits, at_cap, &mut keep)?;
    Ok(Output {
        stdout: kept,
        ..output
    })
}

/// As [`run`], but standard output goes to `sink` as it comes and is not kept. A command that says
/// more than its cap is killed: nobody would hear the rest.
///
/// # Errors
/// [`CommandError`].
pub fn stream(
    root: &Root,
    program: &Path,
    arguments: &[&str],
    limits: Limits,
    mut sink: impl FnMut(&[u8]),
) -> Result<Output, CommandError> {
    let asked = (program, arguments, Given::default());
    go(root, asked, limits, AtCap::Kill, &mut sink)
}

/// What becomes of a command that says more than its cap.
#[derive(Clone, Copy, PartialEq, Eq)]
enum AtCap {
    /// It goes on, unheard.
    Discard,
    /// It is killed.
    Kill,
}

/// Where standard output goes.
type Sink<'s> = &'s mut dyn FnMut(&[u8]);

fn go(
    root: &Root,
    (program, arguments, given): (&Path, &[&str], Given<'_>),
    limits: Limits,
    at_cap: AtCap,
    sink: Sink<'_>,
) -> Result<Output, CommandError> {
    let name = program.display().to_string();
    if !root.is_live() {
        return Err(CommandError::NotLive { program: name });
    }
    if !program.is_absolute() {
        return Err(CommandError::NotAbsolute { program: name });
    }
    let until = Instant::now() + limits.time;
    let child = spawn(program, arguments, given).map_err(|error| {
        let program = name.clone();
        let errno = error.raw_os_error().map_or(Errno::EIO, Errno::from_raw);
        if matches!(errno, Errno::ENOENT | Errno::ENOTDIR) {
            CommandError::Missing { program }
        } else {
            CommandError::System { program, errno }
        }
    })?;
    let mut running = Running { child: Some(child) };
    let watched = running.watch(until, limits, at_cap, sink);
    watched.map_err(|error| match error {
        Stop::System(errno) => CommandError::System {
            program: name,
            errno,
        },
        Stop::TimedOut => CommandError::TimedOut {
            program: name,
            limit: limits.time,
        },
    })
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is the one runner of external commands"
)]
fn spawn(program: &Path, arguments: &[&str], given: Given<'_>) -> std::io::Result<Child> {
    let mut command = std::process::Command::new(PathBuf::from(program));
    command
        .args(arguments)
        .env_clear()
        .env("LC_ALL", "C")
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .current_dir("/")
        .envs(
            given
                .inherited
                .iter()
                .filter_map(|name| Some((name, std::env::var_os(name)?))),
        )
        .stdin(given.input.map_or_else(Stdio::null, Stdio::from))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    command.spawn()
}

/// Why watching ended early.
enum Stop {
    System(Errno),
    TimedOut,
}

impl From<Errno> for Stop {
    fn from(errno: Errno) -> Self {
        Self::System(errno)
    }
}

/// A child that is killed with its group, and waited for, however watching it ends.
struct Running {
    child: Option<Child>,
}

impl Running {
    fn watch(
        &mut self,
        until: Instant,
        limits: Limits,
        at_cap: AtCap,
        sink: Sink<'_>,
    ) -> Result<Output, Stop> {
        let Some(child) = &mut self.child else {
            return Err(Stop::System(Errno::ECHILD));
        };
        let pid = pid_of(child);
        let mut stdout = Stream::new(child.stdout.take(), limits.output_bytes)?;
        let mut stderr = Stream::new(child.stderr.take(), limits.output_bytes)?;
        let mut errors = Vec::new();
        let mut keep = |bytes: &[u8]| errors.extend_from_slice(bytes);
        while !has_ended(pid)? {
            if stdout.truncated && at_cap == AtCap::Kill {
                break;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Stop::TimedOut);
            }
            wait_for_output(&stdout, &stderr, left.min(LOOK));
            stdout.drain(sink)?;
            stderr.drain(&mut keep)?;
        }
        // What it had written before it ended is still in the pipes.
        stdout.drain(sink)?;
        stderr.drain(&mut keep)?;
        let status = self.end().ok_or(Errno::ECHILD)?;
        Ok(Output {
            status: status
                .code()
                .unwrap_or_else(|| 128 + status.signal().unwrap_or_default()),
            truncated: stdout.truncated || stderr.truncated,
            stdout: Vec::new(),
            stderr: errors,
        })
    }

    /// Kills the group and waits for the child; on a thread of its own if it does not die.
    fn end(&mut self) -> Option<std::process::ExitStatus> {
        let mut child = self.child.take()?;
        // The child is not yet waited for, so its number cannot belong to anyone else.
        let _ = killpg(pid_of(&child), Signal::SIGKILL);
        let until = Instant::now() + DYING;
        loop {
            match child.try_wait() {
                Ok(Some(status)) => return Some(status),
                Ok(None) if Instant::now() < until => std::thread::sleep(LOOK / 4),
                Ok(None) | Err(_) => break,
            }
        }
        let _ = std::thread::Builder::new()
            .name("command/reaper".to_owned())
            .spawn(move || child.wait());
        None
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}

fn pid_of(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).unwrap_or(i32::MAX))
}

/// Whether the process has ended, without collecting it.
fn has_ended(pid: Pid) -> nix::Result<bool> {
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    Ok(waitid(Id::Pid(pid), flags)? != WaitStatus::StillAlive)
}

/// One of the child's outputs.
struct Stream<R> {
    source: Option<R>,
    /// How much more is heard.
    room: usize,
    truncated: bool,
}

impl<R: Read + AsFd> Stream<R> {
    fn new(source: Option<R>, cap: usize) -> nix::Result<Self> {
        if let Some(source) = &source {
            fcntl(source, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        }
        Ok(Self {
            source,
            room: cap,
            truncated: false,
        })
    }

    /// Takes what is there now; of one who never stops, as much as a pipe can hold, so that the
    /// deadline is looked at in between.
    fn drain(&mut self, sink: Sink<'_>) -> nix::Result<()> {
        let mut buffer = [0_u8; 8192];
        for _ in 0..PIPE_BYTES / buffer.len() {
            let Some(source) = &mut self.source else {
                break;
            };
            match source.read(&mut buffer) {
                Ok(0) => self.source = None,
                Ok(count) => {
                    let heard = self.room.min(count);
                    if heard > 0 {
                        sink(&buffer[..heard]);
                    }
                    self.room -= heard;
                    self.truncated |= heard < count;
                }
                Err(error) => {
                    let errno = error.raw_os_error().map_or(Errno::EIO, Errno::from_raw);
                    if errno == Errno::EAGAIN {
                        break;
                    } else if errno != Errno::EINTR {
                        return Err(errno);
                    }
                }
            }
        }
        Ok(())
    }
}

/// Sleeps until one of the two says something, at most `limit`.
fn wait_for_output<A: AsFd, B: AsFd>(stdout: &Stream<A>, stderr: &Stream<B>, limit: Duration) {
    let mut watched = Vec::with_capacity(2);
    watched.extend(
        stdout
            .source
            .as_ref()
            .map(|s| PollFd::new(s.as_fd(), PollFlags::POLLIN)),
    );
    watched.extend(
        stderr
            .source
            .as_ref()
            .map(|s| PollFd::new(s.as_fd(), PollFlags::POLLIN)),
    );
    let timeout = PollTimeout::try_from(limit).unwrap_or(PollTimeout::ZERO);
    // An interrupted or refused poll is an early look, nothing more.
    let _ = poll(&mut watched, timeout);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, limits: Limits) -> Result<Output, CommandError> {
        run(&Root::live(), Path::new("/bin/sh"), &["-c", script], limits)
    }

    #[test]
    fn output_status_and_environment() {
        let output = shell("env; echo wrong >&2; exit 3", Limits::default()).expect("sh runs");
        assert_eq!(output.status, 3);
        assert_eq!(output.stderr, b"wrong\n");
        let text = String::from_utf8(output.stdout).expect("text");
        let mut names: Vec<_> = text.lines().filter_map(|l| l.split('=').next()).collect();
        names.sort_unstable();
        names.retain(|name| !["PWD", "SHLVL", "_", "OLDPWD"].contains(name));
        assert_eq!(names, ["LC_ALL", "PATH"]);
    }

    #[test]
    fn a_file_is_given_and_a_variable_only_if_it_is_named() {
        let directory = tempfile::tempdir().expect("directory");
        let path = directory.path().join("input");
        std::fs::write(&path, "a line\n").expect("write");
        let ask = |inherited: &[&str]| {
            let given = Given {
                input: Some(std::fs::File::open(&path).expect("file")),
                inherited,
            };
            let script = ["-c", "cat; echo ${CARGO_MANIFEST_DIR+named}"];
            let sh = Path::new("/bin/sh");
            run_with(&Root::live(), sh, &script, Limits::default(), given).expect("sh runs")
        };
        assert_eq!(ask(&["CARGO_MANIFEST_DIR"]).stdout, b"a line\nnamed\n");
        assert_eq!(ask(&[]).stdout, b"a line\n\n");
    }

    #[test]
    fn output_is_capped_and_the_command_still_ends() {
        let limits = Limits {
            output_bytes: 1000,
            ..Limits::default()
        };
        let output = shell("head -c 500000 /dev/zero", limits).expect("sh runs");
        assert_eq!(output.stdout.len(), 1000);
        assert!(output.truncated);
        assert_eq!(output.status, 0);
    }

    #[test]
    fn a_stream_is_given_on_as_it_comes_and_ends_at_its_cap() {
        let limits = Limits {
            output_bytes: 100_000,
            ..Limits::default()
        };
        let sh = |script: &str| {
            let mut heard = 0;
            let output = stream(
                &Root::live(),
                Path::new("/bin/sh"),
                &["-c", script],
                limits,
                |bytes| heard += bytes.len(),
            );
            (output.expect("sh runs"), heard)
        };
        let (output, heard) = sh("head -c 70000 /dev/zero; echo no >&2; exit 4");
        assert_eq!((output.status, output.truncated, heard), (4, false, 70_000));
        assert_eq!(
            (output.stdout, output.stderr),
            (Vec::new(), b"no\n".to_vec())
        );
        let began = Instant::now();
        let (output, heard) = sh("cat /dev/zero");
        assert!(output.truncated && heard == 100_000, "{heard}");
        assert!(began.elapsed() < limits.time);
    }

    #[test]
    fn the_whole_group_dies_at_the_deadline() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let file = directory.path().join("pid");
        let script = format!("sleep 300 & echo $! > {}; sleep 300", file.display());
        let limits = Limits {
            time: Duration::from_millis(300),
            ..Limits::default()
        };
        let began = Instant::now();
        let error = shell(&script, limits).expect_err("it is too slow");
        assert!(matches!(error, CommandError::TimedOut { .. }), "{error}");
        assert!(began.elapsed() < Duration::from_secs(3));
        assert!(
            error
                .to_string()
                .ends_with("did not end in 0.3 s and was killed")
        );
        let pid: i32 = std::fs::read_to_string(&file)
            .expect("pid")
            .trim()
            .parse()
            .expect("pid");
        let gone = (0..100).any(|_| {
            std::thread::sleep(Duration::from_millis(20));
            let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            state.is_empty() || state.contains(") Z")
        });
        assert!(gone, "the grandchild {pid} still runs");
    }

    #[test]
    fn no_zombie_is_left() {
        shell("exit 0", Limits::default()).expect("sh runs");
        let me = std::process::id();
        let tasks = std::fs::read_to_string(format!("/proc/{me}/task/{me}/children"));
        for child in tasks.unwrap_or_default().split_whitespace() {
            let stat = std::fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
            assert!(!stat.contains("(sh) Z"), "{stat}");
        }
    }

    #[test]
    fn a_grandchild_that_keeps_the_pipe_open_delays_nothing() {
        let began = Instant::now();
        let output = shell("sleep 300 & echo done", Limits::default()).expect("sh runs");
        assert_eq!(output.stdout, b"done\n");
        assert!(began.elapsed() < Duration::from_secs(3));
    }

    #[test]
    fn what_cannot_run_says_why() {
        let missing = run(
            &Root::live(),
            Path::new("/nonexistent/nvidia-smi"),
            &[],
            Limits::default(),
        )
        .expect_err("no such program");
        assert_eq!(
            missing.into_reading::<()>(),
            Reading::unsupported("/nonexistent/nvidia-smi: not installed")
        );
        let relative = run(&Root::live(), Path::new("sh"), &[], Limits::default());
        assert!(matches!(relative, Err(CommandError::NotAbsolute { .. })));
        let directory = tempfile::tempdir().expect("temporary directory");
        let root = Root::at(directory.path()).expect("root");
        let elsewhere = run(&root, Path::new("/bin/sh"), &[], Limits::default());
        assert!(matches!(elsewhere, Err(CommandError::NotLive { .. })));
    }
}
