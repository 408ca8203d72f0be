//! What is said to the inventory: an identity is asked for, and the next one.
//!
//! # Invariants
//! - One attempt ends within its limit; no redirect is followed; the answer has a cap.
//! - A refusal is one only if the inventory says so: a problem document (RFC 9457) with a final
//!   status. All else is no answer, and may be tried again with the same key.

use std::path::Path;
use std::time::Duration;

use cupel_model::SCHEMA_VERSION;
use cupel_model::enrolment::{Enrolment, EnrolmentRequest, JoinFile};
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderValue};
use reqwest::{Client, Url};

use super::document::{NodeIdentity, is_same_authority};
use super::join::are_certificates;
use super::key::Key;
use crate::delivery::{DeliveryError, Target, Way, connection, problem, read, shown};
use crate::store::chain;

/// For a connection to stand, TLS included.
const CONNECTING: Duration = Duration::from_secs(10);

/// For one attempt from its beginning to the last byte of the answer.
const ATTEMPT: Duration = Duration::from_secs(60);

/// Why there is no identity.
#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    /// The address, or TLS cannot be set up.
    #[error(transparent)]
    Setup(#[from] DeliveryError),
    /// No event loop.
    #[error("cannot start an event loop")]
    Runtime(#[source] std::io::Error),
    /// No usable answer; perhaps later.
    #[error("the inventory gives no answer: {0}")]
    Away(String),
    /// TLS: its certificate is not to be trusted, or it does not take that of the identity.
    #[error("inventory and node do not trust each other: {0}")]
    Untrusted(String),
    /// The inventory refuses.
    #[error("the inventory refuses it: {0}")]
    Refused(String),
    /// The answer is of another node, or for another key.
    #[error("the answer of the inventory is no identity of this node: {0}")]
    Answer(String),
}

/// Asks for an identity with a join token.
///
/// # Errors
/// [`EnrolError`].
pub fn enrol(
    join: &JoinFile,
    ca_file: Option<&Path>,
    request: &EnrolmentRequest,
    key: &Key,
) -> Result<Enrolment, EnrolError> {
    let target = Target::parse(&join.inventory)?;
    let client = connection(&Way {
        target: &target,
        ca_file,
        authority: join.authority.as_deref(),
        identity: None,
        proxy_from_environment: false,
        connect_timeout: CONNECTING,
        timeout: ATTEMPT,
    })?;
    let mut token = HeaderValue::from_str(&format!("Bearer {}", join.token))
        .map_err(|_| EnrolError::Away("the token fits no header".to_owned()))?;
    token.set_sensitive(true);
    ask(
        &client,
        target.at("/v1/enrolments"),
        Some(token),
        request,
        key,
    )
}

/// Asks for the next identity with the one that there is.
///
/// # Errors
/// [`EnrolError`].
pub fn renew(
    inventory: &str,
    identity: &NodeIdentity,
    ca_file: Option<&Path>,
    request: &EnrolmentRequest,
) -> Result<Enrolment, EnrolError> {
    let target = Target::parse(inventory)?;
    let client = connection(&Way {
        target: &target,
        ca_file,
        authority: None,
        identity: Some(identity),
        proxy_from_environment: false,
        connect_timeout: CONNECTING,
        timeout: ATTEMPT,
    })?;
    let url = target.at("/v1/enrolments/renewal");
    let answer = ask(&client, url, None, request, &identity.key)?;
    if !is_same_authority(&answer.authority, &identity.authority) {
        let what = "it names another authority, which comes with a join file alone; enrol anew";
        return Err(EnrolError::Answer(what.to_owned()));
    }
    Ok(answer)
}

fn ask(
    client: &Client,
    url: Url,
    token: Option<HeaderValue>,
    request: &EnrolmentRequest,
    key: &Key,
) -> Result<Enrolment, EnrolError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(EnrolError::Runtime)?;
    let answer = runtime.block_on(async {
        let late = || EnrolError::Away(format!("nothing within {} s", ATTEMPT.as_secs()));
        tokio::time::timeout(ATTEMPT, post(client, url, token, request))
            .await
            .map_err(|_| late())?
    })?;
    believed(answer, request, key)
}

async fn post(
    client: &Client,
    url: Url,
    token: Option<HeaderValue>,
    request: &EnrolmentRequest,
) -> Result<Enrolment, EnrolError> {
    let body = serde_json::to_vec(request).map_err(|error| EnrolError::Away(chain(&error)))?;
    let mut post = client.post(url).body(body);
    if let Some(token) = token {
        post = post.header(AUTHORIZATION, token);
    }
    let mut answer = post
        .header("content-type", "application/json")
        .header(ACCEPT, "application/json, application/problem+json")
        .send()
        .await
        .map_err(|error| not_sent(chain(&error)))?;
    let status = answer.status().as_u16();
    let body = read(&mut answer)
        .await
        .map_err(|why| EnrolError::Away(format!("its answer ({status}) broke off: {why}")))?;
    if answer.status().is_success() {
        return serde_json::from_slice(&body)
            .map_err(|error| EnrolError::Away(format!("its answer is no word of it: {error}")));
    }
    match (status, problem(status, &body)) {
        (400 | 401 | 403 | 409 | 413 | 422, Some(words)) => Err(EnrolError::Refused(words)),
        (_, Some(words)) => Err(EnrolError::Away(format!("it says {status}: {words}"))),
        (_, None) => Err(EnrolError::Away(format!(
            "{status} without a problem document, perhaps not the inventory's answer: {}",
            shown(&String::from_utf8_lossy(&body))
        ))),
    }
}

/// What it means that there is no answer; TLS says so in words alone.
fn not_sent(why: String) -> EnrolError {
    let of_tls = ["invalid peer certificate", "received fatal alert"];
    if of_tls.iter().any(|words| why.contains(words)) {
        EnrolError::Untrusted(why)
    } else {
        EnrolError::Away(why)
    }
}

/// The answer, if it is an identity of the node that asked, for its key.
fn believed(
    answer: Enrolment,
    request: &EnrolmentRequest,
    key: &Key,
) -> Result<Enrolment, EnrolError> {
    let wrong = |what: String| Err(EnrolError::Answer(what));
    if answer.schema_version != SCHEMA_VERSION {
        return wrong(format!(
            "schema_version {}, this cupel knows {SCHEMA_VERSION}: update cupel",
            answer.schema_version
        ));
    }
    if answer.node != request.node {
        return wrong(format!("it is of node {}", shown(&answer.node)));
    }
    let times = answer.not_before < answer.not_after
        && (answer.not_before..=answer.not_after).contains(&answer.renew_after);
    if !times {
        return wrong("its times are in no order".to_owned());
    }
    for (name, pem) in [
        ("certificate", &answer.certificate),
        ("authority", &answer.authority),
    ] {
        if let Err(why) = are_certificates(pem) {
            return wrong(format!("{name}: {why}"));
        }
    }
    let identity = NodeIdentity {
        certificate: answer.certificate.clone(),
        authority: answer.authority.clone(),
        key: key.clone(),
    };
    if !identity.fits() {
        return wrong("its certificate is for another key".to_owned());
    }
    Ok(answer)
}
