//! The tables, and how a file comes to have them.
//!
//! # Invariants
//! - A migration that was published is never changed; a new one is added at the end.
//! - Each runs in a transaction with the version that it leads to.
//! - The tables of a file are word for word those that the migrations make; else it is damaged, or
//!   somebody else's.

use rusqlite::{Connection, TransactionBehavior};

/// Says that a file is Cupel's: "Cupl" as a number, at byte 68.
pub(super) const APPLICATION_ID: i64 = 0x4375_706c;

/// One entry a version.
const MIGRATIONS: &[&str] = &[
    // 1
    "CREATE TABLE memory (
        name TEXT NOT NULL PRIMARY KEY,
        value TEXT NOT NULL
    ) STRICT;
    CREATE TABLE event (
        boot TEXT NOT NULL,
        key TEXT NOT NULL,
        json TEXT NOT NULL,
        PRIMARY KEY (boot, key)
    ) STRICT;
    CREATE TABLE report (
        id INTEGER PRIMARY KEY,
        node TEXT NOT NULL,
        boot TEXT NOT NULL,
        sequence INTEGER NOT NULL CHECK (sequence >= 0),
        class TEXT NOT NULL CHECK (class IN ('heartbeat', 'full', 'changes')),
        size INTEGER NOT NULL CHECK (size >= 0),
        dropped_heartbeats INTEGER NOT NULL CHECK (dropped_heartbeats >= 0),
        dropped_fulls INTEGER NOT NULL CHECK (dropped_fulls >= 0),
        dropped_changes INTEGER NOT NULL CHECK (dropped_changes >= 0),
        body BLOB NOT NULL,
        UNIQUE (boot, sequence)
    ) STRICT;
    CREATE INDEX report_by_class ON report (class, id, size);
    CREATE TABLE refused (
        id INTEGER PRIMARY KEY,
        boot TEXT NOT NULL,
        sequence INTEGER NOT NULL CHECK (sequence >= 0),
        class TEXT NOT NULL CHECK (class IN ('heartbeat', 'full', 'changes')),
        size INTEGER NOT NULL CHECK (size >= 0),
        at_microseconds INTEGER NOT NULL,
        why TEXT NOT NULL,
        body BLOB
    ) STRICT;",
    // 2: when a report was made, by the node's clock.
    "ALTER TABLE report ADD COLUMN made_at_microseconds INTEGER NOT NULL DEFAULT 0;",
];

/// The version of a file that has had all migrations.
pub(super) const VERSION: usize = MIGRATIONS.len();

/// Brings a file from `version` to [`VERSION`].
pub(super) fn migrate(connection: &mut Connection, version: usize) -> rusqlite::Result<()> {
    for (number, sql) in (1_i64..).zip(MIGRATIONS).skip(version) {
        let step = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        step.execute_batch(sql)?;
        step.pragma_update(None, "application_id", APPLICATION_ID)?;
        step.pragma_update(None, "user_version", number)?;
        step.commit()?;
    }
    Ok(())
}

/// Whether the tables are those that the migrations make.
pub(super) fn is_ours(connection: &Connection) -> rusqlite::Result<bool> {
    let mut fresh = Connection::open_in_memory()?;
    migrate(&mut fresh, 0)?;
    Ok(tables(connection)? == tables(&fresh)?)
}

/// What the file says that its tables are.
fn tables(connection: &Connection) -> rusqlite::Result<Vec<(String, String, Option<String>)>> {
    connection
        .prepare("SELECT type, name, sql FROM sqlite_schema ORDER BY type, name")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect()
}
