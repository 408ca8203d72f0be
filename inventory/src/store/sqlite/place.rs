//! Where a node stands, and whether it is what was expected.
//!
//! # Invariants
//! - The operator's word goes before the expected list, that before what the node tells.
//! - An entry belongs to one node: the last one that reported its serial number.

use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;

use super::row::{Columns as _, to_json};
use crate::record::{Difference, ExpectedEntry};
use crate::store::Error;

/// An entry from its row.
pub fn entry(row: &SqliteRow) -> Result<ExpectedEntry, Error> {
    Ok(ExpectedEntry {
        chassis_serial: row.text("chassis_serial")?,
        platform: row.maybe_text("platform")?,
        hostname: row.maybe_text("hostname")?,
        region: row.maybe_text("region")?,
        site: row.maybe_text("site")?,
        row: row.maybe_text("row")?,
        rack: row.maybe_text("rack")?,
        unit: row.maybe_small("unit")?,
        height_units: row.maybe_small("height_units")?,
        nvlink_domain: row.maybe_text("nvlink_domain")?,
        switch_path: row.maybe_json("switch_path_json", "a switch path")?,
    })
}

struct Own {
    platform: Option<String>,
    hostname: Option<String>,
    region: Option<String>,
    site: Option<String>,
    row: Option<String>,
    rack: Option<String>,
    unit: Option<u32>,
    height_units: Option<u32>,
    nvlink_domain: Option<String>,
    switch_path: Option<Vec<String>>,
}

fn own(row: &SqliteRow) -> Result<Own, Error> {
    Ok(Own {
        platform: row.maybe_text("platform")?,
        hostname: row.maybe_text("hostname")?,
        region: row.maybe_text("set_region")?,
        site: row.maybe_text("set_site")?,
        row: row.maybe_text("set_row")?,
        rack: row.maybe_text("set_rack")?,
        unit: row.maybe_small("set_unit")?,
        height_units: row.maybe_small("set_height_units")?,
        nvlink_domain: row.maybe_text("set_nvlink_domain")?,
        switch_path: row.maybe_json("set_switch_path_json", "a switch path")?,
    })
}

/// What of a node is other than its entry says. What only the list tells is no difference.
fn differences(entry: &ExpectedEntry, node: &Own) -> Vec<Difference> {
    let mut found = Vec::new();
    let mut differs = |field: &str, expected: Option<String>, own: Option<String>, told: bool| {
        if let Some(expected) = expected
            && (told || own.is_some())
            && own.as_ref() != Some(&expected)
        {
            found.push(Difference {
                field: field.to_owned(),
                expected,
                found: own,
            });
        }
    };
    let number = |number: Option<u32>| number.map(|number| number.to_string());
    let path = |path: &Option<Vec<String>>| path.as_ref().map(|path| path.join(" > "));
    differs(
        "platform",
        entry.platform.clone(),
        node.platform.clone(),
        true,
    );
    differs(
        "hostname",
        entry.hostname.clone(),
        node.hostname.clone(),
        true,
    );
    differs("region", entry.region.clone(), node.region.clone(), false);
    differs("site", entry.site.clone(), node.site.clone(), false);
    differs("row", entry.row.clone(), node.row.clone(), false);
    differs("rack", entry.rack.clone(), node.rack.clone(), false);
    differs("unit", number(entry.unit), number(node.unit), false);
    differs(
        "height_units",
        number(entry.height_units),
        number(node.height_units),
        false,
    );
    differs(
        "nvlink_domain",
        entry.nvlink_domain.clone(),
        node.nvlink_domain.clone(),
        false,
    );
    differs(
        "switch_path",
        path(&entry.switch_path),
        path(&node.switch_path),
        false,
    );
    found
}

/// Finds a node's entry and its place anew. Gives whether anything changed.
pub async fn refresh(c: &mut SqliteConnection, node_key: i64) -> Result<bool, Error> {
    let row = sqlx::query(
        "SELECT serial, chassis_serial, platform, hostname, reported_domain, set_region, set_site,
            set_row, set_rack, set_unit, set_height_units, set_nvlink_domain,
            set_switch_path_json, expected_key
         FROM nodes WHERE key = ?1",
    )
    .bind(node_key)
    .fetch_one(&mut *c)
    .await?;
    let node = own(&row)?;
    let listed = sqlx::query(
        "SELECT * FROM expected WHERE chassis_serial IN (?1, ?2)
         ORDER BY chassis_serial = ?1 DESC LIMIT 1",
    )
    .bind(row.maybe_text("chassis_serial")?)
    .bind(row.maybe_text("serial")?)
    .fetch_optional(&mut *c)
    .await?;
    let before = row.maybe_int("expected_key")?;
    let (key, entry) = match &listed {
        Some(row) => (Some(row.int("key")?), entry(row)?),
        None => (None, ExpectedEntry::default()),
    };
    let differences = if key.is_some() {
        differences(&entry, &node)
    } else {
        Vec::new()
    };
    if before.is_some() && before != key {
        release(c, before, node_key).await?;
    }
    let mut changed = 0;
    if let Some(key) = key {
        changed += take(c, key, node_key, &differences).await?;
    }
    let reported = row.maybe_text("reported_domain")?;
    let path = node.switch_path.or(entry.switch_path);
    changed += sqlx::query(
        "UPDATE nodes SET region = ?2, site = ?3, row = ?4, rack = ?5, unit = ?6,
            height_units = ?7, nvlink_domain = ?8, switch_path_json = ?9, expected_key = ?10,
            mismatched = ?11
         WHERE key = ?1 AND (region, site, row, rack, unit, height_units, nvlink_domain,
            switch_path_json, expected_key, mismatched)
            IS NOT (?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
    )
    .bind(node_key)
    .bind(node.region.or(entry.region))
    .bind(node.site.or(entry.site))
    .bind(node.row.or(entry.row))
    .bind(node.rack.or(entry.rack))
    .bind(node.unit.or(entry.unit))
    .bind(node.height_units.or(entry.height_units))
    .bind(node.nvlink_domain.or(entry.nvlink_domain).or(reported))
    .bind(path.map(|path| to_json(&path)).transpose()?)
    .bind(key)
    .bind(!differences.is_empty())
    .execute(&mut *c)
    .await?
    .rows_affected();
    Ok(changed > 0)
}

/// The entry is not this node's any more.
async fn release(c: &mut SqliteConnection, entry: Option<i64>, node_key: i64) -> Result<(), Error> {
    sqlx::query(
        "UPDATE expected SET node_key = NULL, differences_json = NULL
         WHERE key = ?1 AND node_key = ?2",
    )
    .bind(entry)
    .bind(node_key)
    .execute(&mut *c)
    .await?;
    Ok(())
}

/// The entry is this node's from now on; whose it was before is on no list.
async fn take(
    c: &mut SqliteConnection,
    entry: i64,
    node_key: i64,
    differences: &[Difference],
) -> Result<u64, Error> {
    sqlx::query(
        "UPDATE nodes SET expected_key = NULL, mismatched = 0
         WHERE key != ?2 AND key = (SELECT node_key FROM expected WHERE key = ?1)",
    )
    .bind(entry)
    .bind(node_key)
    .execute(&mut *c)
    .await?;
    let text = (!differences.is_empty())
        .then(|| to_json(&differences))
        .transpose()?;
    let done = sqlx::query(
        "UPDATE expected SET node_key = ?2, differences_json = ?3
         WHERE key = ?1 AND (node_key, differences_json) IS NOT (?2, ?3)",
    )
    .bind(entry)
    .bind(node_key)
    .bind(text)
    .execute(&mut *c)
    .await?;
    Ok(done.rows_affected())
}

/// All nodes anew, in the order in which they last reported: the last one has the entry.
pub async fn refresh_all(c: &mut SqliteConnection) -> Result<Vec<i64>, Error> {
    let rows = sqlx::query("SELECT node_key FROM live ORDER BY received_at, node_key")
        .fetch_all(&mut *c)
        .await?;
    let mut changed = Vec::new();
    for row in rows {
        let key = row.int("node_key")?;
        if refresh(c, key).await? {
            changed.push(key);
        }
    }
    Ok(changed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_somebody_told_can_differ() {
        let entry = ExpectedEntry {
            chassis_serial: "C1".to_owned(),
            platform: Some("dgx-h100".to_owned()),
            rack: Some("r1".to_owned()),
            unit: Some(7),
            ..ExpectedEntry::default()
        };
        let mut node = Own {
            platform: None,
            hostname: Some("gpu001".to_owned()),
            region: None,
            site: None,
            row: None,
            rack: None,
            unit: Some(7),
            height_units: None,
            nvlink_domain: None,
            switch_path: None,
        };
        let found = differences(&entry, &node);
        assert_eq!(found.len(), 1);
        assert_eq!(
            (found[0].field.as_str(), &found[0].found),
            ("platform", &None)
        );
        node.platform = Some("dgx-h100".to_owned());
        assert!(differences(&entry, &node).is_empty());
        node.rack = Some("r2".to_owned());
        assert_eq!(differences(&entry, &node)[0].found.as_deref(), Some("r2"));
    }
}
