//! Nodes: lists, records, histories, snapshots, settings.

use axum::Extension;
use axum::extract::{FromRequestParts, Path, Request, State};
use axum::http::header::{self, HeaderMap};
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use cupel_model::Verdict;
use cupel_model::wire::Lifecycle;

use super::answer::{self, IfMatch, changed, unconditional};
use super::guard::Caller;
use super::parameters::{Limit, Params, Word, parameters};
use super::problem::{Mistake, Problem};
use super::{App, body};
use crate::record::{Cursor, HistoryKind, NodePatch, State as NodeState};
use crate::store::{NodeFilter, NodeOrder, Patched, Want};

/// A segment of the path.
#[derive(Clone, Debug)]
pub struct Segment(pub String);

impl<S: Send + Sync> FromRequestParts<S> for Segment {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Path::<String>::from_request_parts(parts, state).await {
            Ok(Path(text)) => Ok(Self(text)),
            Err(_) => Err(Problem::bad_request("the path cannot be read")),
        }
    }
}

/// Which nodes come first.
#[derive(Clone, Copy, Debug, Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Sort {
    /// As they first reported.
    #[default]
    FirstSeen,
    /// Worst verdict first.
    Worst,
}

parameters! {
    /// Query of `GET /v1/nodes`.
    pub struct NodesQuery {
        /// With this verdict.
        verdict: Verdict,
        /// In this state.
        state: NodeState,
        /// With this lifecycle.
        lifecycle: Lifecycle,
        /// Of this platform.
        platform: Word,
        /// In this region.
        region: Word,
        /// At this site.
        site: Word,
        /// In this row.
        row: Word,
        /// In this rack.
        rack: Word,
        /// Reserved for this account.
        account: Word,
        /// In this NVLink domain.
        nvlink_domain: Word,
        /// Id, host name, serial number or instance contains this.
        q: Word,
        /// Order.
        sort: Sort,
        /// Where to go on: `next` of the page before.
        cursor: Cursor,
        /// At most so many.
        limit: Limit,
    }
}

/// The page that is wanted.
pub fn want(cursor: Option<Cursor>, limit: Option<Limit>) -> Want {
    Want {
        after: cursor,
        limit: limit.unwrap_or_default().0,
    }
}

/// The text of a filter.
pub fn text(word: Option<Word>) -> Option<String> {
    word.map(|Word(text)| text)
}

/// There is no such node.
fn no_node(id: &str) -> Problem {
    let shown: String = id.chars().take(64).collect();
    Problem::not_found(format!("no node with id {shown:?} has reported"))
}

/// `GET /v1/nodes`.
pub async fn list(
    State(app): State<App>,
    Params(query): Params<NodesQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let filter = NodeFilter {
        verdict: query.verdict,
        state: query.state,
        lifecycle: query.lifecycle,
        platform: text(query.platform),
        region: text(query.region),
        site: text(query.site),
        row: text(query.row),
        rack: text(query.rack),
        account: text(query.account),
        nvlink_domain: text(query.nvlink_domain),
        q: text(query.q),
        order: match query.sort.unwrap_or_default() {
            Sort::FirstSeen => NodeOrder::FirstSeen,
            Sort::Worst => NodeOrder::Worst,
        },
    };
    let page = app
        .store()
        .nodes(&filter, want(query.cursor, query.limit))
        .await?;
    answer::kept(&headers, None, &page)
}

parameters! {
    /// No query parameters.
    pub struct NoQuery {}
}

/// `GET /v1/nodes/{id}`.
pub async fn record(
    State(app): State<App>,
    Segment(id): Segment,
    Params(NoQuery {}): Params<NoQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let Some(node) = app.store().node(&id).await? else {
        return Err(no_node(&id));
    };
    answer::kept(&headers, Some(node.revision), &node)
}

/// `PATCH /v1/nodes/{id}`.
pub async fn patch(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Segment(id): Segment,
    Params(NoQuery {}): Params<NoQuery>,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, incoming) = request.into_parts();
    match body::media_type(&parts.headers).as_deref() {
        Some("application/json" | "application/merge-patch+json") => {}
        Some(_) | None => {
            return Err(Problem::unsupported(
                "settings are application/merge-patch+json or application/json",
            ));
        }
    }
    let condition = IfMatch::of(&parts.headers)?;
    if condition == IfMatch::Absent {
        return Err(unconditional(
            "send If-Match with the ETag of the node's record, or `*` to set it whatever it is",
        ));
    }
    let read = body::read(&app, &parts.headers, incoming, app.limits().small_bytes).await?;
    let patch: NodePatch = body::from_json(&read.bytes)?;
    patch.check().map_err(|bad| {
        Problem::mistakes(
            bad.to_string(),
            vec![Mistake {
                column: Some(bad.field.to_owned()),
                detail: bad.why.to_owned(),
                ..Mistake::default()
            }],
        )
    })?;
    let done = app
        .store()
        .patch_node(&id, &patch, condition.revision(), caller.name())
        .await?;
    match done {
        Patched::Done(_) => {
            let Some(node) = app.store().node(&id).await? else {
                return Err(no_node(&id));
            };
            answer::kept(&HeaderMap::new(), Some(node.revision), &node)
        }
        Patched::NoNode => Err(no_node(&id)),
        Patched::OtherRevision(now) => Err(changed(format!(
            "the node's settings have revision {now} by now; read them again"
        ))),
    }
}

parameters! {
    /// Query of `GET /v1/nodes/{id}/history`.
    pub struct HistoryQuery {
        /// Only entries of this kind.
        kind: HistoryKind,
        /// Where to go on: `next` of the page before.
        cursor: Cursor,
        /// At most so many.
        limit: Limit,
    }
}

/// `GET /v1/nodes/{id}/history`.
pub async fn history(
    State(app): State<App>,
    Segment(id): Segment,
    Params(query): Params<HistoryQuery>,
) -> Result<Response, Problem> {
    if !app.store().has_node(&id).await? {
        return Err(no_node(&id));
    }
    let kinds: Vec<HistoryKind> = query.kind.into_iter().collect();
    let page = app
        .store()
        .history(&id, &kinds, want(query.cursor, query.limit))
        .await?;
    answer::json(&page)
}

/// `GET /v1/nodes/{id}/snapshot`.
pub async fn snapshot(
    State(app): State<App>,
    Segment(id): Segment,
    Params(NoQuery {}): Params<NoQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let Some(stored) = app.store().snapshot(&id).await? else {
        return Err(Problem::not_found(
            "this node has sent no full report yet, or there is no such node",
        ));
    };
    let etag = format!("\"{}\"", stored.taken_at.microseconds());
    let mut response = if answer::matches(&headers, &etag) {
        axum::http::StatusCode::NOT_MODIFIED.into_response()
    } else {
        let size = stored.size;
        let bytes = zstd::bulk::decompress(&stored.zstd, size).map_err(|error| {
            tracing::error!("a stored snapshot cannot be read: {error}");
            Problem::internal()
        })?;
        answer::raw(bytes)
    };
    if let Ok(value) = header::HeaderValue::from_str(&etag) {
        response.headers_mut().insert(header::ETAG, value);
    }
    Ok(response)
}
