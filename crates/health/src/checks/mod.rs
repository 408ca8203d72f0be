//! One file a check: what it checks, why, what to do, where it comes from, and the check itself.

pub mod cpu_offline;
pub mod driver_absent;
pub mod driver_mismatch;
pub mod fabric_not_ready;
pub mod gpu_driver_hung;
pub mod gpu_ecc_uncorrectable;
pub mod gpu_missing;
pub mod gpu_off_bus;
pub mod gpu_recovery_action;
pub mod gpu_row_remap_failed;
pub mod gpu_row_remap_pending;
pub mod gpu_thermal_slowdown;
pub mod gpu_xid;
pub mod gpu_xid_rules;
pub mod kernel_log_unreadable;
pub mod memory_dimm_missing;
pub mod memory_size;
pub mod nvlink_inactive;
pub mod nvme_critical_warning;
pub mod nvme_missing;
pub mod pcie_speed;
pub mod pcie_width;
pub mod platform_unmatched;
pub mod rdma_port_down;
pub mod rdma_port_missing;
pub mod rdma_port_rate;
