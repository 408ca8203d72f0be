//! What a source's readings say when the source was late.

use cupel_model::Reading;
use cupel_model::snapshot::{Cpus, Kernel, Memory, Node, RdmaDevice};

/// Which machine this is: not known, because of `why`.
pub(super) fn node(why: &str) -> Node {
    let failed = || Reading::failed(why);
    Node {
        id: failed(),
        id_source: Reading::failed(why),
        hostname: failed(),
        manufacturer: failed(),
        product: failed(),
        serial: failed(),
        chassis_serial: failed(),
        board_serial: failed(),
        boot_id: failed(),
        uptime_seconds: Reading::failed(why),
    }
}

/// Processors: not known, because of `why`.
pub(super) fn cpus(why: &str) -> Cpus {
    Cpus {
        sockets: Vec::new(),
        online: Reading::failed(why),
        possible: Reading::failed(why),
        online_count: Reading::failed(why),
        possible_count: Reading::failed(why),
        numa_nodes: Reading::failed(why),
    }
}

/// Memory: not known, because of `why`.
pub(super) fn memory(why: &str) -> Memory {
    Memory {
        total_bytes: Reading::failed(why),
        available_bytes: Reading::failed(why),
        dimms: Vec::new(),
        dimms_source: Reading::failed(why),
        edac: Vec::new(),
    }
}

/// The kernel: not known, because of `why`.
pub(super) fn kernel(why: &str) -> Kernel {
    Kernel {
        release: Reading::failed(why),
        command_line: Reading::failed(why),
        taint: Reading::failed(why),
        modules: Reading::failed(why),
    }
}

/// An RDMA device of which only the name is known, because of `why`.
pub(super) fn rdma(name: &str, why: &str) -> RdmaDevice {
    let failed = || Reading::failed(why);
    RdmaDevice {
        name: name.to_owned(),
        pci: Reading::failed(why),
        slot: failed(),
        serial: failed(),
        firmware: failed(),
        board_id: failed(),
        hca_type: failed(),
        node_guid: failed(),
        system_guid: failed(),
        ports: Vec::new(),
        counters: Vec::new(),
    }
}
