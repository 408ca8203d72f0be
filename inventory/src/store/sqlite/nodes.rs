//! Nodes in lines.

use sqlx::QueryBuilder;
use sqlx::sqlite::{Sqlite as Db, SqliteRow};

use super::Sqlite;
use super::apply::presence;
use super::row::{Columns as _, to_word, verdict_number};
use crate::record::{Cursor, ExpectationState, FindingCounts, NodeSummary, Page};
use crate::store::{Error, NodeFilter, NodeOrder, Want};

/// The columns of a line, from `nodes n` and `live l`.
pub const LINE: &str = "n.key, n.id, n.hostname, n.serial, n.chassis_serial, n.product, n.platform,
    n.gpu_model, n.gpu_count, n.verdict, n.state, n.presence, n.lifecycle, n.blocking, n.critical,
    n.warning, n.info, n.region, n.site, n.row, n.rack, n.unit, n.height_units, n.nvlink_domain,
    n.switch_path_json, n.account, n.project, n.instance, n.in_use, n.handover_at, n.first_seen,
    n.expected_key, n.mismatched, l.received_at, EXISTS (SELECT 1 FROM expected) AS has_list";

/// A line from its row.
pub fn summary(row: &SqliteRow) -> Result<NodeSummary, Error> {
    let verdict = row.verdict("verdict")?;
    let listed = row.maybe_int("expected_key")?.is_some();
    let expectation = match (listed, row.flag("has_list")?, row.flag("mismatched")?) {
        (true, _, true) => ExpectationState::Mismatched,
        (true, _, false) => ExpectationState::AsExpected,
        (false, true, _) => ExpectationState::Unexpected,
        (false, false, _) => ExpectationState::NoList,
    };
    Ok(NodeSummary {
        id: row.text("id")?,
        hostname: row.maybe_text("hostname")?,
        serial: row.maybe_text("serial")?,
        chassis_serial: row.maybe_text("chassis_serial")?,
        product: row.maybe_text("product")?,
        platform: row.maybe_text("platform")?,
        gpu_model: row.maybe_text("gpu_model")?,
        gpu_count: row.maybe_small("gpu_count")?,
        verdict,
        healthy: verdict == cupel_model::Verdict::Healthy,
        state: row.word("state", "a state")?,
        presence: presence(row.int("presence")?),
        lifecycle: row.word("lifecycle", "a lifecycle")?,
        blocks_allocation: row.int("blocking")? > 0,
        findings: FindingCounts {
            critical: row.small("critical")?,
            warning: row.small("warning")?,
            info: row.small("info")?,
        },
        expectation,
        region: row.maybe_text("region")?,
        site: row.maybe_text("site")?,
        row: row.maybe_text("row")?,
        rack: row.maybe_text("rack")?,
        unit: row.maybe_small("unit")?,
        height_units: row.maybe_small("height_units")?,
        nvlink_domain: row.maybe_text("nvlink_domain")?,
        switch_path: row.maybe_json("switch_path_json", "a switch path")?,
        account: row.maybe_text("account")?,
        project: row.maybe_text("project")?,
        instance: row.maybe_text("instance")?,
        in_use: row.maybe_int("in_use")?.map(|flag| flag != 0),
        handover_at: row.maybe_time("handover_at")?,
        first_seen: row.time("first_seen")?,
        last_report_at: row.time("received_at")?,
    })
}

/// `AND column = value` for what is given.
fn equal(query: &mut QueryBuilder<Db>, column: &'static str, value: Option<&String>) {
    if let Some(value) = value {
        query.push(" AND ").push(column).push(" = ");
        query.push_bind(value.clone());
    }
}

/// `AND` one of the columns contains the text, whatever its case.
pub fn contains(query: &mut QueryBuilder<Db>, columns: &[&'static str], text: &str) {
    let text = text.to_lowercase();
    query.push(" AND (");
    for (index, column) in columns.iter().enumerate() {
        if index > 0 {
            query.push(" OR ");
        }
        query
            .push("instr(lower(coalesce(")
            .push(*column)
            .push(", '')), ");
        query.push_bind(text.clone()).push(") > 0");
    }
    query.push(")");
}

/// What a search of nodes looks at.
pub const SEARCHED: &[&str] = &[
    "n.id",
    "n.hostname",
    "n.serial",
    "n.chassis_serial",
    "n.instance",
];

impl Sqlite {
    /// A page of nodes.
    pub async fn nodes(&self, filter: &NodeFilter, want: Want) -> Result<Page<NodeSummary>, Error> {
        let mut query = QueryBuilder::<Db>::new("SELECT ");
        query
            .push(LINE)
            .push(" FROM nodes n JOIN live l ON l.node_key = n.key WHERE 1");
        if let Some(verdict) = filter.verdict {
            query.push(" AND n.verdict = ");
            query.push_bind(verdict_number(verdict));
        }
        equal(&mut query, "n.state", filter.state.map(to_word).as_ref());
        equal(
            &mut query,
            "n.lifecycle",
            filter.lifecycle.map(to_word).as_ref(),
        );
        equal(&mut query, "n.platform", filter.platform.as_ref());
        equal(&mut query, "n.region", filter.region.as_ref());
        equal(&mut query, "n.site", filter.site.as_ref());
        equal(&mut query, "n.row", filter.row.as_ref());
        equal(&mut query, "n.rack", filter.rack.as_ref());
        equal(&mut query, "n.account", filter.account.as_ref());
        equal(&mut query, "n.nvlink_domain", filter.nvlink_domain.as_ref());
        if let Some(text) = &filter.q {
            contains(&mut query, SEARCHED, text);
        }
        if let Some(after) = want.after {
            match filter.order {
                NodeOrder::FirstSeen => {
                    query.push(" AND n.key > ");
                    query.push_bind(after.then);
                }
                NodeOrder::Worst => {
                    query.push(" AND (-n.verdict, n.key) > (");
                    query.push_bind(after.first).push(", ");
                    query.push_bind(after.then).push(")");
                }
            }
        }
        query.push(match filter.order {
            NodeOrder::FirstSeen => " ORDER BY n.key LIMIT ",
            NodeOrder::Worst => " ORDER BY -n.verdict, n.key LIMIT ",
        });
        query.push_bind(i64::from(want.limit) + 1);
        let rows = query.build().fetch_all(&self.readers).await?;
        let items = rows
            .iter()
            .map(|row| Ok((row.int("key")?, summary(row)?)))
            .collect::<Result<Vec<_>, Error>>()?;
        let page = Page::cut(items, want.limit, |(key, node)| Cursor {
            first: match filter.order {
                NodeOrder::FirstSeen => 0,
                NodeOrder::Worst => -verdict_number(node.verdict),
            },
            then: *key,
        });
        Ok(page.map(|(_, node)| node))
    }
}
