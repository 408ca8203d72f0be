//! The server: listening, connections, ending in good order.
//!
//! # Invariants
//! - Connections are bounded; one that sends no request in time is closed.
//! - Told to end, the server takes no new connection, answers what is being asked, and ends within
//!   its grace.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::http::header::{self, HeaderName, HeaderValue};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum_server::accept::{Accept, DefaultAcceptor};
use axum_server::tls_rustls::RustlsAcceptor;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower_http::catch_panic::CatchPanicLayer;

use super::metrics::BadCertificate;
use super::problem::Problem;
use super::tls::{Secured, TlsError};
use super::{App, guard, pages, watch};

/// Time between two looks whether the inventory's own certificate is to be renewed.
const LOOK_AT_CERTIFICATE: Duration = Duration::from_secs(60);

/// The router: every route behind its guard.
pub fn router(app: &App) -> Router {
    let mut router: Router<App> = Router::new();
    for route in super::routes() {
        let about = Arc::new(route.about);
        let state = (app.clone(), Arc::clone(&about));
        let guarded = route
            .handler
            .route_layer(middleware::from_fn_with_state(state, guard::guard));
        router = router.route(about.path, guarded);
    }
    let lost = app.clone();
    let wrong = app.clone();
    router
        .fallback(move |request: Request| not_found(lost.clone(), request))
        .method_not_allowed_fallback(move |request: Request| bad_method(wrong.clone(), request))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(middleware::from_fn(secured))
        .with_state(app.clone())
}

async fn not_found(app: App, request: Request) -> Response {
    let path: String = request.uri().path().chars().take(128).collect();
    let problem = Problem::not_found(format!("there is nothing at {path}"));
    either(&app, &request, problem)
}

async fn bad_method(app: App, request: Request) -> Response {
    let problem = Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method-not-allowed",
        "Method not allowed",
        format!("{} is not possible here", request.method()),
    );
    either(&app, &request, problem)
}

fn either(app: &App, request: &Request, problem: Problem) -> Response {
    let api = request.uri().path().starts_with("/v1/");
    if !api && guard::wants_html(request.headers()) {
        pages::problem(app, &problem)
    } else {
        problem.into_response()
    }
}

fn panicked(cause: Box<dyn std::any::Any + Send>) -> Response {
    let text = cause
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| cause.downcast_ref::<&str>().copied())
        .unwrap_or("no message");
    tracing::error!("an answer panicked: {text}");
    Problem::internal().into_response()
}

/// Headers that everything has.
async fn secured(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(
        header::REFERRER_POLICY,
        HeaderValue::from_static("no-referrer"),
    );
    for (name, value) in crate::pages::SECURITY_HEADERS {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::from_str(value)) {
            headers.entry(name).or_insert(value);
        }
    }
    response
}

/// Takes connections while there is room.
#[derive(Clone, Debug)]
struct Bounded<A> {
    inner: A,
    room: Arc<Semaphore>,
}

/// A connection with its place.
struct Placed {
    stream: TcpStream,
    _place: OwnedSemaphorePermit,
}

impl AsyncRead for Placed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Placed {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

type Accepting<T, S> = Pin<Box<dyn Future<Output = io::Result<(T, S)>> + Send>>;

impl<A, S> Accept<TcpStream, S> for Bounded<A>
where
    A: Accept<Placed, S> + Clone + Send + Sync + 'static,
    A::Future: Send,
    A::Stream: Send,
    A::Service: Send,
    S: Send + 'static,
{
    type Stream = A::Stream;
    type Service = A::Service;
    type Future = Accepting<A::Stream, A::Service>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let inner = self.inner.clone();
        let place = Arc::clone(&self.room).try_acquire_owned();
        Box::pin(async move {
            let place = place.map_err(|_| io::Error::other("too many connections"))?;
            stream.set_nodelay(true)?;
            let placed = Placed {
                stream,
                _place: place,
            };
            inner.accept(placed, service).await
        })
    }
}

/// A server that listens and does not answer yet.
#[derive(Debug)]
pub struct Bound {
    listener: std::net::TcpListener,
    address: SocketAddr,
    tls: Option<Secured>,
}

/// A server that answers.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    app: App,
    handle: axum_server::Handle<SocketAddr>,
    serving: tokio::task::JoinHandle<io::Result<()>>,
    tls: Option<Secured>,
}

/// Tells of a client whose certificate gave no connection, as of a node that was off for longer than
/// its certificate lasts.
fn not_accepted(app: &App, from: Option<&SocketAddr>, error: &io::Error) {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    if let Some(rustls::Error::InvalidCertificate(why)) = inner {
        let address = from.map(|from| from.ip().to_string());
        guard::tell(app, BadCertificate::of(why), address, &why.to_string());
    }
}

/// Makes the inventory's own certificate anew in time, until the server ends.
async fn keep_good(app: App, secured: Secured) {
    let mut ending = app.0.ending.subscribe();
    loop {
        tokio::select! {
            () = tokio::time::sleep(LOOK_AT_CERTIFICATE) => secured.keep_good(),
            _ = ending.changed() => return,
        }
    }
}

impl Bound {
    /// Begins to listen.
    ///
    /// # Errors
    /// The address is taken or not this machine's.
    pub fn new(address: SocketAddr, tls: Option<Secured>) -> anyhow::Result<Self> {
        use anyhow::Context as _;
        let listener = std::net::TcpListener::bind(address)
            .with_context(|| format!("cannot listen on {address}"))?;
        listener.set_nonblocking(true)?;
        Ok(Self {
            address: listener.local_addr()?,
            listener,
            tls,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether with TLS.
    pub fn is_secure(&self) -> bool {
        self.tls.is_some()
    }

    /// Begins to answer, to watch for silent nodes, and to forget what is old.
    ///
    /// # Errors
    /// The listener cannot be used.
    pub fn serve(self, app: App) -> io::Result<Server> {
        let handle = axum_server::Handle::new();
        let service = router(&app).into_make_service_with_connect_info::<SocketAddr>();
        let limits = app.limits().clone();
        let room = Arc::new(Semaphore::new(limits.connections));
        let mut server = axum_server::from_tcp(self.listener)?.handle(handle.clone());
        server
            .http_builder()
            .http1()
            .header_read_timeout(limits.head_deadline)
            .max_buf_size(64 << 10);
        let told = app.clone();
        let server = server
            .first_request_timeout(limits.head_deadline)
            .accept_error_handler(move |from, error| not_accepted(&told, from, error));
        let tls = self.tls.clone();
        let serving = match &self.tls {
            Some(secured) => {
                tokio::spawn(keep_good(app.clone(), secured.clone()));
                let inner = RustlsAcceptor::new(secured.config())
                    .handshake_timeout(limits.head_deadline)
                    .acceptor(DefaultAcceptor::new());
                tokio::spawn(server.acceptor(Bounded { inner, room }).serve(service))
            }
            None => {
                let inner = DefaultAcceptor::new();
                tokio::spawn(server.acceptor(Bounded { inner, room }).serve(service))
            }
        };
        tokio::spawn(watch::run(app.clone()));
        Ok(Server {
            address: self.address,
            app,
            handle,
            serving,
            tls,
        })
    }
}

impl Server {
    /// Where it answers.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What its requests share.
    pub fn app(&self) -> &App {
        &self.app
    }

    /// Reads certificate and key anew; connections that are there keep theirs.
    ///
    /// # Errors
    /// They cannot be used; the old ones stay.
    pub fn reload(&self) -> Result<(), TlsError> {
        self.tls.as_ref().map_or(Ok(()), Secured::reload)
    }

    /// Answers what is being asked, and ends.
    ///
    /// # Errors
    /// Serving failed before.
    pub async fn end(self) -> anyhow::Result<()> {
        let grace = self.app.limits().grace;
        self.app.end();
        self.handle.graceful_shutdown(Some(grace));
        let ended = tokio::time::timeout(grace + Duration::from_secs(1), self.serving).await;
        self.app.store().close().await;
        match ended {
            Ok(Ok(result)) => Ok(result?),
            Ok(Err(panicked)) => Err(panicked.into()),
            // Whoever is still being answered has had his time.
            Err(_) => Ok(()),
        }
    }

    /// Waits until serving fails by itself.
    ///
    /// # Errors
    /// Why it did.
    pub async fn failed(&mut self) -> anyhow::Result<()> {
        Ok((&mut self.serving).await??)
    }
}
