//! Join tokens, and whom they let join.
//!
//! # Invariants
//! - Only digests of secrets are stored.

use cupel_model::enrolment::HardwareIdentity;
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;

use super::Sqlite;
use super::row::Columns as _;
use crate::store::{Asked, Bound, Error, JoinRefusal, JoinToken, NewJoin, RackPlace};

fn place(row: &SqliteRow, rack: String) -> Result<RackPlace, Error> {
    Ok(RackPlace {
        rack,
        region: row.maybe_text("region")?,
        site: row.maybe_text("site")?,
        row: row.maybe_text("row")?,
    })
}

fn token(row: &SqliteRow) -> Result<JoinToken, Error> {
    let bound = match (
        row.maybe_text("rack")?,
        row.maybe_text("node")?,
        row.maybe_text("serial")?,
    ) {
        (Some(rack), _, _) => Bound::Rack(place(row, rack)?),
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

/// What a machine is called in a refusal.
fn called(hardware: &HardwareIdentity) -> String {
    match (&hardware.chassis_serial, &hardware.serial) {
        (Some(chassis), Some(serial)) if chassis != serial => {
            format!("the machine with chassis serial {chassis} (system serial {serial})")
        }
        (Some(serial), _) | (None, Some(serial)) => {
            format!("the machine with serial number {serial}")
        }
        (None, None) => "a machine that tells no serial number".to_owned(),
    }
}

/// Why the token is not for this machine, if it is not.
pub async fn foreign(
    c: &mut SqliteConnection,
    token: &JoinToken,
    asked: &Asked,
) -> Result<Option<JoinRefusal>, Error> {
    let serials = [&asked.hardware.chassis_serial, &asked.hardware.serial];
    let found = called(&asked.hardware);
    match &token.bound {
        Bound::Any => Ok(None),
        Bound::Node(node) if *node == asked.node => Ok(None),
        Bound::Node(node) => Ok(Some(JoinRefusal::OtherNode(node.clone()))),
        Bound::Serial(wanted) if serials.contains(&&Some(wanted.clone())) => Ok(None),
        Bound::Serial(wanted) => Ok(Some(JoinRefusal::OtherSerial {
            wanted: wanted.clone(),
            found,
        })),
        Bound::Rack(rack) => {
            // As a node's entry is found: by the chassis, else by the system.
            let row = sqlx::query(
                "SELECT region, site, row, rack FROM expected WHERE chassis_serial IN (?1, ?2)
                 ORDER BY chassis_serial = ?1 DESC LIMIT 1",
            )
            .bind(serials[0])
            .bind(serials[1])
            .fetch_optional(&mut *c)
            .await?;
            let Some(row) = row else {
                return Ok(Some(JoinRefusal::NotExpected {
                    rack: rack.clone(),
                    found,
                }));
            };
            let expected = match row.maybe_text("rack")? {
                Some(name) => {
                    let stands = place(&row, name)?;
                    if rack.has(&stands) {
                        return Ok(None);
                    }
                    stands.to_string()
                }
                None => "no rack that is named".to_owned(),
            };
            Ok(Some(JoinRefusal::OtherRack {
                rack: rack.clone(),
                found,
                expected,
            }))
        }
    }
}

impl Sqlite {
    /// Stores a join token.
    pub async fn create_join(&self, new: &NewJoin) -> Result<JoinToken, Error> {
        let now = self.clock.microseconds();
        let (place, node, serial) = match &new.bound {
            Bound::Any => (None, None, None),
            Bound::Rack(place) => (Some(place), None, None),
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
                (id, name, hash, uses, rack, node, serial, created_at, expires_at, region, site, row)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12) RETURNING *",
        )
        .bind(&new.id)
        .bind(&new.name)
        .bind(&new.hash[..])
        .bind(new.uses)
        .bind(place.map(|place| &place.rack))
        .bind(node)
        .bind(serial)
        .bind(now)
        .bind(new.expires_at)
        .bind(place.and_then(|place| place.region.as_ref()))
        .bind(place.and_then(|place| place.site.as_ref()))
        .bind(place.and_then(|place| place.row.as_ref()))
        .fetch_one(&mut *transaction)
        .await?;
        let created = token(&row)?;
        transaction.commit().await?;
        Ok(created)
    }

    /// Where racks of this name are expected, of those that are in the place.
    pub async fn expected_racks(&self, wanted: &RackPlace) -> Result<Vec<RackPlace>, Error> {
        let rows = sqlx::query(
            "SELECT DISTINCT region, site, row FROM expected WHERE rack = ?1
             ORDER BY region, site, row",
        )
        .bind(&wanted.rack)
        .fetch_all(&self.readers)
        .await?;
        let mut found = Vec::new();
        for row in &rows {
            let stands = place(row, wanted.rack.clone())?;
            if wanted.has(&stands) {
                found.push(stands);
            }
        }
        Ok(found)
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
