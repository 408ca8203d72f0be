//! Where a snapshot comes from: this machine, or a file.
//!
//! # Invariants
//! - A snapshot from a file is taken as it is: its own remembered parts, its own previous sample.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use cupel_hardware::collect::{CollectOptions, collect};
use cupel_hardware::gpu::WorkerProgram;
use cupel_model::Snapshot;
use cupel_model::snapshot::RememberedPart;

use crate::config::Settings;
use crate::context::Context;
use crate::{snapshot_file, state};

/// Options of every command that reads a snapshot.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct SourceArgs {
    /// Use a snapshot or capture instead of this machine (JSON or zstd; - is standard input)
    #[arg(long, value_name = "FILE")]
    pub from: Option<PathBuf>,
    /// Take two samples, this far apart, so that rates can be told (such as 5s, 500ms, 1m)
    #[arg(long, value_name = "TIME", value_parser = parse_interval, conflicts_with = "from")]
    pub interval: Option<Duration>,
}

/// Longest time between two samples.
const LONGEST_INTERVAL: Duration = Duration::from_secs(3600);

/// `5s`, `500ms`, `1m`, or a bare number of seconds.
fn parse_interval(text: &str) -> Result<Duration, String> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor = match unit {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" | "min" => 60.0,
        _ => return Err("want a time such as 5s, 500ms or 1m".to_owned()),
    };
    let interval = number
        .parse::<f64>()
        .ok()
        .and_then(|number| Duration::try_from_secs_f64(number * factor).ok())
        .ok_or("want a time such as 5s, 500ms or 1m")?;
    if interval.is_zero() || interval > LONGEST_INTERVAL {
        return Err("want a time above 0 and at most 1 hour".to_owned());
    }
    Ok(interval)
}

/// How much of a machine is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Everything.
    Whole,
    /// All but the management controller's sensors and event log, which take seconds and which no
    /// check looks at.
    WithoutBmcDetails,
}

/// The snapshot that the options ask for. A snapshot of this machine carries the parts remembered
/// from earlier runs, and what it sees in good order is remembered for later ones.
///
/// # Errors
/// The file is no snapshot.
pub fn snapshot(
    context: &Context,
    settings: &Settings,
    source: &SourceArgs,
) -> anyhow::Result<Snapshot> {
    snapshot_of_depth(context, settings, source, Depth::Whole)
}

/// The same, without what takes long when it is not needed.
///
/// # Errors
/// As [`snapshot`].
pub fn snapshot_of_depth(
    context: &Context,
    settings: &Settings,
    source: &SourceArgs,
    depth: Depth,
) -> anyhow::Result<Snapshot> {
    if let Some(path) = &source.from {
        return snapshot_file::load(path).context("cannot use the file of --from");
    }
    let mut snapshot = collect(&CollectOptions {
        with_bmc_details: depth == Depth::Whole,
        interval: source.interval,
        ..options(context, settings)
    });
    let directory = context.state_dir();
    let node = snapshot.node.id.value().cloned();
    snapshot.remembered = state::remembered(&directory, node.as_deref());
    let parts = cupel_health::remember(&snapshot);
    if is_news(&parts, &snapshot.remembered) {
        state::remember(&directory, node.as_deref(), parts);
    }
    Ok(snapshot)
}

/// How the machine is read under these settings.
pub fn options(context: &Context, settings: &Settings) -> CollectOptions {
    CollectOptions {
        nvml_library: settings.nvml_library.value.clone(),
        worker: worker_program(),
        tenancy: settings.tenancy.value,
        units: settings.units.value.clone(),
        gpu_call_deadline: settings.gpu_call_deadline.value,
        gpu_initialisation_deadline: settings.gpu_initialisation_deadline.value,
        ..CollectOptions::new(context.root.clone())
    }
}

/// The GPU worker: carried inside this program, or the file beside it in a development build.
#[cfg(feature = "embedded-worker")]
pub fn worker_program() -> WorkerProgram {
    static WORKER: &[u8] = include_bytes!(env!("CUPEL_WORKER_FILE"));
    WorkerProgram::Embedded(WORKER)
}

/// The GPU worker: carried inside this program, or the file beside it in a development build.
#[cfg(not(feature = "embedded-worker"))]
pub fn worker_program() -> WorkerProgram {
    let beside = std::env::current_exe()
        .ok()
        .and_then(|program| Some(program.parent()?.join("cupel-gpu-worker")));
    WorkerProgram::File(beside.unwrap_or_else(|| PathBuf::from("cupel-gpu-worker")))
}

/// Longest time for which what is remembered may be out of date, in seconds: the disk is not
/// written on each run.
const REMEMBERED_AGE: f64 = 3600.0;

/// Whether parts differ from those on the disk by more than a little time.
pub fn is_news(now: &[RememberedPart], stored: &[RememberedPart]) -> bool {
    now.len() != stored.len()
        || now.iter().zip(stored).any(|(now, stored)| {
            let age = now.seen_at.seconds_since(stored.seen_at).abs();
            let same = RememberedPart {
                seen_at: now.seen_at,
                ..stored.clone()
            };
            *now != same || age > REMEMBERED_AGE
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals() {
        assert_eq!(parse_interval("5s"), Ok(Duration::from_secs(5)));
        assert_eq!(parse_interval("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_interval("1.5m"), Ok(Duration::from_secs(90)));
        for bad in ["", "0s", "5 s", "s", "2h", "-1s", "1e9s", "61m"] {
            assert!(parse_interval(bad).is_err(), "{bad:?}");
        }
    }
}
