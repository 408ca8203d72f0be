//! Which value of a Snapshot stands where in `nvidia-smi -q -x`, and how near they must be.
//!
//! # Invariants
//! - A value that moves is held against the range that two runs of nvidia-smi around it span,
//!   widened by its tolerance; one that does not move must be equal.

/// How a value is compared.
#[derive(Clone, Copy, Debug)]
pub enum How {
    /// The same text, letter case aside.
    Text,
    /// The same text once it is written the way Cupel writes words: `GPU Reset` is `gpu-reset`.
    Word,
    /// The first word, likewise: `Ada Lovelace` is `ada`.
    FirstWord,
    /// `Enabled`, `Yes` and `Active` are true.
    Truth,
    /// A hexadecimal number.
    Hexadecimal,
    /// A number in nvidia-smi's unit, times `factor`; it may move by `more` units or by `share` of
    /// itself.
    Number {
        /// Cupel's units in one of nvidia-smi's.
        factor: f64,
        /// Absolute tolerance, in Cupel's unit.
        more: f64,
        /// Relative tolerance.
        share: f64,
    },
}

/// One value.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// JSON pointer below an entry of `gpus`.
    pub cupel: &'static str,
    /// Paths below `<gpu>`; names differ between versions of nvidia-smi. All that are there count.
    pub smi: &'static [&'static str],
    /// Whether the paths are parts of a sum.
    pub sum: bool,
    /// How they are compared.
    pub how: How,
}

const fn field(cupel: &'static str, smi: &'static [&'static str], how: How) -> Field {
    Field {
        cupel,
        smi,
        sum: false,
        how,
    }
}

const fn sum(cupel: &'static str, smi: &'static [&'static str]) -> Field {
    Field {
        cupel,
        smi,
        sum: true,
        how: EXACT,
    }
}

const EXACT: How = How::Number {
    factor: 1.0,
    more: 0.0,
    share: 0.0,
};
const MIB: f64 = 1_048_576.0;
/// nvidia-smi rounds to whole MiB.
const MEMORY: How = How::Number {
    factor: MIB,
    more: MIB,
    share: 0.0,
};
/// Contexts come and go between two readings.
const MEMORY_IN_USE: How = How::Number {
    factor: MIB,
    more: 256.0 * MIB,
    share: 0.05,
};
const TEMPERATURE: How = How::Number {
    factor: 1.0,
    more: 5.0,
    share: 0.0,
};
const POWER: How = How::Number {
    factor: 1.0,
    more: 25.0,
    share: 0.25,
};
const LIMIT: How = How::Number {
    factor: 1.0,
    more: 0.01,
    share: 0.0,
};
const CLOCK: How = How::Number {
    factor: 1.0,
    more: 150.0,
    share: 0.1,
};
const USE: How = How::Number {
    factor: 1.0,
    more: 100.0,
    share: 0.0,
};
const FAN: How = How::Number {
    factor: 1.0,
    more: 10.0,
    share: 0.0,
};
/// A link's generation falls at idle and rises as soon as the driver is asked.
const GENERATION: How = How::Number {
    factor: 1.0,
    more: 5.0,
    share: 0.0,
};

/// All values that nvidia-smi tells too.
pub const FIELDS: &[Field] = &[
    field("/name", &["product_name"], How::Text),
    field("/uuid", &["uuid"], How::Text),
    field("/serial", &["serial"], How::Text),
    field(
        "/module_id",
        &["gpu_module_id", "platformInfo/module_id"],
        EXACT,
    ),
    field("/part_number", &["board_part_number"], How::Text),
    field("/board_id", &["board_id"], How::Hexadecimal),
    field("/architecture", &["product_architecture"], How::FirstWord),
    field("/vbios_version", &["vbios_version"], How::Text),
    field(
        "/inforom_version",
        &["inforom_version/img_version"],
        How::Text,
    ),
    field("/gsp_version", &["gsp_firmware_version"], How::Text),
    field("/persistence_mode", &["persistence_mode"], How::Truth),
    field("/compute_mode", &["compute_mode"], How::Word),
    field("/mig_mode", &["mig_mode/current_mig"], How::Truth),
    field("/mig_mode_pending", &["mig_mode/pending_mig"], How::Truth),
    field("/memory/total_bytes", &["fb_memory_usage/total"], MEMORY),
    field(
        "/memory/free_bytes",
        &["fb_memory_usage/free"],
        MEMORY_IN_USE,
    ),
    field(
        "/memory/used_bytes",
        &["fb_memory_usage/used"],
        MEMORY_IN_USE,
    ),
    field("/ecc/enabled", &["ecc_mode/current_ecc"], How::Truth),
    field("/ecc/pending", &["ecc_mode/pending_ecc"], How::Truth),
    sum(
        "/ecc/volatile/sram_corrected",
        &["ecc_errors/volatile/sram_correctable"],
    ),
    sum(
        "/ecc/volatile/sram_uncorrected",
        &[
            "ecc_errors/volatile/sram_uncorrectable",
            "ecc_errors/volatile/sram_uncorrectable_parity",
            "ecc_errors/volatile/sram_uncorrectable_secded",
        ],
    ),
    sum(
        "/ecc/volatile/dram_corrected",
        &["ecc_errors/volatile/dram_correctable"],
    ),
    sum(
        "/ecc/volatile/dram_uncorrected",
        &["ecc_errors/volatile/dram_uncorrectable"],
    ),
    sum(
        "/ecc/aggregate/sram_corrected",
        &["ecc_errors/aggregate/sram_correctable"],
    ),
    sum(
        "/ecc/aggregate/sram_uncorrected",
        &[
            "ecc_errors/aggregate/sram_uncorrectable",
            "ecc_errors/aggregate/sram_uncorrectable_parity",
            "ecc_errors/aggregate/sram_uncorrectable_secded",
        ],
    ),
    sum(
        "/ecc/aggregate/dram_corrected",
        &["ecc_errors/aggregate/dram_correctable"],
    ),
    sum(
        "/ecc/aggregate/dram_uncorrected",
        &["ecc_errors/aggregate/dram_uncorrectable"],
    ),
    field(
        "/ecc/sram_threshold_exceeded",
        &["ecc_errors/aggregate/sram_threshold_exceeded"],
        How::Truth,
    ),
    field(
        "/remapped_rows/correctable",
        &["remapped_rows/remapped_row_corr"],
        EXACT,
    ),
    field(
        "/remapped_rows/uncorrectable",
        &["remapped_rows/remapped_row_unc"],
        EXACT,
    ),
    field(
        "/remapped_rows/pending",
        &["remapped_rows/remapped_row_pending"],
        How::Truth,
    ),
    field(
        "/remapped_rows/failure",
        &["remapped_rows/remapped_row_failure"],
        How::Truth,
    ),
    field(
        "/remapped_rows/banks_max",
        &["remapped_rows/row_remapper_histogram/row_remapper_histogram_max"],
        EXACT,
    ),
    field(
        "/remapped_rows/banks_high",
        &["remapped_rows/row_remapper_histogram/row_remapper_histogram_high"],
        EXACT,
    ),
    field(
        "/remapped_rows/banks_partial",
        &["remapped_rows/row_remapper_histogram/row_remapper_histogram_partial"],
        EXACT,
    ),
    field(
        "/remapped_rows/banks_low",
        &["remapped_rows/row_remapper_histogram/row_remapper_histogram_low"],
        EXACT,
    ),
    field(
        "/remapped_rows/banks_none",
        &["remapped_rows/row_remapper_histogram/row_remapper_histogram_none"],
        EXACT,
    ),
    field(
        "/retired_pages/single_bit",
        &["retired_pages/multiple_single_bit_retirement/retired_count"],
        EXACT,
    ),
    field(
        "/retired_pages/double_bit",
        &["retired_pages/double_bit_retirement/retired_count"],
        EXACT,
    ),
    field(
        "/retired_pages/pending",
        &["retired_pages/pending_retirement"],
        How::Truth,
    ),
    field(
        "/thermal/temperature_celsius",
        &["temperature/gpu_temp"],
        TEMPERATURE,
    ),
    field(
        "/thermal/memory_temperature_celsius",
        &["temperature/memory_temp"],
        TEMPERATURE,
    ),
    field(
        "/thermal/slowdown_celsius",
        &["temperature/gpu_temp_slow_threshold"],
        EXACT,
    ),
    field(
        "/thermal/shutdown_celsius",
        &["temperature/gpu_temp_max_threshold"],
        EXACT,
    ),
    field(
        "/thermal/margin_celsius",
        &["temperature/gpu_temp_tlimit"],
        TEMPERATURE,
    ),
    field(
        "/thermal/power_watts",
        &[
            "gpu_power_readings/power_draw",
            "gpu_power_readings/average_power_draw",
            "gpu_power_readings/instant_power_draw",
            "power_readings/power_draw",
        ],
        POWER,
    ),
    field(
        "/thermal/power_limit_watts",
        &[
            "gpu_power_readings/current_power_limit",
            "power_readings/enforced_power_limit",
        ],
        LIMIT,
    ),
    field(
        "/thermal/power_default_limit_watts",
        &[
            "gpu_power_readings/default_power_limit",
            "power_readings/default_power_limit",
        ],
        LIMIT,
    ),
    field("/thermal/fan_percent", &["fan_speed"], FAN),
    field("/clocks/graphics_mhz", &["clocks/graphics_clock"], CLOCK),
    field("/clocks/sm_mhz", &["clocks/sm_clock"], CLOCK),
    field("/clocks/memory_mhz", &["clocks/mem_clock"], CLOCK),
    field("/clocks/max_sm_mhz", &["max_clocks/sm_clock"], EXACT),
    field("/clocks/max_memory_mhz", &["max_clocks/mem_clock"], EXACT),
    field("/clocks/performance_state", &["performance_state"], EXACT),
    field(
        "/pcie/current_generation",
        &["pci/pci_gpu_link_info/pcie_gen/current_link_gen"],
        GENERATION,
    ),
    field(
        "/pcie/max_generation",
        &["pci/pci_gpu_link_info/pcie_gen/max_link_gen"],
        EXACT,
    ),
    field(
        "/pcie/current_width",
        &["pci/pci_gpu_link_info/link_widths/current_link_width"],
        EXACT,
    ),
    field(
        "/pcie/max_width",
        &["pci/pci_gpu_link_info/link_widths/max_link_width"],
        EXACT,
    ),
    field("/pcie/replay_count", &["pci/replay_counter"], EXACT),
    field("/fabric/state", &["fabric/state"], How::Word),
    field("/fabric/status", &["fabric/status"], How::Word),
    field("/fabric/clique_id", &["fabric/cliqueId"], EXACT),
    field(
        "/fabric/cluster_uuid",
        &["fabric/clusterUuid", "fabric/clusterUUID"],
        How::Text,
    ),
    field(
        "/processes/utilisation_percent",
        &["utilization/gpu_util"],
        USE,
    ),
    field(
        "/processes/memory_utilisation_percent",
        &["utilization/memory_util"],
        USE,
    ),
    field(
        "/processes/recovery_action",
        &["gpu_recovery_action"],
        How::Word,
    ),
];
