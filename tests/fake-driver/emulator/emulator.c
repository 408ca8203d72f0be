// The kernels of the GPU worker, compiled for the processor, and the hardware around them.
//
// One launch at a time and thread of the host. A launch that a GPU would not survive (waiting for
// ever, arriving at a barrier too often, leaving shared memory) is an error with its reason, never
// a crash of the process.
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <ucontext.h>

#include "../../../crates/gpu-worker/kernels/all.cu"

__thread struct emulated_place emulated_place;

#define SHARED_BYTES (228u << 10)
#define STACK_BYTES (64u << 10)
// Shared addresses of block r of a cluster lie from (r + 1) << 20.
#define WINDOW 20
#define CLUSTER_MAX 2
#define THREADS_MAX 1024
// So many turns of all threads without anything happening mean that nothing ever will.
#define PATIENCE 20000

struct async_copy {
    u32 to;
    u64 from;
};

// Things that happen later, of one thread.
struct later {
    struct async_copy copies[64];
    u32 first, last;        // copies that were asked for and not done
    u32 groups[16];         // ends of groups, as counts of copies
    u32 group_first, group_last;
    u32 wgmma_committed;    // matrix instructions asked for when the last group was closed
    u32 wgmma_groups[16];
    u32 wgmma_group_last;
    u32 wgmma_issued;
};

// A fiber is entered the first time by its context; later switches are jumps, which ask nothing of
// the kernel.
struct fiber {
    ucontext_t context;
    jmp_buf jump;
    int begun;
    struct emulated_place place;
    struct later later;
    u32 rank;
    int done;
};

// Threads that meet: everyone leaves a message, and reads those of the others.
struct meeting {
    u32 arrived, generation;
    u8 messages[2][32][32];
};

struct wgmma {
    float *d[128];
    u64 a, b;
    u32 accumulate, e4m3, arrived, done;
};

struct warpgroup {
    struct wgmma asked[32];
    u32 done; // how many were carried out
};

struct block {
    u8 shared[SHARED_BYTES] __attribute__((aligned(1024)));
    u32 arrived, generation;
    struct meeting warps[THREADS_MAX / 32];
    struct warpgroup groups[THREADS_MAX / 128];
};

struct tensor_copy {
    struct tensor_map map;
    u32 to, x, y, barrier;
    u16 blocks;
};

struct launch {
    const char *why;
    char text[160];
    void (*entry)(const void *);
    const void *args;
    u32 threads, cluster, shared;
    struct block *blocks;
    struct fiber *fibers;
    u8 *stacks;
    jmp_buf scheduler, over;
    struct fiber *running;
    u32 cluster_arrived, cluster_generation;
    struct tensor_copy copies[64];
    u32 copies_first, copies_last;
    u64 events, random;
};

static __thread struct launch *launch;

static struct fiber *self(void) { return launch->running; }
static struct block *own(void) { return &launch->blocks[self()->rank]; }

// Ends the launch. The fibers' stacks are given back as they are.
static void __attribute__((noreturn)) fail(const char *why, u64 a, u64 b) {
    snprintf(launch->text, sizeof launch->text, why, a, b);
    launch->why = launch->text;
    if (launch->running != NULL) {
        launch->running->done = 1;
        _longjmp(launch->scheduler, 1);
    }
    longjmp(launch->over, 1);
}

static void yield(void) {
    if (launch->fibers == NULL)
        fail("a kernel that is run without fibers waits", 0, 0);
    struct fiber *fiber = self();
    fiber->place = emulated_place;
    if (_setjmp(fiber->jump) == 0)
        _longjmp(launch->scheduler, 1);
}

void pause_ns(u32 nanoseconds) {
    (void)nanoseconds;
    yield();
}

// ---- meeting ----

static void meet(u32 *arrived, u32 *generation, u32 count) {
    u32 now = *generation;
    if (++*arrived == count) {
        *arrived = 0;
        *generation += 1;
        launch->events++;
        return;
    }
    while (*generation == now)
        yield();
}

void sync_threads(void) { meet(&own()->arrived, &own()->generation, launch->threads); }

void sync_cluster(void) {
    meet(&launch->cluster_arrived, &launch->cluster_generation, launch->threads * launch->cluster);
}

void sync_warp(void) {
    struct meeting *warp = &own()->warps[thread_x() / 32];
    meet(&warp->arrived, &warp->generation, 32);
}

// Leaves a message of up to 32 bytes and gives back everybody's, which stay until the meeting after
// the next.
static const u8 (*exchange(const void *message, u32 bytes))[32] {
    struct meeting *warp = &own()->warps[thread_x() / 32];
    u32 side = warp->generation % 2;
    memcpy(warp->messages[side][thread_x() % 32], message, bytes);
    meet(&warp->arrived, &warp->generation, 32);
    return (const u8(*)[32])warp->messages[side];
}

float shuffle_xor(float value, u32 mask) {
    const u8(*all)[32] = exchange(&value, 4);
    memcpy(&value, all[thread_x() % 32 ^ mask], 4);
    return value;
}

// ---- shared memory ----

u32 cluster_rank(void) { return self()->rank; }
u32 shared_base(void) { return (self()->rank + 1) << WINDOW; }

static u8 *shared_of(u32 rank, u32 address, u32 bytes) {
    u32 offset = address & ((1u << WINDOW) - 1);
    if (address >> WINDOW != self()->rank + 1 || offset + bytes > launch->shared)
        fail("shared memory is left at 0x%llx, %llu bytes", address, bytes);
    return launch->blocks[rank].shared + offset;
}

void *shared_pointer(u32 offset) { return shared_of(self()->rank, shared_base() + offset, 0); }

void copy_async16(u32 to, u64 from) {
    struct later *later = &self()->later;
    if (later->last - later->first == 64)
        fail("too many copies are under way", 0, 0);
    later->copies[later->last++ % 64] = (struct async_copy){to, from};
}

void copy_async_commit(void) {
    struct later *later = &self()->later;
    later->groups[later->group_last++ % 16] = later->last;
}

void copy_async_wait(u32 left) {
    struct later *later = &self()->later;
    while (later->group_last - later->group_first > left) {
        u32 end = later->groups[later->group_first++ % 16];
        for (; later->first != end; later->first++) {
            struct async_copy *copy = &later->copies[later->first % 64];
            memcpy(shared_of(self()->rank, copy->to, 16), (void *)(size_t)copy->from, 16);
        }
    }
}

// ---- matrix instructions of a warp ----

void load_matrix4(u32 r[4], u32 address) {
    const u8(*all)[32] = exchange(&address, 4);
    u32 lane = thread_x() % 32;
    for (u32 matrix = 0; matrix < 4; matrix++) {
        u32 row;
        memcpy(&row, all[matrix * 8 + lane / 4], 4);
        if (row % 16 != 0)
            fail("ldmatrix reads at 0x%llx, which is not aligned", row, 0);
        memcpy(&r[matrix], shared_of(self()->rank, row, 16) + lane % 4 * 4, 4);
    }
}

static float e4m3_values[256];

static void __attribute__((constructor)) make_e4m3_values(void) {
    for (u32 i = 0; i < 256; i++) {
        u8 byte = (u8)i;
        e4m3_values[i] = element_float(ELEMENT_E4M3, (u64)(size_t)&byte, 0);
    }
}

static float of_bytes(const u8 *bytes, u32 index, u32 e4m3) {
    if (e4m3)
        return e4m3_values[bytes[index]];
    u16 half;
    memcpy(&half, bytes + index * 2, 2);
    return as_float((u32)half << 16);
}

static float dot(const u8 *a, const u8 *b, u32 e4m3) {
    float sum = 0;
    for (u32 k = 0; k < (e4m3 ? 32u : 16u); k++)
        sum += of_bytes(a, k, e4m3) * of_bytes(b, k, e4m3);
    return sum;
}

static void mma(float d[4], const u32 a[4], u32 b0, u32 b1, u32 e4m3) {
    u32 message[6] = {a[0], a[1], a[2], a[3], b0, b1};
    const u8(*all)[32] = exchange(message, 24);
    u32 lane = thread_x() % 32;
    for (u32 i = 0; i < 4; i++) {
        u8 row[32], column[32];
        for (u32 quad = 0; quad < 4; quad++) {
            const u8 *left = all[lane / 4 * 4 + quad];
            const u8 *right = all[(lane % 4 * 2 + i % 2) * 4 + quad];
            memcpy(row + quad * 4, left + (i < 2 ? 0 : 4), 4);
            memcpy(row + 16 + quad * 4, left + (i < 2 ? 8 : 12), 4);
            memcpy(column + quad * 4, right + 16, 4);
            memcpy(column + 16 + quad * 4, right + 20, 4);
        }
        d[i] += dot(row, column, e4m3);
    }
}

void mma_bf16(float d[4], const u32 a[4], u32 b0, u32 b1) { mma(d, a, b0, b1, 0); }
void mma_e4m3(float d[4], const u32 a[4], u32 b0, u32 b1) { mma(d, a, b0, b1, 1); }

// ---- barriers that count bytes ----

struct barrier {
    i32 bytes;
    u16 pending;
    u8 arrivals, phase;
};

static struct barrier *barrier_of(u32 rank, u32 address) {
    return (struct barrier *)shared_of(rank, address, 8);
}

static void barrier_look(struct barrier *barrier) {
    if (barrier->pending == 0 && barrier->bytes == 0) {
        barrier->pending = barrier->arrivals;
        barrier->phase ^= 1;
        launch->events++;
    }
}

static void barrier_arrive(struct barrier *barrier) {
    if (barrier->pending == 0)
        fail("more arrive at a barrier than belong there", 0, 0);
    barrier->pending--;
    barrier_look(barrier);
}

void barrier_make(u32 address, u32 arrivals) {
    *barrier_of(self()->rank, address) = (struct barrier){0, (u16)arrivals, (u8)arrivals, 0};
}

void barrier_expect(u32 address, u32 bytes) {
    struct barrier *barrier = barrier_of(self()->rank, address);
    barrier->bytes += (i32)bytes;
    barrier_arrive(barrier);
}

void barrier_arrive_at(u32 address, u32 rank) {
    if (rank >= launch->cluster)
        fail("block %llu is not of the cluster", rank, 0);
    barrier_arrive(barrier_of(rank, address));
}

void barrier_wait(u32 address, u32 parity) {
    while (barrier_of(self()->rank, address)->phase == parity)
        yield();
}

// ---- copy engine ----

// As the fake driver's cuTensorMapEncodeTiled writes it.
enum { MAP_BASE, MAP_BYTES, MAP_ROWS, MAP_PITCH, MAP_BOX_BYTES, MAP_BOX_ROWS, MAP_MAGIC };
#define TENSOR_MAGIC 0x6c65707563616d74ull

void tensor_load_multicast(u32 to, const struct tensor_map *map, u32 x, u32 y, u32 barrier,
                           u16 blocks) {
    if (map->opaque[MAP_MAGIC] != TENSOR_MAGIC || (size_t)map % 64 != 0)
        fail("a tensor map that the driver did not encode, or that is not aligned", 0, 0);
    if (launch->copies_last - launch->copies_first == 64)
        fail("too many boxes are under way", 0, 0);
    launch->copies[launch->copies_last++ % 64] =
        (struct tensor_copy){*map, to, x, y, barrier, blocks};
    (void)shared_of(self()->rank, to, (u32)(map->opaque[MAP_BOX_BYTES] * map->opaque[MAP_BOX_ROWS]));
}

void tensor_load(u32 to, const struct tensor_map *map, u32 x, u32 y, u32 barrier) {
    tensor_load_multicast(to, map, x, y, barrier, (u16)(1u << self()->rank));
}

static u32 swizzled(u32 offset) { return offset ^ (offset >> 7 & 7) << 4; }

// Carries out the oldest box.
static void tensor_copy_now(void) {
    struct tensor_copy *copy = &launch->copies[launch->copies_first % 64];
    const u64 *map = copy->map.opaque;
    u32 window = (1u << WINDOW) - 1;
    for (u32 rank = 0; rank < launch->cluster; rank++) {
        if ((copy->blocks >> rank & 1) == 0)
            continue;
        struct block *block = &launch->blocks[rank];
        for (u32 row = 0; row < map[MAP_BOX_ROWS]; row++) {
            for (u32 at = 0; at < map[MAP_BOX_BYTES]; at += 16) {
                u8 *to = block->shared +
                         swizzled((copy->to & window) + row * (u32)map[MAP_BOX_BYTES] + at);
                u64 x = copy->x + at, y = copy->y + row;
                if (x + 16 <= map[MAP_BYTES] && y < map[MAP_ROWS])
                    memcpy(to, (u8 *)(size_t)map[MAP_BASE] + y * map[MAP_PITCH] + x, 16);
                else
                    memset(to, 0, 16);
            }
        }
        struct barrier *barrier = (struct barrier *)(block->shared + (copy->barrier & window));
        barrier->bytes -= (i32)(map[MAP_BOX_BYTES] * map[MAP_BOX_ROWS]);
        barrier_look(barrier);
    }
    launch->copies_first++;
    launch->events++;
}

// ---- matrix instructions of a warpgroup ----

static struct warpgroup *group_of_thread(void) { return &own()->groups[thread_x() / 128]; }

static void wgmma(float d[128], u64 a, u64 b, u32 accumulate, u32 e4m3) {
    struct warpgroup *group = group_of_thread();
    u32 number = self()->later.wgmma_issued++;
    if (number - group->done >= 32)
        fail("too many matrix instructions are under way", 0, 0);
    struct wgmma *one = &group->asked[number % 32];
    if (one->arrived == 128)
        one->arrived = 0;
    if (one->arrived != 0 && (one->a != a || one->b != b || one->e4m3 != e4m3))
        fail("threads of a warpgroup ask for different products", 0, 0);
    one->a = a;
    one->b = b;
    one->accumulate = accumulate;
    one->e4m3 = e4m3;
    one->d[thread_x() % 128] = d;
    one->arrived++;
}

void wgmma_bf16(float d[128], u64 a, u64 b, u32 accumulate) { wgmma(d, a, b, accumulate, 0); }
void wgmma_e4m3(float d[128], u64 a, u64 b, u32 accumulate) { wgmma(d, a, b, accumulate, 1); }

void wgmma_commit(void) {
    struct later *later = &self()->later;
    later->wgmma_groups[later->wgmma_group_last++ % 16] = later->wgmma_issued;
}

// Row `row` of an operand: 32 bytes, through descriptor and swizzle.
static void operand_row(u64 descriptor, u32 row, u8 bytes[32]) {
    if (descriptor >> 62 != 1 || (descriptor >> 32 & 0x3fff) != 64)
        fail("a descriptor of another layout: 0x%llx", descriptor, 0);
    u32 start = (u32)(descriptor & 0x3fff) << 4;
    for (u32 at = 0; at < 32; at += 16) {
        u32 offset = start + row / 8 * 1024 + row % 8 * 128 + at;
        if (offset + 16 > launch->shared)
            fail("a descriptor leaves shared memory at 0x%llx", offset, 0);
        memcpy(bytes + at, own()->shared + swizzled(offset), 16);
    }
}

static void wgmma_now(struct wgmma *one) {
    static __thread float left[64][32], right[256][32];
    u32 depth = one->e4m3 ? 32 : 16;
    u8 bytes[32];
    for (u32 row = 0; row < 64; row++) {
        operand_row(one->a, row, bytes);
        for (u32 k = 0; k < depth; k++)
            left[row][k] = of_bytes(bytes, k, one->e4m3);
    }
    for (u32 column = 0; column < 256; column++) {
        operand_row(one->b, column, bytes);
        for (u32 k = 0; k < depth; k++)
            right[column][k] = of_bytes(bytes, k, one->e4m3);
    }
    for (u32 thread = 0; thread < 128; thread++) {
        for (u32 i = 0; i < 128; i++) {
            u32 row = thread / 32 * 16 + thread % 32 / 4 + (i % 4 >= 2 ? 8 : 0);
            u32 column = i / 4 * 8 + thread % 4 * 2 + i % 2;
            float sum = one->accumulate ? one->d[thread][i] : 0;
            for (u32 k = 0; k < depth; k++)
                sum += left[row][k] * right[column][k];
            one->d[thread][i] = sum;
        }
    }
}

void wgmma_wait(u32 left) {
    struct later *later = &self()->later;
    struct warpgroup *group = group_of_thread();
    if (later->wgmma_group_last <= left)
        return;
    u32 wanted = later->wgmma_groups[(later->wgmma_group_last - 1 - left) % 16];
    while (group->done < wanted) {
        struct wgmma *one = &group->asked[group->done % 32];
        if (one->arrived == 128) {
            wgmma_now(one);
            group->done++;
            launch->events++;
        } else {
            yield();
        }
    }
}

// ---- launching ----

static void fiber_main(void) {
    emulated_place = self()->place;
    launch->entry(launch->args);
    self()->done = 1;
    launch->events++;
    _longjmp(launch->scheduler, 1);
}

// Lets a thread run until it waits or is done.
static void __attribute__((noinline)) turn(struct fiber *fiber) {
    launch->running = fiber;
    emulated_place = fiber->place;
    if (_setjmp(launch->scheduler) == 0) {
        if (fiber->begun)
            _longjmp(fiber->jump, 1);
        fiber->begun = 1;
        setcontext(&fiber->context);
    }
    launch->running = NULL;
}

// Runs the blocks of one cluster until all their threads are done.
static void run_cluster(u32 first_block, struct emulated_place place) {
    u32 count = launch->threads * launch->cluster;
    for (u32 rank = 0; rank < launch->cluster; rank++) {
        struct block *block = &launch->blocks[rank];
        // What a block finds in shared memory is what the last one left, or worse.
        memset(block, 0, sizeof *block);
        memset(block->shared, 0xa5, launch->shared);
    }
    launch->cluster_arrived = launch->cluster_generation = 0;
    launch->copies_first = launch->copies_last = 0;
    for (u32 i = 0; i < count; i++) {
        struct fiber *fiber = &launch->fibers[i];
        memset(&fiber->later, 0, sizeof fiber->later);
        fiber->done = fiber->begun = 0;
        fiber->rank = i / launch->threads;
        fiber->place = place;
        fiber->place.thread = i % launch->threads;
        fiber->place.block_x = first_block + fiber->rank;
        fiber->place.multiprocessor = place.multiprocessor + fiber->rank;
        getcontext(&fiber->context);
        fiber->context.uc_stack.ss_sp = launch->stacks + (size_t)i * STACK_BYTES;
        fiber->context.uc_stack.ss_size = STACK_BYTES;
        fiber->context.uc_link = NULL;
        makecontext(&fiber->context, fiber_main, 0);
    }
    u32 left = count, idle = 0;
    u64 seen = launch->events;
    while (left > 0) {
        for (u32 i = 0; i < count; i++) {
            struct fiber *fiber = &launch->fibers[i];
            if (fiber->done)
                continue;
            turn(fiber);
            if (launch->why != NULL)
                return;
            if (fiber->done)
                left--;
        }
        // The copy engine takes its time: about every other turn it does one box.
        launch->random = launch->random * 6364136223846793005ull + 1442695040888963407ull;
        if (launch->copies_first != launch->copies_last && launch->random >> 63)
            tensor_copy_now();
        idle = launch->events == seen ? idle + 1 : 0;
        seen = launch->events;
        if (idle > PATIENCE)
            fail("all threads wait for each other", 0, 0);
    }
}

struct kernel {
    const char *name;
    void (*entry)(const void *);
    u32 bytes, threads, cluster;
    u32 waits;  // its threads wait for each other
    u32 output; // offset of the address that it writes to, in its arguments
};

#define ONE(name, arguments, threads, cluster, waits, output)                                      \
    { #name, name, sizeof(struct arguments), threads, cluster, waits,                              \
      __builtin_offsetof(struct arguments, output) }

static const struct kernel kernels[] = {
    ONE(memory_write, memory_args, 256, 1, 0, base),
    ONE(memory_verify, memory_args, 256, 1, 0, base),
    ONE(memory_turn, memory_args, 256, 1, 0, base),
    ONE(memory_verify_random, memory_args, 256, 1, 0, base),
    ONE(memory_turn_random, memory_args, 256, 1, 0, base),
    ONE(words_read, word_list_args, 128, 1, 0, values),
    ONE(words_write, word_list_args, 128, 1, 0, values),
    ONE(stream_copy, stream_args, 256, 1, 0, to),
    ONE(stream_read, stream_args, 256, 1, 0, to),
    ONE(fill_operands, fill_args, 256, 1, 0, to),
    ONE(compare_words, compare_args, 256, 1, 0, right),
    ONE(row_sums, sums_args, 256, 1, 1, sums),
    ONE(column_sums, sums_args, 256, 1, 0, sums),
    ONE(hash_tiles, hash_args, 256, 1, 1, hashes),
    ONE(reduce_fill, reduce_fill_args, 256, 1, 0, input),
    ONE(reduce_all, reduce_args, 256, 1, 0, outputs),
    ONE(reduce_check, reduce_check_args, 256, 1, 0, output),
    ONE(gemm_reference, gemm_args, 256, 1, 0, c),
    ONE(gemm_f32, gemm_args, 256, 1, 1, c),
    ONE(gemm_f64, gemm_args, 256, 1, 1, c),
    ONE(gemm_mma_bf16, gemm_args, 256, 1, 1, c),
    ONE(gemm_mma_e4m3, gemm_args, 256, 1, 1, c),
    ONE(gemm_hopper_bf16, hopper_args, 384, 2, 1, gemm.c),
    ONE(gemm_hopper_e4m3, hopper_args, 384, 2, 1, gemm.c),
};

// What kernel number `index` is called and how it is launched; 0 past the last one.
int cupel_emulated_kernel(u32 index, struct kernel *kernel) {
    if (index >= sizeof kernels / sizeof kernels[0])
        return 0;
    *kernel = kernels[index];
    return 1;
}

static void run(const struct kernel *kernel, u32 blocks_x, u32 blocks_y, u32 multiprocessors) {
    struct emulated_place place = {0, 0, 0, blocks_x, blocks_y, 0};
    for (u32 y = 0; y < blocks_y && launch->why == NULL; y++) {
        for (u32 x = 0; x < blocks_x && launch->why == NULL; x += kernel->cluster) {
            place.block_y = y;
            place.block_x = x;
            place.multiprocessor = (y * blocks_x + x) % multiprocessors;
            if (kernel->waits) {
                run_cluster(x, place);
                continue;
            }
            for (place.thread = 0; place.thread < kernel->threads; place.thread++) {
                emulated_place = place;
                kernel->entry(launch->args);
            }
        }
    }
}

// Runs a kernel to its end. 0, or 1 with the reason in `why`.
int cupel_emulate(u32 index, const void *args, u32 blocks_x, u32 blocks_y, u32 threads, u32 shared,
                  u32 cluster, u32 multiprocessors, char *why, size_t room) {
    if (index >= sizeof kernels / sizeof kernels[0])
        return 1;
    const struct kernel *kernel = &kernels[index];
    struct launch here;
    memset(&here, 0, sizeof here);
    if (threads != kernel->threads || cluster != kernel->cluster || blocks_x % cluster != 0 ||
        shared > SHARED_BYTES - 1024) {
        snprintf(why, room, "%s is launched with %u threads in clusters of %u", kernel->name,
                 threads, cluster);
        return 1;
    }
    // A parameter lies in constant memory, aligned as its type; tensor maps want 64 bytes.
    void *aligned = aligned_alloc(64, (kernel->bytes + 63) / 64 * 64);
    memcpy(aligned, args, kernel->bytes);
    here.entry = kernel->entry;
    here.args = aligned;
    here.threads = threads;
    here.cluster = cluster;
    here.shared = shared;
    here.random = 88172645463325252ull;
    if (kernel->waits) {
        here.blocks = aligned_alloc(1024, (sizeof(struct block) * cluster + 1023) / 1024 * 1024);
        here.fibers = calloc((size_t)threads * cluster, sizeof(struct fiber));
        here.stacks = malloc((size_t)threads * cluster * STACK_BYTES);
    }
    launch = &here;
    if (setjmp(here.over) == 0)
        run(kernel, blocks_x, blocks_y, multiprocessors == 0 ? 1 : multiprocessors);
    launch = NULL;
    if (here.why != NULL)
        snprintf(why, room, "%s: %s", kernel->name, here.why);
    int failed = here.why != NULL;
    free(aligned);
    free(here.blocks);
    free(here.fibers);
    free(here.stacks);
    return failed;
}

// Sizes and offsets of the structures, for whoever mirrors them.
#define OFFSET(arguments, field) __builtin_offsetof(struct arguments, field)
const u32 cupel_layout[] = {
    sizeof(struct error_record), sizeof(struct error_log), sizeof(struct memory_args),
    OFFSET(memory_args, errors), OFFSET(memory_args, order), sizeof(struct word_list_args),
    sizeof(struct stream_args), sizeof(struct fill_args), sizeof(struct compare_args),
    sizeof(struct sums_args), OFFSET(sums_args, slab), sizeof(struct hash_args),
    sizeof(struct gemm_args), OFFSET(gemm_args, group), sizeof(struct hopper_args),
    OFFSET(hopper_args, gemm), OFFSET(hopper_args, stream_rate), sizeof(struct reduce_args),
    OFFSET(reduce_args, peers), sizeof(struct reduce_check_args), OFFSET(reduce_check_args, seeds),
    sizeof(struct reduce_fill_args),
};
const u32 cupel_layout_count = sizeof cupel_layout / sizeof cupel_layout[0];

// A tensor map of rows of bytes, for the fake driver.
void cupel_tensor_map(struct tensor_map *map, u64 base, u64 bytes, u64 rows, u64 pitch,
                      u64 box_bytes, u64 box_rows) {
    memset(map, 0, sizeof *map);
    map->opaque[MAP_BASE] = base;
    map->opaque[MAP_BYTES] = bytes;
    map->opaque[MAP_ROWS] = rows;
    map->opaque[MAP_PITCH] = pitch;
    map->opaque[MAP_BOX_BYTES] = box_bytes;
    map->opaque[MAP_BOX_ROWS] = box_rows;
    map->opaque[MAP_MAGIC] = TENSOR_MAGIC;
}
