//! Reads a request's body: bounded in size, in time, and in memory over all requests.

use std::time::Duration;

use axum::body::Body;
use axum::http::StatusCode;
use axum::http::header::{self, HeaderMap};
use http_body_util::BodyExt as _;
use serde::de::DeserializeOwned;
use tokio::sync::OwnedSemaphorePermit;

use super::App;
use super::problem::{Mistake, Problem};

/// A body, with its share of the memory that bodies may take.
#[derive(Debug)]
pub struct Bytes {
    /// The bytes.
    pub bytes: Vec<u8>,
    _share: Option<OwnedSemaphorePermit>,
}

/// Reads a body of at most `limit` bytes.
pub async fn read(
    app: &App,
    headers: &HeaderMap,
    body: Body,
    limit: usize,
) -> Result<Bytes, Problem> {
    let too_large = || Problem::too_large(format!("the body has more than {limit} bytes"));
    let announced = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.parse::<u64>().ok());
    if announced.is_some_and(|length| length > u64::try_from(limit).unwrap_or(u64::MAX)) {
        return Err(too_large());
    }
    let deadline = app.limits().body_deadline;
    match tokio::time::timeout(deadline, collect(app, body, limit)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(Failure::TooLarge)) => Err(too_large()),
        Ok(Err(Failure::NoMemory)) => {
            Err(Problem::busy("too many requests are being read; try again"))
        }
        Ok(Err(Failure::Broken)) => Err(Problem::bad_request("the body broke off")),
        Err(_) => Err(late(deadline)),
    }
}

fn late(deadline: Duration) -> Problem {
    Problem::new(
        StatusCode::REQUEST_TIMEOUT,
        "too-slow",
        "Too slow",
        format!("the body did not arrive within {} s", deadline.as_secs()),
    )
    .with(header::CONNECTION, "close")
}

enum Failure {
    TooLarge,
    NoMemory,
    Broken,
}

async fn collect(app: &App, mut body: Body, limit: usize) -> Result<Bytes, Failure> {
    let mut bytes = Vec::new();
    let mut share: Option<OwnedSemaphorePermit> = None;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Failure::Broken)?;
        let Ok(chunk) = frame.into_data() else {
            continue;
        };
        if bytes.len() + chunk.len() > limit {
            return Err(Failure::TooLarge);
        }
        let length = u32::try_from(chunk.len()).map_err(|_| Failure::TooLarge)?;
        let more = app
            .body_memory()
            .try_acquire_many_owned(length)
            .map_err(|_| Failure::NoMemory)?;
        match &mut share {
            Some(share) => share.merge(more),
            None => share = Some(more),
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(Bytes {
        bytes,
        _share: share,
    })
}

/// The media type without its parameters, in lower case.
pub fn media_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    let name = value.split(';').next()?.trim().to_ascii_lowercase();
    (!name.is_empty()).then_some(name)
}

/// JSON as a value; a refusal says where it is wrong.
pub fn from_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let mistake = |column: Option<String>, error: &serde_json::Error| {
        Problem::mistakes(
            "the body is not what is wanted here",
            vec![Mistake {
                line: u64::try_from(error.line()).ok().filter(|line| *line > 0),
                column,
                value: None,
                detail: error.to_string(),
            }],
        )
    };
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let path = error.path().to_string();
        mistake(Some(path).filter(|path| path != "."), error.inner())
    })?;
    reader.end().map_err(|error| mistake(None, &error))?;
    Ok(value)
}
