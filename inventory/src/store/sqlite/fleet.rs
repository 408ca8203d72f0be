//! Lists of the whole fleet: nodes, and entries that no node has come for.

use std::collections::HashMap;

use cupel_model::wire::{Lifecycle, Tracked};
use sqlx::QueryBuilder;
use sqlx::sqlite::{Sqlite as Db, SqliteRow};

use super::Sqlite;
use super::nodes::contains;
use super::row::{Columns as _, severity, to_word};
use crate::derive::MISSING;
use crate::record::ExpectationState;
use crate::store::Error;
use crate::store::fleet::{
    Choices, CodeCount, FleetFilter, FleetLine, FleetPage, RackCount, RackName,
};

/// Nodes and missing entries in one list.
const LINES: &str = "WITH lines AS (
    SELECT n.key AS node_key, n.id, n.hostname, coalesce(n.chassis_serial, n.serial) AS serial,
        n.serial AS system_serial, n.instance, n.region, n.site, n.row, n.rack, n.unit,
        n.height_units, n.standing, n.platform, n.lifecycle, n.in_use, l.received_at,
        n.critical + n.warning + n.info AS findings, e.differences_json,
        CASE WHEN n.critical > 0 THEN 2 WHEN n.warning > 0 THEN 1 WHEN n.info > 0 THEN 0 ELSE -1
            END AS worst,
        n.mismatched AS mismatched,
        n.expected_key IS NULL AND EXISTS (SELECT 1 FROM expected) AS unexpected,
        n.expected_key IS NOT NULL AS listed
    FROM nodes n JOIN live l ON l.node_key = n.key LEFT JOIN expected e ON e.key = n.expected_key
    UNION ALL
    SELECT NULL, e.chassis_serial, e.hostname, e.chassis_serial, NULL, NULL, e.region, e.site,
        e.row, e.rack, e.unit, e.height_units, 2, e.platform, NULL, NULL, NULL, 0, NULL, -1, 0, 0,
        1
    FROM expected e WHERE e.node_key IS NULL
    )";

fn filter(query: &mut QueryBuilder<Db>, filter: &FleetFilter) {
    query.push(" WHERE 1");
    if !filter.standings.is_empty() || filter.unexpected || filter.mismatched {
        query.push(" AND (0");
        if !filter.standings.is_empty() {
            query.push(" OR standing IN (");
            let mut list = query.separated(", ");
            for standing in &filter.standings {
                list.push_bind(*standing);
            }
            query.push(")");
        }
        if filter.unexpected {
            query.push(" OR unexpected");
        }
        if filter.mismatched {
            query.push(" OR mismatched");
        }
        query.push(")");
    }
    let equal = [
        ("region", filter.region.clone()),
        ("site", filter.site.clone()),
        ("row", filter.row.clone()),
        ("rack", filter.rack.clone()),
        ("platform", filter.platform.clone()),
        ("lifecycle", filter.lifecycle.map(to_word)),
    ];
    for (column, value) in equal {
        if let Some(value) = value {
            query.push(" AND ").push(column).push(" = ");
            query.push_bind(value);
        }
    }
    if let Some(rack) = &filter.exactly {
        query.push(" AND (region, site, row, rack) IS (");
        let mut list = query.separated(", ");
        list.push_bind(rack.region.clone());
        list.push_bind(rack.site.clone());
        list.push_bind(rack.row.clone());
        list.push_bind(rack.rack.clone());
        query.push(")");
    }
    if let Some(code) = &filter.code {
        query.push(
            " AND node_key IN (SELECT node_key FROM findings WHERE closed_at IS NULL AND code = ",
        );
        query.push_bind(code.clone()).push(")");
    }
    if let Some(text) = &filter.q {
        let columns = ["id", "hostname", "serial", "system_serial", "instance"];
        contains(query, &columns, text);
    }
}

fn rack(row: &SqliteRow) -> Result<RackName, Error> {
    Ok(RackName {
        region: row.maybe_text("region")?,
        site: row.maybe_text("site")?,
        row: row.maybe_text("row")?,
        rack: row.maybe_text("rack")?,
    })
}

fn line(row: &SqliteRow) -> Result<FleetLine, Error> {
    let expectation = match (
        row.flag("listed")?,
        row.flag("mismatched")?,
        row.flag("unexpected")?,
    ) {
        (true, true, _) => ExpectationState::Mismatched,
        (true, false, _) => ExpectationState::AsExpected,
        (false, _, true) => ExpectationState::Unexpected,
        (false, _, false) => ExpectationState::NoList,
    };
    Ok(FleetLine {
        id: row.text("id")?,
        hostname: row.maybe_text("hostname")?,
        serial: row.maybe_text("serial")?,
        rack: rack(row)?,
        unit: row.maybe_small("unit")?,
        height_units: row.maybe_small("height_units")?,
        standing: row.int("standing")?,
        expectation,
        differences: row
            .maybe_json("differences_json", "differences")?
            .unwrap_or_default(),
        lifecycle: row
            .maybe_word("lifecycle", "a lifecycle")?
            .unwrap_or(Lifecycle::Provisioning),
        in_use: row.maybe_int("in_use")?.map(|flag| flag != 0),
        platform: row.maybe_text("platform")?,
        worst: None,
        findings: row.small("findings")?,
        last_report: row.maybe_time("received_at")?,
    })
}

impl Sqlite {
    /// A page of the fleet, worst first.
    pub async fn fleet_page(
        &self,
        wanted: &FleetFilter,
        limit: u32,
        offset: u64,
    ) -> Result<FleetPage, Error> {
        let mut count = QueryBuilder::<Db>::new(LINES);
        count.push("SELECT count(*) AS matching FROM lines");
        filter(&mut count, wanted);
        let matching = count
            .build()
            .fetch_one(&self.readers)
            .await?
            .count("matching")?;
        let mut query = QueryBuilder::<Db>::new(LINES);
        query.push("SELECT * FROM lines");
        filter(&mut query, wanted);
        query.push(" ORDER BY standing, worst DESC, coalesce(hostname, id), id LIMIT ");
        query.push_bind(i64::from(limit)).push(" OFFSET ");
        query.push_bind(super::row::counted(offset));
        let rows = query.build().fetch_all(&self.readers).await?;
        let mut keys = Vec::new();
        let mut lines = Vec::new();
        for row in &rows {
            keys.push(row.maybe_int("node_key")?);
            lines.push(line(row)?);
        }
        let mut worst = self.worst_findings(keys.iter().flatten().copied()).await?;
        for (key, line) in keys.into_iter().zip(&mut lines) {
            line.worst = key.and_then(|key| worst.remove(&key));
        }
        Ok(FleetPage { lines, matching })
    }

    /// The worst open finding of each of these nodes; enforced ones first.
    async fn worst_findings(
        &self,
        keys: impl Iterator<Item = i64>,
    ) -> Result<HashMap<i64, Tracked>, Error> {
        let mut query = QueryBuilder::<Db>::new(
            "SELECT node_key, tracked_json FROM (SELECT node_key, tracked_json, row_number() OVER
                (PARTITION BY node_key ORDER BY enforced DESC, severity DESC, since) AS place
             FROM findings WHERE closed_at IS NULL AND node_key IN (NULL",
        );
        for key in keys {
            query.push(", ");
            query.push_bind(key);
        }
        query.push(")) WHERE place = 1");
        let rows = query.build().fetch_all(&self.readers).await?;
        rows.iter()
            .map(|row| Ok((row.int("node_key")?, row.json("tracked_json", "a finding")?)))
            .collect()
    }

    /// Every rack with its counts; of the filter only region, site and row matter.
    pub async fn racks(&self, wanted: &FleetFilter) -> Result<Vec<RackCount>, Error> {
        let mut query = QueryBuilder::<Db>::new(LINES);
        query.push("SELECT region, site, row, rack");
        for standing in 0..7 {
            query.push(format!(", sum(standing = {standing}) AS s{standing}"));
        }
        query.push(", sum(unexpected) AS unexpected, sum(mismatched) AS mismatched FROM lines");
        let places = FleetFilter {
            region: wanted.region.clone(),
            site: wanted.site.clone(),
            row: wanted.row.clone(),
            ..FleetFilter::default()
        };
        filter(&mut query, &places);
        query.push(" GROUP BY region, site, row, rack ORDER BY region, site, row, rack");
        let rows = query.build().fetch_all(&self.readers).await?;
        rows.iter()
            .map(|row| {
                let mut standings = [0; 7];
                for (standing, count) in standings.iter_mut().enumerate() {
                    *count = row.small(&format!("s{standing}"))?;
                }
                Ok(RackCount {
                    rack: rack(row)?,
                    standings,
                    unexpected: row.small("unexpected")?,
                    mismatched: row.small("mismatched")?,
                })
            })
            .collect()
    }

    /// Codes of open findings, most nodes first; of the filter only the place and `q` matter: `q`
    /// is then a piece of the code.
    pub async fn codes(&self, wanted: &FleetFilter, limit: u32) -> Result<Vec<CodeCount>, Error> {
        let mut query = QueryBuilder::<Db>::new(
            "SELECT f.code, max(f.severity) AS severity, count(DISTINCT f.node_key) AS nodes
             FROM findings f JOIN nodes n ON n.key = f.node_key WHERE f.closed_at IS NULL",
        );
        let places = [
            ("n.region", &wanted.region),
            ("n.site", &wanted.site),
            ("n.row", &wanted.row),
        ];
        for (column, value) in places {
            if let Some(value) = value {
                query.push(" AND ").push(column).push(" = ");
                query.push_bind(value.clone());
            }
        }
        if let Some(text) = &wanted.q {
            contains(&mut query, &["f.code"], text);
        }
        query.push(" GROUP BY f.code ORDER BY nodes DESC, f.code LIMIT ");
        query.push_bind(i64::from(limit));
        let rows = query.build().fetch_all(&self.readers).await?;
        rows.iter()
            .map(|row| {
                Ok(CodeCount {
                    code: row.text("code")?,
                    severity: severity(row.int("severity")?),
                    nodes: row.small("nodes")?,
                })
            })
            .collect()
    }

    /// Regions, sites and platforms that there are, found or expected.
    pub async fn choices(&self) -> Result<Choices, Error> {
        let mut lists = Vec::new();
        for sql in [
            "SELECT region AS name FROM nodes UNION SELECT region FROM expected ORDER BY 1",
            "SELECT site AS name FROM nodes UNION SELECT site FROM expected ORDER BY 1",
            "SELECT platform AS name FROM nodes UNION SELECT platform FROM expected ORDER BY 1",
        ] {
            let rows = sqlx::query(sql).fetch_all(&self.readers).await?;
            let names = rows
                .iter()
                .map(|row| row.maybe_text("name"))
                .collect::<Result<Vec<_>, _>>()?;
            lists.push(names.into_iter().flatten().collect::<Vec<_>>());
        }
        let mut lists = lists.into_iter();
        let mut next = || lists.next().unwrap_or_default();
        Ok(Choices {
            regions: next(),
            sites: next(),
            platforms: next(),
        })
    }
}

// The number stands in the text of LINES.
const _: () = assert!(MISSING == 2);
