//! Answers in JSON, with an ETag where they are worth keeping.

use axum::http::StatusCode;
use axum::http::header::{self, HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::problem::Problem;

/// Bytes of a JSON answer.
fn bytes(value: &impl Serialize) -> Result<Vec<u8>, Problem> {
    serde_json::to_vec(value).map_err(|error| {
        tracing::error!("cannot write an answer: {error}");
        Problem::internal()
    })
}

/// A JSON answer.
pub fn json(value: &impl Serialize) -> Result<Response, Problem> {
    Ok(raw(bytes(value)?))
}

/// JSON that is there already.
pub fn raw(bytes: Vec<u8>) -> Response {
    (
        [
            (header::CONTENT_TYPE, "application/json"),
            (header::CACHE_CONTROL, "no-store"),
        ],
        bytes,
    )
        .into_response()
}

/// A JSON answer with an ETag made of its bytes, or 304 when the asker has it. `revision`: what
/// stands in front of the digest, for `If-Match`.
pub fn kept(
    asked: &HeaderMap,
    revision: Option<i64>,
    value: &impl Serialize,
) -> Result<Response, Problem> {
    let bytes = bytes(value)?;
    let digest = Sha256::digest(&bytes);
    let digest: String = digest.iter().take(12).map(|b| format!("{b:02x}")).collect();
    let etag = match revision {
        Some(revision) => format!("\"r{revision}.{digest}\""),
        None => format!("\"{digest}\""),
    };
    let mut response = if matches(asked, &etag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        raw(bytes)
    };
    let headers = response.headers_mut();
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("private, no-cache"),
    );
    if let Ok(etag) = HeaderValue::from_str(&etag) {
        headers.insert(header::ETAG, etag);
    }
    Ok(response)
}

/// Whether `If-None-Match` names this ETag.
pub fn matches(asked: &HeaderMap, etag: &str) -> bool {
    asked
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|one| {
            let one = one.trim();
            one == "*" || one.strip_prefix("W/").unwrap_or(one) == etag
        })
}

/// What `If-Match` looks like: `*`, or an ETag of which the revision counts.
pub const IF_MATCH: &str = r#"^(\*|"r[0-9]{1,18}(\.[0-9a-f]{1,64})?")$"#;

/// What `If-Match` asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IfMatch {
    /// It is not there.
    Absent,
    /// Whatever there is.
    Any,
    /// This revision.
    Revision(i64),
}

impl IfMatch {
    /// From the request. Of an ETag only the revision in front counts: the rest changes with every
    /// report.
    ///
    /// # Errors
    /// 400 for what cannot be an ETag of this inventory.
    pub fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let Some(value) = headers.get(header::IF_MATCH) else {
            return Ok(Self::Absent);
        };
        let text = value.to_str().unwrap_or_default().trim();
        if text == "*" {
            return Ok(Self::Any);
        }
        let revision = text
            .strip_prefix("\"r")
            .and_then(|rest| rest.strip_suffix('"'))
            .and_then(|rest| rest.split('.').next())
            .and_then(|digits| digits.parse().ok());
        revision.map(Self::Revision).ok_or_else(|| {
            Problem::parameter(
                "If-Match",
                "If-Match is no ETag of this inventory; take it from the answer to a GET",
            )
        })
    }

    /// The revision that is asked for.
    pub fn revision(self) -> Option<i64> {
        match self {
            Self::Revision(revision) => Some(revision),
            Self::Absent | Self::Any => None,
        }
    }
}

/// 412: it is another one by now.
pub fn changed(detail: impl Into<String>) -> Problem {
    Problem::new(
        StatusCode::PRECONDITION_FAILED,
        "changed",
        "Changed meanwhile",
        detail,
    )
}

/// 428: say which one you mean.
pub fn unconditional(detail: impl Into<String>) -> Problem {
    Problem::new(
        StatusCode::PRECONDITION_REQUIRED,
        "if-match-required",
        "If-Match required",
        detail,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: header::HeaderName, value: &'static str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_static(value));
        headers
    }

    #[test]
    fn if_none_match_takes_lists_and_weak_tags() {
        for value in ["\"a\", W/\"b\"", "*", "W/\"b\""] {
            assert!(
                matches(&with(header::IF_NONE_MATCH, value), "\"b\""),
                "{value}"
            );
        }
        assert!(!matches(&with(header::IF_NONE_MATCH, "\"c\""), "\"b\""));
        assert!(!matches(&HeaderMap::new(), "\"b\""));
    }

    #[test]
    fn if_match_reads_the_revision() {
        let of = |value| IfMatch::of(&with(header::IF_MATCH, value));
        assert_eq!(of("\"r7.0123456789ab\"").expect("tag").revision(), Some(7));
        assert_eq!(of("\"r7\"").expect("tag").revision(), Some(7));
        assert_eq!(of("*").expect("any"), IfMatch::Any);
        assert_eq!(
            IfMatch::of(&HeaderMap::new()).expect("none"),
            IfMatch::Absent
        );
        assert!(of("\"7\"").is_err() && of("r7").is_err());
    }
}
