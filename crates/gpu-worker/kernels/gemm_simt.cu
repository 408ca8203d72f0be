// Products on the FP32 and FP64 units.

DEVICE float load_single(u64 address) { return as_float(load32(address)); }
DEVICE double load_double(u64 address) { return as_double(load64(address)); }
DEVICE void store_single(u64 address, float value) { store32(address, float_bits(value)); }
DEVICE void store_double(u64 address, double value) { store64(address, double_bits(value)); }

#define SIMT_NAME gemm_f32
#define SIMT_TYPE float
#define SIMT_TILE 128
#define SIMT_EACH 8
#define SIMT_LOAD load_single
#define SIMT_STORE store_single
#define SIMT_FMA fma_float
#include "gemm_simt.cuh"

#define SIMT_NAME gemm_f64
#define SIMT_TYPE double
#define SIMT_TILE 64
#define SIMT_EACH 4
#define SIMT_LOAD load_double
#define SIMT_STORE store_double
#define SIMT_FMA fma_double
#include "gemm_simt.cuh"
