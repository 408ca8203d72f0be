//! What operators set of a node.

use cupel_model::Timestamp;
use cupel_model::wire::{Lifecycle, Wanted};
use sqlx::{QueryBuilder, SqliteConnection};

use super::Sqlite;
use super::apply::{Head, judge_quietly, tell_node, wishes, write_history};
use super::place;
use super::row::{Columns as _, to_json, to_word};
use crate::record::{DeliveryReason, Happened, NodePatch};
use crate::store::{Error, Patched};

impl Sqlite {
    /// Sets what the patch names, if the node has this revision. `by`: name of the token.
    pub async fn patch_node(
        &self,
        id: &str,
        patch: &NodePatch,
        revision: Option<i64>,
        by: &str,
    ) -> Result<Patched, Error> {
        let now = self.clock.microseconds();
        let mut transaction = self.begin().await?;
        let c = &mut *transaction;
        let Some(mut head) = Head::load(c, id).await? else {
            return Ok(Patched::NoNode);
        };
        let before =
            sqlx::query("SELECT revision, baseline, wanted_json FROM nodes WHERE key = ?1")
                .bind(head.key)
                .fetch_one(&mut *c)
                .await?;
        let stored = before.int("revision")?;
        if revision.is_some_and(|revision| revision != stored) {
            return Ok(Patched::OtherRevision(stored));
        }
        let lifecycle = patch.lifecycle.unwrap_or(head.lifecycle);
        let baseline = match &patch.baseline {
            Some(baseline) => baseline.clone(),
            None => before.maybe_text("baseline")?,
        };
        let upgrade = match &patch.upgrade {
            Some(upgrade) => upgrade.clone(),
            None => before.json::<Wanted>("wanted_json", "wishes")?.upgrade,
        };
        let wanted = wishes(lifecycle, baseline, upgrade)?;
        set(c, head.key, patch, &to_json(&wanted)?, &wanted.etag).await?;
        deliver(c, &head, patch, lifecycle, now).await?;
        let given = match serde_json::to_value(patch) {
            Ok(serde_json::Value::Object(given)) => given,
            Ok(_) | Err(_) => serde_json::Map::new(),
        };
        let happened = Happened::Record {
            by: by.to_owned(),
            set: given,
        };
        write_history(c, head.key, now, &happened).await?;
        place::refresh(c, head.key).await?;
        head.lifecycle = lifecycle;
        if let Some(until) = patch.silence_until {
            head.silence_until = until.map(Timestamp::microseconds);
        }
        judge_quietly(c, &mut head, now, "an operator's setting").await?;
        tell_node(c, &head, "record", now).await?;
        transaction.commit().await?;
        self.tell().await?;
        Ok(Patched::Done(stored + 1))
    }
}

async fn set(
    c: &mut SqliteConnection,
    key: i64,
    patch: &NodePatch,
    wanted_json: &str,
    wanted_etag: &str,
) -> Result<(), Error> {
    let mut query = QueryBuilder::<sqlx::Sqlite>::new("UPDATE nodes SET revision = revision + 1");
    query.push(", wanted_json = ");
    query.push_bind(wanted_json.to_owned());
    query.push(", wanted_etag = ");
    query.push_bind(wanted_etag.to_owned());
    if let Some(lifecycle) = patch.lifecycle {
        query.push(", lifecycle = ");
        query.push_bind(to_word(lifecycle));
    }
    let texts = [
        ("baseline", &patch.baseline),
        ("account", &patch.account),
        ("project", &patch.project),
        ("instance", &patch.instance),
        ("set_region", &patch.region),
        ("set_site", &patch.site),
        ("set_row", &patch.row),
        ("set_rack", &patch.rack),
        ("set_nvlink_domain", &patch.nvlink_domain),
    ];
    for (column, value) in texts {
        if let Some(value) = value {
            query.push(", ").push(column).push(" = ");
            query.push_bind(value.clone());
        }
    }
    let path = match &patch.switch_path {
        Some(path) => Some(path.as_ref().map(to_json).transpose()?),
        None => None,
    };
    if let Some(path) = path {
        query.push(", set_switch_path_json = ");
        query.push_bind(path);
    }
    let time = |time: Option<Timestamp>| time.map(Timestamp::microseconds);
    let numbers = [
        ("silence_until", patch.silence_until.map(time)),
        ("handover_at", patch.handover_at.map(time)),
        ("in_use", patch.in_use.map(|flag| flag.map(i64::from))),
        ("set_unit", patch.unit.map(|unit| unit.map(i64::from))),
        (
            "set_height_units",
            patch.height_units.map(|units| units.map(i64::from)),
        ),
    ];
    for (column, value) in numbers {
        if let Some(value) = value {
            query.push(", ").push(column).push(" = ");
            query.push_bind(value);
        }
    }
    query.push(" WHERE key = ");
    query.push_bind(key);
    query.build().execute(&mut *c).await?;
    Ok(())
}

/// Writes a delivery when the node is handed over, for the first time or after a repair.
async fn deliver(
    c: &mut SqliteConnection,
    head: &Head,
    patch: &NodePatch,
    lifecycle: Lifecycle,
    now: i64,
) -> Result<(), Error> {
    let handed = match patch.handover_at {
        Some(at) => at.map(Timestamp::microseconds),
        None => head.handover_at,
    };
    let anew = handed.is_some() && handed != head.handover_at;
    let was_out = matches!(
        head.lifecycle,
        Lifecycle::Maintenance | Lifecycle::Quarantined
    );
    let is_back = was_out && lifecycle == Lifecycle::InService;
    let Some(handover_at) = handed.filter(|_| anew || is_back) else {
        return Ok(());
    };
    let earlier = sqlx::query("SELECT 1 FROM deliveries WHERE node_key = ?1")
        .bind(head.key)
        .fetch_optional(&mut *c)
        .await?;
    let reason = if earlier.is_some() {
        DeliveryReason::RmaReturn
    } else {
        DeliveryReason::Fulfilment
    };
    sqlx::query(
        "INSERT INTO deliveries (node_key, reason, handover_at, recorded_at)
         VALUES (?1, ?2, ?3, ?4)",
    )
    .bind(head.key)
    .bind(to_word(reason))
    .bind(handover_at)
    .bind(now)
    .execute(&mut *c)
    .await?;
    Ok(())
}
