//! The connection to the inventory.
//!
//! # Invariants
//! - One attempt ends within the timeout, whatever the other side does; no more than
//!   [`ANSWER_BYTES`] of an answer are read.
//! - No redirect is followed, no proxy is used unless it was asked for.
//! - HTTP/1.1, one connection.
//!
//! # What is absent
//! Trying again: what to wait for is [`super::Backoff`]'s, and which report is next the outbox's.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{ACCEPT, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, LOCATION, RETRY_AFTER};
use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::{Certificate, Client, Response, StatusCode, Url, redirect};

use super::answer::{Head, Outcome, judge};
use super::target::{DeliveryError, Target};
use super::token::Token;
use crate::identity::NodeIdentity;
use crate::store::{Spooled, chain};

/// Most bytes of an answer that are read.
const ANSWER_BYTES: usize = 256 << 10;

/// A connection that is not used for so long is closed: less than servers wait.
const IDLE: Duration = Duration::from_secs(45);

/// What a node shows of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// The token in this file; best 0600.
    Token(PathBuf),
    /// Its identity: a client certificate. The inventory is trusted by its authority too.
    Identity(Arc<NodeIdentity>),
}

/// Where to deliver, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliverySettings {
    /// The inventory's base URL: `https://`, or `http://` to this machine itself.
    pub url: String,
    /// What the node shows of itself.
    pub credential: Credential,
    /// File of further certificate authorities, PEM; the machine's own are always trusted.
    pub ca_file: Option<PathBuf>,
    /// Whether `HTTPS_PROXY` and its kin are used.
    pub proxy_from_environment: bool,
    /// For the connection to stand, TLS included.
    pub connect_timeout: Duration,
    /// For one attempt from its beginning to the last byte of the answer.
    pub timeout: Duration,
}

impl DeliverySettings {
    /// By a token, with the usual deadlines.
    pub fn new(url: impl Into<String>, token_file: impl Into<PathBuf>) -> Self {
        Self::with(url, Credential::Token(token_file.into()))
    }

    /// With the usual deadlines.
    pub fn with(url: impl Into<String>, credential: Credential) -> Self {
        Self {
            url: url.into(),
            credential,
            ca_file: None,
            proxy_from_environment: false,
            connect_timeout: Duration::from_secs(10),
            timeout: Duration::from_secs(60),
        }
    }
}

/// The way to the inventory.
#[derive(Debug)]
pub struct Delivery {
    client: Client,
    reports: Url,
    /// None: the certificate says who asks.
    token: Option<Token>,
    timeout: Duration,
}

impl Delivery {
    /// Sets up; connects to nothing and reads no token yet.
    ///
    /// # Errors
    /// [`DeliveryError`]: the URL or the certificates.
    pub fn new(settings: &DeliverySettings) -> Result<Self, DeliveryError> {
        let target = Target::parse(&settings.url)?;
        let (identity, token) = match &settings.credential {
            Credential::Token(file) => (None, Some(Token::new(file.clone()))),
            Credential::Identity(identity) => (Some(identity.as_ref()), None),
        };
        let client = connection(&Way {
            target: &target,
            ca_file: settings.ca_file.as_deref(),
            authority: None,
            identity,
            proxy_from_environment: settings.proxy_from_environment,
            connect_timeout: settings.connect_timeout,
            timeout: settings.timeout,
        })?;
        Ok(Self {
            client,
            reports: target.at("/v1/reports"),
            token,
            timeout: settings.timeout,
        })
    }

    /// Sends a report once; twice when the token was exchanged meanwhile.
    pub async fn post(&mut self, report: &Spooled) -> Outcome {
        let deadline = self.timeout;
        match tokio::time::timeout(deadline, self.attempt(report)).await {
            Ok(outcome) => outcome,
            Err(_) => Outcome::Later {
                after: None,
                why: format!("no whole answer within {} s", deadline.as_secs_f64()),
            },
        }
    }

    async fn attempt(&mut self, report: &Spooled) -> Outcome {
        let first = match self.authorization() {
            Ok(value) => value,
            Err(why) => return Outcome::Later { after: None, why },
        };
        match self.send(report, first.clone()).await {
            Ok((StatusCode::UNAUTHORIZED, _)) if self.is_renewed(first.as_ref()) => {
                match self.authorization() {
                    Ok(value) => self.send(report, value).await,
                    Err(why) => Err(why),
                }
            }
            result => result,
        }
        .map_or_else(
            |why| Outcome::Later { after: None, why },
            |(_, outcome)| outcome,
        )
    }

    fn authorization(&mut self) -> Result<Option<HeaderValue>, String> {
        let token = self.token.as_mut().map(Token::authorization);
        token.transpose().map_err(|error| chain(&error))
    }

    fn is_renewed(&mut self, refused: Option<&HeaderValue>) -> bool {
        self.token
            .as_mut()
            .zip(refused)
            .is_some_and(|(token, refused)| token.is_renewed(refused))
    }

    /// One request; an error where no answer began.
    async fn send(
        &self,
        report: &Spooled,
        authorization: Option<HeaderValue>,
    ) -> Result<(StatusCode, Outcome), String> {
        let mut request = self.client.post(self.reports.clone());
        if let Some(authorization) = authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let mut response = request
            .header(CONTENT_TYPE, "application/json")
            .header(CONTENT_ENCODING, "zstd")
            .header(ACCEPT, "application/json, application/problem+json")
            .body(report.bytes.clone())
            .send()
            .await
            .map_err(|error| chain(&error))?;
        let status = response.status();
        let headers = std::mem::take(response.headers_mut());
        let body = read(&mut response).await;
        let head = Head {
            status: status.as_u16(),
            retry_after: text(&headers, &RETRY_AFTER),
            location: text(&headers, &LOCATION),
        };
        let body = body.as_deref().map_err(String::as_str);
        Ok((status, judge(head, body, report)))
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &reqwest::header::HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// How a connection is made.
pub(crate) struct Way<'a> {
    pub target: &'a Target,
    /// Further certificate authorities.
    pub ca_file: Option<&'a Path>,
    /// The same, as PEM.
    pub authority: Option<&'a str>,
    /// The client certificate that is shown; its authority is trusted too.
    pub identity: Option<&'a NodeIdentity>,
    pub proxy_from_environment: bool,
    pub connect_timeout: Duration,
    pub timeout: Duration,
}

/// Sets a connection up; connects to nothing yet.
pub(crate) fn connection(way: &Way<'_>) -> Result<Client, DeliveryError> {
    let setup = |error: reqwest::Error| DeliveryError::Setup { why: chain(&error) };
    let mut builder = Client::builder()
        .user_agent(concat!("cupel/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(way.connect_timeout)
        .timeout(way.timeout)
        .pool_idle_timeout(IDLE)
        .pool_max_idle_per_host(1)
        .redirect(redirect::Policy::none())
        .referer(false)
        .http1_only();
    if way.target.plain {
        // No TLS: the machine's certificates need not be read.
        builder = builder.no_proxy().tls_certs_only([]);
    } else {
        builder = builder.https_only(true);
        let mut trusted = match way.ca_file {
            Some(path) => certificates(path)?,
            None => Vec::new(),
        };
        let of_identity = way.identity.map(|identity| identity.authority.as_str());
        for pem in [way.authority, of_identity].into_iter().flatten() {
            trusted.extend(Certificate::from_pem_bundle(pem.as_bytes()).map_err(setup)?);
        }
        builder = builder.tls_certs_merge(trusted);
        if let Some(identity) = way.identity {
            builder = builder.identity(identity.shown().map_err(setup)?);
        }
        if !way.proxy_from_environment {
            builder = builder.no_proxy();
        }
    }
    if let Some((name, addresses)) = &way.target.pinned {
        builder = builder.resolve_to_addrs(name, addresses);
    }
    builder.build().map_err(setup)
}

/// The body of an answer, up to [`ANSWER_BYTES`].
pub(crate) async fn read(response: &mut Response) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    while let Some(part) = response.chunk().await.map_err(|error| chain(&error))? {
        if body.len() + part.len() > ANSWER_BYTES {
            return Err(format!("more than {ANSWER_BYTES} bytes"));
        }
        body.extend_from_slice(&part);
    }
    Ok(body)
}

pub(crate) fn certificates(path: &Path) -> Result<Vec<Certificate>, DeliveryError> {
    let pem = std::fs::read(path).map_err(|source| DeliveryError::CaFile {
        path: path.to_owned(),
        source,
    })?;
    Certificate::from_pem_bundle(&pem)
        .ok()
        .filter(|certificates| !certificates.is_empty())
        .ok_or_else(|| DeliveryError::CaContent {
            path: path.to_owned(),
        })
}
