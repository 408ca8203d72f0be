//! One part.

use std::collections::HashMap;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;

use super::super::App;
use super::super::guard::Caller;
use super::super::nodes::Segment;
use super::super::problem::Problem;
use super::lines::{component, stay};
use super::{context, page};
use crate::pages::{self, view};
use crate::record::Placement;
use crate::store::{FleetFilter, FleetLine};

/// `GET /parts/{serial}`.
pub async fn part(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Segment(serial): Segment,
) -> Response {
    let made = make(&app, &caller, &serial).await;
    page(&app, made)
}

/// Where the nodes of these placements stand.
pub async fn places(
    app: &App,
    placements: impl Iterator<Item = &Placement>,
) -> Result<HashMap<String, view::Place>, Problem> {
    let mut places = HashMap::new();
    for placement in placements {
        if places.contains_key(&placement.node) {
            continue;
        }
        let filter = FleetFilter {
            q: Some(placement.node.clone()),
            ..FleetFilter::default()
        };
        let found = app.store().fleet_page(&filter, 10, 0).await?.lines;
        let line = found.into_iter().find(|line| line.id == placement.node);
        places.insert(placement.node.clone(), line.map(place).unwrap_or_default());
    }
    Ok(places)
}

fn place(line: FleetLine) -> view::Place {
    view::Place {
        rack: super::lines::rack(line.rack),
        unit: line.unit,
        height_units: line.height_units,
    }
}

async fn make(app: &App, caller: &Caller, serial: &str) -> Result<String, Problem> {
    let found = app.store().parts(serial).await?;
    // Kinds that share a number are rare; the one that is somewhere now is meant.
    let record = found
        .parts
        .into_iter()
        .max_by_key(|record| {
            record
                .placements
                .iter()
                .any(|placement| placement.until.is_none())
        })
        .ok_or_else(|| Problem::not_found("no node has told of a part with this serial number"))?;
    let places = places(app, record.placements.iter()).await?;
    let stays = record.placements.iter().map(|placement| {
        let place = places.get(&placement.node).cloned().unwrap_or_default();
        stay(placement, place)
    });
    let view = view::Part {
        context: context(app, Some(caller)),
        kind: component(record.part.kind),
        stays: stays.collect(),
        findings: record
            .findings
            .iter()
            .map(|finding| view::PartFinding {
                node: finding.node.clone(),
                hostname: finding.hostname.clone(),
                finding: view::FindingLine::from(&finding.tracked),
                cleared: finding.closed_at,
            })
            .collect(),
        serial: record.part.serial,
        name: record.part.model,
        part_number: record.part.part_number,
        uuid: record.part.uuid,
        firmware: record.part.firmware,
    };
    Ok(pages::part(&view))
}
