//! Power, temperature and memory errors of the GPUs, by NVML, while a job runs.
//!
//! # Invariants
//! - A thread of its own: a call that hangs delays no job, and nobody waits for the thread's end.
//! - A GPU at its slowdown temperature, with a new uncorrectable error, or lost, ends the job.

use std::ffi::{CString, OsStr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use cupel_model::PciAddress;
use nvml_wrapper_sys::bindings::{NvmlLib, nvmlDevice_t, nvmlMarginTemperature_v1_t};

use super::board::Board;
use super::report::Report;
use crate::codes;

/// How often each GPU is asked.
const PERIOD: Duration = Duration::from_millis(200);

/// `nvmlClocksThrottleReasonSwPowerCap`.
const SW_POWER_CAP: u64 = 4;

/// What was read of a GPU last; zero is never a reading.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Reading {
    /// How often it was read.
    pub count: u64,
    /// Draw.
    pub watts: Option<f64>,
    /// Enforced limit.
    pub limit_watts: Option<f64>,
    /// Whether the limit is what holds the clocks down.
    pub capped: bool,
    /// Energy since the driver was loaded.
    pub joules: Option<f64>,
}

struct Shared {
    stop: AtomicBool,
    readings: Mutex<Vec<Reading>>,
}

/// The readings.
pub struct Sensor {
    shared: Arc<Shared>,
}

impl Sensor {
    /// What was read last.
    pub fn reading(&self, gpu: u32) -> Reading {
        let readings = self
            .shared
            .readings
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        usize::try_from(gpu)
            .ok()
            .and_then(|gpu| readings.get(gpu))
            .copied()
            .unwrap_or_default()
    }

    /// Lets the thread end.
    pub fn stop(&self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }
}

/// A GPU as NVML knows it.
struct Watched {
    index: u32,
    device: nvmlDevice_t,
    slowdown: Option<u32>,
    uncorrectable: Option<u64>,
}

// SAFETY: a handle is a pointer that is given back to the library and never followed; it is used by
// the one thread that it is sent to.
unsafe impl Send for Watched {}

/// Starts to read; none where the library cannot be had.
pub fn start(
    library: &str,
    gpus: &[PciAddress],
    board: &Arc<Board>,
    report: &mut Report,
) -> Option<Sensor> {
    let shared = Arc::new(Shared {
        stop: AtomicBool::new(false),
        readings: Mutex::new(vec![Reading::default(); gpus.len()]),
    });
    let (library, gpus) = (library.to_owned(), gpus.to_vec());
    let (board, theirs) = (Arc::clone(board), Arc::clone(&shared));
    let spawned = thread::Builder::new()
        .name("sensor".to_owned())
        .spawn(move || watch(&library, &gpus, &board, &theirs));
    if let Err(error) = spawned {
        report.note(format!("power and temperature are not read: {error}"));
        return None;
    }
    Some(Sensor { shared })
}

fn watch(library: &str, gpus: &[PciAddress], board: &Board, shared: &Shared) {
    // SAFETY: loading runs the library's initialisers. It is the driver library that the operator or
    // the search path names. It is never unloaded: the value is forgotten below.
    let Ok(nvml) = (unsafe { NvmlLib::new(OsStr::new(library)) }) else {
        return;
    };
    let nvml = std::mem::ManuallyDrop::new(nvml);
    let Ok(init) = &nvml.nvmlInit_v2 else {
        return;
    };
    // SAFETY: takes nothing.
    if unsafe { init() } != codes::SUCCESS {
        return;
    }
    let mut watched: Vec<Watched> = (0_u32..)
        .zip(gpus)
        .filter_map(|(index, pci)| find(&nvml, index, *pci))
        .collect();
    while !shared.stop.load(Ordering::Relaxed) && !board.is_over() {
        for gpu in &mut watched {
            let reading = read(&nvml, gpu, board);
            let mut readings = shared
                .readings
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            if let Some(slot) = usize::try_from(gpu.index)
                .ok()
                .and_then(|index| readings.get_mut(index))
            {
                *slot = Reading {
                    count: slot.count + 1,
                    ..reading
                };
            }
        }
        thread::sleep(PERIOD);
    }
}

fn find(nvml: &NvmlLib, index: u32, pci: PciAddress) -> Option<Watched> {
    let address = CString::new(pci.to_string()).ok()?;
    let function = nvml.nvmlDeviceGetHandleByPciBusId_v2.as_ref().ok()?;
    let mut device: nvmlDevice_t = std::ptr::null_mut();
    // SAFETY: the signature is the bindings'; text and output are live.
    let code = unsafe { function(address.as_ptr(), &raw mut device) };
    if code != codes::SUCCESS {
        return None;
    }
    /// `NVML_TEMPERATURE_THRESHOLD_SLOWDOWN`.
    const SLOWDOWN: u32 = 1;
    let slowdown = value(
        &nvml.nvmlDeviceGetTemperatureThreshold,
        0,
        |function, to| {
            // SAFETY: the signature is the bindings'; the handle is the library's; `to` is live.
            unsafe { function(device, SLOWDOWN, to) }
        },
    );
    Some(Watched {
        index,
        device,
        slowdown: slowdown.ok(),
        uncorrectable: None,
    })
}

/// Calls a function that writes one value; the code it gave where it gave none.
fn value<F: Copy, E, T>(
    symbol: &Result<F, E>,
    mut empty: T,
    ask: impl FnOnce(F, *mut T) -> u32,
) -> Result<T, u32> {
    let function = symbol.as_ref().map_err(|_| codes::FUNCTION_NOT_FOUND)?;
    match ask(*function, &raw mut empty) {
        codes::SUCCESS => Ok(empty),
        code => Err(code),
    }
}

/// A function `(device, &mut value)`.
macro_rules! read_value {
    ($nvml:ident.$function:ident($device:expr $(, $argument:expr)*), $empty:expr) => {
        value(&$nvml.$function, $empty, |function, to| {
            // SAFETY: the signature is the bindings'; the handle is the library's; `to` is live.
            unsafe { function($device $(, $argument)*, to) }
        })
    };
}

fn read(nvml: &NvmlLib, gpu: &mut Watched, board: &Board) -> Reading {
    let (device, index) = (gpu.device, gpu.index);
    let milliwatts = read_value!(nvml.nvmlDeviceGetPowerUsage(device), 0);
    if milliwatts == Err(codes::GPU_IS_LOST) {
        board.make_unsafe("the driver has lost the GPU".to_owned());
    }
    let limit = read_value!(nvml.nvmlDeviceGetEnforcedPowerLimit(device), 0);
    let throttle = read_value!(nvml.nvmlDeviceGetCurrentClocksThrottleReasons(device), 0);
    let energy = read_value!(nvml.nvmlDeviceGetTotalEnergyConsumption(device), 0);
    let reading = Reading {
        count: 0,
        watts: milliwatts.ok().map(|mw| f64::from(mw) / 1000.0),
        limit_watts: limit.ok().map(|mw| f64::from(mw) / 1000.0),
        capped: throttle.is_ok_and(|reasons| reasons & SW_POWER_CAP != 0),
        joules: energy.ok().map(joules),
    };
    if let Some(watts) = reading.watts {
        board.sample(index, "power", watts, "W");
    }
    heat(nvml, gpu, board);
    errors(nvml, gpu, board);
    reading
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a counter of millijoules below 2^53"
)]
fn joules(millijoules: u64) -> f64 {
    millijoules as f64 / 1000.0
}

fn heat(nvml: &NvmlLib, gpu: &Watched, board: &Board) {
    let device = gpu.device;
    // 0 is the die's sensor.
    let temperature = read_value!(nvml.nvmlDeviceGetTemperature(device, 0), 0);
    if let Ok(celsius) = temperature {
        board.sample(gpu.index, "temperature", f64::from(celsius), "°C");
        if let Some(limit) = gpu.slowdown.filter(|limit| *limit > 0 && celsius >= *limit) {
            board.make_unsafe(format!("{celsius} °C, slowdown begins at {limit} °C"));
        }
    }
    let mut margin = nvmlMarginTemperature_v1_t {
        // Size of the structure and its version, as NVML wants it.
        version: 8 | 1 << 24,
        marginTemperature: 0,
    };
    let told = read_margin(nvml, device, &mut margin);
    if told {
        let left = margin.marginTemperature;
        board.sample(gpu.index, "temperature margin", f64::from(left), "°C");
        if left <= 0 {
            board.make_unsafe(format!("{left} °C left to the temperature limit"));
        }
    }
}

fn read_margin(
    nvml: &NvmlLib,
    device: nvmlDevice_t,
    margin: &mut nvmlMarginTemperature_v1_t,
) -> bool {
    let Ok(function) = &nvml.nvmlDeviceGetMarginTemperature else {
        return false;
    };
    // SAFETY: the signature is the bindings'; the handle is the library's; `margin` is live.
    let code = unsafe { function(device, std::ptr::from_mut(margin)) };
    code == codes::SUCCESS
}

fn errors(nvml: &NvmlLib, gpu: &mut Watched, board: &Board) {
    let device = gpu.device;
    // 1: uncorrected, 0: since the driver was loaded.
    let now = read_value!(nvml.nvmlDeviceGetTotalEccErrors(device, 1, 0), 0);
    if let Ok(now) = now {
        let before = *gpu.uncorrectable.get_or_insert(now);
        if now > before {
            board.make_unsafe(format!("{} new uncorrectable ECC errors", now - before));
        }
    }
}
