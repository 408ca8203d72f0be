//! Reads one RDMA device with its ports.

use std::time::Duration;

use cupel_model::Reading;
use cupel_model::snapshot::{Problem, RdmaDevice, RdmaPort};

use super::counters::{Counters, PortCounters};
use crate::clock;
use crate::error::ReadError;
use crate::root::{Identity, Root};
use crate::sysfs::{Attributes, guid, rdma_rate, rdma_state};

const CLASS: &str = "/sys/class/infiniband";

/// Directory of the counters that the adapter keeps by itself.
const HARDWARE: &str = "hw_counters";

/// How long what seldom changes is believed: interfaces are renamed, counters come with modules.
const BELIEVED: Duration = Duration::from_secs(600);

/// Names of the RDMA devices, sorted. No class directory is no device.
///
/// # Errors
/// As the system says.
pub fn names(root: &Root) -> Result<Vec<String>, ReadError> {
    match root.names(CLASS) {
        Err(error) if error.is_missing() => Ok(Vec::new()),
        other => other,
    }
}

/// All RDMA devices on this thread, by name, and what could not be read.
pub fn collect(root: &Root) -> (Vec<RdmaDevice>, Vec<Problem>) {
    let mut problems = Vec::new();
    let names = names(root).unwrap_or_else(|error| {
        problems.push(problem(&error));
        Vec::new()
    });
    let devices = names
        .iter()
        .map(|name| {
            let (device, more) = one(root, name);
            problems.extend(more);
            device
        })
        .collect();
    (devices, problems)
}

/// One RDMA device, and what could not be read. Slot and serial are filled from its PCI function.
pub fn one(root: &Root, name: &str) -> (RdmaDevice, Vec<Problem>) {
    Adapter::default().read(root, name)
}

/// One RDMA device, read again and again: who it is and which counters it has is kept. It is read
/// again when another device has its name, when a port changes its state, and after a while.
#[derive(Debug, Default)]
pub struct Adapter(Option<Known>);

#[derive(Debug)]
struct Known {
    identity: Option<Identity>,
    /// Until when it is believed, as time since boot.
    until: Duration,
    /// Without counters.
    device: RdmaDevice,
    counters: Counters,
    /// In the order of the device's ports.
    ports: Vec<KnownPort>,
}

#[derive(Debug)]
struct KnownPort {
    /// Its directory, and by what that is known again.
    name: String,
    identity: Option<Identity>,
    counters: PortCounters,
}

impl Adapter {
    /// The device, and what could not be read.
    pub fn read(&mut self, root: &Root, name: &str) -> (RdmaDevice, Vec<Problem>) {
        let at = Attributes::new(root, format!("{CLASS}/{name}"));
        let identity = at.directory().identity();
        let now = clock::since_boot();
        let believed = |known: &&Known| {
            known.identity.is_some() && known.identity == identity && now < known.until
        };
        let known = self.0.as_ref().filter(believed);
        if let Some(device) = known.and_then(|known| known.again(&at)) {
            return (device, Vec::new());
        }
        let mut errors = Vec::new();
        let known = Known::afresh(&at, name, now, &mut errors);
        let device = known.with_counters(&at);
        // What went wrong is told each time, so it is looked for each time.
        self.0 = errors.is_empty().then_some(known);
        (device, errors.iter().map(problem).collect())
    }
}

impl Known {
    /// Everything but the values of counters.
    fn afresh(at: &Attributes, name: &str, now: Duration, errors: &mut Vec<ReadError>) -> Self {
        let mut ports = Vec::new();
        let directory = at.below("ports");
        match directory.directory().names() {
            Ok(names) => {
                for name in names {
                    match name.parse() {
                        Ok(number) => {
                            let of_port = directory.below(&name);
                            let known = KnownPort {
                                name,
                                identity: of_port.directory().identity(),
                                counters: PortCounters::list(of_port.directory(), errors),
                            };
                            ports.push((port(&of_port, at, number), known));
                        }
                        Err(_) => errors.push(ReadError::malformed(
                            directory.directory().path(),
                            1,
                            &name,
                            "a port number",
                        )),
                    }
                }
            }
            Err(error) => errors.push(error),
        }
        ports.sort_by_key(|(port, _)| port.number);
        let (ports, known) = ports.into_iter().unzip();
        let pci = at.pci_address();
        Self {
            identity: at.directory().identity(),
            until: now.saturating_add(BELIEVED),
            device: RdmaDevice {
                name: name.to_owned(),
                slot: pci.as_ref().and_then(|_| Reading::default()),
                serial: pci.as_ref().and_then(|_| Reading::default()),
                pci,
                firmware: at.value_or_empty("fw_ver", "the driver gives none"),
                board_id: at.value_or_empty("board_id", "the driver gives none"),
                hca_type: at.value("hca_type"),
                node_guid: at.parsed("node_guid", "a GUID", guid),
                system_guid: at.parsed("sys_image_guid", "a GUID", guid),
                ports,
                counters: Vec::new(),
            },
            counters: Counters::list(&at.directory().below(HARDWARE), errors),
            ports: known,
        }
    }

    fn with_counters(&self, at: &Attributes) -> RdmaDevice {
        let mut device = self.device.clone();
        let directory = at.directory().below("ports");
        for (port, known) in device.ports.iter_mut().zip(&self.ports) {
            port.counters = known.counters.read(&directory.below(&known.name));
        }
        device.counters = self.counters.read(at.directory().below(HARDWARE));
        device
    }

    /// What changes of it; `None` where a port has another state than before.
    fn again(&self, at: &Attributes) -> Option<RdmaDevice> {
        let mut device = self.device.clone();
        let directory = at.below("ports");
        for (port, known) in device.ports.iter_mut().zip(&self.ports) {
            let mut of_port = directory.below(&known.name);
            of_port.is_still(known.identity);
            let before = (port.state.clone(), port.physical_state.clone());
            read_state(port, &of_port);
            if before != (port.state.clone(), port.physical_state.clone()) {
                return None;
            }
            port.counters = known.counters.read(of_port.directory());
        }
        device.counters = self.counters.read(at.directory().below(HARDWARE));
        Some(device)
    }
}

fn problem(error: &ReadError) -> Problem {
    Problem {
        source: "rdma".to_owned(),
        why: error.to_string(),
    }
}

/// A port without its counters.
fn port(at: &Attributes, device: &Attributes, number: u32) -> RdmaPort {
    let mut port = RdmaPort {
        number,
        state: Reading::default(),
        physical_state: Reading::default(),
        rate_gbps: Reading::default(),
        link_layer: at.value("link_layer"),
        lid: Reading::default(),
        sm_lid: Reading::default(),
        interfaces: interfaces(at, device, number),
        counters: Vec::new(),
    };
    read_state(&mut port, at);
    port
}

/// How the port is now.
fn read_state(port: &mut RdmaPort, at: &Attributes) {
    let lid = |name| at.parsed(name, "a local id", local_id);
    port.state = at.parsed("state", "a port state", rdma_state);
    port.physical_state = at.parsed("phys_state", "a physical port state", rdma_state);
    port.rate_gbps = at.parsed("rate", "a rate in Gb/sec", rdma_rate);
    port.lid = lid("lid");
    port.sm_lid = lid("sm_lid");
}

/// `0x` and at most eight hexadecimal digits.
fn local_id(text: &str) -> Option<u32> {
    u32::from_str_radix(text.strip_prefix("0x")?, 16).ok()
}

/// Network interfaces of a port: those that its GID table names, and those of the device's PCI
/// function whose `dev_port` (0-based) is this port.
fn interfaces(port: &Attributes, device: &Attributes, number: u32) -> Vec<String> {
    let table = port.directory().below("gid_attrs").below("ndevs");
    let mut found: Vec<String> = table
        .names()
        .unwrap_or_default()
        .iter()
        // Most entries of the table are empty, and reading an empty one is an error.
        .filter_map(|entry| table.value(entry).ok())
        .collect();
    let net = device.directory().below("device").below("net");
    found.extend(net.names().unwrap_or_default().into_iter().filter(|name| {
        let interface = net.below(name);
        let own = |file| interface.value(file).ok();
        let here = own("dev_port")
            .and_then(|text| text.parse().ok())
            .unwrap_or(0_u32);
        // `pf0vf3` is how a switch-mode adapter names the far end of a virtual function.
        let is_representor = own("phys_port_name").is_some_and(|name| name.starts_with("pf"));
        here.checked_add(1) == Some(number) && !is_representor
    }));
    found.sort();
    found.dedup();
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Tree;

    #[test]
    fn no_class_is_no_device_and_a_class_that_cannot_be_listed_is_a_problem() {
        let tree = Tree::new();
        assert_eq!(collect(&tree.root()), (Vec::new(), Vec::new()));
        tree.file(CLASS, "");
        let (devices, problems) = collect(&tree.root());
        assert_eq!(devices, []);
        assert_eq!(problems[0].source, "rdma");
        assert_eq!(problems[0].why, "/sys/class/infiniband: Not a directory");
    }

    #[test]
    fn a_device_whose_link_leads_through_a_file_is_failed_not_off_pci() {
        let tree = Tree::new();
        tree.file("/sys/class/infiniband/mlx5_0", "");
        let (device, _) = one(&tree.root(), "mlx5_0");
        assert!(device.pci.is_failed(), "{:?}", device.pci);
        assert!(device.hca_type.is_failed(), "{:?}", device.hca_type);
    }

    fn adapter(tree: &Tree) -> String {
        let function = "/sys/devices/pci0000:97/0000:97:01.0/0000:9a:00.0";
        let device = format!("{function}/infiniband/mlx5_4");
        tree.link(
            "/sys/class/infiniband/mlx5_4",
            "../../devices/pci0000:97/0000:97:01.0/0000:9a:00.0/infiniband/mlx5_4",
        );
        tree.link(&format!("{device}/device"), "../../../0000:9a:00.0");
        for (file, value) in [
            ("fw_ver", "28.39.1002"),
            ("board_id", "MT_0000000838"),
            ("hca_type", "MT4129"),
            ("node_guid", "a088:c203:00f2:7a10"),
            ("sys_image_guid", "a088:c203:00f2:7a10"),
            ("ports/1/state", "4: ACTIVE"),
            ("ports/1/phys_state", "5: LinkUp"),
            ("ports/1/rate", "400 Gb/sec (4X NDR)"),
            ("ports/1/link_layer", "InfiniBand"),
            ("ports/1/lid", "0x1f"),
            ("ports/1/sm_lid", "0x1"),
            ("ports/1/counters/symbol_error", "65535"),
            ("ports/1/counters/VL15_dropped", "N/A (no PMA)"),
            ("ports/1/counters/port_rcv_data", "4294967295"),
            ("ports/1/counters/unicast_rcv_packets", "7"),
            ("ports/1/hw_counters/out_of_sequence", "12"),
            ("hw_counters/tx_bytes", "99"),
        ] {
            tree.file(&format!("{device}/{file}"), format!("{value}\n"));
        }
        tree.file(&format!("{function}/net/ibp154s0/dev_port"), "0\n");
        tree.file(&format!("{function}/net/ibp154s0d1/dev_port"), "1\n");
        device
    }

    #[test]
    fn again_is_as_new_whatever_changes() {
        let tree = Tree::new();
        let device = adapter(&tree);
        let root = tree.root();
        let mut adapter = Adapter::default();
        let new = || one(&root, "mlx5_4");
        assert_eq!(adapter.read(&root, "mlx5_4"), new());
        let put = |file: &str, value: &str| tree.file(&format!("{device}/{file}"), value);
        put("ports/1/counters/symbol_error", "7\n");
        put("ports/1/hw_counters/out_of_sequence", "13\n");
        put("ports/1/lid", "0x20\n");
        put("hw_counters/tx_bytes", "100\n");
        let (again, _) = adapter.read(&root, "mlx5_4");
        assert_eq!(again, new().0);
        assert_eq!(again.ports[0].lid, Reading::Value(32));
        // An interface that got its name later is seen when the port changes its state.
        let net = "/sys/devices/pci0000:97/0000:97:01.0/0000:9a:00.0/net";
        tree.file(&format!("{net}/late/dev_port"), "0\n");
        let interfaces = |told: (RdmaDevice, Vec<Problem>)| told.0.ports[0].interfaces.clone();
        assert_eq!(interfaces(adapter.read(&root, "mlx5_4")), ["ibp154s0"]);
        put("ports/1/state", "1: DOWN\n");
        assert_eq!(adapter.read(&root, "mlx5_4"), new());
        assert_eq!(interfaces(new()), ["ibp154s0", "late"]);
        // Another device under the same name.
        tree.replace(&format!("{device}/fw_ver"), "28.40.1000\n");
        assert_eq!(adapter.read(&root, "mlx5_4"), new());
        // What goes wrong is told each time.
        put("ports/x", "");
        tree.replace(&format!("{device}/board_id"), "MT_1\n");
        for _ in 0..2 {
            let told = adapter.read(&root, "mlx5_4");
            assert_eq!(told, new());
            assert_eq!(told.1.len(), 1);
        }
        tree.remove_directory(&device);
        assert_eq!(adapter.read(&root, "mlx5_4"), new());
    }

    #[test]
    fn an_adapter_as_the_kernel_shows_it() {
        let tree = Tree::new();
        adapter(&tree);
        let (devices, problems) = collect(&tree.root());
        assert_eq!(problems, []);
        let device = &devices[0];
        assert_eq!(
            device.pci.get().map(|a| a.to_string()).as_deref(),
            Some("0000:9a:00.0")
        );
        assert_eq!(device.firmware, Reading::Value("28.39.1002".to_owned()));
        let port = &device.ports[0];
        assert_eq!(port.state, Reading::Value("ACTIVE".to_owned()));
        assert_eq!(port.physical_state, Reading::Value("LinkUp".to_owned()));
        assert_eq!(port.rate_gbps.get().map(f64::from), Some(400.0));
        assert_eq!((port.lid.get(), port.sm_lid.get()), (Some(31), Some(1)));
        assert_eq!(port.interfaces, ["ibp154s0"]);
        let counter = |name: &str| {
            let counter = port.counters.iter().find(|c| c.name == name).expect(name);
            counter.value.clone()
        };
        assert!(
            counter("symbol_error")
                .get()
                .is_some_and(|c| c.saturated && c.value == 65535)
        );
        assert!(counter("port_rcv_data").get().is_some_and(|c| !c.saturated));
        assert!(matches!(counter("VL15_dropped"), Reading::Unsupported(_)));
        assert_eq!(counter("out_of_sequence").get().map(|c| c.value), Some(12));
        assert_eq!(device.counters.len(), 1);
    }

    #[test]
    fn garbage_fails_its_own_value_only() {
        let tree = Tree::new();
        let device = adapter(&tree);
        tree.file(&format!("{device}/ports/1/rate"), "very fast\n");
        tree.file(&format!("{device}/ports/1/counters/symbol_error"), "-1\n");
        tree.file(&format!("{device}/ports/x/state"), "4: ACTIVE\n");
        let (devices, problems) = collect(&tree.root());
        let port = &devices[0].ports[0];
        assert_eq!(
            port.rate_gbps.why(),
            Some(
                "/sys/class/infiniband/mlx5_4/ports/1/rate: line 1: \"very fast\" is not a rate in Gb/sec"
            )
        );
        assert!(
            port.counters
                .iter()
                .any(|c| c.name == "symbol_error" && c.value.is_failed())
        );
        assert_eq!(port.state, Reading::Value("ACTIVE".to_owned()));
        assert_eq!(problems.len(), 1);
    }
}
