//! What Cupel goes by: every setting with a value and an origin.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use cupel_hardware::Root;
use cupel_hardware::collect::CollectOptions;
use cupel_model::Mode;
use cupel_model::snapshot::Tenancy;
use serde::Serialize;

use super::inputs::{Inputs, Origin, Setting};

/// Share of the available memory that burn-in tests unless told otherwise. Unverified: leaves room
/// for the page cache and for whoever is logged in.
const BURN_IN_MEMORY_SHARE: f64 = 0.5;

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
        }
    }
}

impl Settings {
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
        rows.extend(
            self.checks
                .iter()
                .map(|(code, mode)| row(&format!("checks.{code:?}"), mode, mode.value)),
        );
        rows.sort_by(|a, b| a.key.cmp(&b.key));
        rows
    }
}
