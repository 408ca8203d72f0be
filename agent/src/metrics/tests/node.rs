//! A node that has one of everything, and a service that has lived.

use cupel_health::testing::{Node, gpu_pci, xid};
use cupel_health::{Modes, evaluate};
use cupel_model::finding::{Confidence, Finding};
use cupel_model::snapshot::*;
use cupel_model::units::{
    Bytes, Celsius, GigabitsPerSecond, Hours, Joules, Megahertz, Percent, Seconds,
};
use cupel_model::wire::{Dropped, Tracked};
use cupel_model::{CheckReport, Counter, LogSource, Reading, Timestamp};

use crate::metrics::{DriverEvents, IdentityUse, Own, ProcessUse, Reporting, SourceState, View};

/// All that a view borrows.
pub(super) struct Everything {
    pub snapshot: Snapshot,
    pub tracked: Vec<Tracked>,
    pub report: CheckReport,
    pub own: Own,
}

impl Everything {
    pub(super) fn view(&self) -> View<'_> {
        View {
            snapshot: Some(&self.snapshot),
            tracked: &self.tracked,
            report: Some(&self.report),
            own: &self.own,
        }
    }
}

pub(super) fn time(text: &str) -> Timestamp {
    text.parse().expect("time")
}

fn celsius(value: f64) -> Reading<Celsius> {
    Celsius::new(value).expect("finite").into()
}

fn count(value: u64) -> Reading<Counter> {
    Counter::exact(value).into()
}

pub(super) fn named(name: &str, value: u64) -> NamedCounter {
    NamedCounter {
        name: name.into(),
        value: count(value),
    }
}

/// The node in good order of other tests, filled up to a whole DGX H100: 18 NVLinks a GPU with
/// their counters, eight adapters with all that mlx5 counts, and the host around them.
pub(super) fn snapshot() -> Snapshot {
    let mut node = Node::good();
    for gpu in &mut node.snapshot.gpus {
        fill(gpu);
    }
    let snapshot = &mut node.snapshot;
    buses(snapshot);
    host(snapshot);
    for (code, repeats) in [(79, 1), (95, 800_000), (13, 40), (13, 2)] {
        let mut event = xid(3, code, "", None);
        event.repeats = repeats;
        snapshot.kernel_log.push(event);
    }
    let mut faked = xid(2, 79, "", None);
    faked.source = LogSource::User;
    snapshot.kernel_log.push(faked);
    node.snapshot
}

fn fill(gpu: &mut Gpu) {
    gpu.identity.vbios_version = "96.00.99.00.01".to_owned().into();
    gpu.thermal.memory_temperature_celsius = celsius(40.0);
    gpu.thermal.slowdown_celsius = celsius(90.0);
    gpu.thermal.shutdown_celsius = celsius(95.0);
    gpu.thermal.margin_celsius = celsius(59.5);
    gpu.thermal.energy_joules = Joules::new(123_456.789).expect("finite").into();
    gpu.thermal.fan_percent = Percent::new(35.0).expect("finite").into();
    gpu.clocks.graphics_mhz = Megahertz(1980).into();
    gpu.clocks.sm_mhz = Megahertz(1980).into();
    gpu.clocks.memory_mhz = Megahertz(3201).into();
    gpu.clocks.max_sm_mhz = Megahertz(1980).into();
    gpu.clocks.max_memory_mhz = Megahertz(3201).into();
    gpu.clocks.power_violation_ns = count(1_500_000_001);
    gpu.retired_pages = GpuRetiredPages {
        single_bit: 1.into(),
        double_bit: 0.into(),
        pending: false.into(),
    }
    .into();
    let Reading::Value(nvlink) = &mut gpu.nvlink else {
        panic!("the node has NVLinks");
    };
    for link in &mut nvlink.links {
        let names = ["crc_data", "crc_flit", "ecc_data", "recovery", "replay"];
        link.counters = names.map(|name| named(name, 0)).to_vec();
    }
    let Reading::Value(fabric) = &mut gpu.fabric else {
        panic!("the node has a fabric");
    };
    fabric.health_problems = vec!["degraded-bandwidth".to_owned()].into();
}

fn buses(snapshot: &mut Snapshot) {
    let one = snapshot.rdma.remove(0);
    snapshot.rdma = (0..8)
        .map(|index| {
            let mut device = one.clone();
            device.name = format!("mlx5_{index}");
            device.counters = vec![named("tx_bytes", 9)];
            for port in &mut device.ports {
                port.counters = port_counters();
            }
            device
        })
        .collect();
    for drive in &mut snapshot.nvme {
        let Reading::Value(health) = &mut drive.health else {
            panic!("drives tell their health");
        };
        health.error_log_entries = 3.into();
        health.power_on_hours = Hours(100).into();
        health.unsafe_shutdowns = 2.into();
    }
    for device in &mut snapshot.pci {
        let names = ["correctable", "fatal", "nonfatal"]
            .into_iter()
            .zip(["COR", "FATAL", "NONFATAL"]);
        device.aer = names
            .map(|(group, sum)| named(&format!("{group}/TOTAL_ERR_{sum}"), 2))
            .chain([named("correctable/RxErr", 2), named("fatal/DLP", 0)])
            .collect::<Vec<_>>()
            .into();
    }
    snapshot.network = vec![NetworkInterface {
        name: "eth0".to_owned(),
        pci: gpu_pci(0).with_function(1).into(),
        mac: "02:00:00:00:00:01".to_owned().into(),
        state: "up".to_owned().into(),
        carrier: true.into(),
        rate_gbps: GigabitsPerSecond::new(25.0).expect("finite").into(),
        mtu: 9000.into(),
        carrier_down_count: 1.into(),
        driver: "mlx5_core".to_owned().into(),
        counters: vec![named("rx_crc_errors", 0)],
    }]
    .into();
    snapshot.nvswitches = vec![Nvswitch {
        pci: gpu_pci(7).with_function(1),
        slot: Reading::absent("none"),
        driver: "nvidia-nvswitch".to_owned().into(),
        firmware: "96.10.57.00.01".to_owned().into(),
    }];
}

/// What mlx5 counts of a port.
fn port_counters() -> Vec<NamedCounter> {
    const NAMES: [&str; 48] = [
        "VL15_dropped",
        "duplicate_request",
        "excessive_buffer_overrun_errors",
        "implied_nak_seq_err",
        "lifespan",
        "link_downed",
        "link_error_recovery",
        "local_ack_timeout_err",
        "local_link_integrity_errors",
        "multicast_rcv_packets",
        "multicast_xmit_packets",
        "np_cnp_sent",
        "np_ecn_marked_roce_packets",
        "out_of_buffer",
        "out_of_sequence",
        "packet_seq_err",
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
        "req_cqe_error",
        "req_cqe_flush_error",
        "req_remote_access_errors",
        "req_remote_invalid_request",
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
        "rp_cnp_handled",
        "rp_cnp_ignored",
        "rx_atomic_requests",
        "rx_read_requests",
        "rx_write_requests",
        "symbol_error",
        "unicast_rcv_packets",
    ];
    (1_u64..)
        .zip(NAMES)
        .map(|(n, name)| named(name, n))
        .collect()
}

fn host(snapshot: &mut Snapshot) {
    snapshot.filesystems = vec![Filesystem {
        name: "/".to_owned(),
        device: "/dev/nvme0n1p2".to_owned(),
        kind: "ext4".to_owned(),
        read_only: false,
        total_bytes: Bytes(1 << 40).into(),
        free_bytes: Bytes(1 << 39).into(),
    }];
    snapshot.sensors = vec![Sensor {
        name: "coretemp/0 Package id 0".to_owned(),
        temperature_celsius: celsius(41.5),
        critical_celsius: celsius(100.0),
    }];
    snapshot.memory.edac = vec![EdacCounter {
        name: "mc0/dimm3".to_owned(),
        label: "A4".to_owned().into(),
        corrected: count(5),
        uncorrected: Counter::with_width(255, 8).into(),
    }];
    snapshot.firmware = vec![FirmwareVersion {
        component: "bios".to_owned(),
        name: "system".to_owned(),
        version: "1.2.3".to_owned().into(),
        source: "SMBIOS type 0".to_owned(),
    }];
    let sensor = |name: &str, unit: Option<&str>, value: Reading<f64>, states: &[&str]| BmcSensor {
        name: name.to_owned(),
        kind: "other".to_owned(),
        value,
        unit: unit.map(str::to_owned),
        states: states.iter().map(|state| (*state).to_owned()).collect(),
    };
    let discrete = || Reading::unsupported("the sensor has states only");
    snapshot.bmc = Bmc {
        firmware: "1.03".to_owned().into(),
        sensors: vec![
            sensor("AIRFLOW", Some("CFM"), 80.0.into(), &[]),
            sensor("FAN1", Some("RPM"), 9800.0.into(), &[]),
            sensor("INLET", Some("degrees C"), 21.5.into(), &[]),
            sensor("P12V", Some("volts"), 12.06.into(), &[]),
            sensor("PSU1_IIN", Some("amps"), 6.5.into(), &[]),
            sensor("PSU1_PIN", Some("watts"), 1500.0.into(), &[]),
            sensor("PSU1_STATUS", None, discrete(), &["presence detected"]),
        ]
        .into(),
        sel: Vec::new().into(),
        sel_overflow: false.into(),
        ..Bmc::default()
    }
    .into();
    snapshot.problems = vec![Problem {
        source: "pci".to_owned(),
        why: "lost+found is no address".to_owned(),
    }];
}

pub(super) fn tracked(finding: Finding) -> Tracked {
    let since = time("2026-01-02T03:00:00.25Z");
    let part = &finding.component;
    Tracked {
        id: format!("{}/{:?}/{}", finding.code, part.slot, finding.summary),
        finding: Finding {
            since: Some(since),
            confidence: Confidence::Confirmed,
            ..finding
        },
        last_seen: since,
        boot: "boot".to_owned(),
        observed: true,
        flaps: 2,
        waits_for: None,
    }
}

fn own() -> Own {
    let mut driver_events = DriverEvents::default();
    let event = GpuEvent {
        index: 3,
        pci: gpu_pci(3).into(),
        kind: "xid".to_owned(),
        xid: Some(79),
        time: time("2026-01-02T03:04:00Z"),
        repeats: 2,
    };
    for _ in 0..2 {
        driver_events.add(std::slice::from_ref(&event));
    }
    let seconds = |value| Seconds::new(value).ok();
    let at = time("2026-01-02T03:00:00.000001Z");
    Own {
        started_at: Some(at),
        judgements: 7,
        sources: vec![SourceState {
            name: "gpu".to_owned(),
            up: true,
            age_seconds: seconds(12.5),
            took_seconds: seconds(0.25),
        }],
        kernel_log_records: 1200,
        kernel_log_lost: 0,
        driver_events,
        gpu_workers_replaced: 1,
        processes: vec![ProcessUse {
            name: "cupel".to_owned(),
            resident_bytes: Some(20 << 20),
            cpu_seconds: seconds(1.5),
        }],
        state_saved: Some(true),
        released_until: Some(at),
        configuration_loaded_at: Some(at),
        configuration_refused: false,
        reporting: Some(Reporting {
            waiting: 1,
            oldest_waiting: Some(at),
            spool_bytes: 4096,
            delivered: 99,
            refused: 0,
            failed: 3,
            dropped: Dropped::default(),
            last_delivery: Some(at),
        }),
        identity: Some(IdentityUse {
            is_good: true,
            expires: Some(at),
            renewal_failed: false,
        }),
    }
}

/// A node that tells of everything that there is a metric for.
pub(super) fn everything() -> Everything {
    let snapshot = snapshot();
    let report = evaluate(&snapshot, None, &Modes::default());
    let tracked = report.findings.iter().cloned().map(tracked).collect();
    Everything {
        snapshot,
        tracked,
        report,
        own: own(),
    }
}
