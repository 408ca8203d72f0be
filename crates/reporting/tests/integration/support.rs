//! Reports to keep and send. Synthetic.

use cupel_model::report::{CheckReport, Coverage, Verdict};
use cupel_model::snapshot::{Driver, Snapshot, Tenancy, WorkerState, no_interval};
use cupel_model::units::Seconds;
use cupel_model::wire::{Body, Dropped, Report, WantedState};
use cupel_model::{Reading, SCHEMA_VERSION, Timestamp};

/// The node that all reports are of.
pub const NODE: &str = "4c4c4544-0051-3010-8052-b4c04f4d5933";

/// A point in time, in seconds after the epoch.
pub fn at(seconds: i64) -> Timestamp {
    Timestamp::from_microseconds(seconds * 1_000_000).expect("time")
}

/// A report without numbers.
pub fn report(body: Body) -> Report {
    Report {
        schema_version: SCHEMA_VERSION,
        cupel_version: "0.1.0".to_owned(),
        node: NODE.to_owned(),
        boot: String::new(),
        sequence: 0,
        made_at: at(0),
        uptime_seconds: Seconds::new(1.0).expect("seconds"),
        next_within_seconds: Seconds::new(60.0).expect("seconds"),
        wanted: WantedState::default(),
        dropped: Dropped::default(),
        body,
    }
}

/// A heartbeat that is told apart by its hash.
pub fn heartbeat(mark: &str) -> Report {
    report(Body::Heartbeat {
        hash: mark.to_owned(),
        verdict: Verdict::Healthy,
        gpus: Vec::new(),
    })
}

/// A report of the class that is dropped last, told apart by its reason.
pub fn changes(mark: &str) -> Report {
    report(Body::Stopping {
        why: mark.to_owned(),
    })
}

/// A full report that is told apart by its hash.
pub fn full(mark: &str) -> Report {
    report(Body::Full {
        hash: mark.to_owned(),
        snapshot: Box::new(snapshot()),
        check: Box::new(CheckReport {
            schema_version: SCHEMA_VERSION,
            node: snapshot().node,
            platform: None,
            verdict: Verdict::Healthy,
            findings: Vec::new(),
            events: Vec::new(),
            coverage: Coverage::default(),
        }),
        findings: Vec::new(),
    })
}

fn snapshot() -> Snapshot {
    Snapshot {
        schema_version: SCHEMA_VERSION,
        cupel_version: "0.1.0".to_owned(),
        taken_at: at(0),
        node: Default::default(),
        tenancy: Tenancy::None,
        gpus: Vec::new().into(),
        nvswitches: Vec::new(),
        rdma: Vec::new().into(),
        nvme: Vec::new(),
        pci: Vec::new().into(),
        memory: Default::default(),
        cpus: Default::default(),
        network: Vec::new().into(),
        filesystems: Vec::new(),
        sensors: Vec::new(),
        bmc: Reading::absent("none"),
        kernel: Default::default(),
        driver: Driver {
            kernel_version: Reading::default(),
            flavour: Reading::default(),
            library_version: Reading::default(),
            nvml_version: Reading::default(),
            cuda_version: Reading::default(),
            library_path: Reading::default(),
            worker: WorkerState::Answered { replaced: 0 },
        },
        services: Vec::new(),
        firmware: Vec::new(),
        kernel_log: Vec::new(),
        kernel_log_records: Reading::absent("none"),
        gpu_events: no_interval(),
        remembered: Vec::new(),
        previous: None,
        problems: Vec::new(),
    }
}

/// A text that does not shrink when it is compressed, of about `bytes` bytes.
pub fn noise(seed: u64, bytes: usize) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..bytes * 4 / 3)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            char::from(LETTERS[usize::try_from(state >> 58).expect("six bits")])
        })
        .collect()
}

/// What is in a report that travels.
pub fn opened(bytes: &[u8]) -> Report {
    let json = zstd::bulk::decompress(bytes, 64 << 20).expect("zstd");
    serde_json::from_slice(&json).expect("report")
}

/// The mark of a report.
pub fn mark(report: &Report) -> &str {
    match &report.body {
        Body::Full { hash, .. } | Body::Heartbeat { hash, .. } => hash,
        Body::Stopping { why } => why,
        Body::Changes { .. } | Body::Bringup { .. } => panic!("no mark in {report:?}"),
    }
}
