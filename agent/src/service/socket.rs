//! The Unix socket: questions from people and programs on this machine.
//!
//! # Invariants
//! - A question never waits for the machine: status and snapshot are what was published last; what
//!   changes something is handed to the engine, which answers within its own loop.
//! - One slow or silent client harms nobody: each has a limit of time for its question and for taking
//!   its answer, of bytes, and of how far it may fall behind.
//! - Whoever shares the machine cannot keep root out: there are places for those who are trusted.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, broadcast, oneshot, watch};

use super::input::{Input, Inputs};
use super::protocol::{Ask, Happened, QUESTION_BYTES, Reply};
use super::published::{Numbered, Published};

/// Clients at the same time, of those who are trusted and of all others.
const CLIENTS: usize = 32;

/// How long a client may take to ask.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long a client may leave its answer untaken.
const TAKING: Duration = Duration::from_secs(30);

/// How long the engine may take to answer what changes something.
const ENGINE: Duration = Duration::from_secs(10);

/// What the socket answers from.
#[derive(Clone)]
pub struct Sources {
    /// The latest state.
    pub latest: watch::Receiver<Arc<Published>>,
    /// What happens.
    pub happened: broadcast::Sender<Numbered>,
    /// The engine.
    pub engine: Inputs,
}

/// Listens at `path`; whatever an earlier service left there is replaced.
///
/// # Errors
/// The file system's, and another service that still answers there.
pub fn bind(path: &Path) -> anyhow::Result<UnixListener> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)
            .with_context(|| format!("cannot make {}", directory.display()))?;
    }
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        anyhow::bail!("another service answers at {}", path.display());
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("cannot replace {}", path.display()));
        }
        Ok(()) | Err(_) => {}
    }
    let listener =
        UnixListener::bind(path).with_context(|| format!("cannot listen at {}", path.display()))?;
    // Whoever is on this machine may ask; what changes something is judged by who asks.
    fs::set_permissions(path, fs::Permissions::from_mode(0o666))
        .with_context(|| format!("cannot open {} to others", path.display()))?;
    Ok(listener)
}

/// Serves until `stop` changes.
pub async fn serve(listener: UnixListener, sources: Sources, mut stop: watch::Receiver<bool>) {
    let places = [CLIENTS, CLIENTS].map(|places| Arc::new(Semaphore::new(places)));
    let [trusted_places, other_places] = &places;
    let own = own_user();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => return,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of descriptors: others must be let go first.
                tracing::warn!("cannot take a client of the socket: {error}");
                tokio::time::sleep(Duration::from_millis(200)).await;
                continue;
            }
        };
        let trusted = stream
            .peer_cred()
            .is_ok_and(|peer| peer.uid() == 0 || Some(peer.uid()) == own);
        let places = if trusted {
            trusted_places
        } else {
            other_places
        };
        let Ok(place) = Arc::clone(places).try_acquire_owned() else {
            continue; // Full: closing tells the client.
        };
        let sources = sources.clone();
        tokio::spawn(async move {
            // The client went away: nobody is left to tell.
            let _ = client(stream, sources, trusted).await;
            drop(place);
        });
    }
}

/// Whom this service runs as: a socket's own other end says it.
fn own_user() -> Option<u32> {
    let (one, _other) = UnixStream::pair().ok()?;
    one.peer_cred().ok().map(|peer| peer.uid())
}

async fn client(mut stream: UnixStream, sources: Sources, trusted: bool) -> std::io::Result<()> {
    let (read, mut write) = stream.split();
    let cap = u64::try_from(QUESTION_BYTES).unwrap_or(u64::MAX);
    let mut question = Vec::new();
    let mut reader = BufReader::new(read.take(cap));
    let asked = tokio::time::timeout(PATIENCE, reader.read_until(b'\n', &mut question)).await;
    let reply = match asked {
        Err(_) | Ok(Err(_)) => return Ok(()),
        Ok(Ok(_)) => match serde_json::from_slice::<Ask>(&question) {
            Ok(ask) if ask.is_control() && !trusted => {
                Reply::Refused("only root may ask for this".to_owned())
            }
            Ok(Ask::Status {}) => {
                let published = Arc::clone(&sources.latest.borrow());
                return line(&mut write, &published.status()).await;
            }
            Ok(Ask::Snapshot {}) => {
                let published = Arc::clone(&sources.latest.borrow());
                match published.whole_snapshot() {
                    Some(snapshot) => return line(&mut write, &snapshot).await,
                    None => Reply::Error("the machine has not been read yet".to_owned()),
                }
            }
            Ok(Ask::Events { follow }) => return events(&mut write, sources, follow).await,
            Ok(ask) => engine(&sources.engine, ask).await,
            Err(error) => Reply::Error(format!("not a question: {error}")),
        },
    };
    line(&mut write, &reply).await
}

async fn engine(engine: &Inputs, ask: Ask) -> Reply {
    let (answer, answered) = oneshot::channel();
    if !engine.offer(Input::Asked(ask, answer)) {
        return Reply::Error("the service is busy; ask again".to_owned());
    }
    match tokio::time::timeout(ENGINE, answered).await {
        Ok(Ok(reply)) => reply,
        Ok(Err(_)) => Reply::Error("the service ends".to_owned()),
        Err(_) => Reply::Error(format!("no answer in {} s", ENGINE.as_secs())),
    }
}

async fn events(
    write: &mut (impl AsyncWriteExt + Unpin),
    sources: Sources,
    follow: bool,
) -> std::io::Result<()> {
    // Listening before telling what was: nothing falls between, and what is in both has a number.
    let mut happened = sources.happened.subscribe();
    let published = Arc::clone(&sources.latest.borrow());
    let before = if follow {
        &published.told.events[..]
    } else {
        published.events()
    };
    for event in before {
        let event = Box::new(event.clone());
        line(write, &Happened::Event { event }).await?;
    }
    let last = published.told.last;
    drop((sources, published));
    if !follow {
        return Ok(());
    }
    loop {
        let told = match happened.recv().await {
            Ok((number, _)) if number <= last => continue,
            Ok((_, told)) => told,
            Err(broadcast::error::RecvError::Lagged(count)) => Happened::Missed { count },
            Err(broadcast::error::RecvError::Closed) => return Ok(()),
        };
        line(write, &told).await?;
    }
}

async fn line(
    write: &mut (impl AsyncWriteExt + Unpin),
    value: &impl serde::Serialize,
) -> std::io::Result<()> {
    let mut bytes = serde_json::to_vec(value)?;
    bytes.push(b'\n');
    match tokio::time::timeout(TAKING, write.write_all(&bytes)).await {
        Ok(written) => written,
        Err(_) => Err(std::io::ErrorKind::TimedOut.into()),
    }
}
