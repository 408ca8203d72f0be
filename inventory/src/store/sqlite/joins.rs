//! Join tokens.
//!
//! # Invariants
//! - Only digests of secrets are stored.

use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;

use super::Sqlite;
use super::row::Columns as _;
use crate::store::{Bound, Error, JoinToken, NewJoin};

fn token(row: &SqliteRow) -> Result<JoinToken, Error> {
    let bound = match (
        row.maybe_text("rack")?,
        row.maybe_text("node")?,
        row.maybe_text("serial")?,
    ) {
        (Some(rack), _, _) => Bound::Rack(rack),
        (None, Some(node), _) => Bound::Node(node),
        (None, None, Some(serial)) => Bound::Serial(serial),
        (None, None, None) => Bound::Any,
    };
    Ok(JoinToken {
        key: row.int("key")?,
        id: row.text("id")?,
        name: row.text("name")?,
        hash: row.bytes("hash")?,
        uses: row.small("uses")?,
        used: row.small("used")?,
        bound,
        created_at: row.time("created_at")?,
        expires_at: row.time("expires_at")?,
        revoked_at: row.maybe_time("revoked_at")?,
    })
}

/// The join token with this row.
pub async fn by_key(c: &mut SqliteConnection, key: i64) -> Result<Option<JoinToken>, Error> {
    let row = sqlx::query("SELECT * FROM join_tokens WHERE key = ?1")
        .bind(key)
        .fetch_optional(&mut *c)
        .await?;
    row.as_ref().map(token).transpose()
}

impl Sqlite {
    /// Stores a join token.
    pub async fn create_join(&self, new: &NewJoin) -> Result<JoinToken, Error> {
        let now = self.clock.microseconds();
        let (rack, node, serial) = match &new.bound {
            Bound::Any => (None, None, None),
            Bound::Rack(rack) => (Some(rack), None, None),
            Bound::Node(node) => (None, Some(node), None),
            Bound::Serial(serial) => (None, None, Some(serial)),
        };
        let mut transaction = self.begin().await?;
        let taken = sqlx::query("SELECT 1 FROM join_tokens WHERE name = ?1")
            .bind(&new.name)
            .fetch_optional(&mut *transaction)
            .await?;
        if taken.is_some() {
            return Err(Error::JoinExists(new.name.clone()));
        }
        let row = sqlx::query(
            "INSERT INTO join_tokens
                (id, name, hash, uses, rack, node, serial, created_at, expires_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) RETURNING *",
        )
        .bind(&new.id)
        .bind(&new.name)
        .bind(&new.hash[..])
        .bind(new.uses)
        .bind(rack)
        .bind(node)
        .bind(serial)
        .bind(now)
        .bind(new.expires_at)
        .fetch_one(&mut *transaction)
        .await?;
        let created = token(&row)?;
        transaction.commit().await?;
        Ok(created)
    }

    /// All join tokens, old ones too, as they were made.
    pub async fn joins(&self) -> Result<Vec<JoinToken>, Error> {
        let rows = sqlx::query("SELECT * FROM join_tokens ORDER BY key")
            .fetch_all(&self.readers)
            .await?;
        rows.iter().map(token).collect()
    }

    /// The join token with this public half.
    pub async fn join(&self, id: &str) -> Result<Option<JoinToken>, Error> {
        let row = sqlx::query("SELECT * FROM join_tokens WHERE id = ?1")
            .bind(id)
            .fetch_optional(&self.readers)
            .await?;
        row.as_ref().map(token).transpose()
    }

    /// Revokes a join token by name or public half. `false`: there is none, or it is revoked.
    pub async fn revoke_join(&self, name: &str) -> Result<bool, Error> {
        let now = self.clock.microseconds();
        let mut writer = self.writer.lock().await;
        let done = sqlx::query(
            "UPDATE join_tokens SET revoked_at = ?2
             WHERE (name = ?1 OR id = ?1) AND revoked_at IS NULL",
        )
        .bind(name)
        .bind(now)
        .execute(&mut *writer)
        .await?;
        Ok(done.rows_affected() > 0)
    }
}
