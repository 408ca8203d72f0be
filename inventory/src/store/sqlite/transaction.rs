//! A transaction of the connection that writes.
//!
//! SQLite ends a transaction by itself when the disk is full; a library that counts transactions
//! would go on to believe in it. So they are begun and ended here in plain statements.
//!
//! # Invariants
//! - Whoever gets the connection gets it outside of any transaction: one that was not committed,
//!   because of an error or because nobody waited for it any more, is rolled back before the
//!   connection is given to the next one.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use sqlx::sqlite::SqliteConnection;
use tokio::sync::OwnedMutexGuard;

use super::Sqlite;
use crate::store::Error;

/// A transaction, and the connection with it.
#[derive(Debug)]
pub struct Transaction {
    /// `None` once it is committed.
    connection: Option<OwnedMutexGuard<SqliteConnection>>,
}

impl Sqlite {
    /// Begins a transaction that writes.
    pub(super) async fn begin(&self) -> Result<Transaction, Error> {
        let mut connection = Arc::clone(&self.writer).lock_owned().await;
        sqlx::query("BEGIN IMMEDIATE")
            .execute(&mut *connection)
            .await?;
        Ok(Transaction {
            connection: Some(connection),
        })
    }
}

impl Transaction {
    /// Makes it last: it is on the disk when this returns.
    pub async fn commit(mut self) -> Result<(), Error> {
        sqlx::query("COMMIT").execute(&mut *self).await?;
        self.connection = None;
        Ok(())
    }
}

impl Deref for Transaction {
    type Target = SqliteConnection;

    fn deref(&self) -> &SqliteConnection {
        match &self.connection {
            Some(connection) => connection,
            None => unreachable!("a committed transaction is consumed"),
        }
    }
}

impl DerefMut for Transaction {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        match &mut self.connection {
            Some(connection) => connection,
            None => unreachable!("a committed transaction is consumed"),
        }
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        let Some(mut connection) = self.connection.take() else {
            return;
        };
        // Outside of a runtime the process is ending, and the file is rolled back when it is opened.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                // It fails where SQLite has rolled back by itself, which is as well.
                let _ = sqlx::query("ROLLBACK").execute(&mut *connection).await;
            });
        }
    }
}
