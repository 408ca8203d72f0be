//! Starts all sources, waits for them, and joins what they give.

use std::sync::Arc;
use std::time::Duration;

use cupel_model::snapshot::{
    NvmeController, Nvswitch, PciDevice, Previous, Problem, RdmaDevice, Sensor, Snapshot,
    WorkerState, no_interval,
};
use cupel_model::units::Seconds;
use cupel_model::worker::Watched;
use cupel_model::{PciAddress, Reading, SCHEMA_VERSION};

use super::log::{self, Log};
use super::options::CollectOptions;
use super::{firmware, late};
use crate::deadline::{self, Pending};
use crate::error::ReadError;
use crate::gpu::{Client, KernelDriver};
use crate::root::Root;
use crate::{
    clock, cpus, filesystems, hwmon, ipmi, kernel, memory, network, node, nvme, nvswitch, pci,
    rdma, services, smbios,
};

/// Reads the machine: once, or twice if `options.interval` says so.
pub fn collect(options: &CollectOptions) -> Snapshot {
    let Some(interval) = options.interval else {
        return once(options, &mut Client::new(options.gpu()));
    };
    let earlier = clock::since_boot();
    // It holds the driver until the second sample has a worker of its own: a driver that everybody
    // let go of would start to count anew.
    let mut client = Client::new(options.gpu());
    let first = once(&options.for_first_sample(), &mut client);
    let left = || interval.saturating_sub(clock::since_boot().saturating_sub(earlier));
    let watched = watch(&mut client, &first.driver.worker, left());
    std::thread::sleep(left());
    let began = clock::since_boot();
    let mut snapshot = once(options, &mut Client::new(options.gpu()));
    drop(client);
    snapshot.gpu_events = watched.events;
    snapshot.problems.extend(watched.problems);
    snapshot.problems.sort();
    snapshot.problems.dedup();
    let elapsed = began.saturating_sub(earlier).as_secs_f64();
    snapshot.previous = Seconds::new(elapsed).ok().map(|elapsed_seconds| Previous {
        elapsed_seconds,
        snapshot: Box::new(first),
    });
    snapshot
}

/// Watches for events of GPUs for `time`, where there is a driver to watch.
fn watch(client: &mut Client, worker: &WorkerState, time: Duration) -> Watched {
    let events = match worker {
        WorkerState::Answered { .. } if !time.is_zero() => return client.watch(time),
        WorkerState::Answered { .. } => {
            Reading::absent("the first sample took all of the interval; ask for a longer one")
        }
        WorkerState::NotStarted { why } => Reading::absent(why),
        WorkerState::Failed { why, .. } => Reading::failed(why),
    };
    Watched {
        events,
        problems: Vec::new(),
    }
}

/// What went wrong with a whole source.
#[derive(Default)]
struct Problems(Vec<Problem>);

impl Problems {
    fn add(&mut self, source: &str, why: impl ToString) {
        self.0.push(Problem {
            source: source.to_owned(),
            why: why.to_string(),
        });
    }

    /// The result of a source, or `otherwise` made from why it was late.
    fn wait<T>(
        &mut self,
        source: &str,
        pending: Pending<T>,
        otherwise: impl FnOnce(&str) -> T,
    ) -> T {
        pending.wait().unwrap_or_else(|late| {
            let why = late.to_string();
            self.add(source, &why);
            otherwise(&why)
        })
    }

    /// As [`Self::wait`], for sources that tell problems of their own.
    fn wait_with<T>(
        &mut self,
        source: &str,
        pending: Pending<(T, Vec<Problem>)>,
        otherwise: impl FnOnce(&str) -> T,
    ) -> T {
        let (value, problems) = self.wait(source, pending, |why| (otherwise(why), Vec::new()));
        self.0.extend(problems);
        value
    }
}

fn once(options: &CollectOptions, client: &mut Client) -> Snapshot {
    let root = &options.root;
    let limits = options.deadlines;
    let taken_at = clock::now();
    let mut problems = Problems::default();

    let board = start(root, "smbios", limits.source, |root| {
        Arc::new(smbios::read(root))
    });
    let vpd_limit = options.with_vpd.then_some(limits.device);
    // VPD is read within this source, and has its own limit.
    let bus = start(root, "pci", limits.source + limits.device, move |root| {
        pci::collect(root, vpd_limit)
    });
    let log = options
        .with_kernel_log
        .then(|| start(root, "kernel-log", limits.kernel_log, log::read));
    let details = options.with_bmc_details;
    // The controller's own limit comes first, so that what was read by then is kept.
    let bmc_limit = limits.bmc;
    let bmc = start(root, "bmc", bmc_limit + limits.device, move |root| {
        ipmi::collect(root, details, bmc_limit)
    });
    let (units, services_limit) = (options.units.clone(), limits.services);
    let services = start(
        root,
        "services",
        services_limit + limits.source,
        move |root| services::collect(root, &units, services_limit),
    );
    let network = start(root, "network", limits.source, network::collect);
    let kernel = start(root, "kernel", limits.source, kernel::collect);
    let driver = start(root, "nvidia-driver", limits.source, kernel::nvidia_driver);
    let sizes_limit = limits.device;
    let filesystems = start(root, "filesystems", limits.source, move |root| {
        filesystems::collect(root, sizes_limit)
    });
    let rdma = start_each(
        root,
        "rdma",
        limits.device,
        rdma::names(root),
        &mut problems,
        rdma::one,
    );
    let nvme = start_each(
        root,
        "nvme",
        limits.device,
        nvme::names(root),
        &mut problems,
        nvme::one,
    );
    let sensors = start_sensors(root, limits.device, &mut problems);

    let board = problems.wait("smbios", board, |why| {
        let detail = why.to_owned();
        Arc::new(Err(ReadError::Binary {
            path: "SMBIOS".to_owned(),
            detail,
        }))
    });
    let own = Arc::clone(&board);
    let node = start(root, "node", limits.source, move |root| {
        (node::collect(root, &own), firmware::bios(root, &own))
    });
    let own = Arc::clone(&board);
    let cpus = start(root, "cpus", limits.source, move |root| {
        let sockets = own
            .as_ref()
            .as_ref()
            .map_or(&[][..], |smbios| &smbios.processors);
        cpus::collect(root, sockets)
    });
    let memory = start(root, "memory", limits.source, move |root| {
        memory::collect(root, &board)
    });

    let pci = problems.wait_with("pci", bus, |_| Vec::new());
    let (version, flavour) = problems.wait("nvidia-driver", driver, |why| {
        (Reading::failed(why), Reading::failed(why))
    });
    let switches = start_switches(root, limits.device, &pci);
    // GPU workers have deadlines of their own; all other sources go on meanwhile.
    let gpus = client.collect(&KernelDriver { version, flavour }, &pci, taken_at);
    problems.0.extend(gpus.problems);

    let (node, bios) = problems.wait("node", node, |why| {
        let unknown = Err(ReadError::Binary {
            path: "SMBIOS".to_owned(),
            detail: why.to_owned(),
        });
        (late::node(why), firmware::bios(root, &unknown))
    });
    let log = match log {
        Some(log) => problems.wait("kernel-log", log, |why| Log::unread(Reading::failed(why))),
        None => Log::unread(Reading::unsupported("the kernel log was not asked for")),
    };
    problems.0.extend(log.problems);
    let mut snapshot = Snapshot {
        schema_version: SCHEMA_VERSION,
        cupel_version: env!("CARGO_PKG_VERSION").to_owned(),
        taken_at,
        node,
        tenancy: options.tenancy,
        gpus: gpus.gpus,
        nvswitches: problems.wait("nvswitch", switches, |_| Vec::new()),
        rdma: wait_rdma(rdma, &mut problems),
        nvme: wait_nvme(nvme, &mut problems),
        memory: problems.wait_with("memory", memory, late::memory),
        cpus: problems.wait("cpus", cpus, late::cpus),
        network: problems.wait_with("network", network, |_| Vec::new()),
        filesystems: problems.wait_with("filesystems", filesystems, |_| Vec::new()),
        sensors: wait_sensors(sensors, &mut problems),
        bmc: problems.wait_with("bmc", bmc, |why| Reading::failed(why)),
        kernel: problems.wait("kernel", kernel, late::kernel),
        driver: gpus.driver,
        services: problems.wait("services", services, |_| Vec::new()),
        firmware: Vec::new(),
        kernel_log: log.events,
        kernel_log_records: log.records,
        gpu_events: no_interval(),
        remembered: Vec::new(),
        previous: None,
        problems: Vec::new(),
        pci,
    };
    place(&mut snapshot);
    snapshot.firmware = firmware::list(&snapshot, bios);
    problems.0.sort();
    problems.0.dedup();
    snapshot.problems = problems.0;
    snapshot
}

fn start<T: Send + 'static>(
    root: &Root,
    name: &str,
    limit: Duration,
    work: impl FnOnce(&Root) -> T + Send + 'static,
) -> Pending<T> {
    let own = root.clone();
    deadline::start(root, name, limit, move || work(&own))
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
            let own = name.clone();
            let task = format!("{source}/{name}");
            (name, start(root, &task, limit, move |root| one(root, &own)))
        })
        .collect()
}

fn wait_rdma(
    pending: Each<(RdmaDevice, Vec<Problem>)>,
    problems: &mut Problems,
) -> Vec<RdmaDevice> {
    pending
        .into_iter()
        .map(|(name, pending)| {
            problems.wait_with(&format!("rdma/{name}"), pending, |why| {
                late::rdma(&name, why)
            })
        })
        .collect()
}

fn wait_nvme(pending: Each<NvmeController>, problems: &mut Problems) -> Vec<NvmeController> {
    pending
        .into_iter()
        .map(|(name, pending)| {
            problems.wait(&format!("nvme/{name}"), pending, |why| {
                nvme::unread(&name, why)
            })
        })
        .collect()
}

fn start_sensors(
    root: &Root,
    limit: Duration,
    problems: &mut Problems,
) -> Each<Result<Vec<Sensor>, ReadError>> {
    let monitors = hwmon::monitors(root).unwrap_or_else(|error| {
        problems.add("hwmon", error);
        Vec::new()
    });
    monitors
        .into_iter()
        .map(|monitor| {
            let name = format!("hwmon/{}", monitor.name);
            let pending = start(root, &name, limit, move |root| hwmon::read(root, &monitor));
            (name, pending)
        })
        .collect()
}

fn wait_sensors(
    pending: Each<Result<Vec<Sensor>, ReadError>>,
    problems: &mut Problems,
) -> Vec<Sensor> {
    let mut sensors = Vec::new();
    for (name, pending) in pending {
        match problems.wait(&name, pending, |_| Ok(Vec::new())) {
            Ok(read) => sensors.extend(read),
            Err(error) => problems.add(&name, error),
        }
    }
    sensors.sort_by(|a, b| a.name.cmp(&b.name));
    sensors
}

fn start_switches(root: &Root, limit: Duration, pci: &[PciDevice]) -> Pending<Vec<Nvswitch>> {
    let switches: Vec<PciDevice> = pci
        .iter()
        .filter(|device| nvswitch::is_switch(device))
        .cloned()
        .collect();
    start(root, "nvswitch", limit, move |root| {
        nvswitch::collect(root, &switches)
    })
}

/// Gives RDMA devices and drives the slot of their PCI function, and adapters its serial.
fn place(snapshot: &mut Snapshot) {
    let pci = &snapshot.pci;
    let of = |address: &Reading<PciAddress>, value: fn(&PciDevice) -> &Reading<String>| {
        address.as_ref().and_then(|address| {
            pci.iter()
                .find(|device| device.address == *address)
                .map_or_else(
                    || Reading::failed(format!("{address} is not on the PCI bus")),
                    |device| value(device).clone(),
                )
        })
    };
    for device in &mut snapshot.rdma {
        device.slot = of(&device.pci, |function| &function.slot);
        device.serial = of(&device.pci, |function| &function.serial);
    }
    for drive in &mut snapshot.nvme {
        drive.slot = of(&drive.pci, |function| &function.slot);
    }
}
