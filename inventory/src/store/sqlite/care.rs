//! What people do about identities: they look, revoke and accept; and what reports show of them.

use cupel_model::Timestamp;

use super::Sqlite;
use super::apply::{CODES, ELSEWHERE, Elsewhere, Head, How, SHARED, shown_elsewhere, tell_node};
use super::identities::{identity, remember};
use super::row::Columns as _;
use crate::clock::SECOND;
use crate::record::{IdentityState, IdentityStep, NodeIdentity};
use crate::store::{Accepted, Error, Identity, ListedIdentity};

/// After how long without the other boot two machines are one again.
const ALONE: i64 = 3600 * SECOND;

/// For how long after an enrolment the identity before it may be shown: the service goes by the new
/// one when it was told of it.
const CHANGING: i64 = 300 * SECOND;

/// Within what time the same machine with the same identity is not noted again.
const NOTED: i64 = 60 * SECOND;

impl Identity {
    /// As the API shows it.
    pub fn shown(&self) -> NodeIdentity {
        NodeIdentity {
            state: self.state,
            key_protection: self.key_protection,
            issued_at: self.issued_at,
            not_after: self.not_after,
            board_serial: self.hardware.board_serial.clone(),
        }
    }
}

impl Sqlite {
    /// The newest identity of each node, by node; of those that came by the join token with this name
    /// or public half, or of all.
    pub async fn identities(&self, join: Option<&str>) -> Result<Vec<ListedIdentity>, Error> {
        let rows = sqlx::query(
            "SELECT i.*, j.name AS join_name FROM identities i
             JOIN join_tokens j ON j.key = i.join_key
             WHERE i.key IN (SELECT max(key) FROM identities GROUP BY node)
                AND (?1 IS NULL OR j.name = ?1 OR j.id = ?1)
             ORDER BY i.node",
        )
        .bind(join)
        .fetch_all(&self.readers)
        .await?;
        let now = self.clock.microseconds();
        let listed = rows.iter().map(|row| {
            Ok(ListedIdentity {
                identity: identity(row, now)?,
                join: row.text("join_name")?,
            })
        });
        listed.collect()
    }

    /// Nodes by what their identity is worth, and when the first of the active ones ends.
    pub(super) async fn identity_figures(
        &self,
    ) -> Result<(Vec<(IdentityState, u64)>, Option<Timestamp>), Error> {
        let rows = sqlx::query(
            "SELECT iif(state = 'active' AND not_after <= ?1, 'expired', state) AS worth,
                count(*) AS nodes, min(not_after) AS first
             FROM identities WHERE key IN (SELECT max(key) FROM identities GROUP BY node)
             GROUP BY worth",
        )
        .bind(self.clock.microseconds())
        .fetch_all(&self.readers)
        .await?;
        let mut all = Vec::new();
        let mut first = None;
        for row in &rows {
            let state = row.word("worth", "a state of an identity")?;
            if state == IdentityState::Active {
                first = Some(row.time("first")?);
            }
            all.push((state, row.count("nodes")?));
        }
        Ok((all, first))
    }

    /// The newest identity of a node.
    pub(super) async fn identity_of(&self, node: &str) -> Result<Option<Identity>, Error> {
        let row = sqlx::query("SELECT * FROM identities WHERE node = ?1 ORDER BY key DESC LIMIT 1")
            .bind(node)
            .fetch_optional(&self.readers)
            .await?;
        let now = self.clock.microseconds();
        row.map(|row| identity(&row, now)).transpose()
    }

    /// Takes the identity of a node away. `false`: it has none that is active.
    pub async fn revoke_identity(&self, node: &str) -> Result<bool, Error> {
        let now = self.clock.microseconds();
        let mut transaction = self.begin().await?;
        let c = &mut *transaction;
        let done = sqlx::query(
            "UPDATE identities SET state = 'revoked', ended_at = ?2
             WHERE node = ?1 AND state = 'active'",
        )
        .bind(node)
        .bind(now)
        .execute(&mut *c)
        .await?;
        if done.rows_affected() == 0 {
            return Ok(false);
        }
        let why = "its identity was revoked";
        let settles = [super::apply::BOARD, ELSEWHERE];
        remember(c, node, IdentityStep::Revoked, why, &settles, now).await?;
        transaction.commit().await?;
        self.tell().await?;
        Ok(true)
    }

    /// Takes a node's machine for the right one, as it is: the main board that it tells counts as
    /// enrolled from now on, and what was found about its identity is closed.
    pub async fn accept_identity(&self, node: &str) -> Result<Accepted, Error> {
        let now = self.clock.microseconds();
        let mut transaction = self.begin().await?;
        let c = &mut *transaction;
        let row = sqlx::query("SELECT board_serial FROM nodes WHERE id = ?1")
            .bind(node)
            .fetch_optional(&mut *c)
            .await?;
        let Some(row) = row else {
            return Ok(Accepted::NoNode);
        };
        let board = row.maybe_text("board_serial")?;
        let changed = sqlx::query(
            "UPDATE identities SET board_serial = ?2
             WHERE node = ?1 AND state = 'active' AND board_serial IS NOT ?2 AND ?2 IS NOT NULL",
        )
        .bind(node)
        .bind(&board)
        .execute(&mut *c)
        .await?
        .rows_affected();
        let open = sqlx::query(
            "SELECT count(*) AS open FROM findings f JOIN nodes n ON n.key = f.node_key
             WHERE n.id = ?1 AND f.source = 1 AND f.closed_at IS NULL AND f.code IN (?2, ?3, ?4)",
        )
        .bind(node)
        .bind(CODES[0])
        .bind(CODES[1])
        .bind(CODES[2])
        .fetch_one(&mut *c)
        .await?
        .int("open")?;
        if changed == 0 && open == 0 {
            return Ok(Accepted::Nothing);
        }
        let why = "a person accepted the machine as it is";
        remember(c, node, IdentityStep::Accepted, why, &CODES, now).await?;
        transaction.commit().await?;
        self.tell().await?;
        Ok(Accepted::Done(board.filter(|_| changed > 0)))
    }

    /// Notes that the identity of `node` was shown by a machine that calls itself another one. A
    /// node that has never reported has no history to write into.
    pub async fn elsewhere(
        &self,
        node: &str,
        by: &str,
        address: Option<&str>,
    ) -> Result<(), Error> {
        let how = How::OtherName(by);
        self.note(node, Elsewhere { how, address }).await
    }

    /// Notes that a certificate was shown that was superseded by another key, unless that was a moment
    /// ago: an older copy of the identity is in use.
    pub async fn older_copy(
        &self,
        fingerprint: &[u8; 32],
        address: Option<&str>,
    ) -> Result<(), Error> {
        let row = sqlx::query(
            "SELECT i.node, i.ended_at FROM identities i
             WHERE i.fingerprint = ?1 AND i.state = 'superseded' AND i.ended_at <= ?2
                AND NOT EXISTS (SELECT 1 FROM identities a WHERE a.node = i.node
                    AND a.state = 'active' AND a.key_digest = i.key_digest)",
        )
        .bind(&fingerprint[..])
        .bind(self.clock.microseconds().saturating_sub(CHANGING))
        .fetch_optional(&self.readers)
        .await?;
        let Some(row) = row else {
            return Ok(());
        };
        let how = How::OlderCopy(&row.time("ended_at")?.to_string());
        self.note(&row.text("node")?, Elsewhere { how, address })
            .await
    }

    /// Notes that the identity of this node was shown where it should not be.
    async fn note(&self, node: &str, shown: Elsewhere<'_>) -> Result<(), Error> {
        let now = self.clock.microseconds();
        let noted = sqlx::query(
            "SELECT f.tracked_json FROM findings f JOIN nodes n ON n.key = f.node_key
             WHERE n.id = ?1 AND f.code = ?2 AND f.source = 1 AND f.closed_at IS NULL
                AND f.updated_at > ?3",
        )
        .bind(node)
        .bind(ELSEWHERE)
        .bind(now.saturating_sub(NOTED))
        .fetch_optional(&self.readers)
        .await?;
        if let Some(row) = noted {
            let told = row.text("tracked_json")?;
            let Elsewhere { how, address } = shown;
            if told.contains(how.mark()) && address.is_none_or(|at| told.contains(at)) {
                return Ok(());
            }
        }
        let mut transaction = self.begin().await?;
        let c = &mut *transaction;
        let Some(mut head) = Head::load(c, node).await? else {
            return Ok(());
        };
        if shown_elsewhere(c, &mut head, shown, now).await? {
            tell_node(c, &head, "identity", now).await?;
        }
        transaction.commit().await?;
        self.tell().await
    }

    /// Closes `node.identity-shared` where one boot alone was heard for an hour in which the server
    /// listened. Gives how many.
    pub(super) async fn end_shared(&self, now: i64, listening_since: i64) -> Result<u32, Error> {
        if listening_since > now.saturating_sub(ALONE) {
            return Ok(0);
        }
        let rows = sqlx::query(
            "SELECT n.id FROM findings f JOIN nodes n ON n.key = f.node_key
             WHERE f.code = ?1 AND f.source = 1 AND f.closed_at IS NULL AND f.updated_at <= ?2",
        )
        .bind(SHARED)
        .bind(now.saturating_sub(ALONE))
        .fetch_all(&self.readers)
        .await?;
        let mut ended = 0;
        for row in &rows {
            let mut transaction = self.begin().await?;
            let c = &mut *transaction;
            if let Some(mut head) = Head::load(c, &row.text("id")?).await? {
                let why = "one machine alone reported for an hour";
                let codes = [SHARED];
                super::apply::settle_identity(c, &mut head, &codes, why, now).await?;
                ended += 1;
            }
            transaction.commit().await?;
            self.tell().await?;
        }
        Ok(ended)
    }
}
