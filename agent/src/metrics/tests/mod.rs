//! The table is sound, and what is written can be read back.

mod node;
mod parse;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::process::{Command, Stdio};

use cupel_health::testing::{good, gpu_pci, xid};
use cupel_model::snapshot::Gpu;
use cupel_model::units::Celsius;
use cupel_model::{ComponentKind, Confidence, Counter, EventKind, LogSource, Reading};
use proptest::prelude::*;

use super::families::GROUPS;
use super::family::{Family, Kind, Unit};
use super::text::{LABEL_CHARS, labels};
use super::{Own, View, docs, exposition};
use node::{everything, named, time};
use parse::Read;

fn families() -> impl Iterator<Item = &'static Family> {
    GROUPS.iter().flat_map(|group| group.families)
}

/// Reads an exposition by name.
fn read(view: &View<'_>) -> BTreeMap<String, Read> {
    let read = parse::exposition(&exposition(view));
    read.into_iter().map(|f| (f.name.clone(), f)).collect()
}

#[test]
fn the_table_is_sound() {
    let mut names = BTreeSet::new();
    for family in families() {
        let name = family.name;
        assert!(names.insert(name), "{name} stands there twice");
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        assert!(
            name.starts_with("cupel_") && name.chars().all(fits),
            "{name}"
        );
        let bare = name.strip_suffix("_total");
        assert_eq!(bare.is_some(), family.kind == Kind::Counter, "{name}");
        let (suffix, unit) = family.unit.words();
        let bare = bare.unwrap_or(name);
        assert!(bare.ends_with(suffix), "{name} has no unit in its name");
        assert!(family.help.contains(unit), "{name} has no unit in its help");
        assert!(family.help.ends_with('.'), "{name}");
        assert!(!family.help.contains(['\n', '\\']), "{name}");
        // A name that ends like a unit has that unit.
        let unit_of = |word: &str| bare.ends_with(&format!("_{word}"));
        if ["seconds", "bytes", "celsius", "watts", "ratio", "hertz"]
            .into_iter()
            .any(unit_of)
        {
            assert_ne!(family.unit, Unit::None, "{name}");
        }
        let mut labels = family.labels.to_vec();
        labels.sort_unstable();
        labels.dedup();
        assert_eq!(labels.len(), family.labels.len(), "{name}");
    }
}

#[test]
fn every_metric_is_told_of_by_a_node_that_has_everything() {
    let everything = everything();
    let text = exposition(&everything.view());
    assert_eq!(
        text,
        exposition(&everything.view()),
        "the order is the same"
    );
    let read = parse::exposition(&text);
    let told: Vec<&str> = read.iter().map(|family| &*family.name).collect();
    let all: Vec<&str> = families().map(|family| family.name).collect();
    assert_eq!(told, all);
    for (family, read) in families().zip(&read) {
        assert_eq!(
            (family.help, family.kind.word()),
            (&*read.help, &*read.kind)
        );
        let mut seen = BTreeSet::new();
        for (labels, value) in &read.samples {
            for name in labels.keys() {
                assert!(family.labels.contains(&&**name), "{}: {name}", family.name);
            }
            assert!(seen.insert(labels.clone()), "{} {labels:?}", family.name);
            assert!(
                !family.name.ends_with("_info") || *value == 1.0,
                "{}",
                family.name
            );
        }
    }
}

#[test]
fn values_are_in_base_units() {
    let everything = everything();
    let read = read(&everything.view());
    let gpu = [("gpu", "3"), ("pci", "0000:5d:00.0")];
    let port = [("device", "mlx5_4"), ("port", "1")];
    let with = |base: &[(&'static str, &'static str)], more| [base, &[more]].concat();
    for (name, labels, value) in [
        ("cupel_gpu_temperature_celsius", gpu.to_vec(), 31.0),
        ("cupel_gpu_power_watts", gpu.to_vec(), 76.0),
        ("cupel_gpu_energy_joules_total", gpu.to_vec(), 123_456.789),
        ("cupel_gpu_fan_speed_ratio", gpu.to_vec(), 0.35),
        ("cupel_gpu_clock_hertz", with(&gpu, ("clock", "sm")), 1.98e9),
        (
            "cupel_gpu_throttled",
            with(&gpu, ("reason", "gpu-idle")),
            1.0,
        ),
        (
            "cupel_gpu_throttled",
            with(&gpu, ("reason", "hw-slowdown")),
            0.0,
        ),
        (
            "cupel_gpu_throttled_seconds_total",
            with(&gpu, ("cause", "power")),
            1.500_000_001,
        ),
        (
            "cupel_gpu_recovery_action",
            with(&gpu, ("action", "none")),
            1.0,
        ),
        ("cupel_gpu_fabric_ready", gpu.to_vec(), 1.0),
        ("cupel_nvlink_active", with(&gpu, ("link", "17")), 1.0),
        (
            "cupel_nvlink_speed_bytes_per_second",
            with(&gpu, ("link", "17")),
            26_562_500_000.0,
        ),
        ("cupel_rdma_port_up", port.to_vec(), 1.0),
        ("cupel_rdma_port_rate_bytes_per_second", port.to_vec(), 5e10),
        ("cupel_rdma_port_received_bytes_total", port.to_vec(), 72.0),
        (
            "cupel_rdma_port_errors_total",
            with(&port, ("counter", "symbol_error")),
            47.0,
        ),
        (
            "cupel_rdma_port_events_total",
            with(&port, ("counter", "rx_read_requests")),
            45.0,
        ),
        (
            "cupel_nvme_power_on_seconds_total",
            vec![("drive", "nvme1")],
            360_000.0,
        ),
        ("cupel_nvme_used_ratio", vec![("drive", "nvme1")], 0.01),
        (
            "cupel_pcie_speed_transfers_per_second",
            vec![("pci", "0000:5d:00.0")],
            3.2e10,
        ),
        ("cupel_bmc_fan_speed_rpm", vec![("sensor", "FAN1")], 9800.0),
        (
            "cupel_start_timestamp_seconds",
            vec![],
            1_767_322_800.000_001,
        ),
        ("cupel_service_state", vec![("state", "active")], 1.0),
        ("cupel_driver_events_total", with(&gpu, ("xid", "79")), 4.0),
    ] {
        assert_eq!(read[name].values(&labels), [value], "{name} {labels:?}");
    }
}

#[test]
fn what_is_unknown_is_left_out_and_counted() {
    let mut everything = everything();
    let before = read(&everything.view());
    everything.snapshot.gpus[3] = Gpu {
        pci: gpu_pci(3).into(),
        on_bus: false.into(),
        in_driver: false.into(),
        ..Gpu::default()
    };
    everything.snapshot.bmc = Reading::absent("no /dev/ipmi0");
    let after = read(&everything.view());
    for (name, family) in &after {
        let of_gpu = family.values(&[("pci", "0000:5d:00.0")]);
        if name.starts_with("cupel_gpu_temperature") || name.starts_with("cupel_nvlink") {
            assert!(of_gpu.is_empty(), "{name}: {of_gpu:?}");
            assert_eq!(
                family.samples.len() * 8,
                before[name].samples.len() * 7,
                "{name}"
            );
        }
    }
    let lost = [("pci", "0000:5d:00.0")];
    assert_eq!(after["cupel_gpu_on_bus"].values(&lost), [0.0]);
    assert!(!after.contains_key("cupel_bmc_info"));
    let unread = |read: &BTreeMap<String, Read>, source, state| -> f64 {
        let labels = [("source", source), ("state", state)];
        read["cupel_readings_unread"].values(&labels).iter().sum()
    };
    assert!(unread(&after, "gpu", "failed") > unread(&before, "gpu", "failed"));
    assert_eq!(unread(&before, "bmc", "absent"), 0.0);
    assert_eq!(unread(&after, "bmc", "absent"), 1.0);
}

#[test]
fn before_the_first_snapshot_the_verdict_is_unknown() {
    let own = Own::default();
    let read = read(&View {
        snapshot: None,
        tracked: &[],
        report: None,
        own: &own,
    });
    let verdict = &read["cupel_verdict"];
    assert_eq!(verdict.values(&[("verdict", "unknown")]), [1.0]);
    assert_eq!(verdict.values(&[("verdict", "healthy")]), [0.0]);
    assert_eq!(read["cupel_reporting_configured"].values(&[]), [0.0]);
    for absent in [
        "cupel_gpus",
        "cupel_allocation_blocked",
        "cupel_reports_waiting",
    ] {
        assert!(!read.contains_key(absent), "{absent}");
    }
}

#[test]
fn a_finding_names_its_part_and_blocks_once_it_is_confirmed() {
    let mut everything = everything();
    everything.snapshot.gpus[3].on_bus = false.into();
    let modes = cupel_health::Modes::default();
    everything.report = cupel_health::evaluate(&everything.snapshot, None, &modes);
    let found = everything.report.findings.iter().cloned();
    everything.tracked = found.map(node::tracked).collect();
    let told = read(&everything.view());
    assert_eq!(told["cupel_allocation_blocked"].values(&[]), [1.0]);
    let labels = [
        ("code", "gpu.off-bus"),
        ("severity", "critical"),
        ("kind", "gpu"),
        ("slot", "SXM 4"),
        ("serial", "1650123000003"),
        ("pci", "0000:5d:00.0"),
        ("confidence", "confirmed"),
        ("mode", "enforce"),
        ("observed", "yes"),
    ];
    assert_eq!(told["cupel_finding"].values(&labels), [1.0]);
    let code = [("code", "gpu.off-bus")];
    let since = &told["cupel_finding_since_timestamp_seconds"];
    assert_eq!(since.values(&code), [1_767_322_800.25]);
    assert_eq!(told["cupel_finding_recurrences"].values(&code), [2.0]);
    for tracked in &mut everything.tracked {
        tracked.finding.confidence = Confidence::Provisional;
    }
    let told = read(&everything.view());
    assert_eq!(told["cupel_allocation_blocked"].values(&[]), [0.0]);
    assert_eq!(
        told["cupel_verdict"].values(&[("verdict", "unhealthy")]),
        [1.0]
    );
}

#[test]
fn a_saturated_counter_keeps_its_value_and_is_named() {
    let mut everything = everything();
    let port = &mut everything.snapshot.rdma[2].ports[0];
    port.counters = vec![named("link_downed", 254)];
    let saturated = |e: &node::Everything| {
        let metric = ("metric", "cupel_rdma_port_errors_total");
        let labels = [
            metric,
            ("device", "mlx5_2"),
            ("port", "1"),
            ("counter", "link_downed"),
        ];
        let read = read(&e.view());
        let value = read["cupel_rdma_port_errors_total"].values(&labels[1..]);
        (read["cupel_saturated"].values(&labels), value)
    };
    assert_eq!(saturated(&everything), (vec![], vec![254.0]));
    let counter = &mut everything.snapshot.rdma[2].ports[0].counters[0];
    counter.value = Counter::with_width(255, 8).into();
    assert_eq!(saturated(&everything), (vec![1.0], vec![255.0]));
    // Whatever labels a counter has, the family that names it declares them.
    let names = families()
        .find(|f| f.name == "cupel_saturated")
        .expect("family")
        .labels;
    for counter in families().filter(|family| family.kind == Kind::Counter) {
        for label in counter.labels {
            let never = ["kind", "code", "source", "xid", "process", "drive"].contains(label);
            assert!(never || names.contains(label), "{}: {label}", counter.name);
        }
    }
}

#[test]
fn events_are_counted_and_what_a_program_wrote_stays_apart() {
    let everything = everything();
    let read = read(&everything.view());
    let events = &read["cupel_kernel_events_total"];
    let of = |code| events.values(&[("code", code), ("source", "kernel"), ("gpu", "3")]);
    assert_eq!(of("xid.79"), [1.0]);
    assert_eq!(of("xid.95"), [800_000.0]);
    assert_eq!(of("xid.13"), [42.0], "texts of one code are added up");
    assert_eq!(events.values(&[("source", "user"), ("kind", "xid")]), [1.0]);
    assert!(
        events
            .values(&[("source", "user"), ("code", "xid.79")])
            .is_empty()
    );
}

#[test]
fn a_flood_of_codes_is_bounded_and_nothing_is_lost() {
    let mut everything = everything();
    let log = &mut everything.snapshot.kernel_log;
    log.clear();
    for code in 0..3000 {
        let mut event = xid(3, code, "", None);
        event.source = LogSource::Unknown;
        log.push(event);
    }
    let mut other = xid(3, 0, "", None);
    (other.kind, other.code) = (EventKind::Other, "other.x".to_owned());
    log.push(other);
    let events = &read(&everything.view())["cupel_kernel_events_total"];
    assert!(events.samples.len() < 1100, "{}", events.samples.len());
    let sum: f64 = events.values(&[]).iter().sum();
    assert_eq!(sum, 3001.0);
}

#[test]
fn two_parts_of_one_name_are_one_sample_and_counted() {
    let mut everything = everything();
    let duplicates = |e: &node::Everything| read(&e.view())["cupel_duplicate_samples"].values(&[]);
    assert_eq!(duplicates(&everything), [0.0]);
    "nvme0".clone_into(&mut everything.snapshot.nvme[1].name);
    let read = read(&everything.view());
    assert_eq!(read["cupel_nvme_live"].samples.len(), 1);
    assert!(duplicates(&everything)[0] > 0.0);
}

#[test]
fn a_gpu_that_the_driver_leaves_out_keeps_its_labels() {
    let mut everything = everything();
    everything.snapshot.remembered = cupel_health::remember(&good());
    let has = everything.snapshot.remembered.iter();
    assert!(has.filter(|part| part.kind == ComponentKind::Gpu).count() == 8);
    everything.snapshot.gpus[3].index = Reading::absent("NVML does not list it");
    everything.snapshot.gpus[3].in_driver = false.into();
    let read = read(&everything.view());
    let labels = [("gpu", "3"), ("pci", "0000:5d:00.0")];
    assert_eq!(read["cupel_gpu_in_driver"].values(&labels), [0.0]);
}

#[test]
fn functions_that_nobody_watches_are_told_of_when_they_count_errors() {
    let mut everything = everything();
    let mut bridge = everything.snapshot.pci[0].clone();
    bridge.address = "0000:00:01.0".parse().expect("address");
    bridge.aer = vec![named("correctable/TOTAL_ERR_COR", 0)].into();
    everything.snapshot.pci.insert(0, bridge);
    let of = |e: &node::Everything| {
        let pci = [("pci", "0000:00:01.0")];
        read(&e.view())["cupel_pcie_errors_total"].values(&pci)
    };
    assert!(of(&everything).is_empty());
    everything.snapshot.pci[0].aer = vec![named("correctable/TOTAL_ERR_COR", 1)].into();
    assert_eq!(of(&everything), [1.0]);
    everything.snapshot.pci[0].aer = vec![named("correctable/TOTAL_ERR_COR", 0)].into();
    everything.snapshot.pci[5].upstream = "0000:00:01.0"
        .parse()
        .ok()
        .map_or_else(Reading::default, Reading::Value);
    assert_eq!(of(&everything), [0.0], "the bridge above a GPU is watched");
}

proptest! {
    #[test]
    fn any_text_is_one_label(
        text in "(?s).{0,40}",
        hostile in "[\"\\\\\n{},= \u{0}\r\u{1}é]{0,12}",
        long in prop::collection::vec(any::<char>(), 0..600),
    ) {
        for text in [text, hostile, long.into_iter().collect()] {
            let line = format!("x{{{}}} 1\n", labels(&[("a", &text), ("b", "end")]));
            let head = "# HELP x h\n# TYPE x gauge\n";
            let read = parse::exposition(&format!("{head}{line}"));
            let (labels, _) = &read[0].samples[0];
            let cut: String = text.chars().take(LABEL_CHARS).collect();
            let want = cut.replace('\0', "\u{fffd}");
            prop_assert_eq!(labels.get("a").cloned().unwrap_or_default(), want);
            prop_assert_eq!(labels.get("b").map(String::as_str), Some("end"));
        }
    }
}

#[test]
fn hostile_names_stay_labels_all_the_way() {
    let mut everything = everything();
    let hostile = "a\"} 1\ncupel_verdict{verdict=\"healthy\"} 1 # \\";
    hostile.clone_into(&mut everything.snapshot.nvme[1].name);
    everything.snapshot.gpus[0].identity.serial = hostile.to_owned().into();
    everything.tracked[0].id = hostile.to_owned();
    let read = read(&everything.view());
    assert_eq!(read["cupel_nvme_live"].values(&[("drive", hostile)]), [1.0]);
    assert_eq!(read["cupel_gpu_info"].values(&[("serial", hostile)]), [1.0]);
    assert_eq!(read["cupel_finding"].values(&[("id", hostile)]), [1.0]);
}

#[test]
fn numbers_keep_their_digits() {
    let mut everything = everything();
    everything.snapshot.gpus[0].thermal.temperature_celsius =
        Celsius::new(-0.1).expect("finite").into();
    everything.snapshot.gpus[0].pcie.replay_count = Counter::exact(u64::MAX - 1).into();
    everything.own.started_at = Some(time("1969-12-31T23:59:58.5Z"));
    let text = exposition(&everything.view());
    for line in [
        "cupel_gpu_temperature_celsius{gpu=\"0\",pci=\"0000:19:00.0\"} -0.1\n",
        "cupel_gpu_pcie_replays_total{gpu=\"0\",pci=\"0000:19:00.0\"} 18446744073709551614\n",
        "cupel_start_timestamp_seconds -1.500000\n",
    ] {
        assert!(text.contains(line), "{line}");
    }
}

#[test]
fn promtool_finds_nothing_to_object() {
    #[expect(
        clippy::disallowed_methods,
        reason = "a test that asks Prometheus's own tool"
    )]
    let started = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut promtool = match started {
        Ok(promtool) => promtool,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            println!("skipped: promtool is not installed");
            return;
        }
        Err(error) => panic!("promtool: {error}"),
    };
    let everything = everything();
    let mut input = promtool.stdin.take().expect("piped");
    let text = exposition(&everything.view());
    input.write_all(text.as_bytes()).expect("promtool reads");
    drop(input);
    let output = promtool.wait_with_output().expect("promtool ends");
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.trim().is_empty(), "{said}");
}

#[test]
fn the_page_of_metrics_is_up_to_date() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/metrics.md");
    let page = std::fs::read_to_string(path).expect("docs/metrics.md");
    assert!(
        page == docs(),
        "run `cargo xtask docs` and commit the result"
    );
}
