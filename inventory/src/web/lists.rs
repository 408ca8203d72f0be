//! Parts, findings, summaries, and what operators and schedulers poll.

use axum::extract::State;
use axum::http::header::HeaderMap;
use axum::response::Response;
use cupel_model::{Severity, Timestamp};

use super::App;
use super::answer;
use super::nodes::{NoQuery, Segment, text, want};
use super::parameters::{Limit, Offset, Params, Word, parameters};
use super::problem::Problem;
use crate::record::{By, Cursor};
use crate::store::{FindingFilter, MaintenanceFilter};

/// Whether something has ended.
#[derive(Clone, Copy, Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Openness {
    /// It has not.
    Open,
    /// It has.
    Closed,
}

fn open(openness: Option<Openness>) -> Option<bool> {
    openness.map(|openness| match openness {
        Openness::Open => true,
        Openness::Closed => false,
    })
}

/// `GET /v1/parts/{serial}`.
pub async fn parts(
    State(app): State<App>,
    Segment(serial): Segment,
    Params(NoQuery {}): Params<NoQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let parts = app.store().parts(&serial).await?;
    if parts.parts.is_empty() {
        let shown: String = serial.chars().take(64).collect();
        return Err(Problem::not_found(format!(
            "no node has told of a part with serial number {shown:?}"
        )));
    }
    answer::kept(&headers, None, &parts)
}

parameters! {
    /// Query of `GET /v1/findings`.
    pub struct FindingsQuery {
        /// Only open or only closed ones.
        state: Openness,
        /// With this code.
        code: Word,
        /// This bad or worse.
        severity: Severity,
        /// Of this node.
        node: Word,
        /// Of the part with this serial number.
        serial: Word,
        /// Opened at or after this time.
        since: Timestamp,
        /// Where to go on: `next` of the page before.
        cursor: Cursor,
        /// At most so many.
        limit: Limit,
    }
}

/// `GET /v1/findings`.
pub async fn findings(
    State(app): State<App>,
    Params(query): Params<FindingsQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let filter = FindingFilter {
        open: open(query.state),
        code: text(query.code),
        severity: query.severity,
        node: text(query.node),
        serial: text(query.serial),
        since: query.since,
    };
    let page = app
        .store()
        .findings(&filter, want(query.cursor, query.limit))
        .await?;
    answer::kept(&headers, None, &page)
}

parameters! {
    /// Query of `GET /v1/summary`.
    pub struct SummaryQuery {
        /// Also in groups.
        by: By,
    }
}

/// `GET /v1/summary`.
pub async fn summary(
    State(app): State<App>,
    Params(query): Params<SummaryQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let summary = app.store().summary(query.by).await?;
    answer::kept(&headers, None, &summary)
}

parameters! {
    /// Query of `GET /v1/deliveries`.
    pub struct DeliveriesQuery {
        /// Where to go on: `next` of the page before.
        cursor: Cursor,
        /// At most so many.
        limit: Limit,
    }
}

/// `GET /v1/deliveries`.
pub async fn deliveries(
    State(app): State<App>,
    Params(query): Params<DeliveriesQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let page = app
        .store()
        .deliveries(want(query.cursor, query.limit))
        .await?;
    answer::kept(&headers, None, &page)
}

parameters! {
    /// Query of `GET /v1/maintenance`.
    pub struct MaintenanceQuery {
        /// Only open or only closed ones.
        state: Openness,
        /// Of this node.
        node: Word,
        /// Of this account.
        account: Word,
        /// Changed at or after this time.
        updated_since: Timestamp,
        /// Where to go on: `next` of the page before.
        cursor: Cursor,
        /// At most so many.
        limit: Limit,
    }
}

/// `GET /v1/maintenance`.
pub async fn maintenance(
    State(app): State<App>,
    Params(query): Params<MaintenanceQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let filter = MaintenanceFilter {
        open: open(query.state),
        node: text(query.node),
        account: text(query.account),
        updated_since: query.updated_since,
    };
    let page = app
        .store()
        .maintenance(&filter, want(query.cursor, query.limit))
        .await?;
    answer::kept(&headers, None, &page)
}

parameters! {
    /// Query of `GET /v1/topology`.
    pub struct TopologyQuery {
        /// At most so many.
        limit: Limit,
        /// How many to leave out.
        offset: Offset,
    }
}

/// `GET /v1/topology`.
pub async fn topology(
    State(app): State<App>,
    Params(query): Params<TopologyQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let Offset(offset) = query.offset.unwrap_or_default();
    let Limit(limit) = query.limit.unwrap_or_default();
    let topology = app.store().topology(limit, offset).await?;
    answer::kept(&headers, None, &topology)
}
