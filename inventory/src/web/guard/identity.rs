//! Nodes by their certificates.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::ConnectInfo;
use axum::http::{Extensions, StatusCode};
use axum_server::tls::TlsInfo;
use sha2::{Digest as _, Sha256};

use super::super::App;
use super::super::metrics::BadCertificate;
use super::super::problem::Problem;
use crate::record::IdentityState;
use crate::store::Identity;

/// SHA-256 of a certificate.
pub type Fingerprint = [u8; 32];

/// A certificate that was shown, of an identity that is good.
#[derive(Clone, Debug)]
pub struct Shown {
    /// Whose.
    pub identity: Identity,
    /// SHA-256 of the certificate.
    pub fingerprint: Fingerprint,
}

/// The certificate that was shown and verified when the connection was made.
pub fn fingerprint(extensions: &Extensions) -> Option<Fingerprint> {
    let connection = extensions.get::<Arc<TlsInfo>>()?;
    let certificate = connection.peer_certificates.first()?;
    Some(Sha256::digest(certificate).into())
}

/// Where a request comes from.
pub fn address(extensions: &Extensions) -> Option<String> {
    let from = extensions.get::<ConnectInfo<SocketAddr>>();
    from.map(|ConnectInfo(address)| address.ip().to_string())
}

/// Counts a certificate that was shown and is not good, and tells of it: its node tells nobody else.
/// Of many for one reason one in a hundred is told.
pub fn tell(app: &App, reason: BadCertificate, address: Option<String>, why: &str) {
    let count = app.metrics().refused_certificate(reason);
    if count <= 100 || count.is_multiple_of(100) {
        let reason = reason.word();
        tracing::warn!(
            address,
            reason,
            count,
            "a client's certificate is not good: {why}"
        );
    }
}

/// Whose certificate it is, if his identity is good now. What is not good is told.
pub async fn by_certificate(
    app: &App,
    fingerprint: Fingerprint,
    extensions: &Extensions,
) -> Result<Shown, Problem> {
    match look(app, fingerprint).await? {
        Ok(shown) => Ok(shown),
        Err((reason, problem)) => {
            let from = address(extensions);
            if reason == BadCertificate::Superseded {
                let store = app.store();
                store.older_copy(&fingerprint, from.as_deref()).await?;
            }
            tell(app, reason, from, problem.detail());
            Err(problem)
        }
    }
}

async fn look(
    app: &App,
    fingerprint: Fingerprint,
) -> Result<Result<Shown, (BadCertificate, Problem)>, Problem> {
    let known = app.0.identities.recall(&fingerprint);
    let identity = match known {
        Some(identity) => Some(identity),
        None => {
            let found = app.store().identity(&fingerprint).await?;
            if let Some(identity) = &found {
                app.0.identities.keep(fingerprint, identity);
            }
            found
        }
    };
    let Some(identity) = identity else {
        return Ok(not_good(
            BadCertificate::Unknown,
            "identity-unknown",
            "this certificate is not known here, as after a database was put back: enrol this \
             machine anew"
                .to_owned(),
        ));
    };
    let node = &identity.node;
    // The connection may be older than the end of the certificate.
    let over = identity.not_after <= app.clock().now();
    Ok(match identity.state {
        IdentityState::Active if !over => Ok(Shown {
            identity,
            fingerprint,
        }),
        IdentityState::Active | IdentityState::Expired => not_good(
            BadCertificate::Expired,
            "identity-expired",
            format!(
                "the identity of node {node} was good until {}: enrol this machine anew",
                identity.not_after
            ),
        ),
        IdentityState::Superseded => not_good(
            BadCertificate::Superseded,
            "identity-superseded",
            format!(
                "node {node} was enrolled anew with another key, and this one is good no more: if \
                 this machine is {node}, enrol it anew"
            ),
        ),
        IdentityState::Revoked => not_good(
            BadCertificate::Revoked,
            "identity-revoked",
            format!(
                "the identity of node {node} was revoked: ask whoever runs the inventory, then \
                 enrol this machine anew"
            ),
        ),
    })
}

/// 403: an identity that is good no more.
fn not_good(
    reason: BadCertificate,
    kind: &str,
    detail: String,
) -> Result<Shown, (BadCertificate, Problem)> {
    let problem = Problem::new(StatusCode::FORBIDDEN, kind, "Identity not good", detail);
    Err((reason, problem))
}

/// The identity that a node must show.
pub async fn identified(app: &App, extensions: &Extensions) -> Result<Shown, Problem> {
    match fingerprint(extensions) {
        Some(fingerprint) => by_certificate(app, fingerprint, extensions).await,
        None => Err(Problem::new(
            StatusCode::FORBIDDEN,
            "identity-required",
            "Identity required",
            "show the node's certificate when connecting (TLS); a machine without one enrols with \
             a join token",
        )),
    }
}
