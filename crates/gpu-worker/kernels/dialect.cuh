// The language that the kernels are written in: the common subset of C and CUDA C++.
//
// The same sources are compiled twice. NVRTC compiles them for GPUs, without any header of the
// toolkit; `cc` compiles them for the processor, inside the fake driver library, where an emulator
// (tests/fake-driver/emulator) stands for the hardware. So there is no template, no class and no
// reference here, and whatever only a GPU can do is a function with one definition below, in PTX,
// and another one in the emulator.
//
// Every kernel takes one structure (args.cuh) by value, and has `extern "C"` linkage.
#pragma once

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef int i32;
typedef long long i64;

// Sixteen bytes: the widest access to memory that a thread can make.
typedef struct {
    u64 low, high;
} vector128;

#define ALIGNED(bytes) __attribute__((aligned(bytes)))

#ifndef __CUDACC_RTC__
#include "emulator.h"
#else

#define DEVICE static __device__ __forceinline__
#define DEVICE_COLD static __device__ __noinline__
#define KERNEL(name, arguments, threads, blocks)                                                   \
    extern "C" __global__ void __launch_bounds__(threads, blocks)                                  \
        name(const __grid_constant__ struct arguments args)
#define UNROLL _Pragma("unroll")
#define NO_UNROLL _Pragma("unroll 1")
// What an architecture lacks is left out of its image; in the emulator nothing is.
#if __CUDA_ARCH__ >= 900 && defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define HAS_WGMMA 1
#endif
#if defined(CUPEL_FP8_MMA)
#define HAS_FP8_MMA 1
#endif

DEVICE u32 thread_x(void) { return threadIdx.x; }
DEVICE u32 block_x(void) { return blockIdx.x; }
DEVICE u32 block_y(void) { return blockIdx.y; }
DEVICE u32 blocks_x(void) { return gridDim.x; }
DEVICE u32 blocks_y(void) { return gridDim.y; }
DEVICE void sync_threads(void) { __syncthreads(); }
DEVICE void sync_warp(void) { __syncwarp(); }

// The multiprocessor that this thread runs on. The machine's own numbering; it can change in
// theory when a debugger or a preemption moves the block, so it is read where the work is done.
DEVICE u32 multiprocessor(void) {
    u32 number;
    asm volatile("mov.u32 %0, %%smid;" : "=r"(number));
    return number;
}

DEVICE void pause_ns(u32 nanoseconds) { asm volatile("nanosleep.u32 %0;" ::"r"(nanoseconds)); }

// ---- memory ----

// Streamed once: evict first, so that what is tested comes from memory and operands stay in cache.
DEVICE vector128 load_stream(u64 address) {
    vector128 v;
    asm volatile("ld.global.cs.v2.u64 {%0, %1}, [%2];" : "=l"(v.low), "=l"(v.high) : "l"(address));
    return v;
}
DEVICE void store_stream(u64 address, vector128 v) {
    asm volatile("st.global.cs.v2.u64 [%0], {%1, %2};" ::"l"(address), "l"(v.low), "l"(v.high)
                 : "memory");
}
// Past every cache that may be stale: for single words, and for what a peer writes.
DEVICE u64 load_word(u64 address) {
    u64 v;
    asm volatile("ld.relaxed.sys.global.u64 %0, [%1];" : "=l"(v) : "l"(address) : "memory");
    return v;
}
DEVICE void store_word(u64 address, u64 v) {
    asm volatile("st.relaxed.sys.global.u64 [%0], %1;" ::"l"(address), "l"(v) : "memory");
}
DEVICE u32 load32(u64 address) {
    u32 v;
    asm volatile("ld.global.u32 %0, [%1];" : "=r"(v) : "l"(address));
    return v;
}
DEVICE u64 load64(u64 address) {
    u64 v;
    asm volatile("ld.global.u64 %0, [%1];" : "=l"(v) : "l"(address));
    return v;
}
DEVICE u32 load16(u64 address) {
    u16 v;
    asm volatile("ld.global.u16 %0, [%1];" : "=h"(v) : "l"(address));
    return v;
}
DEVICE u32 load8(u64 address) {
    u32 v;
    asm volatile("ld.global.u8 %0, [%1];" : "=r"(v) : "l"(address));
    return v;
}
DEVICE void store32(u64 address, u32 v) {
    asm volatile("st.global.u32 [%0], %1;" ::"l"(address), "r"(v) : "memory");
}
DEVICE void store64(u64 address, u64 v) {
    asm volatile("st.global.u64 [%0], %1;" ::"l"(address), "l"(v) : "memory");
}
DEVICE void store_float4(u64 address, float a, float b, float c, float d) {
    asm volatile("st.global.cs.v4.f32 [%0], {%1, %2, %3, %4};" ::"l"(address), "f"(a), "f"(b),
                 "f"(c), "f"(d)
                 : "memory");
}
DEVICE u64 atomic_add(u64 address, u64 v) {
    u64 before;
    asm volatile("atom.global.add.u64 %0, [%1], %2;" : "=l"(before) : "l"(address), "l"(v)
                 : "memory");
    return before;
}

DEVICE float as_float(u32 bits) { return __uint_as_float(bits); }
DEVICE double as_double(u64 bits) { return __longlong_as_double((i64)bits); }
DEVICE u32 float_bits(float f) { return __float_as_uint(f); }
DEVICE u64 double_bits(double f) { return (u64)__double_as_longlong(f); }
DEVICE float fma_float(float a, float b, float c) { return __fmaf_rn(a, b, c); }
DEVICE double fma_double(double a, double b, double c) { return __fma_rn(a, b, c); }

// The value of the lane whose number differs by exclusive or with `mask`; all lanes of the warp.
// Volatile, so that it stays where it is: moved up, many of them at once want registers.
DEVICE float shuffle_xor(float value, u32 mask) {
    float other;
    asm volatile("shfl.sync.bfly.b32 %0, %1, %2, 0x1f, 0xffffffff;"
                 : "=f"(other)
                 : "f"(value), "r"(mask));
    return other;
}

// ---- shared memory: by 32-bit address ----

// The swizzle of the copy engine is a function of the address: it repeats every 1 KiB.
extern __shared__ __align__(1024) u8 shared_bytes[];
DEVICE u32 shared_base(void) { return (u32)__cvta_generic_to_shared(shared_bytes); }
DEVICE void *shared_pointer(u32 offset) { return shared_bytes + offset; }

DEVICE void copy_async16(u32 to, u64 from) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to), "l"(from) : "memory");
}
DEVICE void copy_async_commit(void) { asm volatile("cp.async.commit_group;" ::: "memory"); }
#define copy_async_wait(left) asm volatile("cp.async.wait_group %0;" ::"n"(left) : "memory")

// ---- matrix instructions of a warp (Ampere and later) ----

DEVICE void load_matrix4(u32 r[4], u32 address) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(address)
                 : "memory");
}
// 16 x 8 += 16 x 16 bf16 times 16 x 8 bf16.
DEVICE void mma_bf16(float d[4], const u32 a[4], u32 b0, u32 b1) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
                 "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
#ifdef HAS_FP8_MMA
// 16 x 8 += 16 x 32 e4m3 times 32 x 8 e4m3.
DEVICE void mma_e4m3(float d[4], const u32 a[4], u32 b0, u32 b1) {
    asm volatile("mma.sync.aligned.m16n8k32.row.col.f32.e4m3.e4m3.f32 "
                 "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
#endif

#ifdef HAS_WGMMA
#include "hopper.cuh"
#endif
#endif
