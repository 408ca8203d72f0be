//! Where files are opened: the machine itself, or a directory that stands for one.
//!
//! # Invariants
//! - With a root other than `/`, the kernel resolves every path inside it
//!   (`openat2`, `RESOLVE_IN_ROOT`): absolute links, `..` and magic links cannot lead out.
//! - Such a root holds plain files and directories; devices, pipes and sockets in it are refused
//!   before they are opened.
//! - A kernel without `openat2` (before 5.6) gets no root other than `/`.
//! - Every read has a cap.
//!
//! # What is absent
//! No writing. No following of mounts is prevented: a root may hold bind mounts.

mod directory;

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cupel_model::Reading;
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat2, readlinkat};
use nix::sys::inotify::{AddWatchFlags, Inotify};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat};

use crate::error::{ReadError, reading};

pub use directory::{Directory, Identity};

/// Most bytes read from a file that holds one value. An attribute of sysfs is at most a page.
pub const VALUE_CAP: usize = 64 * 1024;

/// Most bytes read from a table of procfs, such as `cpuinfo` of a large server.
pub const TABLE_CAP: usize = 16 * 1024 * 1024;

/// Most entries read from one directory.
const ENTRIES_CAP: usize = 65_536;

/// How often a resolution that raced with a rename is tried again.
const RACE_RETRIES: usize = 16;

/// A directory that cannot stand for a machine.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RootError {
    /// It cannot be opened.
    #[error("cannot open root directory {path}: {}", .errno.desc())]
    Open {
        /// The directory.
        path: String,
        /// What the system said.
        errno: Errno,
    },
    /// The kernel cannot confine opening to a directory.
    #[error("this kernel cannot confine reading to {path} (openat2: {}); Linux 5.6 can", .errno.desc())]
    Unconfined {
        /// The directory.
        path: String,
        /// What the system said.
        errno: Errno,
    },
}

/// The machine, or a directory that stands for one. Cheap to clone.
#[derive(Clone)]
pub struct Root(Option<Arc<Confined>>);

struct Confined {
    directory: OwnedFd,
    path: PathBuf,
}

impl fmt::Debug for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Root").field(&self.path()).finish()
    }
}

impl Root {
    /// The machine itself.
    pub fn live() -> Self {
        Self(None)
    }

    /// The machine that the directory stands for; `/` is the machine itself.
    ///
    /// # Errors
    /// The directory cannot be opened, or the kernel has no `openat2`.
    pub fn at(directory: impl AsRef<Path>) -> Result<Self, RootError> {
        let told = directory.as_ref().display().to_string();
        let path = std::fs::canonicalize(&directory).map_err(|error| RootError::Open {
            path: told.clone(),
            errno: error.raw_os_error().map_or(Errno::EIO, Errno::from_raw),
        })?;
        if path == Path::new("/") {
            return Ok(Self::live());
        }
        let directory = open(
            &path,
            OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC,
            Mode::empty(),
        )
        .map_err(|errno| RootError::Open {
            path: told.clone(),
            errno,
        })?;
        let confined = Confined { directory, path };
        confined
            .open("/", OFlag::O_PATH | OFlag::O_DIRECTORY)
            .map_err(|errno| RootError::Unconfined { path: told, errno })?;
        Ok(Self(Some(Arc::new(confined))))
    }

    /// Whether this is the machine itself: commands, ioctls and D-Bus may be used.
    pub fn is_live(&self) -> bool {
        self.0.is_none()
    }

    /// The directory, `/` for the machine itself.
    pub fn path(&self) -> &Path {
        self.0
            .as_ref()
            .map_or(Path::new("/"), |confined| &confined.path)
    }

    /// Opens a file for reading. It never blocks on opening and never becomes a terminal.
    ///
    /// # Errors
    /// As the system says; under a root other than `/`, also when it is not a regular file.
    pub fn open(&self, path: &str) -> Result<File, ReadError> {
        debug_assert!(is_whole(path), "{path}");
        let Some(confined) = &self.0 else {
            return std::fs::OpenOptions::new()
                .read(true)
                .custom_flags((OFlag::O_NONBLOCK | OFlag::O_NOCTTY).bits())
                .open(path)
                .map_err(|error| ReadError::from_io(path, &error));
        };
        let told = |errno| ReadError::from_errno(path, errno);
        let seen = fstat(confined.open(path, OFlag::O_PATH).map_err(told)?).map_err(told)?;
        if !is_regular(&seen) {
            return Err(ReadError::NotRegular {
                path: path.to_owned(),
            });
        }
        let opened = confined
            .open(path, OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY)
            .map_err(told)?;
        Ok(File::from(opened))
    }

    /// Which file `path` leads to, and how long it is; it is not opened for reading.
    ///
    /// # Errors
    /// As the system says.
    pub fn about(&self, path: &str) -> Result<FileStat, ReadError> {
        debug_assert!(is_whole(path), "{path}");
        match &self.0 {
            Some(confined) => confined
                .open(path, OFlag::O_PATH)
                .and_then(|place| fstat(&place)),
            None => nix::sys::stat::stat(path),
        }
        .map_err(|errno| ReadError::from_errno(path, errno))
    }

    /// Lets `inotify` tell of `changes` in a directory.
    ///
    /// # Errors
    /// As the system says.
    pub fn watch(
        &self,
        inotify: &Inotify,
        directory: &str,
        changes: AddWatchFlags,
    ) -> Result<(), ReadError> {
        let told = |errno| ReadError::from_errno(directory, errno);
        match &self.0 {
            None => inotify.add_watch(directory, changes),
            Some(confined) => {
                let opened = confined
                    .open(directory, OFlag::O_PATH | OFlag::O_DIRECTORY)
                    .map_err(told)?;
                inotify.add_watch(own_entry(&opened).as_str(), changes)
            }
        }
        .map(drop)
        .map_err(told)
    }

    /// The file's bytes, at most `cap`.
    ///
    /// # Errors
    /// As [`Self::open`]; and when the file is longer than `cap` or reading fails.
    pub fn read(&self, path: &str, cap: usize) -> Result<Vec<u8>, ReadError> {
        let mut bytes = Vec::new();
        let limit = u64::try_from(cap).unwrap_or(u64::MAX).saturating_add(1);
        self.open(path)?
            .take(limit)
            .read_to_end(&mut bytes)
            .map_err(|error| ReadError::from_io(path, &error))?;
        if bytes.len() > cap {
            return Err(ReadError::TooLong {
                path: path.to_owned(),
                cap,
            });
        }
        Ok(bytes)
    }

    /// A table of text, such as those of procfs; bytes that are no UTF-8 become `U+FFFD`.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn text(&self, path: &str) -> Result<String, ReadError> {
        let bytes = self.read(path, TABLE_CAP)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// A file that holds one value, without the blanks around it. An empty file is an error.
    ///
    /// # Errors
    /// As [`Self::read`]; and when the file is empty or no UTF-8.
    pub fn value(&self, path: &str) -> Result<String, ReadError> {
        let bytes = self.read(path, VALUE_CAP)?;
        trimmed_value(&bytes, || path.to_owned()).map(str::to_owned)
    }

    /// A file that holds one value, as `parse` reads it; `wanted` names it with its article.
    ///
    /// # Errors
    /// As [`Self::value`]; and when `parse` gives none.
    pub fn parsed<T>(
        &self,
        path: &str,
        wanted: &'static str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, ReadError> {
        let text = self.value(path)?;
        parse(&text).ok_or_else(|| ReadError::malformed(path, 1, &text, wanted))
    }

    /// [`Self::value`] as a reading.
    pub fn value_reading(&self, path: &str) -> Reading<String> {
        reading(self.value(path))
    }

    /// The names in a directory, sorted, without `.` and `..`.
    ///
    /// # Errors
    /// As the system says.
    pub fn names(&self, path: &str) -> Result<Vec<String>, ReadError> {
        debug_assert!(is_whole(path), "{path}");
        let told = |errno| ReadError::from_errno(path, errno);
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let opened = match &self.0 {
            Some(confined) => confined.open(path, flags),
            None => open(path, flags, Mode::empty()),
        }
        .map_err(told)?;
        names_in(path, opened)
    }

    /// Whether there is something at `path`.
    pub fn exists(&self, path: &str) -> bool {
        debug_assert!(is_whole(path), "{path}");
        match &self.0 {
            Some(confined) => confined.open(path, OFlag::O_PATH).is_ok(),
            None => Path::new(path).exists(),
        }
    }

    /// What a symbolic link says, not resolved.
    ///
    /// # Errors
    /// As the system says; what is no link is not offered.
    pub fn link(&self, path: &str) -> Result<String, ReadError> {
        debug_assert!(is_whole(path), "{path}");
        let target = match &self.0 {
            Some(confined) => confined
                .open(path, OFlag::O_PATH | OFlag::O_NOFOLLOW)
                .and_then(|link| readlinkat(&link, "")),
            None => nix::fcntl::readlink(path),
        }
        .map_err(|errno| ReadError::from_errno(path, errno))?;
        Ok(target.to_string_lossy().into_owned())
    }

    /// The last part of what a symbolic link points at, such as the name of a driver.
    ///
    /// # Errors
    /// As [`Self::link`].
    pub fn link_name(&self, path: &str) -> Result<String, ReadError> {
        last_part(path, self.link(path)?)
    }

    /// Where `path` leads once all links are followed, as the machine would say it.
    ///
    /// # Errors
    /// As the system says.
    pub fn resolve(&self, path: &str) -> Result<String, ReadError> {
        debug_assert!(is_whole(path), "{path}");
        let told = |errno| ReadError::from_errno(path, errno);
        let resolved = match &self.0 {
            None => {
                std::fs::canonicalize(path).map_err(|error| ReadError::from_io(path, &error))?
            }
            Some(confined) => {
                let whole =
                    own_path(&confined.open(path, OFlag::O_PATH).map_err(told)?).map_err(told)?;
                let top = own_path(&confined.directory).map_err(told)?;
                match whole.strip_prefix(&top) {
                    Ok(inside) => Path::new("/").join(inside),
                    Err(_) => return Err(told(Errno::EXDEV)),
                }
            }
        };
        Ok(resolved.to_string_lossy().into_owned())
    }
}

/// Paths are those of the machine, from its root: where that is this process's own, another one would
/// be a path of its working directory.
fn is_whole(path: &str) -> bool {
    path.starts_with('/')
}

impl Confined {
    fn open(&self, path: &str, flags: OFlag) -> nix::Result<OwnedFd> {
        let how = OpenHow::new()
            .flags(flags | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        let mut result = openat2(self.directory.as_fd(), path, how);
        for _ in 0..RACE_RETRIES {
            if result.as_ref().err() != Some(&Errno::EAGAIN) {
                break;
            }
            result = openat2(self.directory.as_fd(), path, how);
        }
        result
    }
}

/// The text of a file that holds one value, without the blanks around it.
fn trimmed_value(bytes: &[u8], path: impl Fn() -> String) -> Result<&str, ReadError> {
    let text = std::str::from_utf8(bytes).map_err(|_| {
        let text = String::from_utf8_lossy(bytes);
        ReadError::malformed(&path(), 1, &text, "UTF-8 text")
    })?;
    let text = text.trim_matches(|c: char| c.is_ascii_whitespace() || c == '\0');
    if text.is_empty() {
        return Err(ReadError::Empty { path: path() });
    }
    Ok(text)
}

/// The last part of what a link says.
fn last_part(path: &str, target: String) -> Result<String, ReadError> {
    match target.trim_end_matches('/').rsplit('/').next() {
        Some(name) if !name.is_empty() => Ok(name.to_owned()),
        Some(_) | None => Err(ReadError::malformed(path, 1, &target, "a link to a name")),
    }
}

/// The names in an open directory, sorted, without `.` and `..`.
fn names_in(path: &str, opened: OwnedFd) -> Result<Vec<String>, ReadError> {
    let told = |errno| ReadError::from_errno(path, errno);
    let mut directory = nix::dir::Dir::from_fd(opened).map_err(told)?;
    let mut names = Vec::new();
    for entry in directory.iter() {
        let name = entry
            .map_err(told)?
            .file_name()
            .to_string_lossy()
            .into_owned();
        if name == "." || name == ".." {
            continue;
        }
        if names.len() == ENTRIES_CAP {
            return Err(ReadError::TooLong {
                path: path.to_owned(),
                cap: ENTRIES_CAP,
            });
        }
        names.push(name);
    }
    names.sort();
    Ok(names)
}

fn is_regular(about: &FileStat) -> bool {
    SFlag::from_bits_truncate(about.st_mode) & SFlag::S_IFMT == SFlag::S_IFREG
}

/// What this process's own table of open files says about one of them.
fn own_path(file: &OwnedFd) -> nix::Result<PathBuf> {
    nix::fcntl::readlink(own_entry(file).as_str()).map(PathBuf::from)
}

/// An open file in this process's own table.
fn own_entry(file: &OwnedFd) -> String {
    use std::os::fd::AsRawFd;
    format!("/proc/self/fd/{}", file.as_raw_fd())
}
