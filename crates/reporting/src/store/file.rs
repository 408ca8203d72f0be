//! The file: where it lies, who may see it, and whether it is whole.
//!
//! # Invariants
//! - Everything is inside one directory that is this crate's own (0700), in files of 0600; no link
//!   is followed out of it.
//! - One process at a time; `sqlite3` may read beside it, and for as long as it does, nothing is
//!   written.
//! - A damaged file is never written to and never deleted at once: it gets another name, and the
//!   last [`SET_ASIDE_KEPT`] are kept.
//! - What was delivered can be deleted on a disk without room: the rollback journal keeps its
//!   [`RESERVE`], and deleting needs no other. A write-ahead log could not promise that: what it
//!   holds must grow the file before the log has room again, and on a full disk neither comes first.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use cupel_model::Timestamp;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::change::SetAside;
use super::error::{OpenError, StoreError};
use super::schema;

/// Beneath the state directory.
const DIRECTORY: &str = "service";
const FILE: &str = "store.sqlite3";
const LOCK: &str = "lock";
/// SQLite's name for what lies beside a file.
const JOURNAL: &str = "-journal";
const DAMAGED: &str = "damaged-";

/// Damaged files that are kept: enough to see whether it happens again and again.
const SET_ASIDE_KEPT: usize = 2;

/// The lock is waited for for a second: a service that is just ending holds it, and so does, for a
/// moment, a child of it that has not begun its own program yet.
const LOCK_TRIES: u32 = 40;
const LOCK_PAUSE: Duration = Duration::from_millis(25);

/// How long another reader of the file, `sqlite3` or a backup, is waited for; then there is memory.
const BUSY: Duration = Duration::from_millis(500);

/// Bytes of the rollback journal that stay allocated: room that a full disk cannot take away. A
/// deletion changes about ten pages of 4 KiB.
const RESERVE: u64 = 256 << 10;

/// What stands in the row that makes the reserve.
const RESERVED: &str = "reserve";

/// Prepared statements that are kept: more than there are.
const STATEMENTS: usize = 32;

/// Page cache, in KiB (negative is SQLite's way of saying so). The service reads little.
const CACHE_KIB: i64 = -512;

/// The directory, locked.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    _lock: File,
}

impl Directory {
    /// Makes and locks it.
    pub fn open(state_directory: &Path) -> Result<Self, StoreError> {
        let path = make(state_directory)?;
        let lock_path = path.join(LOCK);
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&lock_path)
            .map_err(file_error("open", &lock_path))?;
        let mut tries = LOCK_TRIES;
        loop {
            tries -= 1;
            match lock.try_lock() {
                Ok(()) => return Ok(Self { path, _lock: lock }),
                Err(TryLockError::WouldBlock) if tries > 0 => thread::sleep(LOCK_PAUSE),
                Err(TryLockError::WouldBlock) => {
                    return Err(StoreError::InUse(OpenError::InUse { path: lock_path }));
                }
                Err(TryLockError::Error(error)) => {
                    return Err(file_error("lock", &lock_path)(error));
                }
            }
        }
    }

    /// Where the file is.
    pub fn file(&self) -> PathBuf {
        self.path.join(FILE)
    }

    /// Puts the file away; its journal goes with it, so that it cannot be taken for that of the new
    /// one.
    pub fn set_aside(&self, why: String, now: Timestamp) -> Result<SetAside, StoreError> {
        let stamp: String = now
            .to_string()
            .chars()
            .filter(char::is_ascii_alphanumeric)
            .collect();
        let mut to = self.path.join(format!("{DAMAGED}{stamp}.sqlite3"));
        let mut number = 1;
        while to.exists() {
            number += 1;
            to = self.path.join(format!("{DAMAGED}{stamp}-{number}.sqlite3"));
        }
        let from = self.file();
        for suffix in [JOURNAL, "-wal"] {
            move_if_there(&with_suffix(&from, suffix), &with_suffix(&to, suffix))?;
        }
        remove_if_there(&with_suffix(&from, "-shm"))?;
        move_if_there(&from, &to)?;
        sync(&self.path)?;
        // What cannot be deleted is only in the way of nobody.
        let _ = self.forget_oldest();
        tracing::warn!(path = %to.display(), why, "the state file was damaged and is put away");
        Ok(SetAside { path: to, why })
    }

    fn forget_oldest(&self) -> io::Result<()> {
        let mut kept: Vec<PathBuf> = fs::read_dir(&self.path)?
            .flatten()
            .filter(|entry| {
                let name = entry.file_name();
                let name = name.to_string_lossy();
                name.starts_with(DAMAGED) && name.ends_with(".sqlite3")
            })
            .map(|entry| entry.path())
            .collect();
        kept.sort_by_key(|path| fs::metadata(path).and_then(|data| data.modified()).ok());
        let surplus = kept.len().saturating_sub(SET_ASIDE_KEPT);
        for path in kept.drain(..surplus) {
            fs::remove_file(&path)?;
            for suffix in [JOURNAL, "-wal"] {
                let _ = fs::remove_file(with_suffix(&path, suffix));
            }
        }
        Ok(())
    }
}

fn make(state_directory: &Path) -> Result<PathBuf, StoreError> {
    let wanted = state_directory.join(DIRECTORY);
    match fs::symlink_metadata(&wanted) {
        Ok(data) if data.is_dir() => {
            if data.permissions().mode() & 0o077 != 0 {
                fs::set_permissions(&wanted, Permissions::from_mode(0o700))
                    .map_err(file_error("close to others", &wanted))?;
            }
        }
        Ok(_) => {
            return Err(StoreError::InTheWay {
                path: wanted,
                what: "no directory",
            });
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&wanted)
            .map_err(file_error("make", &wanted))
            .and_then(|()| sync(state_directory))?,
        Err(error) => return Err(file_error("look at", &wanted)(error)),
    }
    // SQLite is told to follow no link at all; those above the directory are the operator's.
    fs::canonicalize(&wanted).map_err(file_error("look at", &wanted))
}

/// Opens the file, makes it when there is none, and looks whether it is whole.
pub(super) fn open(path: &Path) -> Result<Connection, StoreError> {
    prepare(path)?;
    let sql = |action| {
        move |cause| StoreError::Sqlite {
            action,
            path: path.to_owned(),
            cause,
        }
    };
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let mut connection = Connection::open_with_flags(path, flags).map_err(sql("open the state"))?;
    guard(&connection).map_err(sql("prepare the state"))?;
    // Before anything is written: a later cupel's file stays as it is.
    let version = version(&connection, path)?;
    configure(&connection).map_err(sql("prepare the state"))?;
    schema::migrate(&mut connection, version).map_err(sql("make the tables"))?;
    let damaged = |why: String| StoreError::Damaged {
        path: path.to_owned(),
        why,
    };
    if !schema::is_ours(&connection).map_err(sql("read the tables"))? {
        return Err(damaged(
            "its tables are not those of Cupel's state".to_owned(),
        ));
    }
    let word: String = connection
        .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        .map_err(sql("check the state"))?;
    if word != "ok" {
        return Err(damaged(word));
    }
    // Without room now there may be some when it is opened again.
    if let Err(error) = reserve(&connection, path) {
        tracing::debug!(%error, "no room is reserved");
    }
    Ok(connection)
}

/// An empty file of 0600 where there is none; an existing one is closed to others.
fn prepare(path: &Path) -> Result<(), StoreError> {
    match fs::symlink_metadata(path) {
        Ok(data) if data.is_file() => {
            if data.permissions().mode() & 0o177 != 0 {
                fs::set_permissions(path, Permissions::from_mode(0o600))
                    .map_err(file_error("close to others", path))?;
            }
            Ok(())
        }
        Ok(_) => Err(StoreError::InTheWay {
            path: path.to_owned(),
            what: "no plain file",
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => OpenOptions::new()
            .create_new(true)
            .write(true)
            .mode(0o600)
            .open(path)
            .map_err(file_error("make", path))
            .and_then(|_| path.parent().map_or(Ok(()), sync)),
        Err(error) => Err(file_error("look at", path)(error)),
    }
}

/// How the connection behaves; writes nothing.
fn guard(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    // Nothing in a file that came from elsewhere is run, and nothing can write past the rules.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    connection.pragma_update(None, "cache_size", CACHE_KIB)?;
    connection.pragma_update(None, "temp_store", "MEMORY")
}

/// How the file is kept.
fn configure(connection: &Connection) -> rusqlite::Result<()> {
    // Before the first table: pages can be given back.
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    connection.query_row("PRAGMA journal_mode = PERSIST", [], |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.query_row(
        &format!("PRAGMA journal_size_limit = {RESERVE}"),
        [],
        |_| Ok(()),
    )
}

/// Sees to it that the journal has its reserve: what lies in it are the old contents of pages, so
/// some are written and overwritten. They stay free in the file, which is room too.
fn reserve(connection: &Connection, path: &Path) -> rusqlite::Result<()> {
    let journal = with_suffix(path, JOURNAL);
    if fs::metadata(journal).is_ok_and(|data| data.len() >= RESERVE) {
        return Ok(());
    }
    let size = i64::try_from(RESERVE).unwrap_or(i64::MAX);
    connection.execute(
        "INSERT INTO refused (boot, sequence, class, size, at_microseconds, why, body)
         VALUES ('', 0, 'changes', 0, 0, ?1, zeroblob(?2))",
        (RESERVED, size),
    )?;
    connection.execute(
        "UPDATE refused SET body = randomblob(?2) WHERE why = ?1",
        (RESERVED, size),
    )?;
    connection
        .execute("DELETE FROM refused WHERE why = ?1", [RESERVED])
        .map(drop)
}

fn version(connection: &Connection, path: &Path) -> Result<usize, StoreError> {
    let number = |pragma: &'static str| {
        connection
            .query_row(&format!("PRAGMA {pragma}"), [], |row| row.get::<_, i64>(0))
            .map_err(|cause| StoreError::Sqlite {
                action: "read the version of the state",
                path: path.to_owned(),
                cause,
            })
    };
    let tables: i64 = connection
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(|cause| StoreError::Sqlite {
            action: "read the tables",
            path: path.to_owned(),
            cause,
        })?;
    let application = number("application_id")?;
    let found = number("user_version")?;
    let damaged = |why: &str| StoreError::Damaged {
        path: path.to_owned(),
        why: why.to_owned(),
    };
    if (application, found, tables) == (0, 0, 0) {
        return Ok(0);
    }
    if application != schema::APPLICATION_ID {
        return Err(damaged("it does not say that it is Cupel's state"));
    }
    match usize::try_from(found) {
        Ok(version) if version <= schema::VERSION => Ok(version),
        Ok(_) => Err(StoreError::Newer {
            path: path.to_owned(),
            found,
            known: schema::VERSION,
        }),
        Err(_) => Err(damaged("its version is below zero")),
    }
}

/// Makes the names in a directory outlast a power cut.
fn sync(directory: &Path) -> Result<(), StoreError> {
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(file_error("sync", directory))
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn move_if_there(from: &Path, to: &Path) -> Result<(), StoreError> {
    unless_missing(fs::rename(from, to)).map_err(file_error("put away", from))
}

fn remove_if_there(path: &Path) -> Result<(), StoreError> {
    unless_missing(fs::remove_file(path)).map_err(file_error("remove", path))
}

fn unless_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Ok(()) | Err(_) => result,
    }
}

fn file_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError + use<> {
    let path = path.to_owned();
    move |source| StoreError::File {
        action,
        path,
        source,
    }
}
