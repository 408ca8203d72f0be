//! Identities of nodes.
//!
//! # Invariants
//! - What a join token may is looked at in the transaction that uses it; nothing is signed before.
//! - A node that is known here is taken over by a machine that tells other hardware only with a
//!   token that is for that node.
//! - Of a node's identities one key is active: enrolling with another supersedes it in the same
//!   transaction.
//! - A key is one node's, and does not come back after it was revoked.

use cupel_model::enrolment::HardwareIdentity;
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;

use super::apply::{BOARD, ELSEWHERE, Head, settle_identity, tell_node, write_history};
use super::row::{Columns as _, to_word};
use super::{Sqlite, joins};
use crate::authority::Issued;
use crate::name;
use crate::record::{Happened, IdentityState, IdentityStep};
use crate::store::{
    Asked, Bound, Enrolled, Error, Identity, JoinRefusal, RenewalRefusal, Renewed, Sign,
};

/// An identity from its row, at this time.
pub fn identity(row: &SqliteRow, now: i64) -> Result<Identity, Error> {
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

/// Which serial number the node is known with here that the machine does not tell, if there is one.
/// What it leaves out counts as another: else whoever tells nothing would be any node.
async fn other_hardware(
    c: &mut SqliteConnection,
    asked: &Asked,
) -> Result<Option<JoinRefusal>, Error> {
    let rows = sqlx::query(
        "SELECT serial, chassis_serial, board_serial FROM (
            SELECT * FROM identities WHERE node = ?1 AND state = 'active'
            ORDER BY key DESC LIMIT 1)
         UNION ALL
         SELECT serial, chassis_serial, board_serial FROM nodes WHERE id = ?1",
    )
    .bind(&asked.node)
    .fetch_all(&mut *c)
    .await?;
    let told = &asked.hardware;
    for row in &rows {
        for (column, what, told) in [
            ("board_serial", "main board", &told.board_serial),
            ("chassis_serial", "chassis", &told.chassis_serial),
            ("serial", "system serial number", &told.serial),
        ] {
            let known = row.maybe_text(column)?;
            if let Some(known) = known.as_deref().and_then(name::serial)
                && told.as_deref() != Some(known)
            {
                return Ok(Some(JoinRefusal::OtherHardware {
                    node: asked.node.clone(),
                    what,
                    known: known.to_owned(),
                    told: told.clone(),
                }));
            }
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

/// Writes into the node's history what became of its identity, and closes what that settles, if the
/// node has reported yet.
pub async fn remember(
    c: &mut SqliteConnection,
    node: &str,
    step: IdentityStep,
    why: &str,
    settles: &[&str],
    now: i64,
) -> Result<(), Error> {
    let Some(mut head) = Head::load(c, node).await? else {
        return Ok(());
    };
    let happened = Happened::Identity {
        step,
        why: why.to_owned(),
    };
    write_history(c, head.key, now, &happened).await?;
    settle_identity(c, &mut head, settles, why, now).await?;
    tell_node(c, &head, "identity", now).await
}

/// Serial number of the main board that was enrolled, or that a person accepted.
pub async fn board(c: &mut SqliteConnection, node: &str) -> Result<Option<String>, Error> {
    let row = sqlx::query(
        "SELECT board_serial FROM identities WHERE node = ?1 AND state = 'active'
         ORDER BY key DESC LIMIT 1",
    )
    .bind(node)
    .fetch_optional(&mut *c)
    .await?;
    match row {
        Some(row) => row.maybe_text("board_serial"),
        None => Ok(None),
    }
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
    /// Gives a node an identity, if the join token lets it. `sign` makes its certificate, once it is
    /// certain that it may have one.
    pub async fn enrol(
        &self,
        asked: &Asked,
        sign: &Sign<'_>,
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
        if let Some(why) = joins::foreign(c, &token, asked).await? {
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
        let bound_to_it = match &token.bound {
            Bound::Node(_) => true,
            Bound::Any | Bound::Rack(_) | Bound::Serial(_) => false,
        };
        if !bound_to_it && let Some(why) = other_hardware(c, asked).await? {
            return refused(why);
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
        let made = insert(c, asked, &sign()?, token.key, now, now).await?;
        let why = enrolled(&token.name, superseded > 0);
        let settles = [BOARD, ELSEWHERE];
        remember(c, &asked.node, IdentityStep::Enrolled, &why, &settles, now).await?;
        transaction.commit().await?;
        self.tell().await?;
        Ok(Enrolled::Done(Box::new(made)))
    }

    /// The identity with this certificate, by its SHA-256.
    pub async fn identity(&self, fingerprint: &[u8; 32]) -> Result<Option<Identity>, Error> {
        let row = sqlx::query("SELECT * FROM identities WHERE fingerprint = ?1")
            .bind(&fingerprint[..])
            .fetch_optional(&self.readers)
            .await?;
        let now = self.clock.microseconds();
        row.map(|row| identity(&row, now)).transpose()
    }

    /// Gives a node its next certificate. `shown`: SHA-256 of the one that it has; `sign` makes the
    /// next one, once it is certain that it may have one. The one that it has stays good for its
    /// time: an answer may be lost.
    pub async fn renew(
        &self,
        asked: &Asked,
        sign: &Sign<'_>,
        shown: &[u8; 32],
    ) -> Result<Renewed, Error> {
        let now = self.clock.microseconds();
        let mut transaction = self.begin().await?;
        let c = &mut *transaction;
        let refused = |why| Ok(Renewed::Refused(why));
        let row = sqlx::query("SELECT * FROM identities WHERE fingerprint = ?1")
            .bind(&shown[..])
            .fetch_optional(&mut *c)
            .await?;
        let Some(row) = row else {
            return refused(RenewalRefusal::Ended(asked.node.clone()));
        };
        let has = identity(&row, now)?;
        if has.node != asked.node {
            return refused(RenewalRefusal::OtherNode(has.node));
        }
        if has.state != IdentityState::Active {
            return refused(RenewalRefusal::Ended(has.node));
        }
        if has.key_digest != asked.key_digest {
            return refused(RenewalRefusal::OtherKey);
        }
        let enrolled = board(c, &asked.node).await?;
        if let (Some(enrolled), Some(found)) = (&enrolled, &asked.hardware.board_serial)
            && enrolled != found
        {
            return refused(RenewalRefusal::OtherBoard {
                node: has.node,
                enrolled: enrolled.clone(),
                found: found.clone(),
            });
        }
        if let Some((_, newest)) = newest(c, asked, now).await?
            && newest.renew_after.microseconds() > now
        {
            return Ok(Renewed::Done(Box::new(newest)));
        }
        let mut asked = asked.clone();
        // What the firmware does not tell this time was told at the enrolment.
        let hardware = &mut asked.hardware;
        hardware.board_serial = hardware.board_serial.take().or(enrolled);
        hardware.serial = hardware.serial.take().or(has.hardware.serial);
        hardware.chassis_serial = hardware
            .chassis_serial
            .take()
            .or(has.hardware.chassis_serial);
        let (join_key, enrolled_at) = (row.int("join_key")?, row.int("enrolled_at")?);
        let made = insert(c, &asked, &sign()?, join_key, enrolled_at, now).await?;
        transaction.commit().await?;
        Ok(Renewed::Done(Box::new(made)))
    }
}
