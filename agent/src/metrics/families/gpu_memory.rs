//! GPU memory: how much, and the errors in it.

use cupel_model::snapshot::EccCounts;

use super::gpu::each;
use crate::metrics::family::{Family, Group, Unit};
use crate::metrics::parts::GPU;
use crate::metrics::text::Sink;

pub(super) const GROUP: Group = Group {
    title: "GPU memory and ECC",
    source: "gpu-memory",
    families: &[
        Family::gauge(
            "cupel_gpu_memory_size_bytes",
            Unit::Bytes,
            GPU,
            "Memory of the GPU, in bytes.",
            |at, out| {
                each(at, out, |out, at, gpu| {
                    out.reading(at, &[], &gpu.memory.total_bytes)
                })
            },
        ),
        Family::gauge(
            "cupel_gpu_memory_used_bytes",
            Unit::Bytes,
            GPU,
            "Memory of the GPU that is in use, in bytes.",
            |at, out| {
                each(at, out, |out, at, gpu| {
                    out.reading(at, &[], &gpu.memory.used_bytes)
                })
            },
        ),
        Family::gauge(
            "cupel_gpu_memory_free_bytes",
            Unit::Bytes,
            GPU,
            "Memory of the GPU that is free, in bytes.",
            |at, out| {
                each(at, out, |out, at, gpu| {
                    out.reading(at, &[], &gpu.memory.free_bytes)
                })
            },
        ),
        Family::gauge(
            "cupel_gpu_ecc_enabled",
            Unit::None,
            GPU,
            "1 if ECC is on, 0 if it is off.",
            |at, out| {
                each(at, out, |out, at, gpu| {
                    out.reading(at, &[], &gpu.ecc.enabled)
                })
            },
        ),
        Family::counter(
            "cupel_gpu_ecc_errors_total",
            Unit::None,
            &["gpu", "pci", "memory", "error", "period"],
            "ECC errors by memory (sram, dram), error (corrected, uncorrected) and period: volatile since the driver was loaded or the GPU was reset, aggregate over the GPU's life.",
            |at, out| {
                each(at, out, |out, at, gpu| {
                    by_memory(at, "volatile", &gpu.ecc.volatile, out);
                    by_memory(at, "aggregate", &gpu.ecc.aggregate, out);
                });
            },
        ),
        Family::counter(
            "cupel_gpu_ecc_summed_errors_total",
            Unit::None,
            &["gpu", "pci", "error", "period"],
            "ECC errors of all memories together as the driver adds them up, by error (corrected, uncorrected) and period (volatile, aggregate).",
            |at, out| {
                each(at, out, |out, at, gpu| {
                    summed(at, "volatile", &gpu.ecc.volatile, out);
                    summed(at, "aggregate", &gpu.ecc.aggregate, out);
                });
            },
        ),
        Family::gauge(
            "cupel_gpu_ecc_sram_threshold_exceeded",
            Unit::None,
            GPU,
            "1 if uncorrectable errors in SRAM have passed the driver's threshold for replacement, 0 if not.",
            |at, out| {
                each(at, out, |out, at, gpu| {
                    out.reading(at, &[], &gpu.ecc.sram_threshold_exceeded);
                });
            },
        ),
        Family::counter(
            "cupel_gpu_remapped_rows_total",
            Unit::None,
            &["gpu", "pci", "cause"],
            "Rows of memory that were remapped over the GPU's life, by cause (correctable, uncorrectable).",
            |at, out| {
                each(at, out, |out, at, gpu| {
                    if let Some(rows) = out.value(&gpu.remapped_rows) {
                        out.reading(at, &[("cause", "correctable")], &rows.correctable);
                        out.reading(at, &[("cause", "uncorrectable")], &rows.uncorrectable);
                    }
                });
            },
        ),
        Family::gauge(
            "cupel_gpu_row_remapping_pending",
            Unit::None,
            GPU,
            "1 if a row remapping waits for a GPU reset, 0 if none does.",
            |at, out| {
                each(at, out, |out, at, gpu| {
                    if let Some(rows) = gpu.remapped_rows.value() {
                        out.reading(at, &[], &rows.pending);
                    }
                });
            },
        ),
        Family::gauge(
            "cupel_gpu_row_remapping_failed",
            Unit::None,
            GPU,
            "1 if a row remapping has failed, 0 if none has.",
            |at, out| {
                each(at, out, |out, at, gpu| {
                    if let Some(rows) = gpu.remapped_rows.value() {
                        out.reading(at, &[], &rows.failure);
                    }
                });
            },
        ),
        Family::gauge(
            "cupel_gpu_memory_banks",
            Unit::None,
            &["gpu", "pci", "spare_rows"],
            "Banks of memory by the spare rows that they have left (max, high, partial, low, none).",
            |at, out| {
                each(at, out, |out, at, gpu| {
                    let Some(rows) = gpu.remapped_rows.value() else {
                        return;
                    };
                    for (left, banks) in [
                        ("max", &rows.banks_max),
                        ("high", &rows.banks_high),
                        ("partial", &rows.banks_partial),
                        ("low", &rows.banks_low),
                        ("none", &rows.banks_none),
                    ] {
                        out.reading(at, &[("spare_rows", left)], banks);
                    }
                });
            },
        ),
        Family::counter(
            "cupel_gpu_retired_pages_total",
            Unit::None,
            &["gpu", "pci", "cause"],
            "Pages of memory that were retired over the GPU's life, by cause (single-bit, double-bit); GPUs before Ampere.",
            |at, out| {
                each(at, out, |out, at, gpu| {
                    if let Some(pages) = out.value(&gpu.retired_pages) {
                        out.reading(at, &[("cause", "single-bit")], &pages.single_bit);
                        out.reading(at, &[("cause", "double-bit")], &pages.double_bit);
                    }
                });
            },
        ),
        Family::gauge(
            "cupel_gpu_page_retirement_pending",
            Unit::None,
            GPU,
            "1 if a page retirement waits for a reboot, 0 if none does; GPUs before Ampere.",
            |at, out| {
                each(at, out, |out, at, gpu| {
                    if let Some(pages) = gpu.retired_pages.value() {
                        out.reading(at, &[], &pages.pending);
                    }
                });
            },
        ),
    ],
};

fn by_memory(at: &str, period: &str, counts: &EccCounts, out: &mut Sink) {
    for (memory, error, count) in [
        ("sram", "corrected", &counts.sram_corrected),
        ("sram", "uncorrected", &counts.sram_uncorrected),
        ("dram", "corrected", &counts.dram_corrected),
        ("dram", "uncorrected", &counts.dram_uncorrected),
    ] {
        let labels = [("memory", memory), ("error", error), ("period", period)];
        out.counter(at, &labels, count);
    }
}

fn summed(at: &str, period: &str, counts: &EccCounts, out: &mut Sink) {
    for (error, count) in [
        ("corrected", &counts.total_corrected),
        ("uncorrected", &counts.total_uncorrected),
    ] {
        out.counter(at, &[("error", error), ("period", period)], count);
    }
}
