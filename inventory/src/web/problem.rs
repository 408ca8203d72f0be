//! Errors as RFC 9457 tells them.
//!
//! # Invariants
//! - Every error of the API is one of these, with `application/problem+json`.
//! - What is told helps whoever asked; what went wrong inside is in the log alone.

use axum::http::StatusCode;
use axum::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::store;

/// Media type of a problem.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// One thing that is wrong with what was sent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Mistake {
    /// Line of the file, from 1; null where there are no lines.
    pub line: Option<u64>,
    /// Column of the CSV, or path in the JSON.
    pub column: Option<String>,
    /// The value, shortened.
    pub value: Option<String>,
    /// What is wrong with it.
    pub detail: String,
}

/// An error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Problem")]
pub struct Body {
    /// What kind of error: `urn:cupel:…`; stable.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind in a few words.
    pub title: String,
    /// HTTP status.
    pub status: u16,
    /// This one in a sentence, and what to do.
    pub detail: String,
    /// Name of the query parameter or header that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameter: Option<String>,
    /// What is wrong, one by one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<Mistake>,
}

/// An error on its way out.
#[derive(Clone, Debug)]
pub struct Problem {
    body: Box<Body>,
    headers: HeaderMap,
}

impl Problem {
    /// With this status and kind.
    pub fn new(status: StatusCode, kind: &str, title: &str, detail: impl Into<String>) -> Self {
        Self {
            body: Box::new(Body {
                kind: format!("urn:cupel:{kind}"),
                title: title.to_owned(),
                status: status.as_u16(),
                detail: detail.into(),
                parameter: None,
                errors: Vec::new(),
            }),
            headers: HeaderMap::new(),
        }
    }

    /// A query parameter that is unknown or has a wrong value.
    pub fn parameter(name: &str, detail: impl Into<String>) -> Self {
        let mut problem = Self::new(
            StatusCode::BAD_REQUEST,
            "bad-parameter",
            "Bad parameter",
            detail,
        );
        problem.body.parameter = Some(name.chars().take(64).collect());
        problem
    }

    /// What was sent cannot be used.
    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "bad-request",
            "Bad request",
            detail,
        )
    }

    /// What was sent is wrong here and here.
    pub fn mistakes(detail: impl Into<String>, mistakes: Vec<Mistake>) -> Self {
        let mut problem = Self::new(
            StatusCode::BAD_REQUEST,
            "invalid-content",
            "Invalid content",
            detail,
        );
        problem.body.errors = mistakes;
        problem
    }

    /// There is no such thing.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", "Not found", detail)
    }

    /// It is larger than it may be.
    pub fn too_large(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "too-large",
            "Too large",
            detail,
        )
    }

    /// Its media type or encoding is not read here.
    pub fn unsupported(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported-media-type",
            "Unsupported media type",
            detail,
        )
    }

    /// Try again later.
    pub fn busy(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", "Busy", detail)
            .with(header::RETRY_AFTER, "5")
    }

    /// Something is wrong here.
    pub fn internal() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "Internal error",
            "the inventory failed; its log says why",
        )
    }

    /// With a header.
    #[must_use]
    pub fn with(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(name, value);
        }
        self
    }

    /// Its status.
    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.body.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// It in a sentence.
    pub fn detail(&self) -> &str {
        &self.body.detail
    }

    /// What is told.
    #[cfg(test)]
    pub fn body(&self) -> &Body {
        &self.body
    }

    /// The headers that go with it.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.status();
        let bytes = serde_json::to_vec(&self.body).unwrap_or_default();
        let mut response = (status, [(header::CONTENT_TYPE, MEDIA_TYPE)], bytes).into_response();
        response.headers_mut().extend(self.headers);
        response
            .headers_mut()
            .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}

impl From<store::Error> for Problem {
    fn from(error: store::Error) -> Self {
        match &error {
            store::Error::Full => {
                tracing::error!("the disk of the database is full");
                Self::new(
                    StatusCode::INSUFFICIENT_STORAGE,
                    "disk-full",
                    "Disk full",
                    "the inventory's disk is full; nothing of this request was stored",
                )
                .with(header::RETRY_AFTER, "30")
            }
            store::Error::Busy => Self::busy("the inventory is busy; try again"),
            store::Error::OtherContent => Self::new(
                StatusCode::CONFLICT,
                "other-content",
                "Other content",
                "a report of this node, boot and sequence is stored, and its content is another",
            ),
            store::Error::TokenExists(_)
            | store::Error::JoinExists(_)
            | store::Error::Newer { .. }
            | store::Error::Older { .. }
            | store::Error::Damaged { .. }
            | store::Error::File { .. }
            | store::Error::Authority(_)
            | store::Error::Backend(_) => {
                tracing::error!("the store failed: {}", chain(&error));
                Self::internal()
            }
        }
    }
}

/// An error and its causes in a line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
