//! RDMA ports, NVMe drives, network ports.

use cupel_model::snapshot::{NvmeController, RdmaDevice, RdmaPort};
use cupel_model::{Reading, Snapshot};

use super::Section;
use crate::output::printable;
use crate::render::table::Grid;
use crate::render::words::{NONE, cell, natural};

fn short_layer(port: &RdmaPort) -> String {
    match port.link_layer.value().map(String::as_str) {
        Some("InfiniBand") => "IB".to_owned(),
        Some("Ethernet") => "Eth".to_owned(),
        Some(_) | None => cell(&port.link_layer),
    }
}

fn who(device: &RdmaDevice) -> String {
    match device.serial.value() {
        Some(serial) => printable(serial).into_owned(),
        None => device
            .node_guid
            .value()
            .map_or_else(|| NONE.to_owned(), |guid| printable(guid).into_owned()),
    }
}

pub(super) fn rdma(snapshot: &Snapshot) -> Section {
    let ports: usize = snapshot.rdma.iter().map(|device| device.ports.len()).sum();
    let mut section = Section::new(format!("RDMA ports ({ports})"));
    if snapshot.rdma.is_empty() {
        section.note("none: no InfiniBand or RoCE device in the kernel");
        return section;
    }
    let mut grid = Grid::new(&[
        "Port",
        "Slot",
        "PCI",
        "State",
        "Rate",
        "Type",
        "Firmware",
        "Serial or GUID",
    ]);
    let mut devices: Vec<_> = snapshot.rdma.iter().collect();
    devices.sort_by_key(|device| natural(&device.name));
    for device in devices {
        for port in &device.ports {
            grid.row([
                printable(&format!("{}/{}", device.name, port.number)).into_owned(),
                cell(&device.slot),
                cell(&device.pci),
                format!("{}, {}", cell(&port.state), cell(&port.physical_state)),
                format!("{} {}", cell(&port.rate_gbps), short_layer(port)),
                cell(&device.hca_type),
                cell(&device.firmware),
                who(device),
            ]);
        }
        if device.ports.is_empty() {
            section.note(format!("{} has no port", printable(&device.name)));
        }
    }
    section.grid = grid;
    section
}

fn drive_health(drive: &NvmeController) -> String {
    let health = match &drive.health {
        Reading::Value(health) => health,
        other @ (Reading::Absent(_) | Reading::Unsupported(_) | Reading::Failed(_)) => {
            return cell(&other.as_ref().map(|_| ""));
        }
    };
    if health.critical_warnings.is_empty() {
        match health.percentage_used.get() {
            Some(used) => format!("ok, {} used", used),
            None => "ok".to_owned(),
        }
    } else {
        printable(&health.critical_warnings.join(", ")).into_owned()
    }
}

pub(super) fn nvme(snapshot: &Snapshot) -> Section {
    let mut section = Section::new(format!("NVMe drives ({})", snapshot.nvme.len()));
    if snapshot.nvme.is_empty() {
        section.note("none");
        return section;
    }
    let mut grid = Grid::new(&[
        "Drive", "Slot", "PCI", "Model", "Serial", "Firmware", "Size", "Health",
    ]);
    let mut drives: Vec<_> = snapshot.nvme.iter().collect();
    drives.sort_by_key(|drive| natural(&drive.name));
    for drive in drives {
        grid.row([
            printable(&drive.name).into_owned(),
            cell(&drive.slot),
            cell(&drive.pci),
            cell(&drive.model),
            cell(&drive.serial),
            cell(&drive.firmware),
            cell(&drive.capacity_bytes.clone().map(|bytes| bytes.human())),
            drive_health(drive),
        ]);
    }
    section.grid = grid;
    section
}

/// The end of an address that is longer than Ethernet's: InfiniBand's has 20 bytes, and the last
/// eight are the port's GUID.
fn short_mac(mac: &str) -> String {
    match mac
        .char_indices()
        .rev()
        .nth("9c:63:c0:03:6a:40:00:00".len() - 1)
    {
        Some((at, _)) if at > 0 => format!("…{}", &mac[at..]),
        Some(_) | None => mac.to_owned(),
    }
}

pub(super) fn network(snapshot: &Snapshot) -> Section {
    let mut section = Section::new(format!("Network ports ({})", snapshot.network.len()));
    if snapshot.network.is_empty() {
        section.note("none that is backed by a device");
        return section;
    }
    let mut grid = Grid::new(&["Port", "PCI", "MAC", "State", "Rate", "MTU", "Driver"]);
    for port in &snapshot.network {
        grid.row([
            printable(&port.name).into_owned(),
            cell(&port.pci),
            short_mac(&cell(&port.mac)),
            cell(&port.state),
            cell(&port.rate_gbps),
            cell(&port.mtu),
            cell(&port.driver),
        ]);
    }
    section.grid = grid;
    section
}
