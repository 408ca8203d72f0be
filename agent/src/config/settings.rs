//! What Cupel goes by: every setting with a value and an origin.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use cupel_hardware::Root;
use cupel_hardware::collect::{CollectOptions, Source};
use cupel_health::Modes;
use cupel_model::Mode;
use cupel_model::snapshot::Tenancy;
use serde::Serialize;

use super::inputs::{Inputs, Origin, Setting};
use super::listen::Listen;

/// Share of the available memory that burn-in tests unless told otherwise. Unverified: leaves room
/// for the page cache and for whoever is logged in.
const BURN_IN_MEMORY_SHARE: f64 = 0.5;

/// How often a source is read unless told otherwise. What changes under load is read every 15 s,
/// as a scrape would; what a person changes with a screwdriver, every minute and more.
fn usual_cadence(source: Source) -> Duration {
    Duration::from_secs(match source {
        Source::Gpu | Source::Rdma => 15,
        Source::Pci
        | Source::Nvme
        | Source::Memory
        | Source::Network
        | Source::Filesystems
        | Source::Sensors
        | Source::Services => 60,
        Source::Node | Source::Cpus | Source::Kernel | Source::Bmc => 300,
        // Seconds of a slow controller's time.
        Source::BmcDetails => 900,
    })
}

/// The sources, and how often each is read unless told otherwise.
pub fn usual_cadences() -> impl Iterator<Item = (&'static str, Duration)> {
    Source::ALL
        .into_iter()
        .map(|source| (source.name(), usual_cadence(source)))
}

/// How long the hook believes what the service said last: longer than a restart takes, shorter than
/// a person takes to wonder. Unverified.
const HOOK_VALID: Duration = Duration::from_secs(120);

/// Time between heartbeats. Unverified: a scheduler's own node timeouts are minutes.
const HEARTBEAT: Duration = Duration::from_secs(60);

/// Time between full reports when nothing changes.
const FULL: Duration = Duration::from_secs(3600);

/// Most disk space of reports that wait, in MiB: days of heartbeats, and every change of a storm.
const SPOOL_MIB: f64 = 64.0;

/// What the service goes by.
#[derive(Clone, Debug)]
pub struct ServiceSettings {
    /// Where its read-only HTTP listens.
    pub listen: Setting<Listen>,
    /// How long `cupel hook` believes what the service said last.
    pub hook_valid: Setting<Duration>,
    /// How often each source is read.
    pub every: BTreeMap<Source, Setting<Duration>>,
}

/// Where reports go.
#[derive(Clone, Debug)]
pub struct InventorySettings {
    /// The inventory; no report is sent when `None`.
    pub url: Setting<Option<String>>,
    /// The file that holds the token.
    pub token_file: Setting<Option<PathBuf>>,
    /// Further root certificates.
    pub ca_file: Setting<Option<PathBuf>>,
    /// Time between heartbeats.
    pub heartbeat: Setting<Duration>,
    /// Time between full reports when nothing changes.
    pub full: Setting<Duration>,
    /// Most disk space of reports that wait, in MiB.
    pub spool_mib: Setting<f64>,
}

/// What Cupel goes by.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Who owns the node.
    pub tenancy: Setting<Tenancy>,
    /// The platform this node is held against; recognised by itself when `None`.
    pub platform: Setting<Option<String>>,
    /// Units of systemd whose state is read.
    pub units: Setting<Vec<String>>,
    /// Modes of checks that differ from their own.
    pub checks: BTreeMap<String, Setting<Mode>>,
    /// The driver library; found by the worker itself when `None`.
    pub nvml_library: Setting<Option<PathBuf>>,
    /// Deadline of one GPU driver call.
    pub gpu_call_deadline: Setting<Duration>,
    /// Deadline of loading and initialising the driver library.
    pub gpu_initialisation_deadline: Setting<Duration>,
    /// Share of the available memory that burn-in tests.
    pub burn_in_memory_share: Setting<f64>,
    /// The service.
    pub service: ServiceSettings,
    /// Where reports go.
    pub inventory: InventorySettings,
}

/// One setting, for `cupel config`.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Dotted key, as in the files.
    pub key: String,
    /// Its value; null where nothing is set and Cupel finds out by itself.
    pub value: serde_json::Value,
    /// Where the value comes from.
    pub origin: Origin,
}

fn or<T>(setting: Option<Setting<T>>, default: impl FnOnce() -> T) -> Setting<T> {
    setting.unwrap_or_else(|| Setting {
        value: default(),
        origin: Origin::Default,
    })
}

fn optional<T>(setting: Option<Setting<T>>) -> Setting<Option<T>> {
    match setting {
        Some(Setting { value, origin }) => Setting {
            value: Some(value),
            origin,
        },
        None => Setting {
            value: None,
            origin: Origin::Default,
        },
    }
}

fn seconds(setting: Option<Setting<f64>>, default: Duration) -> Setting<Duration> {
    match setting {
        Some(Setting { value, origin }) => Setting {
            value: Duration::try_from_secs_f64(value).unwrap_or(default),
            origin,
        },
        None => Setting {
            value: default,
            origin: Origin::Default,
        },
    }
}

impl From<Inputs> for Settings {
    fn from(inputs: Inputs) -> Self {
        let defaults = CollectOptions::new(Root::live());
        let mut configured = inputs.every_seconds;
        let every = Source::ALL
            .into_iter()
            .map(|source| {
                let own = configured.remove(source.name());
                (source, seconds(own, usual_cadence(source)))
            })
            .collect();
        let listen = match inputs.listen {
            // Held against its form when the file was read.
            Some(Setting { value, origin }) => Setting {
                value: value.parse().unwrap_or_default(),
                origin,
            },
            None => or(None, Listen::default),
        };
        Self {
            tenancy: or(inputs.tenancy, Tenancy::default),
            platform: optional(inputs.platform),
            units: or(inputs.units, || defaults.units.clone()),
            checks: inputs.checks,
            nvml_library: optional(inputs.nvml_library),
            gpu_call_deadline: seconds(inputs.gpu_call_seconds, defaults.gpu_call_deadline),
            gpu_initialisation_deadline: seconds(
                inputs.gpu_initialisation_seconds,
                defaults.gpu_initialisation_deadline,
            ),
            burn_in_memory_share: or(inputs.burn_in_memory_share, || BURN_IN_MEMORY_SHARE),
            service: ServiceSettings {
                listen,
                hook_valid: seconds(inputs.hook_valid_seconds, HOOK_VALID),
                every,
            },
            inventory: InventorySettings {
                url: optional(inputs.inventory_url),
                token_file: optional(inputs.inventory_token_file),
                ca_file: optional(inputs.inventory_ca_file),
                heartbeat: seconds(inputs.heartbeat_seconds, HEARTBEAT),
                full: seconds(inputs.full_seconds, FULL),
                spool_mib: or(inputs.spool_mib, || SPOOL_MIB),
            },
        }
    }
}

impl Settings {
    /// The modes of checks.
    ///
    /// # Errors
    /// A code is not known.
    pub fn modes(&self) -> anyhow::Result<Modes> {
        let mut modes = Modes::default();
        for (code, mode) in &self.checks {
            modes
                .set(code, mode.value)
                .with_context(|| format!("cannot use the mode set in {}", mode.origin))?;
        }
        Ok(modes)
    }

    /// Every setting in order of its key.
    pub fn rows(&self) -> Vec<Row> {
        fn row<T>(key: &str, setting: &Setting<T>, value: impl Serialize) -> Row {
            Row {
                key: key.to_owned(),
                value: serde_json::to_value(value).unwrap_or_default(),
                origin: setting.origin.clone(),
            }
        }
        let mut rows = vec![
            row("tenancy", &self.tenancy, self.tenancy.value),
            row("platform", &self.platform, &self.platform.value),
            row("units", &self.units, &self.units.value),
            row("nvml.library", &self.nvml_library, &self.nvml_library.value),
            row(
                "deadlines.gpu_call_seconds",
                &self.gpu_call_deadline,
                self.gpu_call_deadline.value.as_secs_f64(),
            ),
            row(
                "deadlines.gpu_initialisation_seconds",
                &self.gpu_initialisation_deadline,
                self.gpu_initialisation_deadline.value.as_secs_f64(),
            ),
            row(
                "burn_in.memory_share",
                &self.burn_in_memory_share,
                self.burn_in_memory_share.value,
            ),
        ];
        let inventory = &self.inventory;
        rows.extend([
            row(
                "service.listen",
                &self.service.listen,
                self.service.listen.value.to_string(),
            ),
            row(
                "service.hook_valid_seconds",
                &self.service.hook_valid,
                self.service.hook_valid.value.as_secs_f64(),
            ),
            row("inventory.url", &inventory.url, &inventory.url.value),
            row(
                "inventory.token_file",
                &inventory.token_file,
                &inventory.token_file.value,
            ),
            row(
                "inventory.ca_file",
                &inventory.ca_file,
                &inventory.ca_file.value,
            ),
            row(
                "inventory.heartbeat_seconds",
                &inventory.heartbeat,
                inventory.heartbeat.value.as_secs_f64(),
            ),
            row(
                "inventory.full_seconds",
                &inventory.full,
                inventory.full.value.as_secs_f64(),
            ),
            row(
                "inventory.spool_mib",
                &inventory.spool_mib,
                inventory.spool_mib.value,
            ),
        ]);
        rows.extend(self.service.every.iter().map(|(source, every)| {
            row(
                &format!("service.every_seconds.{}", source.name()),
                every,
                every.value.as_secs_f64(),
            )
        }));
        rows.extend(
            self.checks
                .iter()
                .map(|(code, mode)| row(&format!("checks.{code:?}"), mode, mode.value)),
        );
        rows.sort_by(|a, b| a.key.cmp(&b.key));
        rows
    }
}
