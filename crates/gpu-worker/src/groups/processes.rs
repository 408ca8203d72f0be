//! Processes on the GPU, utilisation, and the recovery that the driver asks for.

use cupel_model::Reading;
use cupel_model::snapshot::{GpuProcess, GpuProcesses};
use cupel_model::units::{Bytes, Percent};
use nvml_wrapper_sys::bindings::field_id::NVML_FI_DEV_GET_GPU_RECOVERY_ACTION;
use nvml_wrapper_sys::bindings::nvmlProcessInfo_t;

use super::fields;
use crate::calls::{Gpu, Refusal, Told, reading, reading_of};
use crate::codes;

/// The C function that lists processes.
const PROCESSES: &str = "nvmlDeviceGetComputeRunningProcesses_v3";

/// Processes that a first call has room for, and the most that are believed.
const ROOM: u32 = 256;
const ROOM_MAX: u32 = 65_536;

/// `NVML_VALUE_NOT_AVAILABLE` as the unsigned number that a process's memory is.
const NOT_AVAILABLE: u64 = u64::MAX;

pub fn read(gpu: &Gpu<'_>) -> GpuProcesses {
    let rates = gpu.wrapped("nvmlDeviceGetUtilizationRates", |device| {
        device.utilization_rates()
    });
    let percent = |told: Told<u32>| {
        reading(told.and_then(|value| {
            Percent::new(f64::from(value))
                .ok()
                .filter(|_| value <= 100)
                .ok_or_else(|| {
                    Refusal::impossible(
                        "nvmlDeviceGetUtilizationRates",
                        format!("{value} % cannot be"),
                    )
                })
        }))
    };
    let sm = rates.as_ref().map(|rates| rates.gpu).map_err(Clone::clone);
    GpuProcesses {
        compute: reading(compute(gpu)),
        utilisation_percent: percent(sm),
        memory_utilisation_percent: percent(rates.map(|rates| rates.memory)),
        recovery_action: reading_of(
            fields::one(gpu, NVML_FI_DEV_GET_GPU_RECOVERY_ACTION, 0),
            recovery_action,
        ),
    }
}

/// `nvmlDeviceGpuRecoveryAction_t`. An unknown one keeps its number: a person must look.
fn recovery_action(code: u64) -> String {
    match code {
        0 => "none",
        1 => "gpu-reset",
        2 => "node-reboot",
        3 => "drain-p2p",
        4 => "drain-and-reset",
        5 => "recover-imex",
        6 => "bus-reset",
        7 => "system-reboot",
        other => return format!("unknown-{other}"),
    }
    .to_owned()
}

fn compute(gpu: &Gpu<'_>) -> Told<Vec<GpuProcess>> {
    let first = list(gpu, ROOM);
    match first {
        // More than there was room for: once more, with room for those and for some that came since.
        Ok(Listed::TooMany(count)) if count < ROOM_MAX => match list(gpu, count + ROOM)? {
            Listed::All(processes) => Ok(processes),
            Listed::TooMany(count) => Err(too_many(count)),
        },
        Ok(Listed::TooMany(count)) => Err(too_many(count)),
        Ok(Listed::All(processes)) => Ok(processes),
        Err(refusal) => Err(refusal),
    }
}

fn too_many(count: u32) -> Refusal {
    Refusal::impossible(PROCESSES, format!("{count} processes cannot be"))
}

enum Listed {
    All(Vec<GpuProcess>),
    TooMany(u32),
}

fn list(gpu: &Gpu<'_>, room: u32) -> Told<Listed> {
    let (short, count, processes) = gpu.raw(
        PROCESSES,
        &gpu.library().nvmlDeviceGetComputeRunningProcesses_v3,
        |function, device| {
            let empty = nvmlProcessInfo_t {
                pid: 0,
                usedGpuMemory: 0,
                gpuInstanceId: 0,
                computeInstanceId: 0,
            };
            let mut count = room;
            let mut processes = vec![empty; usize::try_from(room).unwrap_or(0)];
            // SAFETY: the signature is the bindings'; `count` says how many the live vector holds.
            let code = unsafe { function(device, &raw mut count, processes.as_mut_ptr()) };
            let short = code == codes::INSUFFICIENT_SIZE;
            let code = if short { codes::SUCCESS } else { code };
            (code, (short, count, processes))
        },
    )?;
    if short || count > room {
        return Ok(Listed::TooMany(count));
    }
    let mut found: Vec<GpuProcess> = processes
        .iter()
        .take(usize::try_from(count).unwrap_or(0))
        .map(|process| GpuProcess {
            pid: process.pid,
            memory_bytes: if process.usedGpuMemory == NOT_AVAILABLE {
                Reading::unsupported(format!("{PROCESSES}: not available"))
            } else {
                Reading::Value(Bytes(process.usedGpuMemory))
            },
        })
        .collect();
    found.sort_by_key(|process| process.pid);
    Ok(Listed::All(found))
}
