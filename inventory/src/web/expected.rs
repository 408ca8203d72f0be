//! `GET` and `PUT /v1/expected`.

use axum::extract::{Request, State};
use axum::http::header::HeaderMap;
use axum::response::Response;

use super::answer::{self, IfMatch, changed, unconditional};
use super::nodes::want;
use super::parameters::{Limit, Params, parameters};
use super::problem::{Mistake, Problem};
use super::{App, body};
use crate::expected::{Format, parse};
use crate::record::{Cursor, ExpectedMode, ExpectedState};
use crate::store::ListChanged;

/// Most mistakes that are told at once.
const MOST_MISTAKES: usize = 100;

parameters! {
    /// Query of `GET /v1/expected`.
    pub struct ExpectedQuery {
        /// Only entries of which this became.
        state: ExpectedState,
        /// Where to go on: `next` of the page before.
        cursor: Cursor,
        /// At most so many.
        limit: Limit,
    }
}

/// `GET /v1/expected`.
pub async fn get(
    State(app): State<App>,
    Params(query): Params<ExpectedQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let list = app
        .store()
        .expected(query.state, want(query.cursor, query.limit))
        .await?;
    answer::kept(&headers, Some(list.revision), &list)
}

parameters! {
    /// Query of `PUT /v1/expected`.
    pub struct PutQuery {
        /// Whether the list takes the place of the old one, or is merged into it.
        mode: ExpectedMode,
    }
}

/// `PUT /v1/expected`.
pub async fn put(
    State(app): State<App>,
    Params(query): Params<PutQuery>,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, incoming) = request.into_parts();
    let format = match body::media_type(&parts.headers).as_deref() {
        Some("application/json") => Format::Json,
        Some("text/csv") => Format::Csv,
        Some(_) | None => {
            return Err(Problem::unsupported(
                "the list is text/csv with a header line, or application/json",
            ));
        }
    };
    let condition = IfMatch::of(&parts.headers)?;
    let read = body::read(&app, &parts.headers, incoming, app.limits().list_bytes).await?;
    let entries = parse(format, &read.bytes).map_err(|mistakes| {
        let count = mistakes.len();
        let mistakes = mistakes.into_iter().take(MOST_MISTAKES).map(|m| Mistake {
            line: m.line,
            column: m.column,
            value: m.value,
            detail: m.detail,
        });
        let detail = format!("the list has {count} mistakes; nothing of it was taken");
        Problem::mistakes(detail, mistakes.collect())
    })?;
    let mode = query.mode.unwrap_or_default();
    let may_remove = condition != IfMatch::Absent;
    let done = app
        .store()
        .put_expected(&entries, mode, condition.revision(), may_remove)
        .await?;
    match done {
        ListChanged::Done(change) => {
            answer::kept(&HeaderMap::new(), Some(change.revision), &change)
        }
        ListChanged::OtherRevision(now) => Err(changed(format!(
            "the list has revision {now} by now; read it again"
        ))),
        ListChanged::WouldRemove(count) => Err(unconditional(format!(
            "{count} entries of the list are not in this one and would be removed: send If-Match \
             with the ETag of GET /v1/expected, or mode=merge to keep them"
        ))),
    }
}
