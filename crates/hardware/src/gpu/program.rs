//! Starting a worker: from the file beside `cupel`, or from the bytes carried inside it.
//!
//! # Invariants
//! - The worker's environment is empty but for `LC_ALL=C`; its standard input is the socket,
//!   standard output is a file in memory for notes, standard error comes back.
//! - Carried bytes run from a sealed memfd. Where the kernel (`vm.memfd_noexec=2`) or a container
//!   forbids that, from a file of mode 0700 in a directory of mode 0700, removed as soon
//!   as it runs.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::statvfs::{FsFlags, statvfs};
use nix::unistd::ftruncate;

/// Name that a worker goes by in process lists.
const NAME: &str = "cupel-gpu-worker";

/// Where a private copy may be put, in order; the first that allows execution is taken.
const DIRECTORIES: [&str; 4] = ["/run/cupel", "/run", "/var/lib/cupel", "/tmp"];

/// Size of the place for notes: a page. The longest name of a call is far shorter.
const NOTES_BYTES: i64 = 4096;

/// What zstd's frames begin with.
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// `MFD_EXEC` of Linux 6.3: says that the file is meant to be executed.
const MFD_EXEC: u32 = 0x10;

/// What a worker is started from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WorkerProgram {
    /// A file, as in a development build.
    File(PathBuf),
    /// Bytes of an executable, carried inside this one, as they are or compressed by zstd.
    Embedded(&'static [u8]),
}

/// Why no worker was started.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// The file cannot be run.
    #[error("cannot start the GPU worker {}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The carried bytes cannot be run from memory, for a reason other than policy.
    #[error("cannot start the GPU worker from memory")]
    Memory(#[source] io::Error),
    /// No place for a private copy allows execution.
    #[error(
        "cannot start the GPU worker: this kernel runs nothing from memory, and none of {tried} allows it either; mount one without noexec"
    )]
    NoPlace {
        /// The directories tried.
        tried: String,
    },
    /// The socket pair cannot be made.
    #[error("cannot make a socket for the GPU worker")]
    Socket(#[source] io::Error),
}

/// A worker that was started.
pub struct Started {
    pub child: Child,
    pub socket: UnixStream,
    pub stderr: Option<ChildStderr>,
    /// Where the worker notes which call comes next; without it, it sends that.
    pub notes: Option<File>,
}

/// Starts a worker.
pub fn start(program: &WorkerProgram) -> Result<Started, SpawnError> {
    match program {
        WorkerProgram::File(path) => launch(path).map_err(|error| match error {
            Launch::Socket(source) => SpawnError::Socket(source),
            Launch::Execute(source) => SpawnError::File {
                path: path.clone(),
                source,
            },
        }),
        WorkerProgram::Embedded(bytes) if bytes.starts_with(&ZSTD_MAGIC) => {
            let bytes = zstd::decode_all(*bytes).map_err(SpawnError::Memory)?;
            from_memory(&bytes)
        }
        WorkerProgram::Embedded(bytes) => from_memory(bytes),
    }
}

enum Launch {
    Socket(io::Error),
    Execute(io::Error),
}

fn launch(program: &Path) -> Result<Started, Launch> {
    // It runs in another directory than this process.
    let program = std::path::absolute(program).map_err(Launch::Execute)?;
    let (ours, theirs) = UnixStream::pair().map_err(Launch::Socket)?;
    let notes = notes().ok();
    let stdout = notes.as_ref().and_then(|notes| notes.try_clone().ok());
    #[expect(
        clippy::disallowed_methods,
        reason = "workers are no commands: they live on, speak a protocol, and have their own client"
    )]
    let mut command = Command::new(program);
    let mut child = command
        .arg0(NAME)
        .env_clear()
        .env("LC_ALL", "C")
        .current_dir("/")
        .stdin(OwnedFd::from(theirs))
        .stdout(stdout.map_or_else(Stdio::null, Stdio::from))
        .stderr(Stdio::piped())
        .spawn()
        .map_err(Launch::Execute)?;
    // The command holds the worker's end of the socket; only the worker may, or its death would
    // not end the socket.
    drop(command);
    let stderr = child.stderr.take();
    Ok(Started {
        child,
        socket: ours,
        stderr,
        notes,
    })
}

/// A place for notes: a file in memory that can neither grow nor shrink. By that the worker knows
/// what it is for.
fn notes() -> nix::Result<File> {
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let memory = File::from(memfd_create("cupel-gpu-worker-notes", flags)?);
    ftruncate(&memory, NOTES_BYTES)?;
    let seals = SealFlag::F_SEAL_SEAL | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW;
    fcntl(&memory, FcntlArg::F_ADD_SEALS(seals))?;
    Ok(memory)
}

fn from_memory(bytes: &[u8]) -> Result<Started, SpawnError> {
    match sealed(bytes) {
        Ok(memory) => {
            // The kernel opens the path before the descriptor is closed on execution.
            let path = PathBuf::from(format!("/proc/self/fd/{}", memory.as_raw_fd()));
            match launch(&path) {
                Ok(started) => Ok(started),
                Err(Launch::Socket(source)) => Err(SpawnError::Socket(source)),
                Err(Launch::Execute(error)) if is_forbidden(&error) => from_copy(bytes),
                Err(Launch::Execute(source)) => Err(SpawnError::Memory(source)),
            }
        }
        Err(errno) => {
            let error = errno.into();
            if is_forbidden(&error) {
                from_copy(bytes)
            } else {
                Err(SpawnError::Memory(error))
            }
        }
    }
}

/// Whether it is policy: of the kernel (`vm.memfd_noexec=2`), or of a container's filter.
fn is_forbidden(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw);
    // ENOENT: /proc is not mounted.
    matches!(
        errno,
        Some(Errno::EACCES | Errno::EPERM | Errno::ENOENT | Errno::ENOSYS)
    )
}

/// The bytes in a file in memory that nobody can change.
fn sealed(bytes: &[u8]) -> nix::Result<OwnedFd> {
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let memory = match memfd_create(NAME, flags | MFdFlags::from_bits_retain(MFD_EXEC)) {
        // Before Linux 6.3 the flag is not known, and every such file may be executed.
        Err(Errno::EINVAL) => memfd_create(NAME, flags)?,
        other => other?,
    };
    let mut file = File::from(memory);
    file.write_all(bytes)
        .map_err(|error| error.raw_os_error().map_or(Errno::EIO, Errno::from_raw))?;
    let memory = OwnedFd::from(file);
    let seals = SealFlag::F_SEAL_SEAL
        | SealFlag::F_SEAL_SHRINK
        | SealFlag::F_SEAL_GROW
        | SealFlag::F_SEAL_WRITE;
    fcntl(&memory, FcntlArg::F_ADD_SEALS(seals))?;
    Ok(memory)
}

/// Runs a private copy, from the first directory that allows execution.
fn from_copy(bytes: &[u8]) -> Result<Started, SpawnError> {
    for directory in DIRECTORIES {
        if let Some(started) = copy_in(Path::new(directory), bytes)? {
            return Ok(started);
        }
    }
    Err(SpawnError::NoPlace {
        tried: DIRECTORIES.join(", "),
    })
}

/// Runs a private copy in `parent`; `None` where that cannot be.
fn copy_in(parent: &Path, bytes: &[u8]) -> Result<Option<Started>, SpawnError> {
    let executable = statvfs(parent).is_ok_and(|about| !about.flags().contains(FsFlags::ST_NOEXEC));
    if !executable {
        return Ok(None);
    }
    let Some(directory) = private_directory(parent) else {
        return Ok(None);
    };
    let path = directory.join(NAME);
    let started = write_executable(&path, bytes).map(|()| launch(&path));
    // A running program needs its file no more.
    let _ = fs::remove_dir_all(&directory);
    match started {
        Ok(Ok(started)) => Ok(Some(started)),
        Ok(Err(Launch::Socket(source))) => Err(SpawnError::Socket(source)),
        Ok(Err(Launch::Execute(_))) | Err(_) => Ok(None),
    }
}

/// A new directory of mode 0700 with a name that nobody else has taken.
fn private_directory(parent: &Path) -> Option<PathBuf> {
    for attempt in 0..100 {
        let mut name = OsString::from(".cupel-gpu-worker.");
        name.push(format!("{}.{attempt}", std::process::id()));
        let path = parent.join(name);
        match fs::DirBuilder::new().mode(0o700).create(&path) {
            Ok(()) => return Some(path),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(_) => return None,
        }
    }
    None
}

fn write_executable(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o700)
        .open(path)?;
    file.write_all(bytes)?;
    // The umask may have taken bits away.
    file.set_permissions(Permissions::from_mode(0o700))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    /// A program that is on every machine, and says something.
    fn echo() -> Vec<u8> {
        fs::read("/bin/cat").expect("/bin/cat")
    }

    fn speaks(mut started: Started) {
        started.socket.write_all(b"hello").expect("write");
        started
            .socket
            .shutdown(std::net::Shutdown::Write)
            .expect("shutdown");
        let mut said = String::new();
        if let Some(mut stderr) = started.stderr.take() {
            stderr.read_to_string(&mut said).expect("stderr");
        }
        assert!(started.child.wait().expect("wait").success(), "{said}");
    }

    #[test]
    fn carried_bytes_run_from_sealed_memory() {
        let memory = sealed(&echo()).expect("memfd");
        let mut file = File::from(memory.try_clone().expect("clone"));
        assert!(file.write_all(b"x").is_err(), "sealed");
        speaks(from_memory(&echo()).expect("started"));
    }

    /// Of this thread, until it ends, memory files are refused as containers refuse them.
    fn forbid_memory_files() {
        let filter = seccompiler::SeccompFilter::new(
            [(libc::SYS_memfd_create, Vec::new())].into_iter().collect(),
            seccompiler::SeccompAction::Allow,
            seccompiler::SeccompAction::Errno(Errno::EPERM as u32),
            std::env::consts::ARCH.try_into().expect("processor"),
        );
        let program: seccompiler::BpfProgram = filter.expect("filter").try_into().expect("program");
        seccompiler::apply_filter(&program).expect("installed");
    }

    #[test]
    fn where_memory_files_are_forbidden_a_private_copy_runs() {
        let thread = std::thread::spawn(|| {
            forbid_memory_files();
            assert_eq!(sealed(&echo()).err(), Some(Errno::EPERM));
            let started = from_memory(&echo()).expect("started");
            assert!(started.notes.is_none());
            speaks(started);
        });
        thread.join().expect("thread");
    }

    #[test]
    fn a_private_copy_runs_and_leaves_nothing() {
        let parent = tempfile::tempdir().expect("directory");
        let started = copy_in(parent.path(), &echo()).expect("no error");
        speaks(started.expect("executable"));
        assert_eq!(fs::read_dir(parent.path()).expect("list").count(), 0);
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = start(&WorkerProgram::File("/no/such/worker".into()))
            .err()
            .expect("error");
        assert_eq!(
            error.to_string(),
            "cannot start the GPU worker /no/such/worker"
        );
    }
}
