//! The search.

use axum::Extension;
use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use serde::Deserialize;

use super::super::App;
use super::super::guard::Caller;
use super::super::problem::Problem;
use super::fleet::codes;
use super::lines::{component, line, stay};
use super::{context, page, query};
use crate::pages::{self, view};
use crate::store::FleetFilter;

/// Nodes and parts on the page.
const LINES: u32 = 50;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct SearchQuery {
    q: Option<String>,
}

/// `GET /search`.
pub async fn search(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    uri: Uri,
) -> Response {
    let SearchQuery { q } = query(&uri);
    let q = q
        .map(|text| text.trim().to_owned())
        .filter(|text| !text.is_empty());
    let made = make(&app, &caller, q).await;
    page(&app, made)
}

async fn make(app: &App, caller: &Caller, q: Option<String>) -> Result<String, Problem> {
    let mut view = view::Search {
        context: context(app, Some(caller)),
        q: q.clone(),
        nodes: Vec::new(),
        more_nodes: false,
        parts: Vec::new(),
        more_parts: false,
        codes: Vec::new(),
    };
    if let Some(text) = q {
        let filter = FleetFilter {
            q: Some(text.clone()),
            ..FleetFilter::default()
        };
        let found = app.store().fleet_page(&filter, LINES, 0).await?;
        view.more_nodes = found.matching > u64::from(LINES);
        view.nodes = found.lines.into_iter().map(line).collect();
        let mut parts = app.store().search_parts(&text, LINES + 1).await?;
        let most = usize::try_from(LINES).unwrap_or(usize::MAX);
        view.more_parts = parts.len() > most;
        parts.truncate(most);
        let last = parts.iter().filter_map(|part| part.place.as_ref());
        let places = super::part::places(app, last).await?;
        view.parts = parts
            .into_iter()
            .map(|part| view::PartLine {
                kind: component(part.kind),
                last: part.place.as_ref().map(|place| {
                    let at = places.get(&place.node).cloned().unwrap_or_default();
                    stay(place, at)
                }),
                serial: part.serial,
                name: part.model,
            })
            .collect();
        view.codes = codes(app, &filter).await?;
    }
    Ok(pages::search(&view))
}
