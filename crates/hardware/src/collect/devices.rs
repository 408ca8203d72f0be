//! Classes of devices, of which one that hangs harms only itself.
//!
//! # Invariants
//! - What is kept of a device goes with it to the thread that reads it, and comes back with what
//!   was read; a device that hangs keeps it.

use std::collections::BTreeMap;
use std::time::Duration;

use cupel_model::snapshot::{NvmeController, RdmaDevice, Sensor};

use super::fragment::Problems;
use super::late;
use crate::deadline;
use crate::error::ReadError;
use crate::root::Root;
use crate::{hwmon, nvme, rdma};

/// What is kept of each device of a class.
#[derive(Default)]
pub(super) struct Class<K>(BTreeMap<String, K>);

impl<K: Default + Send + 'static> Class<K> {
    /// Reads every device that is there, with what was kept of it. Devices have a name and whatever
    /// else is known of them.
    fn read<D, T>(
        &mut self,
        root: &Root,
        class: &str,
        limit: Duration,
        devices: Vec<(String, D)>,
        read: fn(&Root, D, &mut K) -> T,
    ) -> Vec<(String, Result<T, deadline::Late>)>
    where
        D: Send + 'static,
        T: Send + 'static,
    {
        let mut kept = std::mem::take(&mut self.0);
        let items = devices
            .into_iter()
            .map(|(name, device)| {
                let own = kept.remove(&name).unwrap_or_default();
                (format!("{class}/{name}"), (device, own))
            })
            .collect();
        let own = root.clone();
        let told = deadline::each(root, limit, items, move |_, (device, mut kept)| {
            (read(&own, device, &mut kept), kept)
        });
        told.into_iter()
            .map(|(task, result)| {
                let result = result.map(|(value, kept)| {
                    self.0.insert(device_of(&task).to_owned(), kept);
                    value
                });
                (task, result)
            })
            .collect()
    }
}

/// The names of a class as devices; that they cannot be listed is told.
fn listed(
    source: &str,
    names: Result<Vec<String>, ReadError>,
    problems: &mut Problems,
) -> Vec<(String, String)> {
    let names = names.unwrap_or_else(|error| {
        problems.add(source, error);
        Vec::new()
    });
    names.into_iter().map(|name| (name.clone(), name)).collect()
}

/// The last part of a task's name.
fn device_of(task: &str) -> &str {
    task.split_once('/').map_or(task, |(_, name)| name)
}

/// All RDMA devices, by name.
pub(super) fn rdma(
    class: &mut Class<rdma::Adapter>,
    root: &Root,
    limit: Duration,
    problems: &mut Problems,
) -> Vec<RdmaDevice> {
    let devices = listed("rdma", rdma::names(root), problems);
    let read = class.read(root, "rdma", limit, devices, |root, name, adapter| {
        adapter.read(root, &name)
    });
    read.into_iter()
        .map(|(task, result)| {
            problems.take_with(&task, result, |why| late::rdma(device_of(&task), why))
        })
        .collect()
}

/// All NVMe controllers, by name.
pub(super) fn nvme(
    class: &mut Class<()>,
    root: &Root,
    limit: Duration,
    problems: &mut Problems,
) -> Vec<NvmeController> {
    let devices = listed("nvme", nvme::names(root), problems);
    let read = class.read(root, "nvme", limit, devices, |root, name, ()| {
        nvme::one(root, &name)
    });
    read.into_iter()
        .map(|(task, result)| {
            problems.take(&task, result, |why| nvme::unread(device_of(&task), why))
        })
        .collect()
}

/// All sensors of hwmon, by name.
pub(super) fn sensors(
    class: &mut Class<hwmon::Chip>,
    root: &Root,
    limit: Duration,
    problems: &mut Problems,
) -> Vec<Sensor> {
    let monitors = hwmon::monitors(root).unwrap_or_else(|error| {
        problems.add("hwmon", error);
        Vec::new()
    });
    let devices = monitors
        .into_iter()
        .map(|monitor| (monitor.name.clone(), monitor))
        .collect();
    let read = class.read(root, "hwmon", limit, devices, |root, monitor, chip| {
        chip.read(root, &monitor)
    });
    let mut sensors = Vec::new();
    for (task, result) in read {
        match problems.take(&task, result, |_| Ok(Vec::new())) {
            Ok(read) => sensors.extend(read),
            Err(error) => problems.add(&task, error),
        }
    }
    sensors.sort_by(|a, b| a.name.cmp(&b.name));
    sensors
}
