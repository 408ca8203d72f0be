//! A fleet, its racks and its lists.

use cupel_inventory::pages::view::*;
use cupel_model::wire::Lifecycle;
use cupel_model::{Component, ComponentKind, Confidence, Mode, Severity};

use super::{ago, context, some};

/// Numbers that look random and are the same every time.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// From 0 to `below` - 1.
    pub fn roll(&mut self, below: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }
}

const SITES: [(&str, &str, u32); 4] = [
    ("eu-north-1", "osl1", 60),
    ("eu-north-1", "osl2", 40),
    ("us-central-1", "dfw4", 40),
    ("ap-southeast-2", "syd1", 17),
];
const NODES_A_RACK: u32 = 4;
const RACKS_A_ROW: u32 = 20;

type Fault = (
    &'static str,
    Severity,
    ComponentKind,
    &'static str,
    &'static str,
);

const FAULTS: [Fault; 8] = [
    (
        "gpu.off-bus",
        Severity::Critical,
        ComponentKind::Gpu,
        "SXM 6",
        "GPU 3 in SXM 6 (NVIDIA H100 80GB HBM3, serial 1652923017172, 0000:61:00.0) has fallen off the PCI bus",
    ),
    (
        "nvlink.inactive",
        Severity::Critical,
        ComponentKind::Nvlink,
        "SXM 2",
        "NVLink 7 of GPU 7 in SXM 2 (NVIDIA H100 80GB HBM3, serial 1652923017320, 0000:df:00.0) is not active: 17 of 18 links are",
    ),
    (
        "rdma.port-down",
        Severity::Critical,
        ComponentKind::Rdma,
        "7",
        "RDMA adapter mlx5_4 port 1 in slot 7 (serial MT2319X01704, 0000:9a:00.0) is DOWN, Polling, and should be up",
    ),
    (
        "gpu.ecc-uncorrectable",
        Severity::Critical,
        ComponentKind::Gpu,
        "SXM 1",
        "GPU 5 in SXM 1 (NVIDIA H100 80GB HBM3, serial 1652923017246, 0000:c3:00.0) has uncorrectable errors in its memory",
    ),
    (
        "pcie.width",
        Severity::Warning,
        ComponentKind::Gpu,
        "SXM 6",
        "The PCIe link of GPU 3 in SXM 6 (NVIDIA H100 80GB HBM3, serial 1652923017172, 0000:61:00.0) has 8 of 16 lanes",
    ),
    (
        "gpu.row-remap-pending",
        Severity::Warning,
        ComponentKind::Gpu,
        "SXM 4",
        "GPU 6 in SXM 4 (NVIDIA H100 80GB HBM3, serial 1652923017283, 0000:d1:00.0) waits for a reset to remap a row",
    ),
    (
        "memory.dimm-missing",
        Severity::Warning,
        ComponentKind::Dimm,
        "B7",
        "Memory module B7 (serial 80CE0123) is not seen",
    ),
    (
        "nvme.critical-warning",
        Severity::Warning,
        ComponentKind::Nvme,
        "103",
        "NVMe drive nvme3 in slot 103 (serial S6X0NE0T) warns: available-spare",
    ),
];

pub fn fault(number: usize, since: i64) -> FindingLine {
    let (code, severity, kind, slot, summary) = FAULTS[number % FAULTS.len()];
    FindingLine {
        code: code.to_owned(),
        component: Component {
            kind,
            index: Some(3),
            serial: some("1652923017172"),
            pci: None,
            slot: some(slot),
        },
        severity,
        confidence: if number % 11 == 4 {
            Confidence::Provisional
        } else {
            Confidence::Confirmed
        },
        mode: Mode::Enforce,
        summary: summary.to_owned(),
        since: Some(ago(since)),
        observed: number % 7 != 5,
    }
}

pub fn place(site: usize, row: u32, rack: u32) -> RackPlace {
    let (region, site, _) = SITES[site % SITES.len()];
    RackPlace {
        region: some(region),
        site: some(site),
        row: Some(format!(
            "{}{:02}",
            if row.is_multiple_of(2) { "A" } else { "B" },
            row / 2 + 1
        )),
        rack: Some(format!("r{:02}", rack + 1)),
    }
}

pub fn line(number: u32, place: RackPlace, standing: Standing, dice: &mut Dice) -> NodeLine {
    let at = usize::try_from(dice.roll(8)).expect("small");
    let since = i64::try_from(dice.roll(400_000)).expect("small") + 30;
    let worst = match standing {
        Standing::Unhealthy => Some(fault(at % 4, since)),
        Standing::Degraded => Some(fault(4 + at % 4, since)),
        Standing::Silent => Some(FindingLine {
            code: "node.silent".to_owned(),
            component: Component::node(),
            summary: "No report since its last one was due".to_owned(),
            ..fault(0, since)
        }),
        Standing::Missing | Standing::Unknown | Standing::Quiet | Standing::Healthy => None,
    };
    NodeLine {
        id: format!("{number:08x}-bfde-1000-82bc-5cff35fbe611"),
        hostname: (standing != Standing::Missing).then(|| format!("gpu{number:05}")),
        serial: Some(format!("16629236{number:05}")),
        place: Place {
            rack: place,
            unit: Some(2 + number % NODES_A_RACK * 10),
            height_units: Some(8),
        },
        standing,
        expectation: match (standing, at) {
            (Standing::Healthy | Standing::Missing, _) => Expectation::AsExpected,
            (_, 3) => Expectation::Mismatched(vec![Mismatch {
                what: "platform".to_owned(),
                expected: "dgx-h100".to_owned(),
                found: some("dell-xe9680-h200"),
            }]),
            (_, 5) => Expectation::Unexpected,
            (_, _) => Expectation::AsExpected,
        },
        lifecycle: match standing {
            Standing::Missing => Lifecycle::Provisioning,
            Standing::Quiet => Lifecycle::Maintenance,
            Standing::Unhealthy if at == 1 => Lifecycle::Quarantined,
            Standing::Unhealthy
            | Standing::Silent
            | Standing::Unknown
            | Standing::Degraded
            | Standing::Healthy => Lifecycle::InService,
        },
        in_use: Some(at % 2 == 0),
        platform: some("dgx-h100"),
        more_findings: if worst.is_some() && at == 2 { 3 } else { 0 },
        worst,
        last_report: (standing != Standing::Missing).then(|| {
            ago(since.min(if standing == Standing::Silent {
                since
            } else {
                55
            }))
        }),
    }
}

fn standing(dice: &mut Dice, sick: u64) -> Standing {
    match dice.roll(10_000) {
        n if n < sick => Standing::Unhealthy,
        n if n < sick * 2 => Standing::Degraded,
        n if n < sick * 2 + 12 => Standing::Silent,
        n if n < sick * 2 + 22 => Standing::Unknown,
        n if n < sick * 2 + 30 => Standing::Missing,
        n if n < sick * 2 + 60 => Standing::Quiet,
        _ => Standing::Healthy,
    }
}

/// 12,500 nodes of which `sick` in ten thousand are unhealthy, and as many degraded.
pub fn fleet(sick: u64) -> Fleet {
    let mut dice = Dice::new(sick + 7);
    let mut racks = Vec::new();
    let mut nodes = Vec::new();
    let mut number = 0;
    for (at, (_, _, rows)) in SITES.iter().enumerate() {
        for row in 0..*rows {
            for rack in 0..RACKS_A_ROW {
                let place = place(at, row, rack);
                let mut counts = Counts::default();
                for _ in 0..NODES_A_RACK {
                    number += 1;
                    let standing = standing(&mut dice, sick);
                    *counts.of_mut(standing) += 1;
                    if standing == Standing::Healthy && nodes.len() > 2_000 {
                        continue;
                    }
                    let line = line(number, place.clone(), standing, &mut dice);
                    match line.expectation {
                        Expectation::Unexpected => counts.unexpected += 1,
                        Expectation::Mismatched(_) => counts.mismatched += 1,
                        Expectation::NoList | Expectation::AsExpected => {}
                    }
                    nodes.push(line);
                }
                racks.push(RackCounts { place, counts });
            }
        }
    }
    nodes.sort_by_key(|node| node.standing);
    let matching = number;
    nodes.truncate(100);
    let of = |nodes, gpus| Capacity { nodes, gpus };
    Fleet {
        context: context(),
        query: FleetQuery::default(),
        capacity: Some(FleetCapacity {
            delivered: of(12_480, 99_840),
            healthy: of(12_391, 99_128),
            reserved: of(11_008, 88_064),
            in_use: of(10_752, 86_016),
        }),
        racks,
        codes: FAULTS
            .iter()
            .zip([14, 9, 7, 3, 22, 11, 4, 2])
            .map(|((code, severity, ..), nodes)| CodeCount {
                code: (*code).to_owned(),
                severity: *severity,
                nodes,
            })
            .collect(),
        regions: vec![
            "ap-southeast-2".to_owned(),
            "eu-north-1".to_owned(),
            "us-central-1".to_owned(),
        ],
        sites: SITES
            .iter()
            .map(|(_, site, _)| (*site).to_owned())
            .collect(),
        platforms: vec![
            "dell-xe9680-h200".to_owned(),
            "dgx-h100".to_owned(),
            "hgx-b200".to_owned(),
        ],
        nodes,
        matching,
        before: 0,
        next: some("eyJhIjoxfQ"),
    }
}

/// A rack with a sick node, a missing one, and one whose unit is taken.
pub fn rack() -> Rack {
    let place = place(0, 3, 6);
    let mut dice = Dice::new(3);
    let standings = [
        Standing::Healthy,
        Standing::Unhealthy,
        Standing::Missing,
        Standing::Degraded,
    ];
    let mut nodes: Vec<_> = standings
        .into_iter()
        .zip(1200..)
        .map(|(standing, number)| line(number, place.clone(), standing, &mut dice))
        .collect();
    let mut small = line(1300, place.clone(), Standing::Healthy, &mut dice);
    small.hostname = some("head-r07");
    small.place.unit = Some(42);
    small.place.height_units = None;
    small.platform = None;
    let mut taken = line(1301, place.clone(), Standing::Quiet, &mut dice);
    taken.place.unit = Some(42);
    nodes.extend([small, taken]);
    Rack {
        context: context(),
        previous: Some(self::place(0, 3, 5)),
        next: Some(self::place(0, 3, 7)),
        place,
        units: Some(48),
        nodes,
    }
}

pub fn search() -> Search {
    let mut dice = Dice::new(9);
    let rack = place(1, 4, 2);
    let nodes = [Standing::Unhealthy, Standing::Healthy, Standing::Healthy];
    Search {
        context: context(),
        q: some("1652923017"),
        nodes: nodes
            .into_iter()
            .zip(77..)
            .map(|(s, n)| line(n, rack.clone(), s, &mut dice))
            .collect(),
        more_nodes: true,
        parts: (0..6)
            .map(|n| PartLine {
                serial: format!("16529230170{n}{n}"),
                kind: ComponentKind::Gpu,
                name: some("NVIDIA H100 80GB HBM3"),
                last: Some(PartStay {
                    node: "0000004d-bfde".to_owned(),
                    hostname: some("gpu00077"),
                    place: Place {
                        rack: rack.clone(),
                        unit: Some(12),
                        height_units: Some(8),
                    },
                    slot: Some(format!("SXM {}", n + 1)),
                    from: ago(8_000_000),
                    until: (n == 4).then(|| ago(90_000)),
                }),
            })
            .collect(),
        more_parts: false,
        codes: vec![CodeCount {
            code: "gpu.off-bus".to_owned(),
            severity: Severity::Critical,
            nodes: 14,
        }],
    }
}
