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

pub(crate) const BUS: &str = "/run/dbus/system_bus_socket";

/// systemd's own socket, for root alone.
const PRIVATE: &str = "/run/systemd/private";

const NAME: &str = "org.freedesktop.systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const OBJECT: &str = "/org/freedesktop/systemd1";

/// How long systemd may take to answer; loading its units again takes longest.
const LIMIT: Duration = Duration::from_secs(60);

/// A unit in a list: name, description, load, active and sub state, followed, path, job, its type and
/// path.
pub(crate) type UnitRow = (
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
        let patterns: Vec<String> = patterns.iter().map(|&text| text.to_owned()).collect();
        let rows: Vec<UnitRow> = self.ask(move |bus| async move {
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

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// systemd as far as it is asked, on its own socket.
    struct Played(Arc<Mutex<Vec<String>>>);

    fn job() -> OwnedObjectPath {
        OwnedObjectPath::try_from("/org/freedesktop/systemd1/job/1").expect("path")
    }

    impl Played {
        fn note(&self, said: String) {
            self.0.lock().expect("asked").push(said);
        }
    }

    #[zbus::interface(name = "org.freedesktop.systemd1.Manager")]
    impl Played {
        fn reload(&self) {
            self.note("reload".to_owned());
        }

        fn start_unit(&self, name: &str, mode: &str) -> OwnedObjectPath {
            self.note(format!("start {name} {mode}"));
            job()
        }

        fn restart_unit(&self, name: &str, mode: &str) -> OwnedObjectPath {
            self.note(format!("restart {name} {mode}"));
            job()
        }

        fn reset_failed_unit(&self, name: &str) -> zbus::fdo::Result<()> {
            Err(zbus::fdo::Error::Failed(format!("{name} is not loaded")))
        }

        fn load_unit(&self, _name: &str) -> OwnedObjectPath {
            OwnedObjectPath::try_from("/org/freedesktop/systemd1/unit/a").expect("path")
        }

        fn list_units_by_patterns(
            &self,
            states: Vec<String>,
            patterns: Vec<String>,
        ) -> Vec<UnitRow> {
            assert!(states.is_empty());
            let text = |text: &str| text.to_owned();
            let row = |name: &str| {
                let own = text("");
                let active = text("active");
                let running = text("running");
                let loaded = text("loaded");
                (
                    text(name),
                    own.clone(),
                    loaded,
                    active,
                    running,
                    own.clone(),
                    job(),
                    0,
                    own,
                    job(),
                )
            };
            patterns.iter().map(|pattern| row(pattern)).collect()
        }
    }

    struct Unit;

    #[zbus::interface(name = "org.freedesktop.systemd1.Unit")]
    impl Unit {
        #[zbus(property)]
        fn active_state(&self) -> String {
            "activating".to_owned()
        }

        #[zbus(property)]
        fn sub_state(&self) -> String {
            "auto-restart".to_owned()
        }
    }

    struct Service;

    #[zbus::interface(name = "org.freedesktop.systemd1.Service")]
    impl Service {
        #[zbus(property)]
        fn result(&self) -> String {
            "watchdog".to_owned()
        }

        #[zbus(property, name = "MainPID")]
        fn main_pid(&self) -> u32 {
            17
        }

        #[zbus(property, name = "NRestarts")]
        fn restarts(&self) -> u32 {
            3
        }
    }

    /// Serves until the test ends; gives a manager that asks it.
    fn manager(directory: &std::path::Path) -> (Manager, Arc<Mutex<Vec<String>>>) {
        let path = directory.join("private");
        let listener = std::os::unix::net::UnixListener::bind(&path).expect("socket");
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let told = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, told) = (stream.expect("stream"), Arc::clone(&told));
                std::thread::spawn(move || {
                    let runtime = tokio::runtime::Builder::new_current_thread()
                        .enable_all()
                        .build()
                        .expect("runtime");
                    runtime.block_on(async {
                        let unit = "/org/freedesktop/systemd1/unit/a";
                        let built = zbus::connection::Builder::unix_stream(stream)
                            .server(zbus::Guid::generate())
                            .p2p()
                            .serve_at(OBJECT, Played(told))
                            .serve_at(unit, Unit)
                            .serve_at(unit, Service)
                            .build()
                            .await;
                        let _kept = built.expect("server");
                        std::future::pending::<()>().await;
                    });
                });
            }
        });
        let manager = Manager {
            root: Root::live(),
            door: Door::Direct(format!("unix:path={}", path.display())),
        };
        (manager, asked)
    }

    #[test]
    fn systemd_is_asked_and_told_without_a_message_bus() {
        let directory = tempfile::tempdir().expect("directory");
        let (manager, asked) = manager(directory.path());
        manager.reload().expect("reload");
        manager.job(Job::Restart, "cupel.service").expect("restart");
        manager.job(Job::Start, "a.service").expect("start");
        assert_eq!(
            *asked.lock().expect("asked"),
            [
                "reload",
                "restart cupel.service replace",
                "start a.service replace"
            ]
        );
        let refused = manager.reset_failed("a.service").expect_err("refused");
        assert!(
            refused.to_string().contains("a.service is not loaded"),
            "{refused}"
        );
        let service = manager.service("a.service").expect("service");
        let expected = ServiceState {
            active_state: "activating".to_owned(),
            sub_state: "auto-restart".to_owned(),
            result: "watchdog".to_owned(),
            main_pid: 17,
            restarts: 3,
        };
        assert_eq!(service, expected);
        let units = manager.matching(&["cupel-burn-in-*"]).expect("units");
        assert_eq!(units[0].name, "cupel-burn-in-*");
        assert_eq!(units[0].active_state, "active");
    }

    #[test]
    fn a_directory_that_stands_for_a_machine_has_no_systemd() {
        let directory = tempfile::tempdir().expect("directory");
        let root = Root::at(directory.path()).expect("root");
        assert!(matches!(Manager::find(&root), Err(SystemdError::NotLive)));
    }
}
