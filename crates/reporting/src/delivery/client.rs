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

use std::path::PathBuf;
use std::time::Duration;

use reqwest::header::{ACCEPT, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, LOCATION, RETRY_AFTER};
use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::{Certificate, Client, Response, StatusCode, redirect};

use super::answer::{Head, Outcome, judge};
use super::target::{DeliveryError, Target};
use super::token::Token;
use crate::store::{Spooled, chain};

/// Most bytes of an answer that are read.
const ANSWER_BYTES: usize = 256 << 10;

/// A connection that is not used for so long is closed: less than servers wait.
const IDLE: Duration = Duration::from_secs(45);

/// Where to deliver, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliverySettings {
    /// The inventory's base URL: `https://`, or `http://` to this machine itself.
    pub url: String,
    /// File with the token; best 0600.
    pub token_file: PathBuf,
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
    /// With the usual deadlines.
    pub fn new(url: impl Into<String>, token_file: impl Into<PathBuf>) -> Self {
        Self {
            url: url.into(),
            token_file: token_file.into(),
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
    target: Target,
    token: Token,
    timeout: Duration,
}

impl Delivery {
    /// Sets up; connects to nothing and reads no token yet.
    ///
    /// # Errors
    /// [`DeliveryError`]: the URL or the certificates.
    pub fn new(settings: &DeliverySettings) -> Result<Self, DeliveryError> {
        let target = Target::parse(&settings.url)?;
        let mut builder = Client::builder()
            .user_agent(concat!("cupel/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(settings.connect_timeout)
            .timeout(settings.timeout)
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(1)
            .redirect(redirect::Policy::none())
            .referer(false)
            .http1_only();
        if target.plain {
            // No TLS: the machine's certificates need not be read.
            builder = builder.no_proxy().tls_certs_only([]);
        } else {
            builder = builder.https_only(true);
            if let Some(path) = &settings.ca_file {
                builder = builder.tls_certs_merge(certificates(path)?);
            }
            if !settings.proxy_from_environment {
                builder = builder.no_proxy();
            }
        }
        if let Some((name, addresses)) = &target.pinned {
            builder = builder.resolve_to_addrs(name, addresses);
        }
        let client = builder
            .build()
            .map_err(|error| DeliveryError::Setup { why: chain(&error) })?;
        Ok(Self {
            client,
            target,
            token: Token::new(settings.token_file.clone()),
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
        let authorization = match self.token.authorization() {
            Ok(value) => value,
            Err(error) => {
                return Outcome::Later {
                    after: None,
                    why: chain(&error),
                };
            }
        };
        match self.send(report, authorization.clone()).await {
            Ok((StatusCode::UNAUTHORIZED, _)) if self.token.is_renewed(&authorization) => {
                match self.token.authorization() {
                    Ok(value) => self.send(report, value).await,
                    Err(error) => Err(chain(&error)),
                }
            }
            result => result,
        }
        .map_or_else(
            |why| Outcome::Later { after: None, why },
            |(_, outcome)| outcome,
        )
    }

    /// One request; an error where no answer began.
    async fn send(
        &self,
        report: &Spooled,
        authorization: HeaderValue,
    ) -> Result<(StatusCode, Outcome), String> {
        let mut response = self
            .client
            .post(self.target.reports.clone())
            .header(AUTHORIZATION, authorization)
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

async fn read(response: &mut Response) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    while let Some(part) = response.chunk().await.map_err(|error| chain(&error))? {
        if body.len() + part.len() > ANSWER_BYTES {
            return Err(format!("more than {ANSWER_BYTES} bytes"));
        }
        body.extend_from_slice(&part);
    }
    Ok(body)
}

pub(crate) fn certificates(path: &std::path::Path) -> Result<Vec<Certificate>, DeliveryError> {
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
