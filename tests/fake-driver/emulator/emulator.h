// What only a GPU can do, for a processor: the other half of crates/gpu-worker/kernels/dialect.cuh.
//
// Threads that never wait for each other run one after the other. Kernels that synchronise run as
// fibers, one a thread of the GPU, in turns. Whatever a GPU does later than it was asked for
// (copies into shared memory, the copy engine, matrix instructions of a warpgroup) is done as late
// as the kernel allows, so that a slot that is given back too early, or read before it was waited
// for, gives a wrong result here.
#pragma once

#include <math.h>
#include <string.h>

#define DEVICE static inline __attribute__((unused))
#define DEVICE_COLD static __attribute__((noinline, unused))
#define KERNEL(name, arguments, threads, blocks) KERNEL_NAMED(name, arguments)
#define KERNEL_NAMED(name, arguments)                                                              \
    static void name##_body(const struct arguments args);                                          \
    static void name(const void *args) { name##_body(*(const struct arguments *)args); }           \
    static void name##_body(const struct arguments args)
#define UNROLL
#define NO_UNROLL
#define HAS_WGMMA 1
#define HAS_FP8_MMA 1

// Where the running thread is.
struct emulated_place {
    u32 thread, block_x, block_y, blocks_x, blocks_y, multiprocessor;
};
extern __thread struct emulated_place emulated_place;

DEVICE u32 thread_x(void) { return emulated_place.thread; }
DEVICE u32 block_x(void) { return emulated_place.block_x; }
DEVICE u32 block_y(void) { return emulated_place.block_y; }
DEVICE u32 blocks_x(void) { return emulated_place.blocks_x; }
DEVICE u32 blocks_y(void) { return emulated_place.blocks_y; }
DEVICE u32 multiprocessor(void) { return emulated_place.multiprocessor; }
void sync_threads(void);
void sync_warp(void);
void pause_ns(u32 nanoseconds);

#define AT(type, address) (*(type *)(size_t)(address))
DEVICE vector128 load_stream(u64 address) { return AT(vector128, address); }
DEVICE void store_stream(u64 address, vector128 v) { AT(vector128, address) = v; }
DEVICE u64 load_word(u64 address) { return AT(volatile u64, address); }
DEVICE void store_word(u64 address, u64 v) { AT(volatile u64, address) = v; }
DEVICE u32 load32(u64 address) { return AT(u32, address); }
DEVICE u64 load64(u64 address) { return AT(u64, address); }
DEVICE u32 load16(u64 address) { return AT(u16, address); }
DEVICE u32 load8(u64 address) { return AT(u8, address); }
DEVICE void store32(u64 address, u32 v) { AT(u32, address) = v; }
DEVICE void store64(u64 address, u64 v) { AT(u64, address) = v; }
DEVICE void store_float4(u64 address, float a, float b, float c, float d) {
    AT(float, address) = a;
    AT(float, address + 4) = b;
    AT(float, address + 8) = c;
    AT(float, address + 12) = d;
}
float shuffle_xor(float value, u32 mask);
// GPUs of one test may run at the same time, on memory that they share as peers.
DEVICE u64 atomic_add(u64 address, u64 v) {
    return __atomic_fetch_add((u64 *)(size_t)address, v, __ATOMIC_RELAXED);
}

DEVICE float as_float(u32 bits) {
    float f;
    memcpy(&f, &bits, 4);
    return f;
}
DEVICE double as_double(u64 bits) {
    double f;
    memcpy(&f, &bits, 8);
    return f;
}
DEVICE u32 float_bits(float f) {
    u32 bits;
    memcpy(&bits, &f, 4);
    return bits;
}
DEVICE u64 double_bits(double f) {
    u64 bits;
    memcpy(&bits, &f, 8);
    return bits;
}
DEVICE float fma_float(float a, float b, float c) { return fmaf(a, b, c); }
DEVICE double fma_double(double a, double b, double c) { return fma(a, b, c); }

u32 shared_base(void);
void *shared_pointer(u32 offset);
void copy_async16(u32 to, u64 from);
void copy_async_commit(void);
void copy_async_wait(u32 left);

void load_matrix4(u32 r[4], u32 address);
void mma_bf16(float d[4], const u32 a[4], u32 b0, u32 b1);
void mma_e4m3(float d[4], const u32 a[4], u32 b0, u32 b1);

struct tensor_map;
u32 cluster_rank(void);
void sync_cluster(void);
void barrier_make(u32 barrier, u32 arrivals);
DEVICE void barrier_fence(void) {}
void barrier_expect(u32 barrier, u32 bytes);
void barrier_arrive_at(u32 barrier, u32 rank);
void barrier_wait(u32 barrier, u32 parity);
DEVICE void tensor_prefetch(const struct tensor_map *map) { (void)map; }
void tensor_load(u32 to, const struct tensor_map *map, u32 x, u32 y, u32 barrier);
void tensor_load_multicast(u32 to, const struct tensor_map *map, u32 x, u32 y, u32 barrier,
                           u16 blocks);
DEVICE void registers_give_back(u32 count) { (void)count; }
DEVICE void registers_take(u32 count) { (void)count; }
DEVICE void wgmma_fence(void) {}
DEVICE void wgmma_settle(float d[128]) { (void)d; }
void wgmma_commit(void);
void wgmma_wait(u32 left);
void wgmma_bf16(float d[128], u64 a, u64 b, u32 accumulate);
void wgmma_e4m3(float d[128], u64 a, u64 b, u32 accumulate);
