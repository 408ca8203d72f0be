//! Every family, in the order in which it is written: first the verdict, last the writing itself.

mod bmc;
mod events;
mod gpu;
mod gpu_memory;
mod gpu_performance;
mod host;
mod identity;
mod network;
mod node;
mod nvlink;
mod nvme;
mod pcie;
mod rdma;
mod service;
mod verdict;
mod writing;

use super::family::Group;

/// All of them.
pub(super) const GROUPS: &[Group] = &[
    verdict::GROUP,
    node::GROUP,
    events::GROUP,
    gpu::GROUP,
    gpu_memory::GROUP,
    gpu_performance::GROUP,
    nvlink::GROUP,
    rdma::GROUP,
    network::GROUP,
    nvme::GROUP,
    pcie::GROUP,
    host::GROUP,
    bmc::GROUP,
    service::GROUP,
    service::REPORTING,
    identity::GROUP,
    writing::GROUP,
];
