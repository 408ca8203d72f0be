//! `POST /v1/enrolments` and its renewal: nodes get an identity, and keep it.
//!
//! # Invariants
//! - A certificate is answered after it is on the disk; asking again gives the same one.
//! - Each refusal says what to do, and is in the log with the node that was refused.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::{self, HeaderMap};
use axum::response::Response;
use cupel_model::SCHEMA_VERSION;
use cupel_model::enrolment::{Enrolment, EnrolmentRequest, HardwareIdentity};

use super::guard::Shown;
use super::problem::{Mistake, Problem, chain};
use super::{App, answer, body, guard};
use crate::authority::{Authority, AuthorityError, Issued, NodeKey};
use crate::name;
use crate::store::{
    Asked, Enrolled, Error, Identity, JoinRefusal, JoinToken, RenewalRefusal, Renewed,
};

/// A refusal of a join token as a problem.
pub fn refused(why: &JoinRefusal) -> Problem {
    if why.is_of_token() {
        Problem::new(
            StatusCode::UNAUTHORIZED,
            why.word(),
            "Join token refused",
            why.to_string(),
        )
        .with(header::WWW_AUTHENTICATE, guard::REFUSED)
    } else {
        Problem::new(
            StatusCode::FORBIDDEN,
            why.word(),
            "May not join",
            why.to_string(),
        )
    }
}

/// The authority, or why there is none.
fn broken(error: &AuthorityError) -> Problem {
    tracing::error!("the authority failed: {}", chain(error));
    Problem::internal()
}

/// Reads what a node asks.
async fn read(
    app: &App,
    headers: &HeaderMap,
    incoming: axum::body::Body,
) -> Result<EnrolmentRequest, Problem> {
    match body::media_type(headers).as_deref() {
        Some("application/json") => {}
        Some(_) | None => {
            return Err(Problem::unsupported("an enrolment is application/json"));
        }
    }
    let read = body::read(app, headers, incoming, app.limits().small_bytes).await?;
    let request: EnrolmentRequest = body::from_json(&read.bytes)?;
    let wrong = |column: &str, detail: String| {
        Problem::mistakes(
            detail.clone(),
            vec![Mistake {
                column: Some(column.to_owned()),
                detail,
                ..Mistake::default()
            }],
        )
    };
    if request.schema_version != SCHEMA_VERSION {
        return Err(wrong(
            "schema_version",
            format!("this inventory reads version {SCHEMA_VERSION} of this JSON"),
        ));
    }
    if !name::is_id(&request.node) {
        return Err(wrong("node", "this is no node's id".to_owned()));
    }
    Ok(request)
}

/// Serial numbers as far as they name something.
fn hardware(told: &HardwareIdentity) -> HardwareIdentity {
    let serial = |text: &Option<String>| {
        let serial = text.as_deref().and_then(name::serial);
        serial.map(str::to_owned)
    };
    HardwareIdentity {
        serial: serial(&told.serial),
        chassis_serial: serial(&told.chassis_serial),
        board_serial: serial(&told.board_serial),
    }
}

/// What is asked for, as the store takes it; the key that is to be signed; and who signs.
async fn asked(app: &App, request: Request) -> Result<(Asked, NodeKey, Arc<Authority>), Problem> {
    let (parts, incoming) = request.into_parts();
    let request = read(app, &parts.headers, incoming).await?;
    let key = NodeKey::of_request(&request.request).map_err(|error| {
        Problem::new(
            StatusCode::BAD_REQUEST,
            "bad-signing-request",
            "Bad signing request",
            error.to_string(),
        )
    })?;
    let asked = Asked {
        node: request.node.clone(),
        hardware: hardware(&request.hardware),
        key_protection: request.key_protection,
        key_digest: key.digest(),
    };
    let authority = app.authority().await.map_err(|error| broken(&error))?;
    Ok((asked, key, authority))
}

/// Signs a certificate for this node and key, when it is asked to.
fn sign<'a>(
    app: &'a App,
    authority: &'a Authority,
    node: &'a str,
    key: &'a NodeKey,
) -> impl Fn() -> Result<Issued, Error> + Sync + 'a {
    move || {
        let now = app.clock().microseconds();
        let issued = authority.issue(node, key, app.policy(), now);
        issued.map_err(|error| Error::Authority(Arc::new(error)))
    }
}

/// 201, with the certificate.
fn given(authority: &Authority, identity: Identity) -> Result<Response, Problem> {
    let mut response = answer::json(&Enrolment {
        schema_version: SCHEMA_VERSION,
        node: identity.node,
        certificate: identity.certificate,
        authority: authority.certificate().to_owned(),
        not_before: identity.not_before,
        not_after: identity.not_after,
        renew_after: identity.renew_after,
    })?;
    *response.status_mut() = StatusCode::CREATED;
    Ok(response)
}

/// Notes that a machine that calls itself `by` has the key of another node.
async fn copied(app: &App, owner: &str, by: &str, address: Option<String>) -> Result<(), Problem> {
    Ok(app.store().elsewhere(owner, by, address.as_deref()).await?)
}

/// Gives a node an identity by a join token.
pub async fn post(
    State(app): State<App>,
    Extension(token): Extension<JoinToken>,
    request: Request,
) -> Result<Response, Problem> {
    let from = guard::address(request.extensions());
    let (asked, key, authority) = asked(&app, request).await?;
    let sign = sign(&app, &authority, &asked.node, &key);
    match app.store().enrol(&asked, &sign, token.key).await? {
        Enrolled::Done(identity) => {
            // What the node had before is good no more.
            app.0.identities.forget();
            tracing::info!(node = asked.node, token = token.name, "enrolled");
            given(&authority, *identity)
        }
        Enrolled::Again(identity) => given(&authority, *identity),
        Enrolled::Refused(why) => {
            tracing::warn!(node = asked.node, token = token.name, "may not join: {why}");
            if let JoinRefusal::KeyOf(owner) = &why {
                copied(&app, owner, &asked.node, from).await?;
            }
            if let JoinRefusal::OtherHardware { known, told, .. } = &why {
                tracing::warn!(known, told, "its serial numbers, for whoever decides");
            }
            Err(refused(&why))
        }
    }
}

/// Gives a node its next certificate, by the one that it has.
pub async fn renew(
    State(app): State<App>,
    Extension(shown): Extension<Shown>,
    request: Request,
) -> Result<Response, Problem> {
    let from = guard::address(request.extensions());
    let (asked, key, authority) = asked(&app, request).await?;
    let sign = sign(&app, &authority, &asked.node, &key);
    let renewed = app.store().renew(&asked, &sign, &shown.fingerprint).await?;
    match renewed {
        Renewed::Done(identity) => given(&authority, *identity),
        Renewed::Refused(why) => {
            let node = &shown.identity.node;
            tracing::warn!(node, "the identity is not renewed: {why}");
            if let RenewalRefusal::OtherNode(owner) = &why {
                copied(&app, owner, &asked.node, from).await?;
            }
            Err(Problem::new(
                StatusCode::FORBIDDEN,
                why.word(),
                "Identity not renewed",
                why.to_string(),
            ))
        }
    }
}
