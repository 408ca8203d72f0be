//! What must be known of a node when a report of it is applied.

use cupel_model::wire::{Lifecycle, UpgradeWish, Wanted};
use cupel_model::{Severity, Verdict};
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;

use super::dropped;
use crate::boots::Witness;
use crate::derive::Silence;
use crate::ingest::Incoming;
use crate::record::{Presence, State};
use crate::store::Error;
use crate::store::sqlite::row::{Columns as _, severity, to_json, to_word};

/// A node, as far as reports need it.
#[derive(Clone, Debug)]
pub struct Head {
    /// Its row.
    pub key: i64,
    /// Stable id.
    pub id: String,
    /// Host name.
    pub hostname: Option<String>,
    /// The boot that it runs.
    pub boot_key: i64,
    /// That boot's id.
    pub boot: String,
    /// The boot before, when this report is the first of a new one.
    pub boot_before: Option<String>,
    /// Its newest report.
    pub sequence: i64,
    /// That report as a witness of its boot.
    pub witness: Witness,
    /// Within what time it meant to report again.
    pub next_within: i64,
    /// Five-minute slot of the newest sample.
    pub sampled: i64,
    /// Hash of its last full report.
    pub hash: Option<String>,
    /// Sequence of its last full report in this boot.
    pub full_sequence: Option<i64>,
    /// When that was made.
    pub full_made_at: Option<i64>,
    /// What it last said of itself.
    pub reported_verdict: Option<Verdict>,
    /// Verdict that is stored.
    pub verdict: Verdict,
    /// Presence that is stored.
    pub presence: Presence,
    /// Standing that is stored.
    pub standing: i64,
    /// State that is stored.
    pub state: State,
    /// What it is for.
    pub lifecycle: Lifecycle,
    /// Open findings that forbid giving it work.
    pub blocking: i64,
    /// Worst severity of what the inventory itself found, silence left out.
    pub own: Option<Severity>,
    /// When it said that it stops.
    pub stopping_at: Option<i64>,
    /// Why.
    pub stopping_why: Option<String>,
    /// Until when silence is expected.
    pub silence_until: Option<i64>,
    /// Boots that began before this are forgotten.
    pub forgotten_before: Option<i64>,
    /// Verdict and farewell as they are stored, which tell what must be written.
    pub stored: (Option<Verdict>, Option<i64>),
    /// Version of its wishes.
    pub wanted_etag: String,
    /// Account that it is reserved for.
    pub account: Option<String>,
    /// When it was handed over.
    pub handover_at: Option<i64>,
    /// Version of cupel, as stored.
    pub cupel_version: String,
}

/// The columns of a head, from `nodes n`, `live l` and `boots b`.
pub const HEAD: &str = "SELECT n.key, n.id, n.hostname, n.boot_key, b.boot, l.sequence, l.made_at,
    l.received_at, l.uptime, l.next_within, l.sampled, n.hash, n.full_sequence, n.full_made_at,
    n.reported_verdict, n.verdict, n.presence, n.standing, n.state, n.lifecycle, n.blocking,
    n.stopping_at, n.stopping_why, n.silence_until, n.forgotten_before, n.wanted_etag, n.account,
    n.handover_at, n.cupel_version, n.own_severity
    FROM nodes n JOIN live l ON l.node_key = n.key JOIN boots b ON b.key = n.boot_key";

/// Presence as a number.
pub fn presence_number(presence: Presence) -> i64 {
    match presence {
        Presence::Reporting => 0,
        Presence::Quiet => 1,
        Presence::Late => 2,
        Presence::Lost => 3,
    }
}

/// Presence from its number.
pub fn presence(number: i64) -> Presence {
    match number {
        0 => Presence::Reporting,
        1 => Presence::Quiet,
        2 => Presence::Late,
        _ => Presence::Lost,
    }
}

/// The wishes for a node, with their version.
pub fn wishes(
    lifecycle: Lifecycle,
    baseline: Option<String>,
    upgrade: Option<UpgradeWish>,
) -> Result<Wanted, Error> {
    use sha2::{Digest as _, Sha256};
    let mut wanted = Wanted {
        etag: String::new(),
        lifecycle,
        baseline,
        upgrade,
        more: serde_json::Map::new(),
    };
    let digest = Sha256::digest(to_json(&wanted)?.as_bytes());
    wanted.etag = digest.iter().take(8).map(|b| format!("{b:02x}")).collect();
    Ok(wanted)
}

/// What the node says of the version that is wished.
fn upgrade_json(report: &Incoming) -> Result<Option<String>, Error> {
    report.wanted.upgrade.as_ref().map(to_json).transpose()
}

impl Head {
    /// From a row of [`HEAD`].
    pub fn from_row(row: &SqliteRow) -> Result<Self, Error> {
        Ok(Self {
            key: row.int("key")?,
            id: row.text("id")?,
            hostname: row.maybe_text("hostname")?,
            boot_key: row.int("boot_key")?,
            boot: row.text("boot")?,
            boot_before: None,
            sequence: row.int("sequence")?,
            witness: Witness {
                made_at: row.int("made_at")?,
                received_at: row.int("received_at")?,
                uptime: row.int("uptime")?,
            },
            next_within: row.int("next_within")?,
            sampled: row.int("sampled")?,
            hash: row.maybe_text("hash")?,
            full_sequence: row.maybe_int("full_sequence")?,
            full_made_at: row.maybe_int("full_made_at")?,
            reported_verdict: row.maybe_verdict("reported_verdict")?,
            verdict: row.verdict("verdict")?,
            presence: presence(row.int("presence")?),
            standing: row.int("standing")?,
            state: row.word("state", "a state")?,
            lifecycle: row.word("lifecycle", "a lifecycle")?,
            blocking: row.int("blocking")?,
            own: row.maybe_int("own_severity")?.map(severity),
            stopping_at: row.maybe_int("stopping_at")?,
            stopping_why: row.maybe_text("stopping_why")?,
            silence_until: row.maybe_int("silence_until")?,
            forgotten_before: row.maybe_int("forgotten_before")?,
            stored: (
                row.maybe_verdict("reported_verdict")?,
                row.maybe_int("stopping_at")?,
            ),
            wanted_etag: row.text("wanted_etag")?,
            account: row.maybe_text("account")?,
            handover_at: row.maybe_int("handover_at")?,
            cupel_version: row.text("cupel_version")?,
        })
    }

    /// A node by its id.
    pub async fn load(c: &mut SqliteConnection, id: &str) -> Result<Option<Self>, Error> {
        static SQL: std::sync::LazyLock<String> =
            std::sync::LazyLock::new(|| format!("{HEAD} WHERE n.id = ?1"));
        let row = sqlx::query(sqlx::AssertSqlSafe(SQL.as_str()))
            .bind(id)
            .fetch_optional(&mut *c)
            .await?;
        row.as_ref().map(Self::from_row).transpose()
    }

    /// A node that was never heard of, with its first boot and report.
    pub async fn create(
        c: &mut SqliteConnection,
        report: &Incoming,
        now: i64,
    ) -> Result<Self, Error> {
        let lifecycle = Lifecycle::default();
        let wanted = wishes(lifecycle, None, None)?;
        let presence = Presence::Reporting;
        let verdict = Verdict::Unknown;
        let state = State::Provisioning;
        let standing = crate::derive::standing(verdict, presence);
        let key = sqlx::query(
            "INSERT INTO nodes (id, first_seen, cupel_version, boot_key, verdict, verdict_since,
                presence, standing, standing_since, state, lifecycle, wanted_json, wanted_etag)
             VALUES (?1, ?2, ?3, 0, ?4, ?2, 0, ?5, ?2, ?6, ?7, ?8, ?9)",
        )
        .bind(&report.node)
        .bind(now)
        .bind(&report.cupel_version)
        .bind(crate::store::sqlite::row::verdict_number(verdict))
        .bind(standing)
        .bind(to_word(state))
        .bind(to_word(lifecycle))
        .bind(to_json(&wanted)?)
        .bind(&wanted.etag)
        .execute(&mut *c)
        .await?
        .last_insert_rowid();
        let boot_key = super::order::new_boot(c, key, report, now).await?;
        sqlx::query("UPDATE nodes SET boot_key = ?2 WHERE key = ?1")
            .bind(key)
            .bind(boot_key)
            .execute(&mut *c)
            .await?;
        let [heartbeats, fulls, changes] = dropped(report);
        sqlx::query(
            "INSERT INTO live (node_key, sequence, made_at, received_at, uptime, next_within,
                told_etag, refused, dropped_heartbeats, dropped_fulls, dropped_changes,
                upgrade_json)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
        )
        .bind(key)
        .bind(report.sequence)
        .bind(report.made_at)
        .bind(now)
        .bind(report.uptime)
        .bind(report.next_within)
        .bind(&report.wanted.etag)
        .bind(&report.wanted.refused)
        .bind(heartbeats)
        .bind(fulls)
        .bind(changes)
        .bind(upgrade_json(report)?)
        .execute(&mut *c)
        .await?;
        Self::load(c, &report.node).await?.ok_or(Error::Damaged {
            what: "a new node",
            detail: "it is not there".to_owned(),
        })
    }

    /// Takes over the times of the newest report.
    pub async fn advance(
        &mut self,
        c: &mut SqliteConnection,
        report: &Incoming,
        now: i64,
    ) -> Result<(), Error> {
        sqlx::query(
            "UPDATE live SET sequence = ?2, made_at = ?3, received_at = ?4, uptime = ?5,
                next_within = ?6, told_etag = ?7, refused = ?8, upgrade_json = ?9
             WHERE node_key = ?1",
        )
        .bind(self.key)
        .bind(report.sequence)
        .bind(report.made_at)
        .bind(now)
        .bind(report.uptime)
        .bind(report.next_within)
        .bind(&report.wanted.etag)
        .bind(&report.wanted.refused)
        .bind(upgrade_json(report)?)
        .execute(&mut *c)
        .await?;
        self.sequence = report.sequence;
        self.next_within = report.next_within;
        self.witness = super::order::witness(report, now);
        if self.cupel_version != report.cupel_version {
            sqlx::query("UPDATE nodes SET cupel_version = ?2 WHERE key = ?1")
                .bind(self.key)
                .bind(&report.cupel_version)
                .execute(&mut *c)
                .await?;
        }
        Ok(())
    }

    /// Adds what the node had to drop before this report.
    pub async fn add_dropped(
        &self,
        c: &mut SqliteConnection,
        report: &Incoming,
    ) -> Result<(), Error> {
        let [heartbeats, fulls, changes] = dropped(report);
        if [heartbeats, fulls, changes] == [0; 3] {
            return Ok(());
        }
        // Sums stay within what the database can count, whatever a node tells.
        sqlx::query(
            "UPDATE live SET
                dropped_heartbeats = min(dropped_heartbeats + min(?2, 1 << 40), 1 << 52),
                dropped_fulls = min(dropped_fulls + min(?3, 1 << 40), 1 << 52),
                dropped_changes = min(dropped_changes + min(?4, 1 << 40), 1 << 52)
             WHERE node_key = ?1",
        )
        .bind(self.key)
        .bind(heartbeats)
        .bind(fulls)
        .bind(changes)
        .execute(&mut *c)
        .await?;
        Ok(())
    }

    /// Its verdict when it is heard like this, with the inventory's own findings counted in.
    pub fn verdict_when(&self, presence: Presence) -> Verdict {
        crate::derive::verdict(self.reported_verdict, presence, self.own)
    }

    /// What decides whether its silence is expected.
    pub fn silence(&self) -> Silence {
        Silence {
            received_at: self.witness.received_at,
            next_within: self.next_within,
            stopping_at: self.stopping_at,
            silence_until: self.silence_until,
            lifecycle: self.lifecycle,
        }
    }
}
