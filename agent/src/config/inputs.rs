//! Fragments merged: for each key the value that won, and where it stands.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use cupel_model::Mode;
use cupel_model::snapshot::Tenancy;
use serde::{Serialize, Serializer};
use toml::Spanned;

use super::fragment::{Fragment, Lines};

/// Where a setting's value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Built in.
    Default,
    /// A configuration file.
    File {
        /// Path, as under the root.
        path: String,
        /// Line, 1-based.
        line: usize,
    },
    /// An environment variable.
    Environment(&'static str),
    /// The node's identity: what gave it.
    Identity,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line } => write!(f, "{path}:{line}"),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::Identity => f.write_str("identity"),
        }
    }
}

impl Serialize for Origin {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A value and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Setting<T> {
    /// The value.
    pub value: T,
    /// Where it comes from.
    pub origin: Origin,
}

/// What all files together say.
#[derive(Clone, Debug, Default)]
pub struct Inputs {
    /// `tenancy`
    pub tenancy: Option<Setting<Tenancy>>,
    /// `platform`
    pub platform: Option<Setting<String>>,
    /// `units`
    pub units: Option<Setting<Vec<String>>>,
    /// `[checks]`
    pub checks: BTreeMap<String, Setting<Mode>>,
    /// `nvml.library`
    pub nvml_library: Option<Setting<PathBuf>>,
    /// `deadlines.gpu_call_seconds`
    pub gpu_call_seconds: Option<Setting<f64>>,
    /// `deadlines.gpu_initialisation_seconds`
    pub gpu_initialisation_seconds: Option<Setting<f64>>,
    /// `burn_in.memory_share`
    pub burn_in_memory_share: Option<Setting<f64>>,
    /// `service.listen`
    pub listen: Option<Setting<String>>,
    /// `service.hook_valid_seconds`
    pub hook_valid_seconds: Option<Setting<f64>>,
    /// `[service.every_seconds]`
    pub every_seconds: BTreeMap<String, Setting<f64>>,
    /// `inventory.url`
    pub inventory_url: Option<Setting<String>>,
    /// `inventory.token_file`
    pub inventory_token_file: Option<Setting<PathBuf>>,
    /// `inventory.ca_file`
    pub inventory_ca_file: Option<Setting<PathBuf>>,
    /// `inventory.heartbeat_seconds`
    pub heartbeat_seconds: Option<Setting<f64>>,
    /// `inventory.full_seconds`
    pub full_seconds: Option<Setting<f64>>,
    /// `inventory.spool_mib`
    pub spool_mib: Option<Setting<f64>>,
}

impl Inputs {
    /// Lays a later file over what is there: its values win, key by key.
    pub fn merge(&mut self, path: &str, fragment: Fragment) {
        let Fragment {
            tenancy,
            platform,
            units,
            checks,
            nvml,
            deadlines,
            burn_in,
            service,
            inventory,
            lines,
        } = fragment;
        lay(&mut self.tenancy, tenancy, path, &lines);
        lay(&mut self.platform, platform, path, &lines);
        lay(&mut self.units, units, path, &lines);
        lay(&mut self.nvml_library, nvml.library, path, &lines);
        lay(
            &mut self.gpu_call_seconds,
            deadlines.gpu_call_seconds,
            path,
            &lines,
        );
        lay(
            &mut self.gpu_initialisation_seconds,
            deadlines.gpu_initialisation_seconds,
            path,
            &lines,
        );
        lay(
            &mut self.burn_in_memory_share,
            burn_in.memory_share,
            path,
            &lines,
        );
        lay(&mut self.listen, service.listen, path, &lines);
        let hook_valid = service.hook_valid_seconds;
        lay(&mut self.hook_valid_seconds, hook_valid, path, &lines);
        lay(&mut self.inventory_url, inventory.url, path, &lines);
        lay(
            &mut self.inventory_token_file,
            inventory.token_file,
            path,
            &lines,
        );
        lay(&mut self.inventory_ca_file, inventory.ca_file, path, &lines);
        lay(
            &mut self.heartbeat_seconds,
            inventory.heartbeat_seconds,
            path,
            &lines,
        );
        lay(&mut self.full_seconds, inventory.full_seconds, path, &lines);
        lay(&mut self.spool_mib, inventory.spool_mib, path, &lines);
        for (source, value) in service.every_seconds {
            let origin = origin(path, &value, &lines);
            let value = value.into_inner();
            self.every_seconds
                .insert(source.into_inner(), Setting { value, origin });
        }
        for (code, value) in checks {
            let origin = origin(path, &code, &lines);
            self.checks
                .insert(code.into_inner(), Setting { value, origin });
        }
    }
}

fn origin<T>(path: &str, value: &Spanned<T>, lines: &Lines) -> Origin {
    Origin::File {
        path: path.to_owned(),
        line: lines.position(value.span().start).0,
    }
}

fn lay<T>(slot: &mut Option<Setting<T>>, value: Option<Spanned<T>>, path: &str, lines: &Lines) {
    if let Some(value) = value {
        let origin = origin(path, &value, lines);
        *slot = Some(Setting {
            value: value.into_inner(),
            origin,
        });
    }
}
