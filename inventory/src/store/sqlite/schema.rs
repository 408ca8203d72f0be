//! Numbered steps from an empty file to the schema that this program knows.
//!
//! # Invariants
//! - A step that was released is never changed; a change of the schema is a new step.
//! - A database with steps that are not known here is refused untouched.

use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::{Row as _, SqlSafeStr as _, SqliteConnection};

use crate::store::Error;

const STEPS: &[(i64, &str, &str)] = &[
    (1, "initial", include_str!("0001_initial.sql")),
    (2, "enrolment", include_str!("0002_enrolment.sql")),
    (3, "upgrades", include_str!("0003_upgrades.sql")),
    (4, "join places", include_str!("0004_join_places.sql")),
];

/// Newest schema that is known here.
pub fn known() -> i64 {
    STEPS.last().map_or(0, |(version, _, _)| *version)
}

/// Brings the database to the newest schema.
pub async fn migrate(connection: &mut SqliteConnection) -> Result<(), Error> {
    take(connection, STEPS).await
}

async fn take(
    connection: &mut SqliteConnection,
    steps: &[(i64, &'static str, &'static str)],
) -> Result<(), Error> {
    let before = version(connection).await?;
    if before > known() {
        return Err(Error::Newer {
            found: before,
            known: known(),
        });
    }
    let steps = steps
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::store::{Options, Store};

    fn options(data: &std::path::Path, migrate: bool) -> Options {
        Options {
            data: data.to_path_buf(),
            clock: Clock::system(),
            migrate,
        }
    }

    async fn pretend(data: &std::path::Path, sql: &'static str) {
        use sqlx::ConnectOptions as _;
        let path = data.join("inventory.sqlite");
        let mut connection = super::super::options(&path).connect().await.expect("open");
        sqlx::query(sql)
            .execute(&mut connection)
            .await
            .expect("sql");
    }

    #[tokio::test]
    async fn a_newer_schema_is_refused() {
        let data = tempfile::tempdir().expect("directory");
        let (store, opened) = Store::open(&options(data.path(), false))
            .await
            .expect("new");
        assert_eq!((opened.before, opened.now), (0, known()));
        store.close().await;
        let again = Store::open(&options(data.path(), false))
            .await
            .expect("same");
        assert_eq!(again.1.before, known());
        again.0.close().await;
        pretend(
            data.path(),
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
             VALUES (9999, 'of tomorrow', 1, x'00', 0)",
        )
        .await;
        let refused = Store::open(&options(data.path(), true)).await;
        assert!(
            matches!(refused, Err(Error::Newer { found: 9999, .. })),
            "{refused:?}"
        );
    }

    #[tokio::test]
    async fn an_older_schema_is_brought_up_to_date_where_that_is_meant() {
        use sqlx::ConnectOptions as _;
        let data = tempfile::tempdir().expect("directory");
        let path = data.path().join("inventory.sqlite");
        std::fs::write(&path, "").expect("file");
        let mut connection = super::super::options(&path).connect().await.expect("open");
        take(&mut connection, &STEPS[..1]).await.expect("schema 1");
        sqlx::query(
            "INSERT INTO tokens (id, name, scope, hash, created_at)
             VALUES ('0123456789ab', 'kept', 'read', x'00', 0)",
        )
        .execute(&mut connection)
        .await
        .expect("row");
        drop(connection);
        let refused = Store::open(&options(data.path(), false)).await;
        assert!(
            matches!(refused, Err(Error::Older { found: 1, .. })),
            "{refused:?}"
        );
        let (store, opened) = Store::open(&options(data.path(), true))
            .await
            .expect("migrated");
        assert_eq!((opened.before, opened.now), (1, known()));
        assert_eq!(store.tokens().await.expect("tokens")[0].name, "kept");
        assert!(store.joins().await.expect("a new table").is_empty());
        store.close().await;
    }
}
