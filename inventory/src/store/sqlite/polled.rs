//! What operators and schedulers poll: deliveries, maintenance, topology.

use cupel_model::RemedyAction;
use cupel_model::wire::Tracked;
use sqlx::QueryBuilder;
use sqlx::sqlite::{Sqlite as Db, SqliteRow};

use super::Sqlite;
use super::row::Columns as _;
use crate::record::{Cursor, Delivery, MaintenanceEvent, Page, Topology, TopologyEntry, ticket};
use crate::store::{Error, MaintenanceFilter, Want};

fn delivery(row: &SqliteRow) -> Result<(i64, Delivery), Error> {
    let key = row.int("key")?;
    let delivery = Delivery {
        id: format!("D{key}"),
        node: row.text("node")?,
        reason: row.word("reason", "a reason of a delivery")?,
        handover_at: row.time("handover_at")?,
        recorded_at: row.time("recorded_at")?,
        region: row.maybe_text("region")?,
        account: row.maybe_text("account")?,
        gpus: row.maybe_small("gpu_count")?,
    };
    Ok((key, delivery))
}

fn maintenance(row: &SqliteRow) -> Result<(i64, i64, MaintenanceEvent), Error> {
    let key = row.int("key")?;
    let tracked: Tracked = row.json("tracked_json", "a finding")?;
    let finding = tracked.finding;
    let node = row.text("node")?;
    let action = finding
        .remedy
        .iter()
        .map(|step| step.action)
        .find(|action| *action != RemedyAction::None);
    let updated_at = row.int("updated_at")?;
    let event = MaintenanceEvent {
        ticket_id: ticket(key),
        opened_at: row.time("since")?,
        updated_at: row.time("updated_at")?,
        closed_at: row.maybe_time("closed_at")?,
        hardware_id: finding
            .component
            .serial
            .clone()
            .unwrap_or_else(|| node.clone()),
        node,
        hardware_category: finding.component.kind,
        fault_code: finding.code,
        fault_description: finding.summary,
        action_category: action.unwrap_or(RemedyAction::None),
        account: row.maybe_text("account")?,
        handover_at: row.maybe_time("handover_at")?,
    };
    Ok((updated_at, key, event))
}

impl Sqlite {
    /// A page of deliveries, oldest first.
    pub async fn deliveries(&self, want: Want) -> Result<Page<Delivery>, Error> {
        let rows = sqlx::query(
            "SELECT d.key, n.id AS node, d.reason, d.handover_at, d.recorded_at, n.region,
                n.account, n.gpu_count
             FROM deliveries d JOIN nodes n ON n.key = d.node_key
             WHERE d.key > ?1 ORDER BY d.key LIMIT ?2",
        )
        .bind(want.after.map_or(i64::MIN, |after| after.then))
        .bind(i64::from(want.limit) + 1)
        .fetch_all(&self.readers)
        .await?;
        let items = rows.iter().map(delivery).collect::<Result<Vec<_>, _>>()?;
        let page = Page::cut(items, want.limit, |(key, _)| Cursor {
            first: 0,
            then: *key,
        });
        Ok(page.map(|(_, delivery)| delivery))
    }

    /// A page of maintenance events, newest first.
    pub async fn maintenance(
        &self,
        filter: &MaintenanceFilter,
        want: Want,
    ) -> Result<Page<MaintenanceEvent>, Error> {
        let mut query = QueryBuilder::<Db>::new(
            "SELECT f.key, n.id AS node, f.since, f.updated_at, f.closed_at, f.account,
                f.handover_at, f.tracked_json
             FROM findings f JOIN nodes n ON n.key = f.node_key
             WHERE f.enforced AND f.severity >= 1",
        );
        match filter.open {
            Some(true) => {
                query.push(" AND f.closed_at IS NULL");
            }
            Some(false) => {
                query.push(" AND f.closed_at IS NOT NULL");
            }
            None => {}
        }
        if let Some(node) = &filter.node {
            query.push(" AND f.node_key = (SELECT key FROM nodes WHERE id = ");
            query.push_bind(node.clone()).push(")");
        }
        if let Some(account) = &filter.account {
            query.push(" AND f.account = ");
            query.push_bind(account.clone());
        }
        if let Some(since) = filter.updated_since {
            query.push(" AND f.updated_at >= ");
            query.push_bind(since.microseconds());
        }
        if let Some(after) = want.after {
            query.push(" AND f.key < ");
            query.push_bind(after.then);
        }
        query.push(" ORDER BY f.key DESC LIMIT ");
        query.push_bind(i64::from(want.limit) + 1);
        let rows = query.build().fetch_all(&self.readers).await?;
        let items = rows
            .iter()
            .map(maintenance)
            .collect::<Result<Vec<_>, _>>()?;
        let page = Page::cut(items, want.limit, |(_, key, _)| Cursor {
            first: 0,
            then: *key,
        });
        Ok(page.map(|(_, _, event)| event))
    }

    /// A page of the topology: nodes that have an instance and switches, and are not retired.
    pub async fn topology(&self, limit: u32, offset: u64) -> Result<Topology, Error> {
        let rows = sqlx::query(
            "SELECT instance, switch_path_json, nvlink_domain FROM nodes
             WHERE instance IS NOT NULL AND switch_path_json IS NOT NULL AND lifecycle != 'retired'
             ORDER BY key LIMIT ?1 OFFSET ?2",
        )
        .bind(i64::from(limit))
        .bind(super::row::counted(offset))
        .fetch_all(&self.readers)
        .await?;
        let results = rows
            .iter()
            .map(|row| {
                let mut path: Vec<String> = row.json("switch_path_json", "a switch path")?;
                // Kept from the node upwards, told from the core downwards.
                path.reverse();
                Ok(TopologyEntry {
                    instance_id: row.text("instance")?,
                    network_node_path: path,
                    block_id: row.maybe_text("nvlink_domain")?,
                })
            })
            .collect::<Result<Vec<_>, Error>>()?;
        Ok(Topology { results })
    }
}
