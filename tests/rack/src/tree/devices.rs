//! Devices behind PCI functions as their classes show them: RDMA, NVMe, network.

use super::bus::path;
use super::{Tree, pages};
use crate::machine::{Machine, Net, Nvme, Rdma, RdmaPort};

/// `counters/` of a port.
const COUNTERS: [&str; 21] = [
    "VL15_dropped",
    "excessive_buffer_overrun_errors",
    "link_downed",
    "link_error_recovery",
    "local_link_integrity_errors",
    "multicast_rcv_packets",
    "multicast_xmit_packets",
    "port_rcv_constraint_errors",
    "port_rcv_data",
    "port_rcv_errors",
    "port_rcv_packets",
    "port_rcv_remote_physical_errors",
    "port_rcv_switch_relay_errors",
    "port_xmit_constraint_errors",
    "port_xmit_data",
    "port_xmit_discards",
    "port_xmit_packets",
    "port_xmit_wait",
    "symbol_error",
    "unicast_rcv_packets",
    "unicast_xmit_packets",
];

/// `hw_counters/` of an mlx5 port.
const HW_COUNTERS: [&str; 25] = [
    "duplicate_request",
    "implied_nak_seq_err",
    "local_ack_timeout_err",
    "out_of_buffer",
    "out_of_sequence",
    "packet_seq_err",
    "req_cqe_error",
    "req_cqe_flush_error",
    "req_remote_access_errors",
    "req_remote_invalid_request",
    "req_rnr_retries_exceeded",
    "resp_cqe_error",
    "resp_cqe_flush_error",
    "resp_local_length_error",
    "resp_remote_access_errors",
    "rnr_nak_retry_err",
    "roce_adp_retrans",
    "roce_adp_retrans_to",
    "roce_slow_restart",
    "roce_slow_restart_cnps",
    "roce_slow_restart_trans",
    "rx_atomic_requests",
    "rx_dct_connect",
    "rx_read_requests",
    "rx_write_requests",
];

pub(super) fn render(tree: &mut Tree, machine: &Machine) {
    for device in &machine.rdma {
        rdma(tree, machine, device);
    }
    for drive in &machine.nvme {
        nvme(tree, machine, drive);
    }
    for net in &machine.nets {
        network(tree, machine, net);
    }
    {
        let name = "lo";
        let directory = format!("sys/devices/virtual/net/{name}");
        tree.text(format!("{directory}/operstate"), "unknown");
        tree.text(format!("{directory}/mtu"), 65536);
        tree.text(format!("{directory}/type"), 772);
        tree.text(format!("{directory}/address"), "00:00:00:00:00:00");
        tree.link(format!("sys/class/net/{name}"), &directory);
    }
}

/// `0011:2233:4455:6677`.
fn guid(value: u64) -> String {
    let hex = format!("{value:016x}");
    [&hex[0..4], &hex[4..8], &hex[8..12], &hex[12..16]].join(":")
}

fn rdma(tree: &mut Tree, machine: &Machine, device: &Rdma) {
    let function = path(machine, device.pci);
    let directory = format!("{function}/infiniband/{}", device.name);
    let mut put = |name: &str, value: &dyn std::fmt::Display| {
        tree.text(format!("{directory}/{name}"), value);
    };
    put("board_id", &device.board_id);
    put("fw_ver", &device.firmware);
    put("hca_type", &device.hca_type);
    put("hw_rev", &0);
    put("node_guid", &guid(device.node_guid));
    put("sys_image_guid", &guid(device.system_guid));
    put(
        "node_desc",
        &format_args!("{} {}", machine.system.hostname, device.name),
    );
    put("node_type", &"1: CA");
    tree.link(format!("{directory}/device"), &function);
    tree.link(format!("{directory}/subsystem"), "sys/class/infiniband");
    tree.link(format!("sys/class/infiniband/{}", device.name), &directory);
    for (number, port) in (1_u32..).zip(&device.ports) {
        rdma_port(tree, &format!("{directory}/ports/{number}"), device, port);
    }
}

fn rdma_port(tree: &mut Tree, directory: &str, device: &Rdma, port: &RdmaPort) {
    let mut put = |name: &str, value: &dyn std::fmt::Display| {
        tree.text(format!("{directory}/{name}"), value);
    };
    put("state", &port.state);
    put("phys_state", &port.physical_state);
    put("rate", &port.rate);
    put("link_layer", &port.link_layer);
    put("lid", &format_args!("0x{:x}", port.lid));
    put("lid_mask_count", &0);
    let manager = if port.lid > 0 { 1 } else { 0 };
    put("sm_lid", &format_args!("0x{manager:x}"));
    put("sm_sl", &0);
    put("cap_mask", &"0xa651e848");
    let prefix = "fe80:0000:0000:0000";
    put(
        "gids/0",
        &format_args!("{prefix}:{}", guid(device.node_guid)),
    );
    for (folder, names) in [
        ("counters", &COUNTERS[..]),
        ("hw_counters", &HW_COUNTERS[..]),
    ] {
        for name in names {
            let value = port.counters.iter().find(|(counter, _)| counter == name);
            let value = value.map_or(0, |(_, value)| *value);
            put(&format!("{folder}/{name}"), &value);
        }
    }
    put("hw_counters/lifespan", &10);
}

fn nvme(tree: &mut Tree, machine: &Machine, drive: &Nvme) {
    let function = path(machine, drive.pci);
    let directory = format!("{function}/nvme/{}", drive.name);
    let mut put = |name: &str, value: &dyn std::fmt::Display| {
        tree.text(format!("{directory}/{name}"), value);
    };
    put("model", &format_args!("{:<40}", drive.model));
    put("serial", &format_args!("{:<20}", drive.serial));
    put("firmware_rev", &format_args!("{:<8}", drive.firmware));
    put("state", &drive.state);
    put("transport", &"pcie");
    put("address", &drive.pci);
    put("cntlid", &1);
    put("numa_node", &u32::from(drive.pci.bus >= 0x80));
    let name = format!("{}n1", drive.name);
    put(&format!("{name}/size"), &(drive.bytes / 512));
    put(&format!("{name}/queue/logical_block_size"), &512);
    put(&format!("{name}/ro"), &0);
    tree.link(format!("{directory}/device"), &function);
    tree.link(format!("{directory}/subsystem"), "sys/class/nvme");
    tree.link(format!("sys/class/nvme/{}", drive.name), &directory);
    tree.link(
        format!("sys/class/block/{name}"),
        &format!("{directory}/{name}"),
    );
    let device = format!("dev/{}", drive.name);
    let vendor = machine
        .pci
        .iter()
        .find(|f| f.address == drive.pci)
        .map_or(0, |f| f.vendor);
    tree.bytes(format!("{device}.identify"), pages::identify(drive, vendor));
    tree.bytes(format!("{device}.smart"), pages::smart(drive));
    tree.bytes(
        format!("{device}.firmware-slots"),
        pages::firmware_slots(drive),
    );
    let celsius = 38;
    let hwmon = format!("{directory}/hwmon{}", 10 + drive.pci.bus);
    tree.text(format!("{hwmon}/name"), "nvme");
    tree.text(format!("{hwmon}/temp1_label"), "Composite");
    tree.text(format!("{hwmon}/temp1_input"), celsius * 1000);
    tree.text(format!("{hwmon}/temp1_crit"), 84_850);
    tree.link(format!("{hwmon}/device"), &directory);
    tree.link(
        format!("sys/class/hwmon/hwmon{}", 10 + drive.pci.bus),
        &hwmon,
    );
}

fn network(tree: &mut Tree, machine: &Machine, net: &Net) {
    let function = path(machine, net.pci);
    let directory = format!("{function}/net/{}", net.name);
    let mut put = |name: &str, value: &dyn std::fmt::Display| {
        tree.text(format!("{directory}/{name}"), value);
    };
    put("address", &net.mac);
    put("addr_len", &if net.kind == 32 { 20 } else { 6 });
    put("operstate", &if net.up { "up" } else { "down" });
    put("mtu", &if net.kind == 32 { 4092 } else { 1500 });
    put("type", &net.kind);
    put("dev_port", &net.port);
    put("dev_id", &format_args!("0x{:x}", net.port));
    put("flags", &if net.up { "0x1003" } else { "0x1002" });
    // A port that is administratively up and has no cable: no carrier, and a speed of -1.
    put("carrier", &u32::from(net.up));
    let speed = i64::from(net.mbps);
    put("speed", &if net.up { speed } else { -1 });
    put("duplex", &if net.up { "full" } else { "unknown" });
    put("carrier_changes", &2);
    put("carrier_up_count", &1);
    put("carrier_down_count", &1);
    for name in [
        "collisions",
        "rx_crc_errors",
        "rx_dropped",
        "rx_errors",
        "rx_missed_errors",
        "tx_carrier_errors",
        "tx_dropped",
        "tx_errors",
    ] {
        put(&format!("statistics/{name}"), &0);
    }
    put("statistics/rx_bytes", &8_812_345_667_u64);
    put("statistics/tx_bytes", &7_731_004_113_u64);
    tree.link(format!("{directory}/device"), &function);
    tree.link(format!("{directory}/subsystem"), "sys/class/net");
    tree.link(format!("sys/class/net/{}", net.name), &directory);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::colons;

    #[test]
    fn guids_are_spelt_as_the_kernel_does() {
        assert_eq!(guid(0x9c63_c003_0012_3456), "9c63:c003:0012:3456");
        assert_eq!(colons(0x0102_0304_0506_0708, 6), "03:04:05:06:07:08");
    }
}
