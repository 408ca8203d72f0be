//! `cupel-inventory serve`.
//!
//! # Invariants
//! - Anything but loopback needs TLS: tokens travel with every request.
//! - One server a directory.

use std::fs::File;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::exit::{Exit, Refused};
use super::retention::RetentionArgs;
use super::token::make;
use super::{GlobalArgs, duration, output, refused};
use crate::auth::Scope;
use crate::authority::Policy;
use crate::clock::Clock;
use crate::store::{Options, Store};
use crate::web::{App, Bound, Limits, Secured, Server, Setup, Tls};

/// Options of `serve`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where to listen; anything but loopback needs --tls-names, or
    /// --tls-cert and --tls-key
    #[arg(
        long,
        value_name = "ADDRESS:PORT",
        env = "CUPEL_INVENTORY_LISTEN",
        hide_env_values = true,
        default_value = "127.0.0.1:8470"
    )]
    listen: SocketAddr,
    /// Certificate chain as PEM; read again on SIGHUP
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Private key as PEM; read again on SIGHUP
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Names and addresses that this inventory is reached by: its own
    /// authority makes a certificate for them, and renews it. Nodes that
    /// joined trust it; a browser does once it has authority.pem, which
    /// belongs into a profile for this inventory alone
    #[arg(
        long,
        value_name = "NAME",
        value_delimiter = ',',
        conflicts_with_all = ["tls_cert", "tls_key"]
    )]
    tls_names: Vec<String>,
    /// For how long nodes' certificates are good (30s, 12h, 30d)
    #[arg(long, value_name = "TIME", default_value = "30d", value_parser = duration::parse)]
    certificate_life: Duration,
    /// After how much of it nodes ask for the next one, in per cent
    #[arg(long, value_name = "PERCENT", default_value_t = 66, value_parser = clap::value_parser!(u8).range(1..=95))]
    renew_at: u8,
    #[command(flatten)]
    retention: RetentionArgs,
}

/// Holds the directory until it is dropped.
fn hold(data: &Path) -> anyhow::Result<File> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(data)
        .with_context(|| format!("cannot create {}", data.display()))?;
    let path = data.join("serving.lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .with_context(|| format!("cannot open {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(Refused(format!(
            "another cupel-inventory serves from {}",
            data.display()
        ))
        .into()),
        Err(std::fs::TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("cannot lock {}", path.display()))
        }
    }
}

fn tls(args: &Args) -> anyhow::Result<Option<Tls>> {
    match (&args.tls_cert, &args.tls_key, &args.tls_names[..]) {
        (Some(certificate), Some(key), _) => Ok(Some(Tls::Files {
            certificate: certificate.clone(),
            key: key.clone(),
        })),
        (None, _, [_, ..]) | (_, None, [_, ..]) => Ok(Some(Tls::Names(args.tls_names.clone()))),
        (None, _, []) | (_, None, []) if args.listen.ip().is_loopback() => Ok(None),
        (None, _, []) | (_, None, []) => Err(Refused(format!(
            "{} is not loopback, and tokens would travel in the clear: give --tls-names with the \
             names that this inventory is reached by, or --tls-cert and --tls-key, or listen on \
             127.0.0.1",
            args.listen
        ))
        .into()),
    }
}

/// What people put in front of a path.
fn origin(bound: &Bound, args: &Args) -> String {
    let address = bound.address();
    let scheme = if bound.is_secure() { "https" } else { "http" };
    if let Some(name) = args.tls_names.first() {
        let bare = name.contains(':') && !name.starts_with('[');
        let name = if bare {
            format!("[{name}]")
        } else {
            name.clone()
        };
        return format!("{scheme}://{name}:{}", address.port());
    }
    if !address.ip().is_unspecified() {
        return format!("{scheme}://{address}");
    }
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = match name.trim() {
        "" => "localhost",
        name => name,
    };
    format!("{scheme}://{name}:{}", address.port())
}

/// The first token, and a link that signs in once.
async fn welcome(store: &Store, clock: &Clock, origin: &str) -> anyhow::Result<()> {
    if !store.tokens().await?.is_empty() {
        return Ok(());
    }
    let (token, text) = make(store, "first admin", Scope::Admin, None).await?;
    let link = super::link::make(store, clock, &token, origin).await?;
    output::line(&format!(
        "This inventory has no token yet. Its first one, of scope admin, shown once:\n\
         \n  {}\n\
         \nTo see the pages, open this link within 10 minutes; it works once:\n\
         \n  {link}\n\
         \nLater ones are made by `cupel-inventory link`.\n",
        text.reveal()
    ))?;
    Ok(())
}

/// What the process is told.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    /// From now on they are taken here.
    fn take() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits until the process is told to end, or serving fails.
    async fn until_end(mut self, server: &mut Server) -> anyhow::Result<()> {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return Ok(()),
                _ = self.interrupt.recv() => return Ok(()),
                _ = self.hangup.recv() => match server.reload() {
                    Ok(()) => tracing::info!("certificate and key were read again"),
                    Err(error) => tracing::error!(
                        "certificate and key stay as they were: {}",
                        super::exit::chain(&error.into()).trim_end()
                    ),
                },
                failed = server.failed() => return failed.context("serving failed"),
            }
        }
    }
}

/// Serves until it is told to end.
pub async fn run(args: &Args, global: &GlobalArgs) -> anyhow::Result<Exit> {
    let tls = tls(args)?;
    let signals = Signals::take()?;
    let clock = Clock::system();
    let options = Options {
        data: global.data.clone(),
        clock: clock.clone(),
        migrate: true,
    };
    let _held = hold(&global.data)?;
    let (store, opened) = Store::open(&options).await.map_err(refused)?;
    if opened.before != opened.now {
        tracing::info!("the schema of the database is {} now", opened.now);
    }
    store.retain(args.retention.retention());
    let setup = Setup {
        secure: tls.is_some(),
        policy: Policy {
            life: args.certificate_life,
            renew_at: args.renew_at,
        },
    };
    let app = App::new(store.clone(), clock.clone(), Limits::default(), setup);
    // Made by whoever serves, so that its files are his.
    let authority = app.authority().await?;
    let secured = match tls {
        Some(tls) => Some(Secured::new(tls, authority, clock.clone())?),
        None => None,
    };
    let bound = Bound::new(args.listen, secured)?;
    let origin = origin(&bound, args);
    welcome(&store, &clock, &origin).await?;
    let mut server = bound.serve(app)?;
    output::note(&format!("listening on {origin}"));
    signals.until_end(&mut server).await?;
    tracing::info!("ending");
    server.end().await?;
    Ok(Exit::Fine)
}
