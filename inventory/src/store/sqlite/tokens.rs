//! Tokens, sessions and login codes.
//!
//! # Invariants
//! - Only digests of secrets are stored.
//! - A login code works once: it is taken away in the transaction that finds it.

use sqlx::sqlite::SqliteRow;

use super::Sqlite;
use super::row::{Columns as _, to_word};
use crate::clock::SECOND;
use crate::store::{Error, NewToken, Token};

/// How exactly it is known when a token was last used.
const USED: i64 = 3600 * SECOND;

fn token(row: &SqliteRow) -> Result<Token, Error> {
    Ok(Token {
        key: row.int("key")?,
        id: row.text("id")?,
        name: row.text("name")?,
        scope: row.word("scope", "a scope")?,
        node: row.maybe_text("node")?,
        hash: row.bytes("hash")?,
        created_at: row.time("created_at")?,
        last_used_at: row.maybe_time("last_used_at")?,
        revoked_at: row.maybe_time("revoked_at")?,
    })
}

impl Sqlite {
    /// Stores a token.
    pub async fn create_token(&self, new: &NewToken) -> Result<Token, Error> {
        let now = self.clock.microseconds();
        let mut transaction = self.begin().await?;
        let taken = sqlx::query("SELECT 1 FROM tokens WHERE name = ?1")
            .bind(&new.name)
            .fetch_optional(&mut *transaction)
            .await?;
        if taken.is_some() {
            return Err(Error::TokenExists(new.name.clone()));
        }
        let row = sqlx::query(
            "INSERT INTO tokens (id, name, scope, node, hash, created_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6) RETURNING *",
        )
        .bind(&new.id)
        .bind(&new.name)
        .bind(to_word(new.scope))
        .bind(&new.node)
        .bind(&new.hash[..])
        .bind(now)
        .fetch_one(&mut *transaction)
        .await?;
        let created = token(&row)?;
        transaction.commit().await?;
        Ok(created)
    }

    /// All tokens, revoked ones too, as they were made.
    pub async fn tokens(&self) -> Result<Vec<Token>, Error> {
        let rows = sqlx::query("SELECT * FROM tokens ORDER BY key")
            .fetch_all(&self.readers)
            .await?;
        rows.iter().map(token).collect()
    }

    /// The token with this public half.
    pub async fn token(&self, id: &str) -> Result<Option<Token>, Error> {
        let row = sqlx::query("SELECT * FROM tokens WHERE id = ?1")
            .bind(id)
            .fetch_optional(&self.readers)
            .await?;
        row.as_ref().map(token).transpose()
    }

    /// Revokes a token by name or public half, and ends its sessions. `false`: there is none, or it
    /// is revoked.
    pub async fn revoke_token(&self, name: &str) -> Result<bool, Error> {
        let now = self.clock.microseconds();
        let mut writer = self.writer.lock().await;
        let done = sqlx::query(
            "UPDATE tokens SET revoked_at = ?2
             WHERE (name = ?1 OR id = ?1) AND revoked_at IS NULL",
        )
        .bind(name)
        .bind(now)
        .execute(&mut *writer)
        .await?;
        Ok(done.rows_affected() > 0)
    }

    /// Notes that a token was used, to the hour.
    pub async fn token_used(&self, key: i64) -> Result<(), Error> {
        let now = self.clock.microseconds();
        let mut writer = self.writer.lock().await;
        sqlx::query(
            "UPDATE tokens SET last_used_at = ?2
             WHERE key = ?1 AND coalesce(last_used_at, 0) <= ?2 - ?3",
        )
        .bind(key)
        .bind(now)
        .bind(USED)
        .execute(&mut *writer)
        .await?;
        Ok(())
    }

    /// Begins a session of a token.
    pub async fn begin_session(
        &self,
        token_key: i64,
        hash: &[u8; 32],
        expires_at: i64,
    ) -> Result<(), Error> {
        let mut writer = self.writer.lock().await;
        sqlx::query("INSERT INTO sessions (hash, token_key, expires_at) VALUES (?1, ?2, ?3)")
            .bind(&hash[..])
            .bind(token_key)
            .bind(expires_at)
            .execute(&mut *writer)
            .await?;
        Ok(())
    }

    /// The token of a session that has not ended.
    pub async fn session(&self, hash: &[u8; 32]) -> Result<Option<Token>, Error> {
        let row = sqlx::query(
            "SELECT t.* FROM sessions s JOIN tokens t ON t.key = s.token_key
             WHERE s.hash = ?1 AND s.expires_at > ?2 AND t.revoked_at IS NULL",
        )
        .bind(&hash[..])
        .bind(self.clock.microseconds())
        .fetch_optional(&self.readers)
        .await?;
        row.as_ref().map(token).transpose()
    }

    /// Ends a session.
    pub async fn end_session(&self, hash: &[u8; 32]) -> Result<(), Error> {
        let mut writer = self.writer.lock().await;
        sqlx::query("DELETE FROM sessions WHERE hash = ?1")
            .bind(&hash[..])
            .execute(&mut *writer)
            .await?;
        Ok(())
    }

    /// Stores a code that signs in once.
    pub async fn create_code(
        &self,
        token_key: i64,
        hash: &[u8; 32],
        expires_at: i64,
    ) -> Result<(), Error> {
        let mut writer = self.writer.lock().await;
        sqlx::query("INSERT INTO login_codes (hash, token_key, expires_at) VALUES (?1, ?2, ?3)")
            .bind(&hash[..])
            .bind(token_key)
            .bind(expires_at)
            .execute(&mut *writer)
            .await?;
        Ok(())
    }

    /// Takes a code away and gives its token, if it is still good.
    pub async fn take_code(&self, hash: &[u8; 32]) -> Result<Option<Token>, Error> {
        let now = self.clock.microseconds();
        let mut transaction = self.begin().await?;
        let row =
            sqlx::query("DELETE FROM login_codes WHERE hash = ?1 RETURNING token_key, expires_at")
                .bind(&hash[..])
                .fetch_optional(&mut *transaction)
                .await?;
        let found = match row {
            Some(row) if row.int("expires_at")? > now => {
                sqlx::query("SELECT * FROM tokens WHERE key = ?1 AND revoked_at IS NULL")
                    .bind(row.int("token_key")?)
                    .fetch_optional(&mut *transaction)
                    .await?
            }
            Some(_) | None => None,
        };
        transaction.commit().await?;
        found.as_ref().map(token).transpose()
    }
}
