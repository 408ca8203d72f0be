//! Heat, power, energy, fans.

use cupel_model::Reading;
use cupel_model::snapshot::GpuThermal;
use cupel_model::units::{Celsius, Joules, NotFinite, Percent, Watts};
use nvml_wrapper::enum_wrappers::device::{TemperatureSensor, TemperatureThreshold};
use nvml_wrapper_sys::bindings::field_id::NVML_FI_DEV_MEMORY_TEMP;
use nvml_wrapper_sys::bindings::nvmlMarginTemperature_t;

use super::{fields, within};
use crate::calls::{Gpu, Refusal, Told, get, reading};
use crate::codes;

/// Silicon does not survive it.
const HOTTEST: u32 = 200;

/// No board draws as much: 20 kW.
const MOST_MILLIWATTS: u32 = 20_000_000;

/// Fans may turn above their nominal maximum.
const FASTEST: u32 = 200;

pub fn read(gpu: &Gpu<'_>) -> GpuThermal {
    let temperature = gpu.wrapped("nvmlDeviceGetTemperature", |device| {
        device.temperature(TemperatureSensor::Gpu)
    });
    let threshold = |which: TemperatureThreshold| {
        let call = "nvmlDeviceGetTemperatureThreshold";
        celsius(
            call,
            gpu.wrapped(call, |device| device.temperature_threshold(which)),
        )
    };
    let milliwatts = |call, told| {
        finite(
            call,
            within(call, told, MOST_MILLIWATTS, "mW").map(|milliwatts| f64::from(milliwatts) / 1e3),
            Watts::new,
        )
    };
    let memory = fields::one(gpu, NVML_FI_DEV_MEMORY_TEMP, 0)
        .map(|value| u32::try_from(value).unwrap_or(u32::MAX));
    GpuThermal {
        temperature_celsius: celsius("nvmlDeviceGetTemperature", temperature),
        memory_temperature_celsius: celsius(fields::CALL, memory),
        slowdown_celsius: threshold(TemperatureThreshold::Slowdown),
        shutdown_celsius: threshold(TemperatureThreshold::Shutdown),
        margin_celsius: margin(gpu),
        power_watts: milliwatts(
            "nvmlDeviceGetPowerUsage",
            gpu.wrapped("nvmlDeviceGetPowerUsage", |device| device.power_usage()),
        ),
        power_limit_watts: milliwatts(
            "nvmlDeviceGetEnforcedPowerLimit",
            gpu.wrapped("nvmlDeviceGetEnforcedPowerLimit", |device| {
                device.enforced_power_limit()
            }),
        ),
        power_default_limit_watts: milliwatts(
            "nvmlDeviceGetPowerManagementDefaultLimit",
            gpu.wrapped("nvmlDeviceGetPowerManagementDefaultLimit", |device| {
                device.power_management_limit_default()
            }),
        ),
        energy_joules: energy(gpu),
        fan_percent: fan(gpu),
    }
}

/// Of the first fan. A board that the server cools has none, and then the number of the fan is what
/// the driver calls invalid (seen: 580.159 on an H200).
fn fan(gpu: &Gpu<'_>) -> Reading<Percent> {
    let call = "nvmlDeviceGetFanSpeed_v2";
    let told = gpu
        .wrapped(call, |device| device.fan_speed(0))
        .map_err(|refusal| Refusal {
            unsupported: refusal.unsupported || refusal.code == Some(codes::INVALID_ARGUMENT),
            ..refusal
        });
    finite(
        call,
        within(call, told, FASTEST, "%").map(f64::from),
        Percent::new,
    )
}

fn celsius(call: &'static str, told: Told<u32>) -> Reading<Celsius> {
    finite(
        call,
        within(call, told, HOTTEST, "°C").map(f64::from),
        Celsius::new,
    )
}

/// A quantity as its unit.
fn finite<T>(
    call: &'static str,
    told: Told<f64>,
    unit: fn(f64) -> Result<T, NotFinite>,
) -> Reading<T> {
    reading(told.and_then(|value| {
        unit(value).map_err(|error| Refusal::impossible(call, error.to_string()))
    }))
}

/// Millijoules as joules; above 2^53 the sum is rounded, which is below its own resolution.
fn energy(gpu: &Gpu<'_>) -> Reading<Joules> {
    let call = "nvmlDeviceGetTotalEnergyConsumption";
    let told = gpu.wrapped(call, |device| device.total_energy_consumption());
    #[expect(
        clippy::cast_precision_loss,
        reason = "a sum of energy, not a count: relative error below 2^-52"
    )]
    finite(
        call,
        told.map(|millijoules| millijoules as f64 / 1e3),
        Joules::new,
    )
}

fn margin(gpu: &Gpu<'_>) -> Reading<Celsius> {
    let call = "nvmlDeviceGetMarginTemperature";
    let empty = nvmlMarginTemperature_t {
        // Version 1 in the upper byte, the structure's size below.
        version: 8 | 1 << 24,
        marginTemperature: 0,
    };
    const { assert!(size_of::<nvmlMarginTemperature_t>() == 8) };
    let told = get!(gpu, nvmlDeviceGetMarginTemperature() -> empty).and_then(|margin| {
        let margin = margin.marginTemperature;
        if margin.unsigned_abs() <= HOTTEST {
            Ok(f64::from(margin))
        } else {
            Err(Refusal::impossible(call, format!("{margin} °C cannot be")))
        }
    });
    finite(call, told, Celsius::new)
}
