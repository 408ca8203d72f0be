//! Fabric manager's registration of a GPU.
//!
//! The state is latched: it stays `completed` when the fabric manager dies. The status, an NVML
//! return code, says whether the registration came to anything; the health mask whether it still
//! holds.

use cupel_model::Reading;
use cupel_model::snapshot::GpuFabric;
use nvml_wrapper_sys::bindings::{
    nvmlGpuFabricInfo_t, nvmlGpuFabricInfo_v2_t, nvmlGpuFabricInfo_v3_t,
};

use crate::calls::{Gpu, Told, get, reading};
use crate::{codes, text};

/// Sizes of the structure's versions, which go with their number to the library.
const V2: u32 = 36 | 2 << 24;
const V3: u32 = 40 | 3 << 24;
const _: () = assert!(size_of::<nvmlGpuFabricInfo_v2_t>() == 36);
const _: () = assert!(size_of::<nvmlGpuFabricInfo_v3_t>() == 40);

/// What any version tells.
struct Told3 {
    uuid: [u8; 16],
    status: u32,
    clique: u32,
    state: u8,
    mask: Option<u32>,
    summary: Option<u8>,
}

pub fn read(gpu: &Gpu<'_>) -> Reading<GpuFabric> {
    let told = versioned(gpu, V3)
        .map(|info| from_versioned(&info, true))
        .or_else(|refusal| {
            if refusal.code == Some(codes::ARGUMENT_VERSION_MISMATCH) {
                versioned(gpu, V2).map(|info| from_versioned(&info, false))
            } else {
                Err(refusal)
            }
        })
        .or_else(|refusal| {
            // Drivers before R545 have the unversioned one only.
            if refusal.code.is_none() || refusal.code == Some(codes::FUNCTION_NOT_FOUND) {
                unversioned(gpu)
            } else {
                Err(refusal)
            }
        });
    reading(told).map(describe)
}

fn versioned(gpu: &Gpu<'_>, version: u32) -> Told<nvmlGpuFabricInfo_v3_t> {
    let empty = nvmlGpuFabricInfo_v3_t {
        version,
        clusterUuid: [0; 16],
        status: 0,
        cliqueId: 0,
        state: 0,
        healthMask: 0,
        healthSummary: 0,
    };
    get!(gpu, nvmlDeviceGetGpuFabricInfoV() -> empty)
}

fn from_versioned(info: &nvmlGpuFabricInfo_v3_t, summary: bool) -> Told3 {
    Told3 {
        uuid: info.clusterUuid,
        status: info.status,
        clique: info.cliqueId,
        state: info.state,
        mask: Some(info.healthMask),
        summary: summary.then_some(info.healthSummary),
    }
}

fn unversioned(gpu: &Gpu<'_>) -> Told<Told3> {
    let empty = nvmlGpuFabricInfo_t {
        clusterUuid: [0; 16],
        status: 0,
        cliqueId: 0,
        state: 0,
    };
    get!(gpu, nvmlDeviceGetGpuFabricInfo() -> empty).map(|info| Told3 {
        uuid: info.clusterUuid,
        status: info.status,
        clique: info.cliqueId,
        state: info.state,
        mask: None,
        summary: None,
    })
}

fn describe(told: Told3) -> GpuFabric {
    let state = match told.state {
        0 => "not-supported".to_owned(),
        1 => "not-started".to_owned(),
        2 => "in-progress".to_owned(),
        3 => "completed".to_owned(),
        other => format!("unknown-{other}"),
    };
    GpuFabric {
        state: Reading::Value(state),
        status: Reading::Value(codes::name(told.status)),
        clique_id: Reading::Value(told.clique),
        cluster_uuid: Reading::Value(text::uuid(&told.uuid)),
        health_problems: match told.mask {
            Some(mask) => problems(mask, told.summary),
            None => Reading::unsupported("nvmlDeviceGetGpuFabricInfo: this driver has no health"),
        },
    }
}

/// The fields of the mask that say trouble. Two bits each: 0 not supported, 1 yes, 2 no; then four
/// bits for a wrong configuration: 0 not supported, 1 none, else which.
fn problems(mask: u32, summary: Option<u8>) -> Reading<Vec<String>> {
    let mut problems = Vec::new();
    for (shift, name) in [
        (0, "degraded-bandwidth"),
        (2, "route-recovery"),
        (4, "route-unhealthy"),
        (6, "access-timeout-recovery"),
    ] {
        match mask >> shift & 0x3 {
            1 => problems.push(name.to_owned()),
            3 => problems.push(format!("{name}-unknown-3")),
            _ => {}
        }
    }
    match mask >> 8 & 0xf {
        0 | 1 => {}
        2 => problems.push("incorrect-system-guid".to_owned()),
        3 => problems.push("incorrect-chassis-serial".to_owned()),
        4 => problems.push("no-partition".to_owned()),
        5 => problems.push("insufficient-nvlinks".to_owned()),
        other => problems.push(format!("incorrect-configuration-{other}")),
    }
    match summary {
        None | Some(0 | 1) => {}
        Some(2) => problems.push("unhealthy".to_owned()),
        Some(3) => problems.push("limited-capacity".to_owned()),
        Some(other) => problems.push(format!("summary-unknown-{other}")),
    }
    if mask == 0 && summary.unwrap_or(0) == 0 {
        return Reading::unsupported("nvmlDeviceGetGpuFabricInfoV: no health is reported");
    }
    Reading::Value(problems)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_field_of_the_mask_is_told_apart() {
        let healthy = 0x1aa;
        assert_eq!(problems(healthy, Some(1)), Reading::Value(vec![]));
        let of = |mask, summary| problems(mask, summary).value().cloned().expect("value");
        assert_eq!(of(0x1a9, Some(1)), ["degraded-bandwidth"]);
        assert_eq!(of(0x1a6, None), ["route-recovery"]);
        assert_eq!(of(0x19a, None), ["route-unhealthy"]);
        assert_eq!(of(0x16a, None), ["access-timeout-recovery"]);
        assert_eq!(of(0x5aa, Some(2)), ["insufficient-nvlinks", "unhealthy"]);
        assert!(matches!(problems(0, Some(0)), Reading::Unsupported(_)));
    }
}
