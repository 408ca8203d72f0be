//! A directory that is walked to once, and whose files are then opened by name.
//!
//! # Invariants
//! - What it gives is what [`Root`] gives for the whole path, errors and their paths included.
//! - It holds one file descriptor, as long as it lives.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, openat, openat2, readlinkat};
use nix::sys::stat::{Mode, SFlag, fstat, fstatat};
use nix::unistd::read;

use super::{Root, TABLE_CAP, VALUE_CAP, is_regular, names_in, own_entry, trimmed_value};
use crate::error::{ReadError, reading};
use cupel_model::Reading;

/// What most files of sysfs and procfs fit into: an attribute is at most a page.
const PAGE: usize = 4096;

/// By what a directory is known again: another device at the same place has another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    device: u64,
    inode: u64,
    /// Beneath a root other than `/`, where files are put in place by hand, when that was done last.
    changed: (i64, i64),
}

/// An open directory.
#[derive(Debug)]
pub struct Directory {
    root: Root,
    path: String,
    place: Result<OwnedFd, Errno>,
    /// What is read of it was read before, and was plain files.
    unchanged: bool,
}

impl Directory {
    /// The directory at `path`. Where it cannot be opened, everything that is asked of it says so.
    pub fn new(root: &Root, path: impl Into<String>) -> Self {
        let path = path.into();
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let place = match &root.0 {
            Some(confined) => confined.open(&path, flags),
            None => nix::fcntl::open(path.as_str(), flags, Mode::empty()),
        };
        Self {
            root: root.clone(),
            path,
            place,
            unchanged: false,
        }
    }

    /// The directory `name` in this one.
    pub fn below(&self, name: &str) -> Self {
        let path = self.path_of(name);
        if !self.can_open_in(name) {
            return Self::new(&self.root, path);
        }
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let place = match self.place(&path) {
            Ok(place) => match self.open_in(place, name, flags) {
                Err(Errno::ELOOP) if !self.root.is_live() => return Self::new(&self.root, path),
                other => other,
            },
            Err(_) => Err(self.place.as_ref().err().copied().unwrap_or(Errno::EIO)),
        };
        Self {
            root: self.root.clone(),
            path,
            place,
            unchanged: false,
        }
    }

    /// The root that it is in.
    pub fn root(&self) -> &Root {
        &self.root
    }

    /// Its path.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Path of `name` in it.
    pub fn path_of(&self, name: &str) -> String {
        format!("{}/{name}", self.path)
    }

    /// By what it is known again.
    pub fn identity(&self) -> Option<Identity> {
        let about = fstat(self.place.as_ref().ok()?).ok()?;
        Some(Identity {
            device: about.st_dev,
            inode: about.st_ino,
            changed: if self.root.is_live() {
                (0, 0)
            } else {
                (about.st_mtime, about.st_mtime_nsec)
            },
        })
    }

    /// Whether it is the one with this identity, and nothing was put in it since. Then files that were
    /// read of it before are not looked at again before they are opened.
    pub fn is_still(&mut self, earlier: Option<Identity>) -> bool {
        self.unchanged = earlier.is_some() && self.identity() == earlier;
        self.unchanged
    }

    /// Where it is once all links are followed, as the machine would say it.
    ///
    /// # Errors
    /// As [`Root::resolve`].
    pub fn resolve(&self) -> Result<String, ReadError> {
        let place = self.place(&self.path)?;
        if !self.root.is_live() {
            return self.root.resolve(&self.path);
        }
        let told = |errno| ReadError::from_errno(&self.path, errno);
        let whole = nix::fcntl::readlink(own_entry(place).as_str()).map_err(told)?;
        Ok(whole.to_string_lossy().into_owned())
    }

    /// [`Root::value`] of the file `name`.
    ///
    /// # Errors
    /// As there.
    pub fn value(&self, name: &str) -> Result<String, ReadError> {
        self.with(name, VALUE_CAP, |bytes| {
            trimmed_value(bytes, || self.path_of(name)).map(str::to_owned)
        })
    }

    /// [`Root::parsed`] of the file `name`.
    ///
    /// # Errors
    /// As there.
    pub fn parsed<T>(
        &self,
        name: &str,
        wanted: &'static str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, ReadError> {
        self.with(name, VALUE_CAP, |bytes| {
            let text = trimmed_value(bytes, || self.path_of(name))?;
            parse(text).ok_or_else(|| ReadError::malformed(&self.path_of(name), 1, text, wanted))
        })
    }

    /// [`Root::value_reading`] of the file `name`.
    pub fn value_reading(&self, name: &str) -> Reading<String> {
        reading(self.value(name))
    }

    /// [`Root::text`] of the file `name`, as `read` reads it.
    ///
    /// # Errors
    /// As there, and those of `read`.
    pub fn text<T>(
        &self,
        name: &str,
        read: impl FnOnce(&str) -> Result<T, ReadError>,
    ) -> Result<T, ReadError> {
        self.with(name, TABLE_CAP, |bytes| {
            read(&String::from_utf8_lossy(bytes))
        })
    }

    /// [`Root::names`] of it.
    ///
    /// # Errors
    /// As there.
    pub fn names(&self) -> Result<Vec<String>, ReadError> {
        let place = self.place(&self.path)?;
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let opened = self
            .open_in(place, ".", flags)
            .map_err(|errno| ReadError::from_errno(&self.path, errno))?;
        names_in(&self.path, opened)
    }

    /// [`Root::link`] of `name`.
    ///
    /// # Errors
    /// As there.
    pub fn link(&self, name: &str) -> Result<String, ReadError> {
        if name.contains('/') {
            return self.root.link(&self.path_of(name));
        }
        let target = self.place.as_ref().map_err(|errno| *errno);
        let target = target.and_then(|place| readlinkat(place, name));
        match target {
            Ok(target) => Ok(target.to_string_lossy().into_owned()),
            // As the system answers who has opened it first.
            Err(Errno::EINVAL) if !self.root.is_live() => Err(ReadError::Missing {
                path: self.path_of(name),
            }),
            Err(errno) => Err(ReadError::from_errno(&self.path_of(name), errno)),
        }
    }

    /// [`Root::link_name`] of `name`.
    ///
    /// # Errors
    /// As there.
    pub fn link_name(&self, name: &str) -> Result<String, ReadError> {
        super::last_part(&self.path_of(name), self.link(name)?)
    }

    fn place(&self, path: &str) -> Result<&OwnedFd, ReadError> {
        let place = self.place.as_ref();
        place.map_err(|errno| ReadError::from_errno(path, *errno))
    }

    /// Whether `name` can be opened from here. Beneath a root other than `/` a way that may lead
    /// out of this directory begins at the root.
    fn can_open_in(&self, name: &str) -> bool {
        self.root.is_live() || !(name.contains('/') || name == "..")
    }

    /// Opens one name in a directory; beneath a root other than `/` no link is followed.
    fn open_in(&self, place: &OwnedFd, name: &str, flags: OFlag) -> nix::Result<OwnedFd> {
        if self.root.is_live() {
            return openat(place, name, flags | OFlag::O_CLOEXEC, Mode::empty());
        }
        let how = OpenHow::new().flags(flags | OFlag::O_CLOEXEC).resolve(
            ResolveFlag::RESOLVE_IN_ROOT
                | ResolveFlag::RESOLVE_NO_SYMLINKS
                | ResolveFlag::RESOLVE_NO_MAGICLINKS,
        );
        openat2(place.as_fd(), name, how)
    }

    /// The bytes of the file `name`, at most `cap`, as `take` takes them.
    fn with<T>(
        &self,
        name: &str,
        cap: usize,
        take: impl FnOnce(&[u8]) -> Result<T, ReadError>,
    ) -> Result<T, ReadError> {
        let told = |errno| ReadError::from_errno(&self.path_of(name), errno);
        let whole = || {
            let path = self.path_of(name);
            self.root.read(&path, cap)
        };
        let place = match &self.place {
            Ok(place) => place,
            Err(errno) => return Err(told(*errno)),
        };
        if !self.can_open_in(name) {
            return take(&whole()?);
        }
        if !self.root.is_live() && !self.unchanged {
            let about = fstatat(place, name, AtFlags::AT_SYMLINK_NOFOLLOW).map_err(told)?;
            let mode = SFlag::from_bits_truncate(about.st_mode);
            if mode & SFlag::S_IFMT == SFlag::S_IFLNK {
                return take(&whole()?);
            }
            if !is_regular(&about) {
                return Err(ReadError::NotRegular {
                    path: self.path_of(name),
                });
            }
        }
        let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
        let file = match self.open_in(place, name, flags) {
            // A link, where that is not followed.
            Err(Errno::ELOOP) if !self.root.is_live() => return take(&whole()?),
            other => other.map_err(told)?,
        };
        let mut page = [0_u8; PAGE];
        let got = read_once(file.as_fd(), &mut page).map_err(told)?;
        if got < PAGE {
            // What one reading does not fill is whole: these files give all that they have.
            return take(page.get(..got).unwrap_or_default());
        }
        drop(file);
        take(&whole()?)
    }
}

fn read_once(file: BorrowedFd<'_>, page: &mut [u8]) -> nix::Result<usize> {
    loop {
        match read(file, page) {
            Err(Errno::EINTR) => {}
            other => return other,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::Tree;

    fn tree() -> Tree {
        let tree = Tree::new();
        tree.file("/sys/devices/x/value", " 7 \n");
        tree.file("/sys/devices/x/empty", "\n");
        tree.file("/sys/devices/x/garbage", [0xff, 0xfe]);
        tree.file("/sys/devices/x/page", "y".repeat(PAGE));
        tree.file("/sys/devices/x/long", "y".repeat(VALUE_CAP + 1));
        tree.file("/sys/devices/x/sub/deep", "8\n");
        tree.file("/sys/bus/driver/name", "d\n");
        tree.link("/sys/devices/x/driver", "../../bus/driver");
        tree.link("/sys/devices/x/absolute", "/sys/devices/x/value");
        tree.link("/sys/devices/x/away", "/nowhere");
        tree.link("/sys/devices/x/loop", "loop");
        tree.link("/sys/class/x", "../devices/x");
        tree
    }

    const NAMES: [&str; 14] = [
        "value",
        "empty",
        "garbage",
        "page",
        "long",
        "sub",
        "sub/deep",
        "driver",
        "driver/name",
        "absolute",
        "away",
        "loop",
        "missing",
        "..",
    ];

    /// Whatever is asked, the answer is the one that the whole path gives.
    #[test]
    fn it_answers_as_the_whole_path_does() {
        let tree = tree();
        let confined = tree.root();
        let live = Root::live();
        let outside = tree.outside("");
        let files = format!("{outside}/sys/devices/x/value");
        for (root, top) in [(&confined, ""), (&live, outside.as_str())] {
            for place in ["/sys/devices/x", "/sys/class/x", "/nowhere"] {
                let place = format!("{top}{place}");
                let directory = Directory::new(root, place.as_str());
                assert_eq!(directory.names(), root.names(&place), "{place}");
                assert_eq!(
                    directory.resolve().ok(),
                    root.resolve(&place).ok(),
                    "{place}"
                );
                for name in NAMES {
                    let path = format!("{place}/{name}");
                    assert_eq!(directory.value(name), root.value(&path), "{path}");
                    let text = directory.text(name, |text| Ok(text.to_owned()));
                    assert_eq!(text, root.text(&path), "{path}");
                    assert_eq!(directory.link(name), root.link(&path), "{path}");
                    assert_eq!(directory.link_name(name), root.link_name(&path), "{path}");
                    let number = |text: &str| text.parse::<u8>().ok();
                    assert_eq!(
                        directory.parsed(name, "a number", number),
                        root.parsed(&path, "a number", number),
                        "{path}"
                    );
                    assert_eq!(directory.below(name).names(), root.names(&path), "{path}");
                }
            }
        }
        // A file is no directory.
        assert_eq!(
            Directory::new(&live, files.as_str()).names(),
            live.names(&files)
        );
    }

    #[test]
    fn what_has_not_changed_is_read_as_before() {
        let tree = tree();
        let root = tree.root();
        let before = Directory::new(&root, "/sys/class/x").identity();
        let mut again = Directory::new(&root, "/sys/class/x");
        assert!(!again.is_still(None));
        assert!(again.is_still(before));
        for name in NAMES {
            let path = format!("/sys/class/x/{name}");
            // Directories and links were never read as files.
            if name != "sub" && name != ".." && name != "driver" {
                assert_eq!(again.value(name), root.value(&path), "{path}");
            }
        }
        tree.replace("/sys/devices/x/value", "8\n");
        assert!(!again.is_still(before));
    }

    #[test]
    fn a_device_that_took_the_place_of_another_is_known() {
        let tree = tree();
        let identity = || Directory::new(&tree.root(), "/sys/class/x").identity();
        let before = identity();
        assert!(before.is_some() && identity() == before);
        tree.replace("/sys/devices/x/value", "8\n");
        assert_ne!(identity(), before);
        assert_eq!(Directory::new(&tree.root(), "/nowhere").identity(), None);
    }

    proptest! {
        #[test]
        fn any_content_is_read_as_the_whole_path_reads_it(
            content in proptest::collection::vec(any::<u8>(), 0..40),
            repeats in 0_usize..300,
        ) {
            let tree = Tree::new();
            tree.file("/d/f", content.repeat(repeats));
            let root = tree.root();
            let directory = Directory::new(&root, "/d");
            prop_assert_eq!(directory.value("f"), root.value("/d/f"));
        }
    }
}
