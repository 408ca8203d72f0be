//! Finds nodes that are silent, those whose silence is expected from now on, and those of which two
//! reported and one is left.
//!
//! # Invariants
//! - Only nodes whose standing changes are written.
//! - A node that reports while it is looked at is looked at again in the transaction that writes.

use super::Sqlite;
use super::apply::{Head, judge, tell_node};
use crate::derive;
use crate::store::{Error, Swept};

/// Nodes written in one transaction.
const AT_ONCE: usize = 200;

impl Sqlite {
    /// Judges the silence of all nodes. `listening_since`: when the server began to listen; before
    /// that, silence is the server's own.
    pub async fn sweep(&self, now: i64, listening_since: i64) -> Result<Swept, Error> {
        let ids = self.due(now, listening_since).await?;
        let mut swept = Swept::default();
        for ids in ids.chunks(AT_ONCE) {
            let mut transaction = self.begin().await?;
            for id in ids {
                let Some(mut head) = Head::load(&mut transaction, id).await? else {
                    continue;
                };
                let why = Some("the node is silent");
                let judged = judge(&mut transaction, &mut head, now, listening_since, why).await?;
                swept.raised += u32::from(judged.raised);
                swept.escalated += u32::from(judged.escalated);
                swept.closed += u32::from(judged.closed);
                if judged.verdict || judged.state {
                    swept.changed += 1;
                    let what = if judged.verdict { "verdict" } else { "state" };
                    tell_node(&mut transaction, &head, what, now).await?;
                }
            }
            transaction.commit().await?;
            self.tell().await?;
        }
        swept.closed += self.end_shared(now, listening_since).await?;
        Ok(swept)
    }

    /// Ids of the nodes whose presence or state is another now.
    async fn due(&self, now: i64, listening_since: i64) -> Result<Vec<String>, Error> {
        let shortest = derive::SHORTEST_LATE;
        let mut sql = super::apply::HEAD.to_owned();
        sql.push_str(
            " WHERE n.presence != 0 OR n.stopping_at IS NOT NULL
              OR max(l.received_at, ?1) + max(3 * l.next_within, ?2) <= ?3",
        );
        let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(listening_since)
            .bind(shortest)
            .bind(now)
            .fetch_all(&self.readers)
            .await?;
        let mut due = Vec::new();
        for row in &rows {
            let head = Head::from_row(row)?;
            let presence = head.silence().presence(now, listening_since);
            let verdict = head.verdict_when(presence);
            let stopping_for = head.stopping_at.map(|at| now.saturating_sub(at));
            let state = derive::state(
                head.lifecycle,
                presence,
                verdict,
                head.blocking > 0,
                stopping_for,
            );
            if presence != head.presence || verdict != head.verdict || state != head.state {
                due.push(head.id);
            }
        }
        Ok(due)
    }
}
