//! The PCIe link as the driver sees it.

use cupel_model::Counter;
use cupel_model::snapshot::GpuPcie;

use super::within;
use crate::calls::{Gpu, Refusal, Told, reading, reading_of};

/// The newest generation there is.
const NEWEST: u32 = 7;

pub fn read(gpu: &Gpu<'_>) -> GpuPcie {
    let generation = |call, told: Told<u32>| reading(within(call, told, NEWEST, "as a generation"));
    let width = |call, told: Told<u32>| {
        reading(told.and_then(|lanes| match lanes {
            0 | 1 | 2 | 4 | 8 | 12 | 16 | 32 => Ok(lanes),
            other => Err(Refusal::impossible(
                call,
                format!("{other} lanes cannot be"),
            )),
        }))
    };
    GpuPcie {
        current_generation: generation(
            "nvmlDeviceGetCurrPcieLinkGeneration",
            gpu.wrapped("nvmlDeviceGetCurrPcieLinkGeneration", |device| {
                device.current_pcie_link_gen()
            }),
        ),
        max_generation: generation(
            "nvmlDeviceGetMaxPcieLinkGeneration",
            gpu.wrapped("nvmlDeviceGetMaxPcieLinkGeneration", |device| {
                device.max_pcie_link_gen()
            }),
        ),
        current_width: width(
            "nvmlDeviceGetCurrPcieLinkWidth",
            gpu.wrapped("nvmlDeviceGetCurrPcieLinkWidth", |device| {
                device.current_pcie_link_width()
            }),
        ),
        max_width: width(
            "nvmlDeviceGetMaxPcieLinkWidth",
            gpu.wrapped("nvmlDeviceGetMaxPcieLinkWidth", |device| {
                device.max_pcie_link_width()
            }),
        ),
        replay_count: reading_of(
            gpu.wrapped("nvmlDeviceGetPcieReplayCounter", |device| {
                device.pcie_replay_counter()
            }),
            |count| Counter::with_width(u64::from(count), 32),
        ),
    }
}
