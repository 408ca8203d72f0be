//! The fleet in numbers.

use sqlx::sqlite::SqliteRow;

use super::Sqlite;
use super::row::Columns as _;
use crate::record::{By, ByVerdict, Capacity, Group, GroupKey, Numbers, Summary};
use crate::store::Error;

/// Most groups in an answer.
const MOST: i64 = 10_000;

/// Sums over `nodes n`. Delivered: handed over by now, and not retired.
const SUMS: &str = "count(*) AS all_nodes, coalesce(sum(gpu_count), 0) AS all_gpus,
    coalesce(sum(handed), 0) AS delivered_nodes,
    coalesce(sum(handed * gpus), 0) AS delivered_gpus,
    coalesce(sum(handed AND verdict = 0), 0) AS healthy_nodes,
    coalesce(sum((handed AND verdict = 0) * gpus), 0) AS healthy_gpus,
    coalesce(sum(handed AND account IS NOT NULL), 0) AS reserved_nodes,
    coalesce(sum((handed AND account IS NOT NULL) * gpus), 0) AS reserved_gpus,
    coalesce(sum(handed AND coalesce(in_use, 0)), 0) AS in_use_nodes,
    coalesce(sum((handed AND coalesce(in_use, 0)) * gpus), 0) AS in_use_gpus,
    coalesce(sum(verdict = 0), 0) AS healthy, coalesce(sum(verdict = 1), 0) AS degraded,
    coalesce(sum(verdict = 2), 0) AS unknown, coalesce(sum(verdict = 3), 0) AS unhealthy,
    coalesce(sum(presence >= 2), 0) AS silent,
    coalesce(sum(critical), 0) AS critical_findings,
    coalesce(sum(warning), 0) AS warning_findings, max(verdict) AS worst";

/// The nodes that count.
const NODES: &str = "(SELECT *, coalesce(gpu_count, 0) AS gpus,
    (handover_at IS NOT NULL AND handover_at <= ?1) AS handed
    FROM nodes WHERE lifecycle != 'retired') n";

fn numbers(row: &SqliteRow) -> Result<Numbers, Error> {
    let capacity = |nodes, gpus| {
        Ok::<_, Error>(Capacity {
            nodes: row.count(nodes)?,
            gpus: row.count(gpus)?,
        })
    };
    Ok(Numbers {
        all: capacity("all_nodes", "all_gpus")?,
        delivered: capacity("delivered_nodes", "delivered_gpus")?,
        healthy: capacity("healthy_nodes", "healthy_gpus")?,
        reserved: capacity("reserved_nodes", "reserved_gpus")?,
        in_use: capacity("in_use_nodes", "in_use_gpus")?,
        verdicts: ByVerdict {
            healthy: row.count("healthy")?,
            degraded: row.count("degraded")?,
            unknown: row.count("unknown")?,
            unhealthy: row.count("unhealthy")?,
        },
        silent: row.count("silent")?,
        critical_findings: row.count("critical_findings")?,
        warning_findings: row.count("warning_findings")?,
        worst: row.maybe_verdict("worst")?,
    })
}

/// Columns that name a group: region, site, row, rack, name.
fn columns(by: By) -> [&'static str; 5] {
    const NONE: &str = "NULL";
    match by {
        By::Region => ["region", NONE, NONE, NONE, NONE],
        By::Site => ["region", "site", NONE, NONE, NONE],
        By::Row => ["region", "site", "row", NONE, NONE],
        By::Rack => ["region", "site", "row", "rack", NONE],
        By::NvlinkDomain => [NONE, NONE, NONE, NONE, "nvlink_domain"],
        By::Switch => [NONE, NONE, NONE, NONE, "switch.value"],
        By::Account => [NONE, NONE, NONE, NONE, "account"],
        By::Platform => [NONE, NONE, NONE, NONE, "platform"],
    }
}

impl Sqlite {
    /// The fleet in numbers, and the groups of it.
    pub async fn summary(&self, by: Option<By>) -> Result<Summary, Error> {
        let now = self.clock.microseconds();
        let sql = format!("SELECT {SUMS} FROM {NODES}");
        let row = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(now)
            .fetch_one(&self.readers)
            .await?;
        let fleet = numbers(&row)?;
        let groups = match by {
            Some(by) => self.groups(by, now).await?,
            None => Vec::new(),
        };
        Ok(Summary { fleet, by, groups })
    }

    async fn groups(&self, by: By, now: i64) -> Result<Vec<Group>, Error> {
        let [region, site, row, rack, name] = columns(by);
        let join = if by == By::Switch {
            "LEFT JOIN json_each(n.switch_path_json) switch"
        } else {
            ""
        };
        let sql = format!(
            "SELECT {region} AS in_region, {site} AS in_site, {row} AS in_row, {rack} AS in_rack,
                {name} AS in_name, {SUMS}
             FROM {NODES} {join} GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 3, 4, 5 LIMIT {MOST}"
        );
        let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(now)
            .fetch_all(&self.readers)
            .await?;
        rows.iter()
            .map(|row| {
                Ok(Group {
                    key: GroupKey {
                        region: row.maybe_text("in_region")?,
                        site: row.maybe_text("in_site")?,
                        row: row.maybe_text("in_row")?,
                        rack: row.maybe_text("in_rack")?,
                        name: row.maybe_text("in_name")?,
                    },
                    numbers: numbers(row)?,
                })
            })
            .collect()
    }
}
