// Products by the matrix instruction of a warp.

#define MMA_NAME gemm_mma_bf16
#define MMA_STEP mma_bf16
#include "gemm_mma.cuh"

#ifdef HAS_FP8_MMA
#define MMA_NAME gemm_mma_e4m3
#define MMA_STEP mma_e4m3
#include "gemm_mma.cuh"
#endif
