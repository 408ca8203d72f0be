//! What kernels are told: the structures of kernels/args.cuh, and the driver's own.
//!
//! A test of the fake driver holds sizes and offsets against the sources that it compiles.

use std::ffi::c_void;
use std::os::raw::c_uint;

/// A structure that is given to a kernel, as it is.
///
/// # Safety
/// The type is `repr(C)` and has no pointers to the host.
pub unsafe trait KernelArgs {}

macro_rules! arguments {
    ($($(#[$doc:meta])* $name:ident { $($field:ident: $kind:ty,)* })*) => {$(
        $(#[$doc])*
        #[repr(C)]
        #[derive(Clone, Copy, Debug, Default)]
        pub struct $name { $(pub $field: $kind,)* }

        // SAFETY: `repr(C)`, and integers alone.
        unsafe impl KernelArgs for $name {}
    )*};
}

/// GPUs that an all-reduce may have.
pub const PEERS_MAX: usize = 16;

/// Size of `struct error_record`, and of the head of `struct error_log`.
pub const RECORD_BYTES: usize = 32;
/// See [`RECORD_BYTES`].
pub const LOG_HEAD_BYTES: usize = 16;

arguments! {
    /// `struct memory_args`.
    MemoryArgs {
        base: u64, first_word: u64, units: u64, seed: u64, expected_mask: u64, written_mask: u64,
        errors: u64, factor: u64, order: u32, bits: u32,
    }
    /// `struct word_list_args`.
    WordListArgs { addresses: u64, values: u64, count: u64, }
    /// `struct stream_args`.
    StreamArgs { to: u64, from: u64, vectors: u64, }
    /// `struct fill_args`.
    FillArgs { to: u64, elements: u64, seed: u64, element: u32, operands: u32, }
    /// `struct compare_args`.
    CompareArgs { left: u64, right: u64, vectors: u64, errors: u64, }
    /// `struct sums_args`.
    SumsArgs {
        matrix: u64, sums: u64, errors: u64, rows: u32, columns: u32, wide: u32, slab: u32,
    }
    /// `struct hash_args`.
    HashArgs {
        matrix: u64, hashes: u64, rows: u32, columns: u32, tile_rows: u32, tile_columns: u32,
    }
    /// `struct gemm_args`.
    GemmArgs {
        a: u64, b: u64, c: u64, tile_sm: u64, rows: u32, columns: u32, depth: u32, element: u32,
        group: u32, reserved: u32,
    }
    /// `struct hopper_args`.
    HopperArgs {
        a: TensorMap, b: TensorMap, gemm: GemmArgs, stream_base: u64, stream_first_word: u64,
        stream_units: u64, stream_seed: u64, stream_mask: u64, stream_errors: u64,
        stream_rate: u32, stream_phase: u32,
    }
    /// `struct reduce_args`.
    ReduceArgs {
        inputs: [u64; PEERS_MAX], outputs: [u64; PEERS_MAX], first: u64, vectors: u64, peers: u32,
        reserved: u32,
    }
    /// `struct reduce_check_args`.
    ReduceCheckArgs {
        output: u64, vectors: u64, errors: u64, seeds: [u64; PEERS_MAX], peers: u32, reserved: u32,
    }
    /// `struct reduce_fill_args`.
    ReduceFillArgs { input: u64, vectors: u64, seed: u64, }
}

/// `CUtensorMap`: opaque.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, Default)]
pub struct TensorMap {
    opaque: [u64; 16],
}

/// `CUlaunchAttribute`: an id and a value of 64 bytes, of which a cluster's size takes twelve.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
pub struct LaunchAttribute {
    id: c_uint,
    padding: c_uint,
    value: [c_uint; 16],
}

/// `CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION`.
const CLUSTER_DIMENSION: c_uint = 4;

impl LaunchAttribute {
    /// Blocks in clusters of this many.
    pub fn cluster(blocks: u32) -> Self {
        let mut value = [0; 16];
        value[..3].copy_from_slice(&[blocks, 1, 1]);
        Self {
            id: CLUSTER_DIMENSION,
            padding: 0,
            value,
        }
    }
}

/// `CUlaunchConfig`.
#[repr(C)]
pub struct LaunchConfig {
    /// Blocks.
    pub grid: [c_uint; 3],
    /// Threads of a block.
    pub block: [c_uint; 3],
    /// Dynamic shared memory, bytes.
    pub shared: c_uint,
    /// Stream.
    pub stream: *mut c_void,
    /// Attributes.
    pub attributes: *const LaunchAttribute,
    /// How many.
    pub attribute_count: c_uint,
}

/// Sizes and offsets, in the order of `cupel_layout` in tests/fake-driver/emulator/emulator.c.
#[cfg(test)]
pub fn layout() -> Vec<usize> {
    use std::mem::offset_of;
    vec![
        RECORD_BYTES,
        LOG_HEAD_BYTES,
        size_of::<MemoryArgs>(),
        offset_of!(MemoryArgs, errors),
        offset_of!(MemoryArgs, order),
        size_of::<WordListArgs>(),
        size_of::<StreamArgs>(),
        size_of::<FillArgs>(),
        size_of::<CompareArgs>(),
        size_of::<SumsArgs>(),
        offset_of!(SumsArgs, slab),
        size_of::<HashArgs>(),
        size_of::<GemmArgs>(),
        offset_of!(GemmArgs, group),
        size_of::<HopperArgs>(),
        offset_of!(HopperArgs, gemm),
        offset_of!(HopperArgs, stream_rate),
        size_of::<ReduceArgs>(),
        offset_of!(ReduceArgs, peers),
        size_of::<ReduceCheckArgs>(),
        offset_of!(ReduceCheckArgs, seeds),
        size_of::<ReduceFillArgs>(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structures_are_the_kernels_own() {
        assert_eq!(layout(), cupel_fake_driver::kernel_layout());
        // cuda.h: 56 bytes, 72 bytes, 128 bytes.
        assert_eq!(size_of::<LaunchConfig>(), 56);
        assert_eq!(size_of::<LaunchAttribute>(), 72);
        assert_eq!(size_of::<TensorMap>(), 128);
    }
}
