//! What is written down of the images: from what, by what, and what is in them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The manifest of all images.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Manifest {
    /// SHA-256 of each source.
    pub sources: BTreeMap<String, String>,
    /// What compiled them.
    pub compilers: Vec<Compiler>,
    /// By name of the file.
    pub images: Vec<Image>,
}

/// A compiler.
#[derive(Debug, Serialize, Deserialize)]
pub struct Compiler {
    /// PyPI package.
    pub package: String,
    /// Its version.
    pub version: String,
    /// SHA-256 of the library.
    pub library_sha256: String,
}

/// An image.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Image {
    /// Name of the file.
    pub file: String,
    /// As the compiler names it: `sm_…` is machine code, `compute_…` is PTX.
    pub architecture: String,
    /// Version of the compiler.
    pub compiler: String,
    /// Definitions it was given.
    pub defines: Vec<String>,
    /// Size.
    pub bytes: u64,
    /// SHA-256.
    pub sha256: String,
    /// ABI version of the ELF file; CUDA 13's is another one, which drivers of CUDA 12 refuse.
    pub elf_abi_version: Option<u8>,
    /// `.version` of PTX.
    pub ptx_version: Option<String>,
    /// What the assembler said of each kernel; nothing of PTX.
    pub kernels: BTreeMap<String, Kernel>,
}

/// What a kernel needs.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Kernel {
    /// Registers of a thread.
    pub registers: u32,
    /// Local memory of a thread, bytes.
    pub stack_bytes: u32,
    /// Spilled registers, stores and loads, bytes.
    pub spill_bytes: u32,
}
