//! The step `inspect`: find out what the machine is.

use cupel_model::Snapshot;

use crate::config::Settings;
use crate::context::Context;
use crate::gather::{self, SourceArgs};

/// Reads the machine.
///
/// # Errors
/// As [`gather::snapshot`].
pub fn inspect(context: &Context, settings: &Settings) -> anyhow::Result<Snapshot> {
    gather::snapshot(context, settings, &SourceArgs::default())
}

/// What was found, in a line.
pub fn line(snapshot: &Snapshot) -> String {
    let product = snapshot
        .node
        .product
        .value()
        .map_or("machine of unknown product", String::as_str);
    let dimms = snapshot.memory.dimms.len();
    format!(
        "{product}: {} GPUs, {} RDMA devices, {} NVMe drives, {dimms} memory sockets",
        snapshot.gpus.len(),
        snapshot.rdma.len(),
        snapshot.nvme.len(),
    )
}
