//! Classes of devices, of which one that hangs harms only itself.

use std::time::Duration;

use cupel_model::snapshot::{NvmeController, RdmaDevice, Sensor};

use super::fragment::Problems;
use super::late;
use crate::deadline::{self, Pending};
use crate::error::ReadError;
use crate::root::Root;
use crate::{hwmon, nvme, rdma};

/// All RDMA devices, by name.
pub(super) fn rdma(root: &Root, limit: Duration, problems: &mut Problems) -> Vec<RdmaDevice> {
    let pending = start_each(root, "rdma", limit, rdma::names(root), problems, rdma::one);
    pending
        .into_iter()
        .map(|(name, pending)| {
            let source = format!("rdma/{name}");
            problems.take_with(&source, pending.wait(), |why| late::rdma(&name, why))
        })
        .collect()
}

/// All NVMe controllers, by name.
pub(super) fn nvme(root: &Root, limit: Duration, problems: &mut Problems) -> Vec<NvmeController> {
    let pending = start_each(root, "nvme", limit, nvme::names(root), problems, nvme::one);
    pending
        .into_iter()
        .map(|(name, pending)| {
            let source = format!("nvme/{name}");
            problems.take(&source, pending.wait(), |why| nvme::unread(&name, why))
        })
        .collect()
}

/// All sensors of hwmon, by name.
pub(super) fn sensors(root: &Root, limit: Duration, problems: &mut Problems) -> Vec<Sensor> {
    let monitors = hwmon::monitors(root).unwrap_or_else(|error| {
        problems.add("hwmon", error);
        Vec::new()
    });
    let pending: Vec<_> = monitors
        .into_iter()
        .map(|monitor| {
            let name = format!("hwmon/{}", monitor.name);
            let own = root.clone();
            let pending = deadline::start(root, &name, limit, move || hwmon::read(&own, &monitor));
            (name, pending)
        })
        .collect();
    let mut sensors = Vec::new();
    for (name, pending) in pending {
        match problems.take(&name, pending.wait(), |_| Ok(Vec::new())) {
            Ok(read) => sensors.extend(read),
            Err(error) => problems.add(&name, error),
        }
    }
    sensors.sort_by(|a, b| a.name.cmp(&b.name));
    sensors
}

/// Devices that are being read, with their names.
type Each<T> = Vec<(String, Pending<T>)>;

/// Starts reading every device of a class, each on its own thread.
fn start_each<T: Send + 'static>(
    root: &Root,
    source: &str,
    limit: Duration,
    names: Result<Vec<String>, ReadError>,
    problems: &mut Problems,
    one: fn(&Root, &str) -> T,
) -> Each<T> {
    let names = names.unwrap_or_else(|error| {
        problems.add(source, error);
        Vec::new()
    });
    names
        .into_iter()
        .map(|name| {
            let (own, device) = (root.clone(), name.clone());
            let task = format!("{source}/{name}");
            let pending = deadline::start(root, &task, limit, move || one(&own, &device));
            (name, pending)
        })
        .collect()
}
