// What Hopper can do beyond Ampere: barriers in shared memory that count bytes, the tensor copy
// engine (TMA), clusters, and matrix instructions of a warpgroup (wgmma). PTX; the emulator has the
// same functions.
#pragma once

DEVICE u32 cluster_rank(void) {
    u32 rank;
    asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
    return rank;
}
// All threads of the cluster meet, and see what the others wrote before.
DEVICE void sync_cluster(void) {
    asm volatile("barrier.cluster.arrive.release.aligned;\n\t"
                 "barrier.cluster.wait.acquire.aligned;" ::: "memory");
}

// ---- barriers ----

DEVICE void barrier_make(u32 barrier, u32 arrivals) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(arrivals)
                 : "memory");
}
// Barriers that were made are visible to the copy engine and to the cluster.
DEVICE void barrier_fence(void) {
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}
DEVICE void barrier_expect(u32 barrier, u32 bytes) {
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier),
                 "r"(bytes)
                 : "memory");
}
// Arrives at the barrier that lies at the same address in the shared memory of block `rank`.
//
// As in barrier_wait, the scope is the block, though the other one is spoken to: what is handed over
// are slots, which matrix instructions have read and the copy engine writes, and neither goes through
// a thread's own loads and stores. With the scope of the cluster the compiler puts a fence of the
// whole GPU's memory here and empties the first cache there, for every slice: seen on an H200, 560
// TFLOP/s instead of 645.
DEVICE void barrier_arrive_at(u32 barrier, u32 rank) {
    asm volatile("{\n\t"
                 ".reg .b32 remote;\n\t"
                 "mapa.shared::cluster.u32 remote, %0, %1;\n\t"
                 "mbarrier.arrive.shared::cluster.b64 _, [remote];\n\t"
                 "}" ::"r"(barrier),
                 "r"(rank)
                 : "memory");
}
// Until the phase of this parity is over.
DEVICE void barrier_wait(u32 barrier, u32 parity) {
    u32 done;
    do {
        asm volatile("{\n\t"
                     ".reg .pred p;\n\t"
                     "mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\n\t"
                     "selp.u32 %0, 1, 0, p;\n\t"
                     "}"
                     : "=r"(done)
                     : "r"(barrier), "r"(parity)
                     : "memory");
    } while (done == 0);
}

// ---- copy engine ----

DEVICE void tensor_prefetch(const struct tensor_map *map) {
    asm volatile("prefetch.tensormap [%0];" ::"l"((u64)map) : "memory");
}
// A box of the tensor, from (x, y), x counting bytes: to shared memory of this block.
DEVICE void tensor_load(u32 to, const struct tensor_map *map, u32 x, u32 y, u32 barrier) {
    asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes "
                 "[%0], [%1, {%2, %3}], [%4];" ::"r"(to),
                 "l"((u64)map), "r"(x), "r"(y), "r"(barrier)
                 : "memory");
}
// The same to every block of the cluster whose bit is set, at the same address in each, and each
// one's own barrier at this address counts the bytes.
DEVICE void tensor_load_multicast(u32 to, const struct tensor_map *map, u32 x, u32 y, u32 barrier,
                                  u16 blocks) {
    asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes"
                 ".multicast::cluster [%0], [%1, {%2, %3}], [%4], %5;" ::"r"(to),
                 "l"((u64)map), "r"(x), "r"(y), "r"(barrier), "h"(blocks)
                 : "memory");
}

// ---- matrix instructions of a warpgroup ----

// Registers of the four warps of a warpgroup, given back or taken.
#define registers_give_back(count) asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(count))
#define registers_take(count) asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(count))

DEVICE void wgmma_fence(void) { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
DEVICE void wgmma_commit(void) { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
#define wgmma_wait(left) asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(left) : "memory")

// The 128 accumulators of a thread, as operands of the instruction.
#define ACCUMULATORS8(d, i)                                                                        \
    "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3]), "+f"(d[i + 4]), "+f"(d[i + 5]),    \
        "+f"(d[i + 6]), "+f"(d[i + 7])
#define ACCUMULATORS32(d, i)                                                                       \
    ACCUMULATORS8(d, i), ACCUMULATORS8(d, i + 8), ACCUMULATORS8(d, i + 16), ACCUMULATORS8(d, i + 24)
#define ACCUMULATORS(d)                                                                            \
    ACCUMULATORS32(d, 0), ACCUMULATORS32(d, 32), ACCUMULATORS32(d, 64), ACCUMULATORS32(d, 96)
#define NAMES                                                                                      \
    "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "                      \
    "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "             \
    "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "             \
    "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63, "             \
    "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, "             \
    "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95, "             \
    "%96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111, " \
    "%112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, "   \
    "%127}"

// The accumulators are what the instructions made of them, now: without it the compiler may read a
// register before it has waited, and then it makes every matrix instruction wait.
#define SETTLE8(d, i) asm volatile("" : ACCUMULATORS8(d, i)::"memory")
DEVICE void wgmma_settle(float d[128]) {
    UNROLL for (u32 i = 0; i < 128; i += 8)
        SETTLE8(d, i);
}

// 64 x 256 (+)= 64 x 32 bytes times 32 bytes x 256, both from shared memory with the depth
// innermost. Where `accumulate` is 0, what was in the accumulators does not count.
DEVICE void wgmma_bf16(float d[128], u64 a, u64 b, u32 accumulate) {
    asm volatile("{\n\t"
                 ".reg .pred p;\n\t"
                 "setp.ne.b32 p, %130, 0;\n\t"
                 "wgmma.mma_async.sync.aligned.m64n256k16.f32.bf16.bf16 " NAMES
                 ", %128, %129, p, 1, 1, 0, 0;\n\t"
                 "}"
                 : ACCUMULATORS(d)
                 : "l"(a), "l"(b), "r"(accumulate));
}
DEVICE void wgmma_e4m3(float d[128], u64 a, u64 b, u32 accumulate) {
    asm volatile("{\n\t"
                 ".reg .pred p;\n\t"
                 "setp.ne.b32 p, %130, 0;\n\t"
                 "wgmma.mma_async.sync.aligned.m64n256k32.f32.e4m3.e4m3 " NAMES
                 ", %128, %129, p, 1, 1;\n\t"
                 "}"
                 : ACCUMULATORS(d)
                 : "l"(a), "l"(b), "r"(accumulate));
}
