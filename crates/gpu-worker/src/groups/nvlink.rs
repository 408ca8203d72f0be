//! NVLink states, speeds, far ends and error counters.
//!
//! # Invariants
//! - A counter that a generation does not have is Unsupported, never zero. Which set is asked for
//!   follows the link's version: up to NVLink 4 `nvmlDeviceGetNvLinkErrorCounter`, from NVLink 5
//!   the fields 206 to 221; where the version is unknown, both.

use cupel_model::snapshot::{GpuNvlinks, NamedCounter, Nvlink, NvlinkRemote};
use cupel_model::units::GigabitsPerSecond;
use cupel_model::{Counter, Reading};
use nvml_wrapper_sys::bindings::field_id::{
    NVML_FI_DEV_NVLINK_COUNT_BUFFER_OVERRUN_ERRORS, NVML_FI_DEV_NVLINK_COUNT_EFFECTIVE_ERRORS,
    NVML_FI_DEV_NVLINK_COUNT_LINK_RECOVERY_EVENTS,
    NVML_FI_DEV_NVLINK_COUNT_LINK_RECOVERY_FAILED_EVENTS,
    NVML_FI_DEV_NVLINK_COUNT_LINK_RECOVERY_SUCCESSFUL_EVENTS,
    NVML_FI_DEV_NVLINK_COUNT_LOCAL_LINK_INTEGRITY_ERRORS,
    NVML_FI_DEV_NVLINK_COUNT_MALFORMED_PACKET_ERRORS, NVML_FI_DEV_NVLINK_COUNT_RCV_ERRORS,
    NVML_FI_DEV_NVLINK_COUNT_RCV_GENERAL_ERRORS, NVML_FI_DEV_NVLINK_COUNT_RCV_REMOTE_ERRORS,
    NVML_FI_DEV_NVLINK_COUNT_SYMBOL_ERRORS, NVML_FI_DEV_NVLINK_COUNT_XMIT_DISCARDS,
    NVML_FI_DEV_NVLINK_GET_SPEED, NVML_FI_DEV_NVLINK_LINK_COUNT,
};

use super::{fields, on_off, pci_address, within};
use crate::calls::{Gpu, Refusal, Told, get, reading};
use crate::codes;
use crate::session::EMPTY_PCI_INFO;

/// No GPU has more links.
const LINKS_MAX: u64 = 64;

/// Links tried where the driver does not say how many there are (`NVML_NVLINK_MAX_LINKS`).
const LINKS_TRIED: u32 = 18;

/// NVLink's newest version is 5; one far above is none.
const VERSION_MAX: u32 = 15;

/// No link is as fast: 1 TB/s.
const SPEED_MAX: u64 = 1_000_000;

/// `nvmlNvLinkErrorCounter_t`, from 0.
const COUNTERS: [&str; 5] = ["replay", "recovery", "crc_flit", "crc_data", "ecc_data"];

/// Counters of NVLink 5, as field values.
const FIELDS: [(&str, u32); 12] = [
    (
        "malformed_packet_errors",
        NVML_FI_DEV_NVLINK_COUNT_MALFORMED_PACKET_ERRORS,
    ),
    (
        "buffer_overrun_errors",
        NVML_FI_DEV_NVLINK_COUNT_BUFFER_OVERRUN_ERRORS,
    ),
    ("rcv_errors", NVML_FI_DEV_NVLINK_COUNT_RCV_ERRORS),
    (
        "rcv_remote_errors",
        NVML_FI_DEV_NVLINK_COUNT_RCV_REMOTE_ERRORS,
    ),
    (
        "rcv_general_errors",
        NVML_FI_DEV_NVLINK_COUNT_RCV_GENERAL_ERRORS,
    ),
    (
        "local_link_integrity_errors",
        NVML_FI_DEV_NVLINK_COUNT_LOCAL_LINK_INTEGRITY_ERRORS,
    ),
    ("xmit_discards", NVML_FI_DEV_NVLINK_COUNT_XMIT_DISCARDS),
    (
        "link_recovery_successful_events",
        NVML_FI_DEV_NVLINK_COUNT_LINK_RECOVERY_SUCCESSFUL_EVENTS,
    ),
    (
        "link_recovery_failed_events",
        NVML_FI_DEV_NVLINK_COUNT_LINK_RECOVERY_FAILED_EVENTS,
    ),
    (
        "link_recovery_events",
        NVML_FI_DEV_NVLINK_COUNT_LINK_RECOVERY_EVENTS,
    ),
    (
        "effective_errors",
        NVML_FI_DEV_NVLINK_COUNT_EFFECTIVE_ERRORS,
    ),
    ("symbol_errors", NVML_FI_DEV_NVLINK_COUNT_SYMBOL_ERRORS),
];

pub fn read(gpu: &Gpu<'_>) -> Reading<GpuNvlinks> {
    match fields::one(gpu, NVML_FI_DEV_NVLINK_LINK_COUNT, 0) {
        Ok(0) => Reading::unsupported(format!("{}: this GPU has no NVLink", fields::CALL)),
        Ok(count) if count <= LINKS_MAX => {
            let count = u32::try_from(count).unwrap_or(0);
            let states: Vec<Told<u32>> = (0..count)
                .map(|link| get!(gpu, nvmlDeviceGetNvLinkState(link) -> 0))
                .collect();
            if let Some(refusal) = unsupported(&states) {
                return refusal.reading();
            }
            let links = (0..count).zip(states);
            Reading::Value(GpuNvlinks {
                links: links.map(|(link, state)| one(gpu, link, state)).collect(),
            })
        }
        Ok(count) => Reading::failed(format!("{}: {count} NVLinks cannot be", fields::CALL)),
        Err(refusal) if refusal.code == Some(codes::GPU_IS_LOST) => refusal.reading(),
        Err(_) => probe(gpu),
    }
}

/// Why no link's state is offered, where that is so: then nothing is known of any link, and none
/// is down.
fn unsupported(states: &[Told<u32>]) -> Option<Refusal> {
    let refusals = states.iter().map(|state| state.as_ref().err());
    let mut unsupported = refusals.map(|refusal| refusal.filter(|told| told.unsupported));
    let first = unsupported.next()??;
    unsupported
        .all(|other| other.is_some())
        .then(|| first.clone())
}

/// Asks link by link until the driver knows no more.
fn probe(gpu: &Gpu<'_>) -> Reading<GpuNvlinks> {
    let mut links = Vec::new();
    for link in 0..LINKS_TRIED {
        match get!(gpu, nvmlDeviceGetNvLinkState(link) -> 0) {
            Err(refusal) if links.is_empty() => return refusal.reading(),
            Err(refusal)
                if refusal.unsupported || refusal.code == Some(codes::INVALID_ARGUMENT) =>
            {
                break;
            }
            state => links.push(one(gpu, link, state)),
        }
    }
    Reading::Value(GpuNvlinks { links })
}

fn one(gpu: &Gpu<'_>, link: u32, state: Told<u32>) -> Nvlink {
    let version = within(
        "nvmlDeviceGetNvLinkVersion",
        get!(gpu, nvmlDeviceGetNvLinkVersion(link) -> 0),
        VERSION_MAX,
        "as a version",
    );
    let remote = get!(gpu, nvmlDeviceGetNvLinkRemoteDeviceType(link) -> 0);
    let remote_pci = get!(gpu, nvmlDeviceGetNvLinkRemotePciInfo_v2(link) -> EMPTY_PCI_INFO);
    Nvlink {
        index: link,
        active: reading(on_off("nvmlDeviceGetNvLinkState", state)),
        counters: counters(gpu, link, version.as_ref().ok().copied()),
        version: reading(version),
        speed_gbps: speed(gpu, link),
        remote: reading(remote).and_then(far_end),
        remote_pci: reading(remote_pci)
            .and_then(|info| pci_address("nvmlDeviceGetNvLinkRemotePciInfo_v2", &info)),
    }
}

/// `nvmlIntNvLinkDeviceType_t`.
fn far_end(code: u32) -> Reading<NvlinkRemote> {
    Reading::Value(match code {
        0 => NvlinkRemote::Gpu,
        1 => NvlinkRemote::Cpu,
        2 => NvlinkRemote::Switch,
        255 => NvlinkRemote::Unknown,
        other => {
            return Reading::failed(format!(
                "nvmlDeviceGetNvLinkRemoteDeviceType: {other} is no kind of device"
            ));
        }
    })
}

/// MB/s as Gb/s.
fn speed(gpu: &Gpu<'_>, link: u32) -> Reading<GigabitsPerSecond> {
    let told = fields::one(gpu, NVML_FI_DEV_NVLINK_GET_SPEED, link).and_then(|megabytes| {
        u32::try_from(megabytes)
            .ok()
            .filter(|_| megabytes <= SPEED_MAX)
            .and_then(|megabytes| GigabitsPerSecond::new(f64::from(megabytes) * 8.0 / 1e3).ok())
            .ok_or_else(|| Refusal::impossible(fields::CALL, format!("{megabytes} MB/s cannot be")))
    });
    reading(told)
}

/// The counters of one link, sorted by name.
fn counters(gpu: &Gpu<'_>, link: u32, version: Option<u32>) -> Vec<NamedCounter> {
    let mut counters = Vec::new();
    if version.is_none_or(|version| version < 5) {
        for (code, name) in (0_u32..).zip(COUNTERS) {
            let told = get!(gpu, nvmlDeviceGetNvLinkErrorCounter(link, code) -> 0);
            counters.push(named(name, told));
        }
    }
    if version.is_none_or(|version| version >= 5) {
        let ids = FIELDS.map(|(_, id)| id);
        match fields::several(gpu, &ids, link) {
            Ok(values) => {
                let values = FIELDS.iter().zip(values);
                counters.extend(values.map(|((name, _), told)| named(name, told)));
            }
            Err(refusal) => {
                let refused = FIELDS.iter();
                counters.extend(refused.map(|(name, _)| named(name, Err(refusal.clone()))));
            }
        }
    }
    counters.sort_by(|a, b| a.name.cmp(&b.name));
    counters
}

fn named(name: &str, told: Told<u64>) -> NamedCounter {
    NamedCounter {
        name: name.into(),
        value: reading(told).map(|count| Counter::with_width(count, 64)),
    }
}
