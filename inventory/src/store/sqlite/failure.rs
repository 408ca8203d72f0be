//! From SQLite's result codes to the store's errors. Codes decide, never texts.

use std::sync::Arc;

use crate::store::Error;

const SQLITE_BUSY: i64 = 5;
const SQLITE_LOCKED: i64 = 6;
const SQLITE_FULL: i64 = 13;
const SQLITE_IOERR_WRITE: i64 = 778;
const SQLITE_IOERR_FSYNC: i64 = 1034;
const SQLITE_IOERR_SHMSIZE: i64 = 4874;

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        let code = error
            .as_database_error()
            .and_then(|error| error.code())
            .and_then(|code| code.parse::<i64>().ok());
        match code {
            // A full disk shows itself as each of these, depending on who meets it first.
            Some(SQLITE_FULL | SQLITE_IOERR_WRITE | SQLITE_IOERR_FSYNC | SQLITE_IOERR_SHMSIZE) => {
                Self::Full
            }
            Some(code) if matches!(code & 0xff, SQLITE_BUSY | SQLITE_LOCKED) => Self::Busy,
            Some(_) => Self::Backend(Arc::new(error)),
            None if matches!(error, sqlx::Error::PoolTimedOut) => Self::Busy,
            None => Self::Backend(Arc::new(error)),
        }
    }
}
