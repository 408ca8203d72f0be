//! A copy of the database while it is in use.

use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use sqlx::ConnectOptions as _;

use super::Sqlite;
use crate::store::Error;

impl Sqlite {
    /// Writes a whole copy to a file that does not exist yet, for this user alone.
    pub async fn backup(&self, to: &Path) -> Result<(), Error> {
        // The file is made here, so that nobody else can read it; SQLite takes an empty one.
        std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(to)
            .map_err(Error::file("create", to))?;
        // Readers may write nothing, not even elsewhere: this one is for the copy alone.
        let mut reader = super::options(&self.path).connect().await?;
        let copied = sqlx::query("VACUUM INTO ?1")
            .bind(to.to_string_lossy().into_owned())
            .execute(&mut reader)
            .await;
        if let Err(error) = copied {
            let _ = std::fs::remove_file(to);
            return Err(error.into());
        }
        std::fs::File::open(to)
            .and_then(|file| file.sync_all())
            .map_err(Error::file("write", to))
    }
}
