//! Numbered steps from an empty file to the schema that this program knows.
//!
//! # Invariants
//! - A step that was released is never changed; a change of the schema is a new step.
//! - A database with steps that are not known here is refused untouched.

use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::{Row as _, SqlSafeStr as _, SqliteConnection};

use crate::store::Error;

const STEPS: &[(i64, &str, &str)] = &[(1, "initial", include_str!("0001_initial.sql"))];

/// Newest schema that is known here.
pub fn known() -> i64 {
    STEPS.last().map_or(0, |(version, _, _)| *version)
}

/// Brings the database to the newest schema.
pub async fn migrate(connection: &mut SqliteConnection) -> Result<(), Error> {
    let before = version(connection).await?;
    if before > known() {
        return Err(Error::Newer {
            found: before,
            known: known(),
        });
    }
    let steps = STEPS
        .iter()
        .map(|(version, name, sql)| {
            Migration::new(
                *version,
                (*name).into(),
                MigrationType::Simple,
                (*sql).into_sql_str(),
                false,
            )
        })
        .collect();
    match Migrator::with_migrations(steps)
        .run_direct(None, &mut *connection, false)
        .await
    {
        Ok(()) => Ok(()),
        Err(MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _)) => {
            Err(error.into())
        }
        Err(MigrateError::VersionMissing(found)) => Err(Error::Newer {
            found,
            known: known(),
        }),
        Err(other) => Err(Error::Backend(std::sync::Arc::new(other))),
    }
}

/// The schema of the database; 0: it has none.
pub async fn version(connection: &mut SqliteConnection) -> Result<i64, Error> {
    let table = sqlx::query("SELECT 1 FROM sqlite_master WHERE name = '_sqlx_migrations'")
        .fetch_optional(&mut *connection)
        .await?;
    if table.is_none() {
        return Ok(0);
    }
    let row = sqlx::query("SELECT coalesce(max(version), 0) FROM _sqlx_migrations")
        .fetch_one(&mut *connection)
        .await?;
    Ok(row.try_get(0)?)
}
