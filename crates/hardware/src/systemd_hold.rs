//! A place of its own for long work: a transient unit of systemd, and a lock against shutdown.
//!
//! # Invariants
//! - It never fails: where there is no systemd, or it refuses, the work goes on without, and what is
//!   lacking is said.
//! - The lock is a file descriptor that is held as long as the value lives; the kernel gives it back
//!   however the process ends.
//! - The unit is a scope around this process, so that its terminal stays its own; whoever stops,
//!   restarts or upgrades another unit does not touch it.

use std::time::Duration;

use zbus::{Connection, OwnedFd, OwnedObjectPath, Variant};

use crate::deadline;
use crate::root::Root;
use crate::systemd::BUS;

/// How long systemd may take to answer.
const LIMIT: Duration = Duration::from_secs(5);

/// What is held.
#[derive(Debug)]
pub struct Hold {
    lock: Option<OwnedFd>,
    unit: Option<String>,
    lacks: Vec<String>,
}

/// Why something is not held.
#[derive(Debug, thiserror::Error)]
enum HoldError {
    #[error("cannot start an event loop: {0}")]
    Runtime(std::io::Error),
    #[error("{0}")]
    Bus(#[from] zbus::Error),
}

impl Hold {
    /// Takes both, as far as they are to be had. `name` is a word for the unit (`burn-in`), `what`
    /// a sentence for whoever wants to shut the machine down.
    pub fn take(root: &Root, name: &str, what: &str) -> Self {
        let nothing = |why: String| Self {
            lock: None,
            unit: None,
            lacks: vec![why],
        };
        if !root.is_live() {
            return nothing("D-Bus is not used under a root other than /".to_owned());
        }
        if !root.exists(BUS) {
            return nothing(format!("no systemd here: {BUS} is not there"));
        }
        Self::over(root, &format!("unix:path={BUS}"), name, what)
    }

    fn over(root: &Root, address: &str, name: &str, what: &str) -> Self {
        let unit = format!("cupel-{name}-{}.scope", std::process::id());
        let (address, what, asked) = (address.to_owned(), what.to_owned(), unit.clone());
        let taken = deadline::within(root, "systemd", LIMIT, move || ask(&address, &asked, &what));
        let mut hold = Self {
            lock: None,
            unit: None,
            lacks: Vec::new(),
        };
        match taken {
            Ok(Ok((lock, scope))) => {
                match lock {
                    Ok(lock) => hold.lock = Some(lock),
                    Err(error) => hold
                        .lacks
                        .push(format!("no lock against shutdown: {error}")),
                }
                match scope {
                    Ok(_) => hold.unit = Some(unit),
                    Err(error) => hold.lacks.push(format!("no unit of its own: {error}")),
                }
            }
            Ok(Err(error)) => hold.lacks.push(format!("systemd: {error}")),
            Err(late) => hold.lacks.push(format!("systemd: {late}")),
        }
        hold
    }

    /// Whether shutting down is held up.
    pub fn is_locked(&self) -> bool {
        self.lock.is_some()
    }

    /// The unit that this process is in now.
    pub fn unit(&self) -> Option<&str> {
        self.unit.as_deref()
    }

    /// What could not be had, and why.
    pub fn lacks(&self) -> &[String] {
        &self.lacks
    }
}

type Taken = (
    Result<OwnedFd, zbus::Error>,
    Result<OwnedObjectPath, zbus::Error>,
);

fn ask(address: &str, unit: &str, what: &str) -> Result<Taken, HoldError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(HoldError::Runtime)?;
    runtime.block_on(async {
        let bus = zbus::connection::Builder::address(address).build().await?;
        Ok((inhibit(&bus, what).await, scope(&bus, unit, what).await))
    })
}

/// `Inhibit` of logind: shutting down and sleeping wait until the descriptor is closed.
async fn inhibit(bus: &Connection, what: &str) -> Result<OwnedFd, zbus::Error> {
    let reply = bus
        .call_method(
            Some("org.freedesktop.login1"),
            "/org/freedesktop/login1",
            Some("org.freedesktop.login1.Manager"),
            "Inhibit",
            &("shutdown:sleep", "Cupel", what, "block"),
        )
        .await?;
    reply.body().deserialize()
}

/// `StartTransientUnit` of systemd: a scope with this process in it.
async fn scope(bus: &Connection, unit: &str, what: &str) -> Result<OwnedObjectPath, zbus::Error> {
    let properties: Vec<(&str, Variant<'_>)> = vec![
        ("PIDs", Variant::from(vec![std::process::id()])),
        ("Description", Variant::from(what)),
        // A scope that was killed leaves nothing to be reset.
        ("CollectMode", Variant::from("inactive-or-failed")),
    ];
    let further: Vec<(&str, Vec<(&str, Variant<'_>)>)> = Vec::new();
    let reply = bus
        .call_method(
            Some("org.freedesktop.systemd1"),
            "/org/freedesktop/systemd1",
            Some("org.freedesktop.systemd1.Manager"),
            "StartTransientUnit",
            &(unit, "fail", properties, further),
        )
        .await?;
    reply.body().deserialize()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_systemd_the_work_goes_on_and_it_is_said() {
        let directory = tempfile::tempdir().expect("directory");
        let root = Root::at(directory.path()).expect("root");
        let hold = Hold::take(&root, "burn-in", "test");
        assert!(!hold.is_locked() && hold.unit().is_none());
        assert_eq!(
            hold.lacks(),
            ["D-Bus is not used under a root other than /"]
        );
    }

    #[test]
    fn a_bus_that_hangs_up_costs_nothing_but_a_note() {
        let directory = tempfile::tempdir().expect("directory");
        let socket = directory.path().join("bus");
        let listener = std::os::unix::net::UnixListener::bind(&socket).expect("socket");
        let closer = std::thread::spawn(move || listener.accept().map(drop));
        let address = format!("unix:path={}", socket.display());
        let hold = Hold::over(&Root::live(), &address, "burn-in", "test");
        assert!(!hold.is_locked() && hold.unit().is_none());
        assert!(
            hold.lacks()[0].starts_with("systemd: "),
            "{:?}",
            hold.lacks()
        );
        closer.join().expect("thread").expect("connection");
    }

    /// systemd and logind as far as they are asked, on a bus of their own.
    struct Played {
        lock: std::sync::Arc<std::sync::Mutex<Option<std::os::unix::net::UnixStream>>>,
        asked: std::sync::Arc<std::sync::Mutex<Vec<String>>>,
    }

    #[zbus::interface(name = "org.freedesktop.login1.Manager")]
    impl Played {
        fn inhibit(&self, what: &str, who: &str, why: &str, mode: &str) -> OwnedFd {
            let (ours, theirs) = std::os::unix::net::UnixStream::pair().expect("pair");
            *self.lock.lock().expect("lock") = Some(ours);
            let said = format!("{what} {who} {why} {mode}");
            self.asked.lock().expect("asked").push(said);
            std::os::fd::OwnedFd::from(theirs).into()
        }
    }

    struct Units(std::sync::Arc<std::sync::Mutex<Vec<String>>>);

    #[zbus::interface(name = "org.freedesktop.systemd1.Manager")]
    impl Units {
        fn start_transient_unit(
            &self,
            name: &str,
            mode: &str,
            properties: Vec<(String, zbus::OwnedVariant)>,
            _further: Vec<(String, Vec<(String, zbus::OwnedVariant)>)>,
        ) -> OwnedObjectPath {
            let keys: Vec<_> = properties.into_iter().map(|(key, _)| key).collect();
            let said = format!("{name} {mode} {}", keys.join(","));
            self.0.lock().expect("asked").push(said);
            OwnedObjectPath::try_from("/org/freedesktop/systemd1/job/1").expect("path")
        }
    }

    /// A message bus; `None` where none is installed.
    #[expect(
        clippy::disallowed_methods,
        reason = "a test starts the bus that it speaks over"
    )]
    fn bus(directory: &std::path::Path) -> Option<(std::process::Child, String)> {
        let socket = directory.join("bus");
        let address = format!("unix:path={}", socket.display());
        let configuration = directory.join("bus.conf");
        let text = format!(
            "<busconfig><type>session</type><listen>{address}</listen>\
             <policy context=\"default\"><allow send_destination=\"*\"/>\
             <allow own=\"*\"/><allow eavesdrop=\"false\"/></policy></busconfig>"
        );
        std::fs::write(&configuration, text).expect("configuration");
        let child = std::process::Command::new("/usr/bin/dbus-daemon")
            .arg(format!("--config-file={}", configuration.display()))
            .arg("--nofork")
            .stderr(std::process::Stdio::null())
            .spawn()
            .ok()?;
        let until = std::time::Instant::now() + LIMIT;
        while !socket.exists() && std::time::Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
        Some((child, address))
    }

    #[test]
    fn both_are_taken_and_the_lock_is_given_back_with_the_value() {
        use std::io::Read;
        let directory = tempfile::tempdir().expect("directory");
        let Some((mut daemon, address)) = bus(directory.path()) else {
            eprintln!("left out: no dbus-daemon is installed");
            return;
        };
        let asked = std::sync::Arc::<std::sync::Mutex<Vec<String>>>::default();
        let lock = std::sync::Arc::default();
        let played = Played {
            lock: std::sync::Arc::clone(&lock),
            asked: std::sync::Arc::clone(&asked),
        };
        let units = Units(std::sync::Arc::clone(&asked));
        let (ready, is_ready) = std::sync::mpsc::channel();
        let (over, is_over) = tokio::sync::oneshot::channel::<()>();
        let at = address.clone();
        let server = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("runtime");
            runtime.block_on(async {
                let built = zbus::connection::Builder::address(at.as_str())
                    .serve_at("/org/freedesktop/login1", played)
                    .serve_at("/org/freedesktop/systemd1", units)
                    .name("org.freedesktop.login1")
                    .name("org.freedesktop.systemd1")
                    .build()
                    .await;
                let _kept = built.expect("server");
                ready.send(()).expect("test");
                let _ = is_over.await;
            });
        });
        is_ready.recv_timeout(LIMIT).expect("server is ready");
        let hold = Hold::over(&Root::live(), &address, "burn-in", "a test holds it");
        assert!(hold.is_locked(), "{:?}", hold.lacks());
        let unit = hold.unit().expect("unit").to_owned();
        assert!(
            unit.starts_with("cupel-burn-in-") && unit.ends_with(".scope"),
            "{unit}"
        );
        assert_eq!(
            *asked.lock().expect("asked"),
            [
                "shutdown:sleep Cupel a test holds it block".to_owned(),
                format!("{unit} fail PIDs,Description,CollectMode"),
            ]
        );
        let mut ours = lock.lock().expect("lock").take().expect("descriptor");
        ours.set_nonblocking(true).expect("nonblocking");
        let mut byte = [0];
        assert!(ours.read(&mut byte).is_err(), "it is held");
        drop(hold);
        assert!(matches!(ours.read(&mut byte), Ok(0)), "it is given back");
        drop(over);
        server.join().expect("server");
        daemon.kill().expect("kill");
        daemon.wait().expect("wait");
    }
}
