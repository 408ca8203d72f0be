//! States of the units that matter here, asked of systemd over D-Bus.
//!
//! # Invariants
//! - One call asks for all units. A unit that systemd does not know is absent.
//! - Under a root other than `/` the answers are the file `/run/systemd/units.json`.

use std::time::Duration;

use cupel_model::Reading;
use cupel_model::snapshot::Service;
use serde::Deserialize;

use crate::deadline;
use crate::error::ReadError;
use crate::root::Root;
use crate::systemd::{BUS, UnitRow};

/// Units that matter on a GPU server, wherever they are installed.
pub const UNITS: [&str; 14] = [
    "chrony.service",
    "chronyd.service",
    "containerd.service",
    "kubelet.service",
    "nvidia-dcgm.service",
    "nvidia-fabricmanager.service",
    "nvidia-imex.service",
    "nvidia-persistenced.service",
    "nvlsm.service",
    "openibd.service",
    "opensm.service",
    "ptp4l.service",
    "slurmd.service",
    "systemd-timesyncd.service",
];

const FILE: &str = "/run/systemd/units.json";

/// Most bytes of the file of answers.
const CAP: usize = 4 << 20;

/// States of `units`, by name. A name without a suffix means a service.
pub fn collect(root: &Root, units: &[String], limit: Duration) -> Vec<Service> {
    let mut names: Vec<String> = units.iter().map(|unit| full_name(unit)).collect();
    names.sort();
    names.dedup();
    let answers = if root.is_live() {
        ask(root, &names, limit)
    } else {
        replay(root)
    };
    names
        .into_iter()
        .map(|name| service(name, &answers))
        .collect()
}

fn full_name(unit: &str) -> String {
    let suffixes = [
        ".service", ".target", ".socket", ".timer", ".mount", ".path", ".slice",
    ];
    if suffixes.iter().any(|suffix| unit.ends_with(suffix)) {
        unit.to_owned()
    } else {
        format!("{unit}.service")
    }
}

/// What systemd says about one unit.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct Unit {
    name: String,
    active_state: String,
    sub_state: String,
    /// `loaded`, `not-found`, …
    #[serde(default)]
    load_state: Option<String>,
}

/// Why there are no answers at all, as a reading without a value.
type NoAnswer = Reading<String>;

fn service(name: String, answers: &Result<Vec<Unit>, NoAnswer>) -> Service {
    let both = |reading: Reading<String>| (reading.clone(), reading);
    let (active_state, sub_state) = match answers {
        Err(why) => both(why.clone()),
        Ok(units) => match units.iter().find(|unit| full_name(&unit.name) == name) {
            None => both(Reading::absent("no such unit")),
            Some(unit) if unit.load_state.as_deref() == Some("not-found") => {
                both(Reading::absent("no such unit"))
            }
            Some(unit) => (
                Reading::Value(unit.active_state.clone()),
                Reading::Value(unit.sub_state.clone()),
            ),
        },
    };
    Service {
        name,
        active_state,
        sub_state,
    }
}

fn replay(root: &Root) -> Result<Vec<Unit>, NoAnswer> {
    let bytes = root.read(FILE, CAP).map_err(ReadError::into_reading)?;
    serde_json::from_slice(&bytes).map_err(|error| Reading::failed(format!("{FILE}: {error}")))
}

fn ask(root: &Root, names: &[String], limit: Duration) -> Result<Vec<Unit>, NoAnswer> {
    if !root.exists(BUS) {
        return Err(Reading::unsupported(format!(
            "no systemd here: {BUS} is not there"
        )));
    }
    let names = names.to_vec();
    deadline::within(root, "services/systemd", limit, move || {
        list_units(BUS, &names)
    })
    .unwrap_or_else(|late| Err(AskError::Late(late)))
    .map_err(|error| Reading::failed(format!("systemd over {BUS}: {error}")))
}

/// Why systemd gave no answer.
#[derive(Debug, thiserror::Error)]
enum AskError {
    #[error("cannot start an event loop: {0}")]
    Runtime(std::io::Error),
    #[error("{0}")]
    Bus(zbus::Error),
    #[error("{0}")]
    Late(deadline::Late),
}

/// `ListUnitsByNames` of systemd's manager: one row for each name, also for unknown ones.
fn list_units(socket: &str, names: &[String]) -> Result<Vec<Unit>, AskError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(AskError::Runtime)?;
    let rows: Vec<UnitRow> = runtime
        .block_on(async {
            let address = format!("unix:path={socket}");
            let bus = zbus::connection::Builder::address(address.as_str())
                .build()
                .await?;
            let reply = bus
                .call_method(
                    Some("org.freedesktop.systemd1"),
                    "/org/freedesktop/systemd1",
                    Some("org.freedesktop.systemd1.Manager"),
                    "ListUnitsByNames",
                    &names,
                )
                .await?;
            reply.body().deserialize()
        })
        .map_err(AskError::Bus)?;
    Ok(rows
        .into_iter()
        .map(|(name, _, load, active, sub, _, _, _, _, _)| Unit {
            name,
            active_state: active,
            sub_state: sub,
            load_state: Some(load),
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Tree;

    const LIMIT: Duration = Duration::from_secs(5);

    #[test]
    fn states_from_a_file_of_answers() {
        let tree = Tree::new();
        tree.file(
            FILE,
            r#"[{"name":"slurmd.service","active_state":"failed","sub_state":"failed"},
                {"name":"opensm","active_state":"active","sub_state":"running"}]"#,
        );
        let units = ["slurmd", "opensm", "kubelet"].map(str::to_owned);
        let services = collect(&tree.root(), &units, LIMIT);
        let told: Vec<_> = services
            .iter()
            .map(|s| (s.name.as_str(), s.active_state.value().map(String::as_str)))
            .collect();
        assert_eq!(
            told,
            [
                ("kubelet.service", None),
                ("opensm.service", Some("active")),
                ("slurmd.service", Some("failed")),
            ]
        );
        assert_eq!(services[0].active_state, Reading::absent("no such unit"));
    }

    #[test]
    fn garbage_names_the_file() {
        let tree = Tree::new();
        tree.file(FILE, "[{]");
        let services = collect(&tree.root(), &["slurmd".to_owned()], LIMIT);
        let why = services[0].active_state.why().expect("no value");
        assert!(why.starts_with("/run/systemd/units.json: "), "{why}");
        assert!(why.contains("line 1"), "{why}");
    }

    #[test]
    fn a_bus_that_does_not_answer_is_an_error_and_no_panic() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let socket = directory.path().join("bus");
        let listener = std::os::unix::net::UnixListener::bind(&socket).expect("socket");
        let closer = std::thread::spawn(move || listener.accept().map(drop));
        let error = list_units(&socket.display().to_string(), &["a.service".to_owned()]);
        assert!(matches!(error, Err(AskError::Bus(_))), "{error:?}");
        closer.join().expect("thread").expect("connection");
    }
}
