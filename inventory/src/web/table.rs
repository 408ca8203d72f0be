//! Every route there is.

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use cupel_model::Snapshot;
use cupel_model::enrolment::{Enrolment, EnrolmentRequest};
use cupel_model::wire::{Answer, Report};

use super::nodes::NoQuery;
use super::parameters::Params;
use super::problem::Problem;
use super::route::{Access, Route};
use super::{
    App, answer, enrolments, events, expected, lists, login, nodes, openapi, pages, reports,
};
use crate::auth::Scope;
use crate::record::{
    Delivery, ExpectedChange, ExpectedEntry, ExpectedList, FindingRecord, HistoryEntry,
    MaintenanceEvent, NodePatch, NodeRecord, NodeSummary, Page, Parts, Summary, Topology,
};

/// Media type of Prometheus' text format.
const PROMETHEUS: &str = "text/plain";

/// Every route: of the API, of what watches the inventory, of the pages.
pub fn routes() -> Vec<Route> {
    let mut all = writing();
    all.extend(reading());
    all.extend(polled());
    all.extend(watching());
    all.extend(pages::routes());
    all
}

fn writing() -> Vec<Route> {
    vec![
        Route::post("/v1/reports", "postReport", reports::post)
            .access(Access::Needs(Scope::Report))
            .tells(
                "Take a node's report",
                "Stored once, however often it comes: a report is named by node, boot and sequence. \
                 Answered after it is on the disk. A token that is bound to a node, and a node's \
                 certificate, report for that node alone.",
            )
            .takes::<Report>(&["application/json"])
            .content_encoding()
            .gives::<Answer>("the report is stored")
            .problems(&[409]),
        Route::post("/v1/enrolments", "enrol", enrolments::post)
            .access(Access::Join)
            .tells(
                "Give a node an identity",
                "Needs a join token. Of the signing request the public key alone counts; it must be \
                 signed with its private half. Asking again with the same token, node and key gives \
                 the same certificate and costs nothing. A node that has an identity gets a new one \
                 for another key; the old one is superseded at once. A node \
                 that is known with other hardware than the machine tells is refused, unless the \
                 token is for that node.",
            )
            .takes::<EnrolmentRequest>(&["application/json"])
            .makes::<Enrolment>("the node's certificate"),
        Route::post("/v1/enrolments/renewal", "renew", enrolments::renew)
            .access(Access::Identity)
            .tells(
                "Renew a node's identity",
                "By the certificate that the node has, for the same key. Before its time for \
                 renewal the node is given the certificate that it has. Refused where the main \
                 board is not the one that was enrolled: then a person decides.",
            )
            .takes::<EnrolmentRequest>(&["application/json"])
            .makes::<Enrolment>("the node's next certificate"),
        Route::put("/v1/expected", "putExpected", expected::put)
            .tells(
                "Say what should arrive",
                "A list as CSV with a header line, or as JSON. It takes the place of the list that \
                 was there; entries are removed only with If-Match. With mode=merge none is. A list \
                 with a mistake is refused whole.",
            )
            .query::<expected::PutQuery>()
            .if_match("ETag of the list that is meant, or `*`", false)
            .takes::<Vec<ExpectedEntry>>(&["application/json"])
            .takes_text("text/csv")
            .gives::<ExpectedChange>("what the list changed")
            .problems(&[412, 428]),
        Route::patch("/v1/nodes/{id}", "patchNode", nodes::patch)
            .tells(
                "Set what operators set of a node",
                "Fields that are not given stay; null unsets. Of the ETag only the revision in front \
                 counts, so that a report meanwhile is no obstacle.",
            )
            .if_match("ETag of the node's record, or `*`", true)
            .takes::<NodePatch>(&["application/merge-patch+json", "application/json"])
            .gives::<NodeRecord>("the node after it")
            .problems(&[412, 428]),
    ]
}

fn reading() -> Vec<Route> {
    vec![
        Route::get("/v1/expected", "getExpected", expected::get)
            .tells("What should arrive, and what did", "")
            .query::<expected::ExpectedQuery>()
            .gives::<ExpectedList>("a page of the list")
            .kept(),
        Route::get("/v1/nodes", "listNodes", nodes::list)
            .tells("Nodes, in a line each", "Nodes that ever reported.")
            .query::<nodes::NodesQuery>()
            .gives::<Page<NodeSummary>>("a page of nodes")
            .kept(),
        Route::get("/v1/nodes/{id}", "getNode", nodes::record)
            .tells("All that is known of a node", "")
            .gives::<NodeRecord>("the node")
            .kept(),
        Route::get("/v1/nodes/{id}/history", "getHistory", nodes::history)
            .tells("What happened to a node, newest first", "")
            .query::<nodes::HistoryQuery>()
            .gives::<Page<HistoryEntry>>("a page of its history"),
        Route::get("/v1/nodes/{id}/snapshot", "getSnapshot", nodes::snapshot)
            .tells(
                "The newest snapshot of a node",
                "As the node sent it: `cupel check --from` reads it.",
            )
            .gives::<Snapshot>("the snapshot")
            .kept(),
        Route::get("/v1/parts/{serial}", "getParts", lists::parts)
            .tells(
                "Parts with this serial number",
                "Where each is, where it was, and its findings.",
            )
            .gives::<Parts>("the parts")
            .kept(),
        Route::get("/v1/findings", "listFindings", lists::findings)
            .tells("Findings, newest first", "One record for each occurrence.")
            .query::<lists::FindingsQuery>()
            .gives::<Page<FindingRecord>>("a page of findings")
            .kept(),
        Route::get("/v1/summary", "getSummary", lists::summary)
            .tells(
                "The fleet in numbers",
                "Delivered: handed over by now and not retired. Healthy, reserved and in use are \
                 counted among the delivered.",
            )
            .query::<lists::SummaryQuery>()
            .gives::<Summary>("the numbers")
            .kept(),
    ]
}

fn polled() -> Vec<Route> {
    vec![
        Route::get("/v1/deliveries", "listDeliveries", lists::deliveries)
            .tells("Nodes that were handed over, oldest first", "")
            .query::<lists::DeliveriesQuery>()
            .gives::<Page<Delivery>>("a page of deliveries")
            .kept(),
        Route::get("/v1/maintenance", "listMaintenance", lists::maintenance)
            .tells(
                "Maintenance events, newest first",
                "Occurrences of enforced findings of severity warning or above.",
            )
            .query::<lists::MaintenanceQuery>()
            .gives::<Page<MaintenanceEvent>>("a page of maintenance events")
            .kept(),
        Route::get("/v1/topology", "getTopology", lists::topology)
            .tells(
                "Switches above each instance",
                "As NVIDIA's topograph reads it. An empty page is the end.",
            )
            .query::<lists::TopologyQuery>()
            .gives::<Topology>("a page of the topology")
            .kept(),
        Route::get("/v1/events", "listen", events::get)
            .tells(
                "What changes, as server-sent events",
                "Types: `node`, `finding` (data: a Change), `ping`, and `reset` when what lies \
                 between Last-Event-ID and now is no longer kept. The stream ends after a while; \
                 come again with Last-Event-ID.",
            )
            .query::<events::EventsQuery>()
            .header("Last-Event-ID", "go on after this event")
            .gives_text("text/event-stream", "the stream")
            .stream(),
    ]
}

fn watching() -> Vec<Route> {
    vec![
        Route::get("/healthz", "health", health)
            .access(Access::Open)
            .tells("Whether the inventory and its database answer", "")
            .gives_text(PROMETHEUS, "it does"),
        Route::get("/metrics", "metrics", metrics)
            .tells("Metrics in Prometheus' text format", "")
            .gives_text(PROMETHEUS, "the metrics"),
        Route::get("/openapi.json", "describe", describe)
            .tells("This description", "")
            .gives::<openapi::Description>("OpenAPI 3.1"),
        Route::get("/login", "loginPage", login::get)
            .access(Access::Open)
            .undescribed()
            .query::<login::LoginQuery>(),
        Route::post("/login", "login", login::post)
            .access(Access::Open)
            .undescribed()
            .takes_text("application/x-www-form-urlencoded"),
        Route::post("/logout", "logout", login::logout)
            .access(Access::Open)
            .undescribed(),
    ]
}

async fn health(
    State(app): State<App>,
    Params(NoQuery {}): Params<NoQuery>,
) -> Result<Response, Problem> {
    app.store().expected_revision().await?;
    Ok((
        [
            (header::CONTENT_TYPE, "text/plain; charset=utf-8"),
            (header::CACHE_CONTROL, "no-store"),
        ],
        "ok\n",
    )
        .into_response())
}

async fn metrics(
    State(app): State<App>,
    Params(NoQuery {}): Params<NoQuery>,
) -> Result<Response, Problem> {
    let figures = app.store().figures().await?;
    let free = app.0.listeners.available_permits();
    let listeners = app.limits().listeners.saturating_sub(free);
    let text = app.metrics().text(&figures, listeners);
    Ok((
        [
            (
                header::CONTENT_TYPE,
                "text/plain; version=0.0.4; charset=utf-8",
            ),
            (header::CACHE_CONTROL, "no-store"),
        ],
        text,
    )
        .into_response())
}

async fn describe(State(app): State<App>, Params(NoQuery {}): Params<NoQuery>) -> Response {
    let bytes = app.0.description.get_or_init(|| {
        let document = super::description();
        serde_json::to_vec(&document).unwrap_or_default()
    });
    answer::raw(bytes.clone())
}
