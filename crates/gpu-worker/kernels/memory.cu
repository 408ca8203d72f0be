// Memory: written, verified, and verified while the inverse is written, at the speed of the memory.
//
// A unit is what a warp touches at once: 32 threads of 16 bytes, 512 bytes. A tile is 32 units: a
// block of 8 warps keeps 4 accesses of each thread in flight, which hides the latency. In which
// order units come is the caller's choice: upwards and downwards as march tests want it (a cell
// that is disturbed by its neighbour's write shows in one of them), or by a permutation, which
// opens another row of the memory nearly every time.
#include "pattern.cuh"

#define MEMORY_THREADS 256
#define MEMORY_WARPS (MEMORY_THREADS / 32)
#define IN_FLIGHT 4
#define TILE_UNITS (MEMORY_WARPS * IN_FLIGHT)
#define NO_UNIT (~0ull)

// The unit that comes at this place. A permutation of 2^bits numbers, walked until it lands within
// the range, is a permutation of the range: multiplying by an odd factor and shifting right by
// exclusive or can both be undone.
DEVICE u64 unit_at(const struct memory_args *args, u64 place) {
    if (place >= args->units)
        return NO_UNIT;
    if (args->order == 0)
        return place;
    if (args->order == 1)
        return args->units - 1 - place;
    u64 mask = args->bits >= 64 ? ~0ull : (1ull << args->bits) - 1;
    u32 half = (args->bits + 1) / 2;
    do {
        place = (place * args->factor) & mask;
        place ^= place >> half;
        place = (place * PATTERN_FACTOR + args->seed) & mask;
    } while (place >= args->units);
    return place;
}

DEVICE u64 tiles_of(const struct memory_args *args) {
    return (args->units + TILE_UNITS - 1) / TILE_UNITS;
}

KERNEL(memory_write, memory_args, MEMORY_THREADS, 4) {
    u32 lane = thread_x() % 32, warp = thread_x() / 32;
    u64 tiles = tiles_of(&args);
    for (u64 tile = block_x(); tile < tiles; tile += blocks_x()) {
        UNROLL for (u32 i = 0; i < IN_FLIGHT; i++) {
            u64 unit = unit_at(&args, tile * TILE_UNITS + i * MEMORY_WARPS + warp);
            if (unit != NO_UNIT) {
                u64 word = unit * 64 + lane * 2;
                store_stream(args.base + word * 8,
                             pattern_vector(args.seed, args.first_word + word, args.written_mask));
            }
        }
    }
}

// What both verifying kernels do with one vector.
DEVICE void verify_vector(const struct memory_args *args, u64 *uncounted, u64 word, vector128 got,
                          vector128 expected) {
    if (got.low != expected.low)
        log_error(args->errors, uncounted, args->first_word + word, expected.low, got.low);
    if (got.high != expected.high)
        log_error(args->errors, uncounted, args->first_word + word + 1, expected.high, got.high);
}

KERNEL(memory_verify, memory_args, MEMORY_THREADS, 4) {
    u32 lane = thread_x() % 32, warp = thread_x() / 32;
    u64 tiles = tiles_of(&args);
    u64 uncounted = 0;
    for (u64 tile = block_x(); tile < tiles; tile += blocks_x()) {
        u64 unit[IN_FLIGHT];
        vector128 got[IN_FLIGHT];
        UNROLL for (u32 i = 0; i < IN_FLIGHT; i++) {
            unit[i] = unit_at(&args, tile * TILE_UNITS + i * MEMORY_WARPS + warp);
            if (unit[i] != NO_UNIT)
                got[i] = load_stream(args.base + unit[i] * 512 + lane * 16);
        }
        UNROLL for (u32 i = 0; i < IN_FLIGHT; i++) {
            if (unit[i] != NO_UNIT) {
                u64 word = unit[i] * 64 + lane * 2;
                vector128 expected =
                    pattern_vector(args.seed, args.first_word + word, args.expected_mask);
                verify_vector(&args, &uncounted, word, got[i], expected);
            }
        }
    }
    log_rest(args.errors, uncounted);
}

// Verifies, and writes what comes next, in one pass over memory: the element (read, write) of a
// march test. What is written depends on seed and index alone, never on what was read.
KERNEL(memory_turn, memory_args, MEMORY_THREADS, 4) {
    u32 lane = thread_x() % 32, warp = thread_x() / 32;
    u64 tiles = tiles_of(&args);
    u64 turn = args.expected_mask ^ args.written_mask;
    u64 uncounted = 0;
    for (u64 tile = block_x(); tile < tiles; tile += blocks_x()) {
        u64 unit[IN_FLIGHT];
        vector128 got[IN_FLIGHT];
        UNROLL for (u32 i = 0; i < IN_FLIGHT; i++) {
            unit[i] = unit_at(&args, tile * TILE_UNITS + i * MEMORY_WARPS + warp);
            if (unit[i] != NO_UNIT)
                got[i] = load_stream(args.base + unit[i] * 512 + lane * 16);
        }
        UNROLL for (u32 i = 0; i < IN_FLIGHT; i++) {
            if (unit[i] != NO_UNIT) {
                u64 word = unit[i] * 64 + lane * 2;
                vector128 expected =
                    pattern_vector(args.seed, args.first_word + word, args.expected_mask);
                vector128 next;
                next.low = expected.low ^ turn;
                next.high = expected.high ^ turn;
                store_stream(args.base + word * 8, next);
                verify_vector(&args, &uncounted, word, got[i], expected);
            }
        }
    }
    log_rest(args.errors, uncounted);
}

// Single words: looked at again, or written again, to tell what a difference is made of.
KERNEL(words_read, word_list_args, 128, 1) {
    u64 i = (u64)block_x() * 128 + thread_x();
    if (i < args.count)
        store64(args.values + i * 8, load_word(load64(args.addresses + i * 8)));
}

KERNEL(words_write, word_list_args, 128, 1) {
    u64 i = (u64)block_x() * 128 + thread_x();
    if (i < args.count)
        store_word(load64(args.addresses + i * 8), load64(args.values + i * 8));
}
