// Products by the matrix instructions of a warpgroup.
#ifdef HAS_WGMMA

#define HOPPER_NAME gemm_hopper_bf16
#define HOPPER_STEP wgmma_bf16
#include "gemm_hopper.cuh"

#define HOPPER_NAME gemm_hopper_e4m3
#define HOPPER_STEP wgmma_e4m3
#include "gemm_hopper.cuh"

#endif
