//! Read-only HTTP on loopback: metrics, status, snapshot.
//!
//! # Invariants
//! - It changes nothing: every route is a GET.
//! - It listens on loopback alone, and answers only to a name of loopback, so that a page in some
//!   browser here cannot read it by way of a name that points to 127.0.0.1.
//! - An answer is made from what was published; no request waits for the machine.
//! - Whoever shares the machine can use up no more than [`CONNECTIONS`] descriptors here, and a
//!   connection that is silent for [`SILENT`] is closed.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use cupel_hardware::own;
use cupel_model::units::Seconds;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, Sleep};

use super::published::Published;
use crate::metrics::{self, Own, ProcessUse};

/// What handlers read.
type Latest = watch::Receiver<Arc<Published>>;

/// Serves until `stop` changes.
///
/// # Errors
/// The listener's.
pub async fn serve(
    listener: TcpListener,
    latest: Latest,
    mut stop: watch::Receiver<bool>,
) -> std::io::Result<()> {
    axum::serve(Limited::new(listener), router(latest))
        .with_graceful_shutdown(async move {
            // An error means that the service is gone: stop too.
            let _ = stop.wait_for(|stop| *stop).await;
        })
        .await
}

/// Connections at the same time; more wait until one ends.
const CONNECTIONS: usize = 32;

/// How long a connection may be silent: longer than between two scrapes.
const SILENT: Duration = Duration::from_secs(75);

/// A listener that takes no more connections than it has places.
struct Limited {
    listener: TcpListener,
    places: Arc<Semaphore>,
}

impl Limited {
    fn new(listener: TcpListener) -> Self {
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        Self { listener, places }
    }
}

impl axum::serve::Listener for Limited {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        loop {
            // Never closed.
            let place = Arc::clone(&self.places).acquire_owned().await.ok();
            match self.listener.accept().await {
                Ok((stream, address)) => {
                    let patience = Box::pin(tokio::time::sleep(SILENT));
                    let connection = Connection {
                        stream,
                        patience,
                        _place: place,
                    };
                    return (connection, address);
                }
                Err(error) => {
                    // Out of descriptors: others must be let go first.
                    tracing::debug!("cannot take a connection: {error}");
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection that is closed when it is silent for too long.
struct Connection {
    stream: TcpStream,
    patience: Pin<Box<Sleep>>,
    _place: Option<OwnedSemaphorePermit>,
}

impl Connection {
    /// What came of an attempt; one that waits fails once there was enough of it.
    fn attempt<T>(
        &mut self,
        context: &mut Context<'_>,
        attempt: impl FnOnce(Pin<&mut TcpStream>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        match attempt(Pin::new(&mut self.stream), context) {
            Poll::Pending => match self.patience.as_mut().poll(context) {
                Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
                Poll::Pending => Poll::Pending,
            },
            done => {
                self.patience.as_mut().reset(Instant::now() + SILENT);
                done
            }
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.attempt(context, |stream, context| stream.poll_read(context, buffer))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.attempt(context, |stream, context| stream.poll_write(context, bytes))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// Binds the address.
///
/// # Errors
/// The system's: the port is taken.
pub async fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    TcpListener::bind(address).await
}

fn router(latest: Latest) -> Router {
    Router::new()
        .route("/", get(index))
        .route("/metrics", get(exposition))
        .route("/v1/status", get(status))
        .route("/v1/snapshot", get(snapshot))
        .layer(middleware::from_fn(loopback_names_only))
        .with_state(latest)
}

async fn loopback_names_only(request: Request, next: Next) -> Response {
    let host = request
        .headers()
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    if host.is_some_and(is_loopback_name) {
        return next.run(request).await;
    }
    (
        StatusCode::MISDIRECTED_REQUEST,
        "ask by a name of loopback: localhost, 127.0.0.1 or [::1]\n",
    )
        .into_response()
}

/// `localhost`, 127.0.0.0/8 or `[::1]`, with or without a port.
fn is_loopback_name(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => name,
        Some(_) | None => host,
    };
    name.eq_ignore_ascii_case("localhost")
        || name == "[::1]"
        || name
            .parse::<std::net::Ipv4Addr>()
            .is_ok_and(|address| address.is_loopback())
}

async fn index() -> &'static str {
    "cupel: /metrics, /v1/status, /v1/snapshot\n"
}

fn with_type(content_type: &'static str, body: impl IntoResponse) -> Response {
    let mut response = body.into_response();
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

async fn exposition(State(latest): State<Latest>) -> Response {
    let published = Arc::clone(&latest.borrow());
    let own = Own {
        processes: processes(),
        ..published.own()
    };
    with_type(
        metrics::CONTENT_TYPE,
        metrics::exposition(&published.view(&own)),
    )
}

/// What this process and its workers cost, by name.
fn processes() -> Vec<ProcessUse> {
    let mut uses: Vec<ProcessUse> = Vec::new();
    for usage in own::usage() {
        // The kernel keeps 15 characters of a name.
        let name = if usage.name.starts_with("cupel-gpu") {
            "cupel-gpu-worker"
        } else {
            usage.name.as_str()
        };
        match uses.iter_mut().find(|known| known.name == name) {
            Some(known) => {
                known.resident_bytes = known
                    .resident_bytes
                    .map(|bytes| bytes.saturating_add(usage.resident_bytes));
                known.cpu_seconds = known
                    .cpu_seconds
                    .and_then(|sum| Seconds::new(sum.get() + usage.cpu_seconds.get()).ok());
            }
            None => uses.push(ProcessUse {
                name: name.to_owned(),
                resident_bytes: Some(usage.resident_bytes),
                cpu_seconds: Some(usage.cpu_seconds),
            }),
        }
    }
    uses
}

async fn status(State(latest): State<Latest>) -> Response {
    let published = Arc::clone(&latest.borrow());
    json(&published.status())
}

async fn snapshot(State(latest): State<Latest>) -> Response {
    let published = Arc::clone(&latest.borrow());
    match published.whole_snapshot() {
        Some(snapshot) => json(&snapshot),
        None => (
            StatusCode::SERVICE_UNAVAILABLE,
            [(header::RETRY_AFTER, "5")],
            "the machine has not been read yet\n",
        )
            .into_response(),
    }
}

fn json(value: &impl serde::Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(bytes) => with_type("application/json", bytes),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_loopback() {
        for fine in [
            "localhost",
            "LOCALHOST:9477",
            "127.0.0.1:9477",
            "127.8.0.1",
            "[::1]:80",
            "[::1]",
        ] {
            assert!(is_loopback_name(fine), "{fine}");
        }
        for bad in [
            "evil.example:9477",
            "10.0.0.1",
            "localhost.evil.example",
            "",
            "[::2]:80",
        ] {
            assert!(!is_loopback_name(bad), "{bad}");
        }
    }
}
