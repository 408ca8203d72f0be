//! `GET /v1/events`: what changes, as server-sent events.
//!
//! # Invariants
//! - What is sent is read from the store: a listener that comes back with `Last-Event-ID` misses
//!   nothing that is kept, and is told when something it missed is not.
//! - A slow listener holds up nobody: each reads for himself.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::header::{HeaderMap, HeaderName};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::Stream;
use tokio::sync::{OwnedSemaphorePermit, broadcast, watch};
use tokio::time::Instant;

use super::App;
use super::parameters::{Params, Word, parameters};
use super::problem::Problem;
use crate::record::Change;

/// Time between two signs of life.
const PING: Duration = Duration::from_secs(15);

/// Least time between two reads of one listener.
const BREATH: Duration = Duration::from_millis(100);

/// Least time between two words that a watched node reported.
const REPORTED: Duration = Duration::from_secs(1);

/// Changes read at once.
const AT_ONCE: u32 = 200;

parameters! {
    /// Query of `GET /v1/events`.
    pub struct EventsQuery {
        /// Also every report of this node.
        node: Word,
        /// Go on after this event, as `Last-Event-ID` does.
        after: EventId,
    }
}

/// Number of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventId(i64);

impl<'de> serde::Deserialize<'de> for EventId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let super::parameters::Offset(number) = serde::Deserialize::deserialize(deserializer)?;
        Ok(Self(i64::try_from(number).unwrap_or(i64::MAX)))
    }
}

impl schemars::JsonSchema for EventId {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "EventId".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        super::parameters::Offset::json_schema(generator)
    }
}

struct Listener {
    app: App,
    last: i64,
    node: Option<String>,
    waiting: VecDeque<Event>,
    changed: watch::Receiver<i64>,
    reported: broadcast::Receiver<Arc<str>>,
    ending: watch::Receiver<bool>,
    ends_at: Instant,
    next_ping: Instant,
    read_at: Instant,
    told_at: Instant,
    more: bool,
    _place: OwnedSemaphorePermit,
}

enum Woken {
    Look,
    Reported,
    Ping,
    End,
}

fn event(kind: &str, change: &Change) -> Event {
    let data = serde_json::to_string(change).unwrap_or_default();
    let event = Event::default().event(kind).data(data);
    match change.id {
        Some(id) => event.id(id.to_string()),
        None => event,
    }
}

impl Listener {
    fn ping(&mut self) {
        // The comment is for those who wait for bytes, the event for those who see events alone.
        self.waiting
            .push_back(Event::default().comment("still here"));
        self.waiting
            .push_back(Event::default().event("ping").data("{}"));
        self.next_ping = Instant::now() + PING;
    }

    async fn look(&mut self) {
        self.read_at = Instant::now();
        match self.app.store().changes_after(self.last, AT_ONCE).await {
            Ok(changes) => {
                self.more = changes.len() >= usize::try_from(AT_ONCE).unwrap_or(usize::MAX);
                for (kind, change) in &changes {
                    self.last = change.id.unwrap_or(self.last);
                    self.waiting.push_back(event(kind, change));
                }
            }
            Err(error) => tracing::warn!("cannot read changes: {error}"),
        }
    }

    fn tell_report(&mut self) {
        self.told_at = Instant::now();
        let change = Change {
            id: None,
            at: self.app.clock().now(),
            node: self.node.clone(),
            region: None,
            site: None,
            row: None,
            rack: None,
            what: "report".to_owned(),
            verdict: None,
            finding: None,
        };
        self.waiting.push_back(event("node", &change));
    }

    async fn wake(&mut self) -> Woken {
        loop {
            let next_look = self.read_at + BREATH;
            if self.more {
                tokio::time::sleep_until(next_look).await;
                return Woken::Look;
            }
            let watched = self.node.clone();
            tokio::select! {
                changed = self.changed.changed() => {
                    if changed.is_err() {
                        return Woken::End;
                    }
                    tokio::time::sleep_until(next_look).await;
                    self.changed.mark_unchanged();
                    return Woken::Look;
                }
                reported = self.reported.recv(), if watched.is_some() => {
                    let is_it = match reported {
                        Ok(node) => Some(&*node) == watched.as_deref(),
                        // So many that it may have been among them.
                        Err(broadcast::error::RecvError::Lagged(_)) => true,
                        Err(broadcast::error::RecvError::Closed) => return Woken::End,
                    };
                    if is_it && self.told_at.elapsed() >= REPORTED {
                        return Woken::Reported;
                    }
                }
                () = tokio::time::sleep_until(self.next_ping) => return Woken::Ping,
                () = tokio::time::sleep_until(self.ends_at) => return Woken::End,
                _ = self.ending.changed() => return Woken::End,
            }
        }
    }

    async fn next(mut self) -> Option<(Result<Event, Infallible>, Self)> {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return Some((Ok(event), self));
            }
            if *self.ending.borrow() {
                return None;
            }
            match self.wake().await {
                Woken::Look => self.look().await,
                Woken::Reported => self.tell_report(),
                Woken::Ping => self.ping(),
                Woken::End => return None,
            }
        }
    }
}

fn stream(listener: Listener) -> impl Stream<Item = Result<Event, Infallible>> {
    futures_util::stream::unfold(listener, Listener::next)
}

/// `GET /v1/events`.
pub async fn get(
    State(app): State<App>,
    Params(query): Params<EventsQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let place = Arc::clone(&app.0.listeners)
        .try_acquire_owned()
        .map_err(|_| Problem::busy("there are too many listeners; try again"))?;
    let named = headers
        .get("last-event-id")
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.parse::<i64>().ok())
        .or(query.after.map(|EventId(id)| id));
    let changed = app.store().watch();
    let (first, newest) = app.store().changes_kept().await?;
    let mut waiting = VecDeque::from([Event::default()
        .retry(Duration::from_secs(2))
        .comment("here")]);
    // What comes between the last one that was seen and the first that is kept is lost.
    let last = match named {
        Some(id) if id > newest || (first > 0 && id + 1 < first) || (first == 0 && id < newest) => {
            let reset = Event::default()
                .event("reset")
                .data("{}")
                .id(newest.to_string());
            waiting.push_back(reset);
            newest
        }
        Some(id) => id,
        None => newest,
    };
    let now = Instant::now();
    let listener = Listener {
        last,
        node: query.node.map(|Word(id)| id),
        waiting,
        changed,
        reported: app.0.reported.subscribe(),
        ending: app.0.ending.subscribe(),
        ends_at: now + app.limits().stream_lasts,
        next_ping: now + PING,
        read_at: now,
        told_at: now,
        more: true,
        _place: place,
        app,
    };
    let mut response = Sse::new(stream(listener)).into_response();
    // For proxies that would hold the stream back.
    response.headers_mut().insert(
        HeaderName::from_static("x-accel-buffering"),
        axum::http::HeaderValue::from_static("no"),
    );
    Ok(response)
}
