//! Identities of nodes.
//!
//! # Invariants
//! - What a join token may is looked at in the transaction that uses it.
//! - Of a node's identities one key is active: enrolling with another supersedes it in the same
//!   transaction.
//! - A key is one node's, and does not come back after it was revoked.

use cupel_model::enrolment::HardwareIdentity;
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;

use super::apply::{Head, tell_node, write_history};
use super::row::{Columns as _, to_word};
use super::{Sqlite, joins};
use crate::authority::Issued;
use crate::record::{Happened, IdentityState, IdentityStep};
use crate::store::{Asked, Bound, Enrolled, Error, Identity, JoinRefusal, JoinToken};

/// An identity from its row, at this time.
fn identity(row: &SqliteRow, now: i64) -> Result<Identity, Error> {
    let stored: IdentityState = row.word("state", "a state of an identity")?;
    let over = row.int("not_after")? <= now;
    let state = if over && stored == IdentityState::Active {
        IdentityState::Expired
    } else {
        stored
    };
    Ok(Identity {
        node: row.text("node")?,
        key_digest: row.bytes("key_digest")?,
        certificate: row.text("certificate")?,
        hardware: HardwareIdentity {
            serial: row.maybe_text("serial")?,
            chassis_serial: row.maybe_text("chassis_serial")?,
            board_serial: row.maybe_text("board_serial")?,
        },
        key_protection: row.word("key_protection", "a protection of a key")?,
        state,
        issued_at: row.time("issued_at")?,
        not_before: row.time("not_before")?,
        not_after: row.time("not_after")?,
        renew_after: row.time("renew_after")?,
    })
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
async fn foreign(
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
            let place = row.maybe_text("rack")?;
            if place.as_ref() == Some(rack) {
                return Ok(None);
            }
            let parts = ["region", "site", "row"].map(|column| row.maybe_text(column));
            let mut expected = match place {
                Some(place) => format!("rack {place}"),
                None => "no rack that is named".to_owned(),
            };
            for part in parts {
                if let Some(part) = part? {
                    expected = format!("{part}, {expected}");
                }
            }
            Ok(Some(JoinRefusal::OtherRack {
                rack: rack.clone(),
                found,
                expected,
            }))
        }
    }
}

/// Why the key is not taken, if it is not.
async fn spoiled(c: &mut SqliteConnection, asked: &Asked) -> Result<Option<JoinRefusal>, Error> {
    let rows = sqlx::query("SELECT DISTINCT node, state FROM identities WHERE key_digest = ?1")
        .bind(&asked.key_digest[..])
        .fetch_all(&mut *c)
        .await?;
    for row in &rows {
        let node = row.text("node")?;
        if node != asked.node {
            return Ok(Some(JoinRefusal::KeyOf(node)));
        }
        let state: IdentityState = row.word("state", "a state of an identity")?;
        if state == IdentityState::Revoked {
            return Ok(Some(JoinRefusal::RevokedKey));
        }
    }
    Ok(None)
}

/// The newest certificate of this node and key that is active.
async fn newest(
    c: &mut SqliteConnection,
    asked: &Asked,
    now: i64,
) -> Result<Option<(i64, Identity)>, Error> {
    let row = sqlx::query(
        "SELECT * FROM identities WHERE node = ?1 AND key_digest = ?2 AND state = 'active'
            AND not_after > ?3
         ORDER BY key DESC LIMIT 1",
    )
    .bind(&asked.node)
    .bind(&asked.key_digest[..])
    .bind(now)
    .fetch_optional(&mut *c)
    .await?;
    row.map(|row| Ok((row.int("join_key")?, identity(&row, now)?)))
        .transpose()
}

async fn insert(
    c: &mut SqliteConnection,
    asked: &Asked,
    issued: &Issued,
    join_key: i64,
    enrolled_at: i64,
    now: i64,
) -> Result<Identity, Error> {
    let row = sqlx::query(
        "INSERT INTO identities (node, fingerprint, key_digest, certificate, serial,
            chassis_serial, board_serial, key_protection, state, join_key, enrolled_at, issued_at,
            not_before, not_after, renew_after)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 'active', ?9, ?10, ?11, ?12, ?13, ?14)
         RETURNING *",
    )
    .bind(&asked.node)
    .bind(&issued.fingerprint[..])
    .bind(&asked.key_digest[..])
    .bind(&issued.certificate)
    .bind(&asked.hardware.serial)
    .bind(&asked.hardware.chassis_serial)
    .bind(&asked.hardware.board_serial)
    .bind(to_word(asked.key_protection))
    .bind(join_key)
    .bind(enrolled_at)
    .bind(now)
    .bind(issued.not_before)
    .bind(issued.not_after)
    .bind(issued.renew_after)
    .fetch_one(&mut *c)
    .await?;
    identity(&row, now)
}

/// Writes into the node's history what became of its identity, if the node has one yet.
async fn remember(
    c: &mut SqliteConnection,
    node: &str,
    step: IdentityStep,
    why: String,
    now: i64,
) -> Result<(), Error> {
    let Some(head) = Head::load(c, node).await? else {
        return Ok(());
    };
    write_history(c, head.key, now, &Happened::Identity { step, why }).await?;
    tell_node(c, &head, "identity", now).await
}

/// Writes into the history of a node that reports for the first time how it was enrolled.
pub async fn recall(c: &mut SqliteConnection, node: &str, node_key: i64) -> Result<(), Error> {
    let rows = sqlx::query(
        "SELECT min(i.enrolled_at) AS enrolled_at, j.name FROM identities i
         JOIN join_tokens j ON j.key = i.join_key
         WHERE i.node = ?1 GROUP BY i.key_digest, i.join_key ORDER BY 1",
    )
    .bind(node)
    .fetch_all(&mut *c)
    .await?;
    for row in &rows {
        let happened = Happened::Identity {
            step: IdentityStep::Enrolled,
            why: enrolled(&row.text("name")?, false),
        };
        write_history(c, node_key, row.int("enrolled_at")?, &happened).await?;
    }
    Ok(())
}

fn enrolled(token: &str, anew: bool) -> String {
    if anew {
        format!("enrolled anew by join token {token}; the identity before is superseded")
    } else {
        format!("enrolled by join token {token}")
    }
}

impl Sqlite {
    /// Gives a node an identity, if the join token lets it. `issued` is its certificate, of which
    /// nobody knows until this is done.
    pub async fn enrol(
        &self,
        asked: &Asked,
        issued: &Issued,
        join_key: i64,
    ) -> Result<Enrolled, Error> {
        let now = self.clock.microseconds();
        let mut transaction = self.begin().await?;
        let c = &mut *transaction;
        let refused = |why| Ok(Enrolled::Refused(why));
        let Some(token) = joins::by_key(c, join_key).await? else {
            return refused(JoinRefusal::Unknown);
        };
        if token.revoked_at.is_some() {
            return refused(JoinRefusal::Revoked);
        }
        if token.expires_at.microseconds() <= now {
            return refused(JoinRefusal::Expired(token.expires_at));
        }
        if let Some(why) = foreign(c, &token, asked).await? {
            return refused(why);
        }
        if let Some(why) = spoiled(c, asked).await? {
            return refused(why);
        }
        if let Some((by, known)) = newest(c, asked, now).await?
            && by == token.key
        {
            return Ok(Enrolled::Again(Box::new(known)));
        }
        if token.used >= token.uses {
            let nodes = if token.uses == 1 { "node" } else { "nodes" };
            return refused(JoinRefusal::UsedUp(format!("{} {nodes}", token.uses)));
        }
        sqlx::query("UPDATE join_tokens SET used = used + 1 WHERE key = ?1")
            .bind(token.key)
            .execute(&mut *c)
            .await?;
        let superseded = sqlx::query(
            "UPDATE identities SET state = 'superseded', ended_at = ?2
             WHERE node = ?1 AND state = 'active'",
        )
        .bind(&asked.node)
        .bind(now)
        .execute(&mut *c)
        .await?
        .rows_affected();
        let made = insert(c, asked, issued, token.key, now, now).await?;
        let why = enrolled(&token.name, superseded > 0);
        remember(c, &asked.node, IdentityStep::Enrolled, why, now).await?;
        transaction.commit().await?;
        self.tell().await?;
        Ok(Enrolled::Done(Box::new(made)))
    }
}
