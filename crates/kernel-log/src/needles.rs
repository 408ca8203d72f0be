//! The prefilter: a line without any of these words means nothing, and is never looked at.
//!
//! # Invariants
//! - Whatever a decoder recognises contains a needle; a test feeds every example of every decoder
//!   through the whole [`crate::Decoder`], so a decoder whose needle is missing fails there.

use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, AhoCorasickKind};

const NEEDLES: [&str; 68] = [
    // NVIDIA
    "Xid (",
    "fallen off the bus",
    "The NVIDIA GPU ",
    "API mismatch:",
    "RmInitAdapter failed",
    "rm_init_adapter failed",
    "GPU_IS_LOST",
    "GPU lost from the bus",
    "NVIDIA probe routine",
    "None of the NVIDIA",
    "No NVIDIA GPU found",
    "PCI I/O region assigned",
    "request_mem_region failed",
    "copy vbios",
    "is already bound to",
    "in this system is not supported",
    "failed with error",
    "nvidia-peermem ",
    "loading NVIDIA UNIX",
    // PCIe
    "AER:",
    "PCIe Bus Error",
    "DPC:",
    "pciehp:",
    "inaccessible",
    "available PCIe bandwidth",
    // machine checks, memory, firmware
    "[Hardware Error]:",
    "mce: Uncorrected",
    "CMCI storm",
    "Memory failure:",
    "EDAC MC",
    "BERT: Error records",
    // NVMe
    "nvme nvme",
    "error, dev nvme",
    "error on dev nvme",
    " @ LBA ",
    // mlx5
    "mlx5_core ",
    "(mlx5_core)",
    // memory exhausted
    "invoked oom-killer",
    "oom-kill:",
    "oom_reaper:",
    "ut of memory: Kill",
    // processors and tasks
    "soft lockup",
    "hard LOCKUP",
    "hard lockup",
    "workqueue lockup",
    "INFO: rcu",
    "INFO: task ",
    "temperature above threshold",
    "temperature/speed normal",
    "critical temperature",
    "HARDWARE PROTECTION",
    // the kernel itself, file systems, IOMMU
    "Kernel panic",
    "kernel BUG at",
    "BUG: unable to handle",
    "BUG: kernel NULL",
    "general protection fault",
    "Oops: ",
    "Internal error: ",
    "EXT4-fs ",
    "BTRFS error",
    "XFS (",
    "IO_PAGE_FAULT",
    "DMAR: [DMA",
    // texts that hide their words: pieces of lines, messages as arrays of bytes
    ",c;",
    ",c,",
    ",+;",
    "\"MESSAGE\":[",
    "\"MESSAGE\" : [",
];

static AUTOMATON: LazyLock<Option<AhoCorasick>> = LazyLock::new(|| {
    AhoCorasick::builder()
        .kind(Some(AhoCorasickKind::DFA))
        .build(NEEDLES)
        .ok()
});

/// The offset of the first needle in `bytes`, if any.
pub(crate) fn find(bytes: &[u8]) -> Option<usize> {
    match AUTOMATON.as_ref() {
        Some(automaton) => automaton.find(bytes).map(|found| found.start()),
        // Without the automaton every line is looked at: slower, and never wrong.
        None => (!bytes.is_empty()).then_some(0),
    }
}
