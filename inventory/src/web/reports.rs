//! `POST /v1/reports`.
//!
//! # Invariants
//! - A report is read, expanded and taken apart within limits that hold over all requests.
//! - The answer names the report and is sent after its commit.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::Extension;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::StatusCode;
use axum::http::header;
use axum::response::Response;
use cupel_model::SCHEMA_VERSION;
use cupel_model::wire::{Accepted, Answer, Send};
use tokio::sync::OwnedSemaphorePermit;

use super::guard::{Caller, forbidden};
use super::problem::{Mistake, Problem, chain};
use super::{App, answer, body};
use crate::ingest::{self, Encoding, ExpandError, Incoming, Refusal};

/// Reports up to this size are taken apart at once; larger ones wait for their turn.
const LIGHT: usize = 64 << 10;

/// Takes a report.
pub async fn post(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Result<Response, Problem> {
    let began = Instant::now();
    let from = request.extensions().get::<ConnectInfo<SocketAddr>>();
    let from = from.map(|ConnectInfo(address)| *address);
    let result = take(&app, &caller, from, request).await;
    let (kind, outcome) = match &result {
        Ok((kind, outcome, _)) => (*kind, *outcome),
        Err(problem) if problem.status() == StatusCode::CONFLICT => ("", "conflict"),
        Err(problem) if problem.status().is_server_error() => ("", "failed"),
        Err(_) => ("", "refused"),
    };
    app.metrics().report(kind, outcome, began.elapsed());
    let (_, _, response) = result?;
    Ok(response)
}

async fn take(
    app: &App,
    caller: &Caller,
    from: Option<SocketAddr>,
    request: Request,
) -> Result<(&'static str, &'static str, Response), Problem> {
    let (parts, incoming) = request.into_parts();
    match body::media_type(&parts.headers).as_deref() {
        Some("application/json") => {}
        Some(_) | None => {
            return Err(Problem::unsupported(
                "a report is application/json, compressed by Content-Encoding",
            ));
        }
    }
    let named = match parts.headers.get(header::CONTENT_ENCODING) {
        Some(value) => value.to_str().unwrap_or("?"),
        None => "",
    };
    let Some(encoding) = Encoding::from_header(named) else {
        return Err(Problem::unsupported(format!(
            "Content-Encoding may be one of {}",
            Encoding::ACCEPTED
        ))
        .with(header::ACCEPT_ENCODING, Encoding::ACCEPTED));
    };
    let limits = app.limits();
    let read = body::read(app, &parts.headers, incoming, limits.report_bytes).await?;
    let (report, _memory) = parse(app, encoding, read).await?;
    whose(app, caller, &report.node, from).await?;
    let kind = report.kind().word();
    let node: Arc<str> = report.node.as_str().into();
    let accepted = Accepted {
        node: report.node.clone(),
        boot: report.boot.clone(),
        sequence: u64::try_from(report.sequence).unwrap_or_default(),
    };
    let stored = match app.store().ingest(report).await {
        Ok(stored) => stored,
        Err(error) => {
            if error.is_general() {
                // Nodes that cannot report now are not silent by their own fault.
                super::watch::forgive(app);
            }
            return Err(error.into());
        }
    };
    let _ = app.0.reported.send(node);
    let outcome = match (stored.duplicate, stored.late) {
        (true, _) => "duplicate",
        (false, true) => "late",
        (false, false) => "stored",
    };
    let response = answer::json(&Answer {
        schema_version: SCHEMA_VERSION,
        accepted,
        duplicate: stored.duplicate,
        send: stored.send_full.then_some(Send::Full),
        wanted: stored.wanted,
    })?;
    Ok((kind, outcome, response))
}

/// Refuses a report of a node that is not the caller's.
async fn whose(
    app: &App,
    caller: &Caller,
    reported: &str,
    from: Option<SocketAddr>,
) -> Result<(), Problem> {
    match caller {
        Caller::Token(token) | Caller::Session(token) => match &token.node {
            Some(node) if node != reported => Err(forbidden(format!(
                "this token may report for node {node} alone"
            ))),
            Some(_) | None => Ok(()),
        },
        Caller::Node(shown) if shown.identity.node == reported => Ok(()),
        Caller::Node(shown) => {
            let node = &shown.identity.node;
            let address = from.map(|from| from.ip().to_string());
            tracing::warn!(
                identity = node,
                node = reported,
                address,
                "a machine reports with the identity of another node"
            );
            app.store()
                .elsewhere(node, reported, address.as_deref())
                .await?;
            Err(Problem::new(
                StatusCode::FORBIDDEN,
                "identity-mismatch",
                "Identity of another node",
                format!(
                    "this certificate is the identity of node {node}, and the report is of node \
                     {reported}: enrol this machine anew, with a key of its own"
                ),
            ))
        }
    }
}

/// Expands and takes apart. What is kept in memory until the commit is counted.
async fn parse(
    app: &App,
    encoding: Encoding,
    read: body::Bytes,
) -> Result<(Incoming, Option<OwnedSemaphorePermit>), Problem> {
    let limits = app.limits();
    let light = read.bytes.len() <= LIGHT;
    if light {
        match ingest::expand(encoding, read.bytes.clone(), LIGHT) {
            Ok(json) => return Ok((ingest::parse(&json).map_err(refused)?, None)),
            Err(ExpandError::TooLong(_)) => {}
            Err(broken @ ExpandError::Broken { .. }) => return Err(unreadable(&broken)),
        }
    }
    let heavy = Arc::clone(&app.0.heavy).acquire_owned();
    let Ok(Ok(turn)) = tokio::time::timeout(limits.turn_deadline, heavy).await else {
        return Err(Problem::busy("too many large reports at once; try again"));
    };
    let most = limits.report_bytes_expanded;
    let waiting = Arc::clone(&app.0.waiting);
    let work = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        let json = ingest::expand(encoding, read.bytes, most).map_err(|error| match error {
            ExpandError::TooLong(limit) => {
                Problem::too_large(format!("the report expands to more than {limit} bytes"))
            }
            broken @ ExpandError::Broken { .. } => unreadable(&broken),
        })?;
        let share = u32::try_from(json.len() / 1024 + 1).unwrap_or(u32::MAX);
        let memory = waiting
            .try_acquire_many_owned(share)
            .map_err(|_| Problem::busy("too many reports wait to be stored; try again"))?;
        let report = ingest::parse(&json).map_err(refused)?;
        Ok((report, Some(memory)))
    });
    work.await.unwrap_or_else(|error| {
        tracing::error!("taking a report apart failed: {error}");
        Err(Problem::internal())
    })
}

fn unreadable(error: &ExpandError) -> Problem {
    Problem::bad_request(format!("the body {}", chain(error)))
}

fn refused(refusal: Refusal) -> Problem {
    match refusal {
        Refusal::NotJson { .. } => Problem::bad_request(format!("the report {refusal}")),
        Refusal::TooMuch(ingest::ScanError::TooMany) => {
            Problem::too_large(format!("the report {refusal}"))
        }
        Refusal::TooMuch(ingest::ScanError::TooDeep) => {
            Problem::bad_request(format!("the report {refusal}"))
        }
        Refusal::Value { path, detail } => Problem::mistakes(
            format!("{path}: {detail}"),
            vec![Mistake {
                line: None,
                column: Some(path),
                value: None,
                detail,
            }],
        ),
    }
}
