//! The pages: their values are read from the store here, and written as HTML in [`crate::pages`].

mod fleet;
mod lines;
mod node;
mod part;
mod search;

use axum::extract::State;
use axum::http::header::{self, HeaderMap, HeaderValue};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde::de::DeserializeOwned;

use super::App;
use super::answer;
use super::guard::Caller;
use super::parameters::pairs;
use super::problem::Problem;
use super::route::{Access, Route};
use crate::pages::{self, view};

/// The routes of the pages and of what they load.
pub fn routes() -> Vec<Route> {
    let mut all = vec![
        Route::get("/", "fleetPage", fleet::fleet).page(),
        // What a person types who cuts the end off a node's address.
        Route::get("/nodes", "nodesPage", fleet::fleet).page(),
        Route::get(
            "/racks/{region}/{site}/{row}/{rack}",
            "rackPage",
            fleet::rack,
        )
        .page(),
        Route::get("/nodes/{id}", "nodePage", node::node).page(),
        Route::get("/parts/{serial}", "partPage", part::part).page(),
        Route::get("/search", "searchPage", search::search).page(),
    ];
    for asset in pages::assets() {
        all.push(
            Route::get(asset.path, "asset", self::asset)
                .access(Access::Open)
                .undescribed(),
        );
    }
    all
}

/// What every page needs.
pub fn context(app: &App, caller: Option<&Caller>) -> view::Context {
    view::Context {
        now: app.clock().now(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        signed_in: caller.map(|caller| caller.name().to_owned()),
    }
}

/// A page.
pub fn html(status: StatusCode, text: String) -> Response {
    (
        status,
        [
            (header::CONTENT_TYPE, "text/html; charset=utf-8"),
            (header::CACHE_CONTROL, "no-store"),
        ],
        text,
    )
        .into_response()
}

/// A problem as a page.
pub fn problem(app: &App, problem: &Problem) -> Response {
    let view = view::Problem {
        context: context(app, None),
        status: problem.status().as_u16(),
        detail: Some(problem.detail().to_owned()),
    };
    let mut response = html(problem.status(), pages::problem(&view));
    response.headers_mut().extend(problem.headers().clone());
    response
}

/// A page, or why there is none, as a page.
fn page(app: &App, made: Result<String, Problem>) -> Response {
    match made {
        Ok(text) => html(StatusCode::OK, text),
        Err(why) => problem(app, &why),
    }
}

/// The query of a page: what is empty is left out, what is not known is of no use here.
fn query<T: DeserializeOwned + Default>(uri: &Uri) -> T {
    let mut map = serde_json::Map::new();
    for (name, value) in pairs(uri).unwrap_or_default() {
        if !value.is_empty() && value.len() <= 1024 {
            map.insert(name, serde_json::Value::String(value));
        }
    }
    serde_json::from_value(serde_json::Value::Object(map)).unwrap_or_default()
}

async fn asset(State(_app): State<App>, uri: Uri, headers: HeaderMap) -> Result<Response, Problem> {
    let Some(asset) = pages::assets()
        .iter()
        .find(|asset| asset.path == uri.path())
    else {
        return Err(Problem::not_found("there is no such file"));
    };
    let named = pairs(&uri)?.iter().any(|(name, _)| name == "v");
    let cache = if named {
        "public, max-age=31536000, immutable"
    } else {
        "no-cache"
    };
    let mut response = if answer::matches(&headers, &asset.etag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        ([(header::CONTENT_TYPE, asset.content_type)], asset.bytes).into_response()
    };
    let out = response.headers_mut();
    if let Ok(etag) = HeaderValue::from_str(&asset.etag) {
        out.insert(header::ETAG, etag);
    }
    out.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
    Ok(response)
}
