//! NVLinks, fabric, field values.

use std::os::raw::{c_int, c_uint, c_ulonglong};

use nvml_wrapper_sys::bindings::{
    nvmlFieldValue_t, nvmlGpuFabricInfo_t, nvmlGpuFabricInfo_v3_t, nvmlPciInfo_t, nvmlReturn_t,
    nvmlValue_t,
};

use super::system::pci_info;
use super::values;
use crate::fault::{
    ARGUMENT_VERSION_MISMATCH, INVALID_ARGUMENT, NOT_SUPPORTED, Output, SUCCESS, on_gpu,
};
use crate::state::{Gpu, Nvlink};

fn link(gpu: &Gpu, index: c_uint) -> Option<&Nvlink> {
    gpu.nvlinks.get(usize::try_from(index).ok()?)
}

/// `nvmlNvLinkErrorCounter_t`, from 0.
const COUNTERS: [&str; 5] = ["replay", "recovery", "crc_flit", "crc_data", "ecc_data"];

/// Fields 206 to 221 that are counters of NVLink 5.
const FIELDS: [(c_uint, &str); 12] = [
    (206, "malformed_packet_errors"),
    (207, "buffer_overrun_errors"),
    (208, "rcv_errors"),
    (209, "rcv_remote_errors"),
    (210, "rcv_general_errors"),
    (211, "local_link_integrity_errors"),
    (212, "xmit_discards"),
    (213, "link_recovery_successful_events"),
    (214, "link_recovery_failed_events"),
    (215, "link_recovery_events"),
    (219, "effective_errors"),
    (221, "symbol_errors"),
];

values! {
    nvmlDeviceGetNvLinkState(index: c_uint) -> c_uint
        = |gpu, index| link(gpu, index).map(|link| link.active);
    nvmlDeviceGetNvLinkVersion(index: c_uint) -> c_uint
        = |gpu, index| link(gpu, index).map(|link| link.version);
    nvmlDeviceGetNvLinkRemoteDeviceType(index: c_uint) -> c_uint
        = |gpu, index| link(gpu, index).and_then(|link| link.remote_type);
    nvmlDeviceGetNvLinkRemotePciInfo_v2(index: c_uint) -> nvmlPciInfo_t
        = |gpu, index| pci_info(link(gpu, index)?.remote_pci.as_deref()?);
    nvmlDeviceGetNvLinkErrorCounter(index: c_uint, counter: c_uint) -> c_ulonglong
        = |gpu, index, counter| {
            let name = COUNTERS.get(usize::try_from(counter).ok()?)?;
            link(gpu, index)?.counters.get(*name).copied()
        };
    nvmlDeviceGetGpuFabricInfo() -> nvmlGpuFabricInfo_t
        = |gpu| gpu.fabric.as_ref().map(|fabric| nvmlGpuFabricInfo_t {
            clusterUuid: uuid(&fabric.cluster_uuid),
            status: fabric.status,
            cliqueId: fabric.clique_id,
            state: fabric.state,
        });
}

/// The bytes of a UUID with dashes; what is no digit counts as zero.
fn uuid(text: &str) -> [u8; 16] {
    let digits: Vec<u8> = text
        .chars()
        .filter(|c| *c != '-')
        .map(|c| u8::try_from(c.to_digit(16).unwrap_or(0)).unwrap_or(0))
        .collect();
    let mut bytes = [0; 16];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = pair[0] << 4 | pair[1];
    }
    bytes
}

/// `nvmlDeviceGetGpuFabricInfoV`, versions 2 and 3 of its structure.
///
/// # Safety
/// As NVML's header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetGpuFabricInfoV(
    device: *const (),
    to: *mut nvmlGpuFabricInfo_v3_t,
) -> nvmlReturn_t {
    on_gpu(
        "nvmlDeviceGetGpuFabricInfoV",
        device,
        &[Output::one(to)],
        |gpu| {
            if to.is_null() {
                return INVALID_ARGUMENT;
            }
            // SAFETY: the caller of the C function gives a live structure, of which every version
            // begins with its number.
            let version = unsafe { to.cast::<u32>().read() };
            let with_summary = match version {
                V2 => false,
                V3 => true,
                _ => return ARGUMENT_VERSION_MISMATCH,
            };
            let Some(fabric) = &gpu.fabric else {
                return NOT_SUPPORTED;
            };
            // SAFETY: each field lies within the version that the caller announced.
            unsafe {
                (&raw mut (*to).clusterUuid).write(uuid(&fabric.cluster_uuid));
                (&raw mut (*to).status).write(fabric.status);
                (&raw mut (*to).cliqueId).write(fabric.clique_id);
                (&raw mut (*to).state).write(fabric.state);
                (&raw mut (*to).healthMask).write(fabric.health_mask);
                if with_summary {
                    (&raw mut (*to).healthSummary).write(fabric.health_summary);
                }
            }
            SUCCESS
        },
    )
}

/// Versions of the fabric structure: its size, and the number in the upper byte.
const V2: u32 = 36 | 2 << 24;
const V3: u32 = 40 | 3 << 24;

/// `nvmlDeviceGetFieldValues`.
///
/// # Safety
/// As NVML's header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetFieldValues(
    device: *const (),
    count: c_int,
    values: *mut nvmlFieldValue_t,
) -> nvmlReturn_t {
    let entries = usize::try_from(count).unwrap_or(0);
    let outputs = [Output::many(values, entries)];
    on_gpu("nvmlDeviceGetFieldValues", device, &outputs, |gpu| {
        if values.is_null() || entries == 0 {
            return INVALID_ARGUMENT;
        }
        for index in 0..entries {
            // SAFETY: the caller of the C function gives as many live entries.
            let value = unsafe { &mut *values.add(index) };
            match field(gpu, value.fieldId, value.scopeId) {
                Field::Number(number) => {
                    value.valueType = 3;
                    value.value = nvmlValue_t { ullVal: number };
                    value.nvmlReturn = SUCCESS;
                }
                Field::NotOffered => value.nvmlReturn = NOT_SUPPORTED,
                Field::Unknown => value.nvmlReturn = INVALID_ARGUMENT,
            }
        }
        SUCCESS
    })
}

enum Field {
    Number(u64),
    NotOffered,
    Unknown,
}

impl From<Option<u64>> for Field {
    fn from(number: Option<u64>) -> Self {
        number.map_or(Self::NotOffered, Self::Number)
    }
}

fn field(gpu: &Gpu, id: c_uint, scope: c_uint) -> Field {
    match id {
        82 => gpu.memory_temperature.map(u64::from).into(),
        91 if gpu.nvlinks.is_empty() => Field::NotOffered,
        91 => u64::try_from(gpu.nvlinks.len()).ok().into(),
        164 => link(gpu, scope)
            .map(|link| u64::from(link.speed_mbps))
            .into(),
        230 => gpu.recovery_action.map(u64::from).into(),
        _ => match FIELDS.iter().find(|(field, _)| *field == id) {
            Some((_, name)) => link(gpu, scope)
                .and_then(|link| link.counters.get(*name).copied())
                .into(),
            None => Field::Unknown,
        },
    }
}
