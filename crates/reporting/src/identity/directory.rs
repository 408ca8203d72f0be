//! Where the identity is kept: `identity.json`, the file of its key, and a lock.
//!
//! # Invariants
//! - A key's file is whole and on the disk before its name is used; `identity.json` is replaced by
//!   one rename, and names its key. So there is the old identity or the new one, never half of each.
//! - Keys are numbered. One with a higher number than that which `identity.json` names is pending: it
//!   was shown to the inventory, or is about to be, and the answer is not kept yet.
//! - The directory is 0700 and the files in it 0600.

use std::fs::{self, DirBuilder, File, Permissions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cupel_model::enrolment::KeyProtection;

use super::document::{IdentityDocument, PLAIN, SEALED, number_of};
use super::place::ParseError;

/// The directory, in that of the state.
const DIRECTORY: &str = "identity";

const DOCUMENT: &str = "identity.json";

const LOCK: &str = "lock";

/// What is being written, and becomes something by being renamed.
const UNFINISHED: &str = "unfinished";

/// Most bytes of a file: certificates of a chain and of an authority are a few KiB.
const CAP: u64 = 256 << 10;

/// How often a lock that somebody holds is tried.
const LOOK: Duration = Duration::from_millis(50);

/// Why the identity cannot be read or kept.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The disk.
    #[error("cannot {doing} {path}")]
    File {
        /// What was being done.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// What is in `identity.json`.
    #[error(transparent)]
    Document(#[from] ParseError),
    /// Somebody else is at it.
    #[error("another cupel holds {path}: it enrols this node, or renews its identity")]
    Locked {
        /// The lock.
        path: PathBuf,
    },
}

/// What is in the file of a key.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyFile {
    /// What the key in it is protected by.
    pub protection: KeyProtection,
    /// PEM for [`KeyProtection::File`]; what sealing gave for [`KeyProtection::Tpm`].
    pub bytes: Vec<u8>,
}

impl std::fmt::Debug for KeyFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyFile")
            .field("protection", &self.protection)
            .finish_non_exhaustive()
    }
}

/// Held by whoever changes the identity.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "closing it ends the lock")] File);

/// Where the identity is kept.
#[derive(Clone, Debug)]
pub struct IdentityDirectory {
    path: PathBuf,
}

impl IdentityDirectory {
    /// In a directory of state; nothing is looked at yet.
    pub fn in_state(directory: &Path) -> Self {
        Self {
            path: directory.join(DIRECTORY),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the directory where it is missing and takes the lock; waits for it that long.
    ///
    /// # Errors
    /// The disk, or somebody else has it.
    pub fn lock(&self, patience: Duration) -> Result<Lock, IdentityError> {
        self.make()?;
        let path = self.path.join(LOCK);
        let file = File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(failed("open", &path))?;
        let until = Instant::now() + patience;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Lock(file)),
                Err(TryLockError::WouldBlock) if Instant::now() < until => {
                    std::thread::sleep(LOOK);
                }
                Err(TryLockError::WouldBlock) => return Err(IdentityError::Locked { path }),
                Err(TryLockError::Error(source)) => return Err(failed("lock", &path)(source)),
            }
        }
    }

    fn make(&self) -> Result<(), IdentityError> {
        let made = DirBuilder::new()
            .mode(0o700)
            .recursive(true)
            .create(&self.path);
        made.and_then(|()| fs::set_permissions(&self.path, Permissions::from_mode(0o700)))
            .and_then(|()| match self.path.parent() {
                Some(parent) => File::open(parent)?.sync_all(),
                None => Ok(()),
            })
            .map_err(failed("make", &self.path))
    }

    /// The identity; `None` where the node was never enrolled.
    ///
    /// # Errors
    /// It cannot be read, or is damaged.
    pub fn document(&self) -> Result<Option<IdentityDocument>, IdentityError> {
        let path = self.path.join(DOCUMENT);
        match read(&path) {
            Ok(bytes) => {
                let document = IdentityDocument::parse(&bytes, &path.display().to_string())?;
                Ok(Some(document))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(failed("read", &path)(source)),
        }
    }

    /// The key of an identity.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn key(&self, document: &IdentityDocument) -> Result<KeyFile, IdentityError> {
        self.key_file(&document.key)
    }

    fn key_file(&self, name: &str) -> Result<KeyFile, IdentityError> {
        let path = self.path.join(name);
        let bytes = read(&path).map_err(failed("read", &path))?;
        let protection = match path.extension() {
            Some(extension) if extension == SEALED => KeyProtection::Tpm,
            Some(_) | None => KeyProtection::File,
        };
        Ok(KeyFile { protection, bytes })
    }

    /// The key that was shown to the inventory without an answer that was kept, and its name.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn pending(&self) -> Result<Option<(String, KeyFile)>, IdentityError> {
        let named = self.named().as_deref().and_then(number_of);
        let newest = self.keys()?.into_iter().max_by_key(|name| number_of(name));
        match newest {
            Some(name) if number_of(&name) > named => {
                let key = self.key_file(&name)?;
                Ok(Some((name, key)))
            }
            Some(_) | None => Ok(None),
        }
    }

    /// The key that `identity.json` names.
    fn named(&self) -> Option<String> {
        self.document().ok()?.map(|document| document.key)
    }

    /// Keeps a new key, pending, in place of one that was; gives its name.
    ///
    /// # Errors
    /// The disk; then the identity is as it was.
    pub fn keep(&self, _: &Lock, key: &KeyFile) -> Result<String, IdentityError> {
        self.remove_others()?;
        let named = self.named().as_deref().and_then(number_of);
        let number = named.unwrap_or_default().saturating_add(1);
        let extension = match key.protection {
            KeyProtection::Tpm => SEALED,
            KeyProtection::File => PLAIN,
        };
        let name = format!("key-{number}.{extension}");
        self.write(&name, &key.bytes)?;
        Ok(name)
    }

    /// From now on this is the identity; keys that it does not name are removed.
    ///
    /// # Errors
    /// The disk; then the identity is as it was.
    pub fn commit(&self, _: &Lock, document: &IdentityDocument) -> Result<(), IdentityError> {
        let path = self.path.join(DOCUMENT);
        let mut json = serde_json::to_vec_pretty(document)
            .map_err(io::Error::from)
            .map_err(failed("write", &path))?;
        json.push(b'\n');
        self.write(DOCUMENT, &json)?;
        self.remove_others()
    }

    /// Removes a key that is pending.
    ///
    /// # Errors
    /// The disk.
    pub fn forget_pending(&self, _: &Lock) -> Result<(), IdentityError> {
        self.remove_others()
    }

    fn keys(&self) -> Result<Vec<String>, IdentityError> {
        let listed = match fs::read_dir(&self.path) {
            Ok(listed) => listed,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(failed("list", &self.path)(source)),
        };
        let mut names = Vec::new();
        for entry in listed {
            let entry = entry.map_err(failed("list", &self.path))?;
            names.extend(entry.file_name().into_string().ok());
        }
        names.retain(|name| number_of(name).is_some());
        Ok(names)
    }

    /// Removes the keys that `identity.json` does not name.
    fn remove_others(&self) -> Result<(), IdentityError> {
        let named = self.named();
        for name in self.keys()? {
            if Some(&name) != named.as_ref() {
                let path = self.path.join(&name);
                fs::remove_file(&path).map_err(failed("remove", &path))?;
            }
        }
        Ok(())
    }

    /// Writes a file under another name, then gives it its own.
    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), IdentityError> {
        let (beside, path) = (self.path.join(UNFINISHED), self.path.join(name));
        let write = || {
            // A kill may have left one, with whatever permissions.
            match fs::remove_file(&beside) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
            let mut file = File::options()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&beside)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&beside, &path)?;
            // The name lasts through a power cut only once its directory is on the disk.
            File::open(&self.path)?.sync_all()
        };
        write().map_err(failed("write", &path))
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(CAP + 1).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > CAP {
        let text = format!("it is larger than {CAP} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
    }
    Ok(bytes)
}

fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> IdentityError {
    let path = path.to_owned();
    move |source| IdentityError::File {
        doing,
        path,
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::super::document::tests::identity;
    use super::*;

    const NOW: Duration = Duration::ZERO;

    fn plain(bytes: &[u8]) -> KeyFile {
        KeyFile {
            protection: KeyProtection::File,
            bytes: bytes.to_vec(),
        }
    }

    fn names(directory: &IdentityDirectory) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(directory.path())
            .expect("list")
            .map(|entry| {
                entry
                    .expect("entry")
                    .file_name()
                    .into_string()
                    .expect("text")
            })
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_key_is_pending_until_an_identity_names_it() {
        let state = tempfile::tempdir().expect("directory");
        let directory = IdentityDirectory::in_state(&state.path().join("lib"));
        assert!(directory.document().expect("read").is_none());
        assert!(directory.pending().expect("read").is_none());
        let lock = directory.lock(NOW).expect("lock");
        let first = directory.keep(&lock, &plain(b"first")).expect("keep");
        let pending = directory.pending().expect("read").expect("pending");
        assert_eq!(pending, (first.clone(), plain(b"first")));
        let (mut document, _) = identity();
        document.key.clone_from(&first);
        directory.commit(&lock, &document).expect("commit");
        assert!(directory.pending().expect("read").is_none());
        let read = directory.document().expect("read").expect("document");
        assert_eq!(read, document);
        assert_eq!(directory.key(&read).expect("key"), plain(b"first"));

        // Another enrolment, cut short twice: the identity stands, and one key is pending.
        directory.keep(&lock, &plain(b"second")).expect("keep");
        let sealed = KeyFile {
            protection: KeyProtection::Tpm,
            bytes: b"third".to_vec(),
        };
        let third = directory.keep(&lock, &sealed).expect("keep");
        assert_eq!(directory.document().expect("read"), Some(document.clone()));
        assert_eq!(directory.key(&document).expect("key"), plain(b"first"));
        let pending = directory.pending().expect("read").expect("pending");
        assert_eq!(pending, (third.clone(), sealed.clone()));
        directory.forget_pending(&lock).expect("forget");
        assert!(directory.pending().expect("read").is_none());
        assert_eq!(directory.key(&document).expect("key"), plain(b"first"));
        assert_eq!(directory.keep(&lock, &sealed).expect("keep"), third);
        document.key.clone_from(&third);
        directory.commit(&lock, &document).expect("commit");
        assert_eq!(directory.key(&document).expect("key"), sealed);
        assert_eq!(names(&directory), ["identity.json", &*third, "lock"]);

        // Killed before the old key was removed: it is not taken for one that is pending.
        fs::write(directory.path().join(&first), "first").expect("write");
        assert!(directory.pending().expect("read").is_none());
    }

    #[test]
    fn nobody_else_reads_it() {
        let state = tempfile::tempdir().expect("directory");
        let directory = IdentityDirectory::in_state(state.path());
        fs::create_dir(directory.path()).expect("mkdir");
        fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).expect("chmod");
        // What a kill left, readable by others.
        fs::write(directory.path().join(UNFINISHED), "half").expect("write");
        let lock = directory.lock(NOW).expect("lock");
        let key = directory.keep(&lock, &plain(b"key")).expect("keep");
        let (mut document, _) = identity();
        document.key = key;
        directory.commit(&lock, &document).expect("commit");
        let mode = |path: &Path| fs::metadata(path).expect("metadata").permissions().mode() & 0o777;
        assert_eq!(mode(directory.path()), 0o700);
        for name in names(&directory) {
            assert_eq!(mode(&directory.path().join(&name)), 0o600, "{name}");
        }
    }

    #[test]
    fn one_at_a_time() {
        let state = tempfile::tempdir().expect("directory");
        let directory = IdentityDirectory::in_state(state.path());
        let lock = directory.lock(NOW).expect("lock");
        let error = directory
            .lock(Duration::from_millis(120))
            .expect_err("locked");
        assert!(matches!(error, IdentityError::Locked { .. }), "{error}");
        drop(lock);
        directory.lock(NOW).expect("free");
    }

    #[test]
    fn what_is_damaged_is_told_and_replaced_by_the_next() {
        let state = tempfile::tempdir().expect("directory");
        let directory = IdentityDirectory::in_state(state.path());
        let lock = directory.lock(NOW).expect("lock");
        fs::write(directory.path().join(DOCUMENT), "{\n\n").expect("write");
        let told = directory.document().expect_err("damaged").to_string();
        assert!(told.contains("identity.json:3: EOF"), "{told}");
        let (mut document, _) = identity();
        document.key = directory.keep(&lock, &plain(b"key")).expect("keep");
        directory.commit(&lock, &document).expect("commit");
        assert_eq!(directory.document().expect("read"), Some(document));
    }
}
