//! Compiles the GPU worker's kernels for the processor, with the emulator around them.

use std::path::Path;

fn main() {
    let kernels = Path::new("../../crates/gpu-worker/kernels");
    for directory in [kernels, Path::new("emulator")] {
        println!("cargo::rerun-if-changed={}", directory.display());
    }
    cc::Build::new()
        .file("emulator/emulator.c")
        .include("emulator")
        // Kernels take their structures by value, aligned as the driver wants them.
        .flag_if_supported("-Wno-psabi")
        .flag_if_supported("-fno-strict-aliasing")
        // A test should not take minutes because the rest is built for debugging.
        .opt_level(2)
        .std("gnu11")
        .compile("cupel_emulator");
}
