//! The fleet and its racks.

use axum::Extension;
use axum::extract::{Path, State};
use axum::http::Uri;
use axum::response::Response;
use cupel_model::wire::Lifecycle;

use super::super::App;
use super::super::guard::Caller;
use super::super::problem::Problem;
use super::lines::{counts, line, standing_number};
use super::{context, page, query};
use crate::pages::{self, view};
use crate::record::Capacity;
use crate::store::{FleetFilter, RackCount, RackName};

/// Lines on a page.
const LINES: u32 = 100;

/// Nodes of a rack.
const RACK: u32 = 500;

/// Codes beside the list.
const CODES: u32 = 12;

/// The lines that are shown.
fn shown(query: &view::FleetQuery) -> FleetFilter {
    use view::Standing as S;
    let standings: &[S] = match query.show {
        view::Show::All | view::Show::Unexpected | view::Show::Mismatched => &[],
        view::Show::Sick => &[S::Unhealthy, S::Silent, S::Missing, S::Unknown, S::Degraded],
        view::Show::Unhealthy => &[S::Unhealthy],
        view::Show::Silent => &[S::Silent],
        view::Show::Missing => &[S::Missing],
        view::Show::Unknown => &[S::Unknown],
        view::Show::Degraded => &[S::Degraded],
        view::Show::Quiet => &[S::Quiet],
        view::Show::Healthy => &[S::Healthy],
    };
    let sick = query.show == view::Show::Sick;
    let lifecycle: Option<Lifecycle> = query
        .lifecycle
        .as_ref()
        .and_then(|word| serde_json::from_value(word.clone().into()).ok());
    FleetFilter {
        standings: standings.iter().copied().map(standing_number).collect(),
        unexpected: sick || query.show == view::Show::Unexpected,
        mismatched: sick || query.show == view::Show::Mismatched,
        region: query.region.clone(),
        site: query.site.clone(),
        row: query.row.clone(),
        rack: query.rack.clone(),
        exactly: None,
        platform: query.platform.clone(),
        lifecycle,
        code: query.code.clone(),
        q: query.q.clone(),
    }
}

fn capacity(capacity: Capacity) -> view::Capacity {
    view::Capacity {
        nodes: u32::try_from(capacity.nodes).unwrap_or(u32::MAX),
        gpus: u32::try_from(capacity.gpus).unwrap_or(u32::MAX),
    }
}

fn code(count: crate::store::CodeCount) -> view::CodeCount {
    view::CodeCount {
        code: count.code,
        severity: count.severity,
        nodes: count.nodes,
    }
}

/// Codes of open findings, as pages show them.
pub async fn codes(app: &App, filter: &FleetFilter) -> Result<Vec<view::CodeCount>, Problem> {
    let codes = app.store().codes(filter, CODES).await?;
    Ok(codes.into_iter().map(code).collect())
}

/// `GET /`.
pub async fn fleet(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    uri: Uri,
) -> Response {
    let made = make_fleet(&app, &caller, query(&uri)).await;
    page(&app, made)
}

async fn make_fleet(
    app: &App,
    caller: &Caller,
    query: view::FleetQuery,
) -> Result<String, Problem> {
    let store = app.store();
    let filter = shown(&query);
    let before: u32 = query
        .after
        .as_ref()
        .and_then(|text| text.parse().ok())
        .unwrap_or_default();
    let places = FleetFilter {
        q: None,
        ..filter.clone()
    };
    let (found, racks, codes, choices, summary) = tokio::try_join!(
        async { Ok(store.fleet_page(&filter, LINES, u64::from(before)).await?) },
        async { Ok(store.racks(&places).await?) },
        codes(app, &places),
        async { Ok(store.choices().await?) },
        async { Ok(store.summary(None).await?) },
    )
    .map_err(|problem: Problem| problem)?;
    let matching = u32::try_from(found.matching).unwrap_or(u32::MAX);
    let after = before.saturating_add(LINES);
    let numbers = summary.fleet;
    let view = view::Fleet {
        context: context(app, Some(caller)),
        capacity: Some(view::FleetCapacity {
            delivered: capacity(numbers.delivered),
            healthy: capacity(numbers.healthy),
            reserved: capacity(numbers.reserved),
            in_use: capacity(numbers.in_use),
        }),
        racks: racks.into_iter().map(counts).collect(),
        codes,
        regions: choices.regions,
        sites: choices.sites,
        platforms: choices.platforms,
        nodes: found.lines.into_iter().map(line).collect(),
        matching,
        before: before.min(matching),
        next: (after < matching).then(|| after.to_string()),
        query,
    };
    Ok(pages::fleet(&view))
}

/// A segment of a rack's path: `-` is not set.
fn segment(text: String) -> Option<String> {
    (text != "-").then_some(text)
}

/// `GET /racks/{region}/{site}/{row}/{rack}`.
pub async fn rack(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Path((region, site, row, rack)): Path<(String, String, String, String)>,
) -> Response {
    let name = RackName {
        region: segment(region),
        site: segment(site),
        row: segment(row),
        rack: segment(rack),
    };
    let made = make_rack(&app, &caller, name).await;
    page(&app, made)
}

async fn make_rack(app: &App, caller: &Caller, name: RackName) -> Result<String, Problem> {
    let filter = FleetFilter {
        exactly: Some(name.clone()),
        ..FleetFilter::default()
    };
    let found = app.store().fleet_page(&filter, RACK, 0).await?;
    if found.lines.is_empty() {
        return Err(Problem::not_found(
            "no node is in this rack, and none is expected there",
        ));
    }
    let row = FleetFilter {
        region: name.region.clone(),
        site: name.site.clone(),
        row: name.row.clone(),
        ..FleetFilter::default()
    };
    let racks = app.store().racks(&row).await?;
    let (previous, next) = beside(&racks, &name);
    let view = view::Rack {
        context: context(app, Some(caller)),
        place: super::lines::rack(name),
        units: None,
        nodes: found.lines.into_iter().map(line).collect(),
        previous,
        next,
    };
    Ok(pages::rack(&view))
}

/// The racks before and after one in its row.
fn beside(
    racks: &[RackCount],
    name: &RackName,
) -> (Option<view::RackPlace>, Option<view::RackPlace>) {
    let row: Vec<&RackName> = racks
        .iter()
        .map(|count| &count.rack)
        .filter(|rack| {
            rack.rack.is_some()
                && (&rack.region, &rack.site, &rack.row) == (&name.region, &name.site, &name.row)
        })
        .collect();
    let Some(here) = row.iter().position(|rack| *rack == name) else {
        return (None, None);
    };
    let at = |index: Option<usize>| {
        let rack = row.get(index?)?;
        Some(super::lines::rack((*rack).clone()))
    };
    (at(here.checked_sub(1)), at(here.checked_add(1)))
}
