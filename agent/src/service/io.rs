//! The thread that talks: socket, HTTP, delivery of reports.
//!
//! # Invariants
//! - Nothing here decides anything; what is asked for goes to the engine.
//! - HTTP that cannot listen is told and is no reason to stop watching the node; a socket that cannot
//!   is one: whoever runs a second service must know.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::Duration;

use cupel_reporting::{Delivery, DeliverySettings};
use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tokio::sync::watch;

use super::deliver::{News, deliver};
use super::http;
use super::input::{Input, Inputs};
use super::socket::{self, Sources};
use super::store::Store;
use crate::journal;

/// What is opened.
pub struct Doors {
    /// Path of the socket.
    pub socket: Option<PathBuf>,
    /// Address of the HTTP.
    pub listen: Option<SocketAddr>,
    /// What answers are made from.
    pub sources: Sources,
    /// Where reports wait.
    pub store: Store,
    /// Where they go.
    pub deliver_to: watch::Receiver<Option<DeliverySettings>>,
}

/// The running thread.
pub struct Io {
    stop: watch::Sender<bool>,
    done: Receiver<()>,
    socket: Option<PathBuf>,
}

impl Io {
    /// Ends it: what waits is sent for at most that long.
    pub fn end(self, limit: Duration) {
        self.stop.send_replace(true);
        // Late: the process ends all the same.
        let _ = self.done.recv_timeout(limit);
        if let Some(path) = self.socket {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Opens the doors and starts the thread.
///
/// # Errors
/// The socket cannot be opened, or the system gives no thread.
pub fn start(doors: Doors) -> anyhow::Result<Io> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let (stop, stopped) = watch::channel(false);
    let (finished, done) = sync_channel(1);
    let guard = runtime.enter();
    let socket = doors.socket.as_deref().map(socket::bind).transpose()?;
    drop(guard);
    let listener = doors
        .listen
        .and_then(|address| match runtime.block_on(http::bind(address)) {
            Ok(listener) => Some(listener),
            Err(error) => {
                tracing::warn!("no HTTP: cannot listen on {address}: {error}");
                None
            }
        });
    if let Some(Ok(address)) = listener.as_ref().map(TcpListener::local_addr) {
        tracing::info!("metrics and status are served on http://{address}");
    }
    let journal = doors.socket.as_deref().and_then(journal::beside);
    let journal = journal.map(|path| (path, doors.sources.happened.subscribe()));
    let io = Io {
        stop,
        done,
        socket: doors.socket,
    };
    let Doors {
        sources,
        store,
        deliver_to,
        ..
    } = Doors {
        socket: None,
        ..doors
    };
    thread::Builder::new()
        .name("io".to_owned())
        .spawn(move || {
            runtime.block_on(async move {
                if let Some(socket) = socket {
                    tokio::spawn(socket::serve(socket, sources.clone(), stopped.clone()));
                }
                if let Some((path, happened)) = journal {
                    tokio::spawn(journal::tell(path, happened));
                }
                if let Some(listener) = listener {
                    tokio::spawn(http::serve(
                        listener,
                        sources.latest.clone(),
                        stopped.clone(),
                    ));
                }
                deliveries(deliver_to, store, sources.engine, stopped).await;
            });
            // The service may be gone already.
            let _ = finished.send(());
        })?;
    Ok(io)
}

/// Delivers to wherever the configuration says, until the end.
async fn deliveries(
    mut deliver_to: watch::Receiver<Option<DeliverySettings>>,
    store: Store,
    inputs: Inputs,
    mut stop: watch::Receiver<bool>,
) {
    loop {
        let settings = deliver_to.borrow_and_update().clone();
        let way = settings.as_ref().map(Delivery::new).transpose();
        let delivery = way.unwrap_or_else(|error| {
            tracing::warn!("no reports: {error}");
            let news = News::Failed {
                at: cupel_hardware::clock::now(),
                why: error.to_string(),
            };
            inputs.offer(Input::Delivery(news));
            None
        });
        let Some(delivery) = delivery else {
            tokio::select! {
                changed = deliver_to.changed() => if changed.is_err() { return },
                _ = stop.wait_for(|stop| *stop) => return,
            }
            continue;
        };
        tokio::select! {
            () = deliver(delivery, store.clone(), inputs.clone(), stop.clone()) => return,
            changed = deliver_to.changed() => if changed.is_err() { return },
        }
    }
}
