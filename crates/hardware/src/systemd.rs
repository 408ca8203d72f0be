//! systemd's manager, over D-Bus: states of units, and jobs for them.
//!
//! # Invariants
//! - Each question has a deadline. A job is queued, never waited for: who asked looks at the unit.
//! - Where there is no message bus (yet), root speaks with systemd directly.
//! - Under a root other than `/` nothing is asked and nothing is told.

use std::time::Duration;

use zbus::{Connection, OwnedObjectPath, OwnedVariant};

use crate::deadline;
use crate::root::Root;

const BUS: &str = "/run/dbus/system_bus_socket";

/// systemd's own socket, for root alone.
const PRIVATE: &str = "/run/systemd/private";

const NAME: &str = "org.freedesktop.systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const OBJECT: &str = "/org/freedesktop/systemd1";

/// How long systemd may take to answer; loading its units again takes longest.
const LIMIT: Duration = Duration::from_secs(60);

/// Why systemd did not do it.
#[derive(Debug, thiserror::Error)]
pub enum SystemdError {
    /// Another root.
    #[error("systemd is not asked under a root other than /")]
    NotLive,
    /// It does not run.
    #[error("no systemd here: neither {BUS} nor {PRIVATE} is there")]
    NotThere,
    /// No event loop.
    #[error("cannot start an event loop")]
    Runtime(#[source] std::io::Error),
    /// It was asked and refused, or the connection broke.
    #[error("systemd: {0}")]
    Bus(#[from] zbus::Error),
    /// No answer in time.
    #[error("systemd: {0}")]
    Late(deadline::Late),
}

/// A unit, in short.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    /// `cupel.service`.
    pub name: String,
    /// `active`, `activating`, `failed`, …
    pub active_state: String,
    /// `running`, `auto-restart`, …
    pub sub_state: String,
}

/// A service, in more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceState {
    /// `active`, `activating`, `failed`, …
    pub active_state: String,
    /// `running`, `auto-restart`, …
    pub sub_state: String,
    /// How its last run ended: `success`, `exit-code`, `watchdog`, …
    pub result: String,
    /// Its process; 0 when there is none.
    pub main_pid: u32,
    /// How often systemd started it again by itself.
    pub restarts: u32,
}

/// What is asked of a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Job {
    /// Start.
    Start,
    /// Stop.
    Stop,
    /// Stop and start.
    Restart,
}

impl Job {
    fn method(self) -> &'static str {
        match self {
            Self::Start => "StartUnit",
            Self::Stop => "StopUnit",
            Self::Restart => "RestartUnit",
        }
    }
}

#[derive(Clone, Debug)]
enum Door {
    Bus(String),
    Direct(String),
}

/// systemd's manager.
#[derive(Clone, Debug)]
pub struct Manager {
    root: Root,
    door: Door,
}

impl Manager {
    /// The one of this machine.
    ///
    /// # Errors
    /// There is none.
    pub fn find(root: &Root) -> Result<Self, SystemdError> {
        if !root.is_live() {
            return Err(SystemdError::NotLive);
        }
        let door = if root.exists(BUS) {
            Door::Bus(format!("unix:path={BUS}"))
        } else if root.exists(PRIVATE) {
            Door::Direct(format!("unix:path={PRIVATE}"))
        } else {
            return Err(SystemdError::NotThere);
        };
        let root = root.clone();
        Ok(Self { root, door })
    }

    /// Reads all unit files again.
    ///
    /// # Errors
    /// [`SystemdError`].
    pub fn reload(&self) -> Result<(), SystemdError> {
        self.ask(|bus| async move { manager(&bus, "Reload", &()).await.map(drop) })
    }

    /// Queues a job for a unit; what is queued against it is replaced.
    ///
    /// # Errors
    /// [`SystemdError`].
    pub fn job(&self, job: Job, unit: &str) -> Result<(), SystemdError> {
        let unit = unit.to_owned();
        self.ask(move |bus| async move {
            let asked = (unit.as_str(), "replace");
            manager(&bus, job.method(), &asked).await.map(drop)
        })
    }

    /// Forgets that a unit failed, and how often it was started.
    ///
    /// # Errors
    /// [`SystemdError`].
    pub fn reset_failed(&self, unit: &str) -> Result<(), SystemdError> {
        let unit = unit.to_owned();
        self.ask(move |bus| async move {
            manager(&bus, "ResetFailedUnit", &unit.as_str())
                .await
                .map(drop)
        })
    }

    /// The loaded units whose names match one of the patterns, as a shell matches.
    ///
    /// # Errors
    /// [`SystemdError`].
    pub fn matching(&self, patterns: &[&str]) -> Result<Vec<Unit>, SystemdError> {
        /// Name, description, load, active and sub state, followed, path, job, its type and path.
        type Row = (
            String,
            String,
            String,
            String,
            String,
            String,
            OwnedObjectPath,
            u32,
            String,
            OwnedObjectPath,
        );
        let patterns: Vec<String> = patterns.iter().map(|&text| text.to_owned()).collect();
        let rows: Vec<Row> = self.ask(move |bus| async move {
            let any_state: &[&str] = &[];
            let reply = manager(&bus, "ListUnitsByPatterns", &(any_state, patterns)).await?;
            reply.body().deserialize()
        })?;
        Ok(rows
            .into_iter()
            .map(
                |(name, _, _, active_state, sub_state, _, _, _, _, _)| Unit {
                    name,
                    active_state,
                    sub_state,
                },
            )
            .collect())
    }

    /// How a service is.
    ///
    /// # Errors
    /// [`SystemdError`].
    pub fn service(&self, unit: &str) -> Result<ServiceState, SystemdError> {
        let unit = unit.to_owned();
        self.ask(move |bus| async move {
            let reply = manager(&bus, "LoadUnit", &unit.as_str()).await?;
            let path: OwnedObjectPath = reply.body().deserialize()?;
            let unit = "org.freedesktop.systemd1.Unit";
            let service = "org.freedesktop.systemd1.Service";
            Ok(ServiceState {
                active_state: text(&bus, &path, unit, "ActiveState").await?,
                sub_state: text(&bus, &path, unit, "SubState").await?,
                result: text(&bus, &path, service, "Result").await?,
                main_pid: number(&bus, &path, service, "MainPID").await?,
                restarts: number(&bus, &path, service, "NRestarts").await?,
            })
        })
    }

    fn ask<T, F, W>(&self, what: W) -> Result<T, SystemdError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, zbus::Error>>,
        W: FnOnce(Connection) -> F + Send + 'static,
    {
        let door = self.door.clone();
        deadline::within(&self.root, "systemd/manager", LIMIT, move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(SystemdError::Runtime)?;
            runtime.block_on(async {
                let builder = match &door {
                    Door::Bus(address) => zbus::connection::Builder::address(address.as_str()),
                    Door::Direct(address) => {
                        zbus::connection::Builder::address(address.as_str()).p2p()
                    }
                };
                let bus = builder.build().await?;
                Ok(what(bus).await?)
            })
        })
        .unwrap_or_else(|late| Err(SystemdError::Late(late)))
    }
}

async fn manager<B>(bus: &Connection, method: &str, body: &B) -> zbus::Result<zbus::Message>
where
    B: serde::Serialize + zbus::zvariant::DynamicType,
{
    bus.call_method(Some(NAME), OBJECT, Some(MANAGER), method, body)
        .await
}

async fn property(
    bus: &Connection,
    path: &OwnedObjectPath,
    interface: &str,
    name: &str,
) -> zbus::Result<OwnedVariant> {
    let properties = Some("org.freedesktop.DBus.Properties");
    let reply = bus
        .call_method(Some(NAME), path, properties, "Get", &(interface, name))
        .await?;
    reply.body().deserialize()
}

async fn text(
    bus: &Connection,
    path: &OwnedObjectPath,
    interface: &str,
    name: &str,
) -> zbus::Result<String> {
    String::try_from(property(bus, path, interface, name).await?)
}

async fn number(
    bus: &Connection,
    path: &OwnedObjectPath,
    interface: &str,
    name: &str,
) -> zbus::Result<u32> {
    u32::try_from(property(bus, path, interface, name).await?)
}
