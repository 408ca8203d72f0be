// Memory: written, verified, and verified while the inverse is written, at the speed of the memory.
//
// A unit is what a warp touches at once: 32 threads of 16 bytes, 512 bytes. A tile is 32 units: a
// block of 8 warps keeps 4 accesses of each thread in flight, which hides the latency. Memory has
// whole tiles. In which order units come is the caller's choice: upwards and downwards as march tests
// want it (a cell that is disturbed by its neighbour's write shows in one of them), or by a
// permutation, which opens another row of the memory nearly every time.
//
// Few instructions a word are what keeps the memory the bottleneck: going straight, neither the
// address nor the pattern takes a multiplication of its own, for both are the last ones plus a step.
#include "pattern.cuh"

#define MEMORY_THREADS 256
#define MEMORY_WARPS (MEMORY_THREADS / 32)
#define IN_FLIGHT 4
#define TILE_UNITS (MEMORY_WARPS * IN_FLIGHT)
#define UNIT_WORDS 64

// The unit that comes at this place. A permutation of 2^bits numbers, walked until it lands within
// the range, is a permutation of the range: multiplying by an odd factor and shifting right by
// exclusive or can both be undone.
DEVICE u64 permuted(const struct memory_args *args, u64 place) {
    u64 mask = (1ull << args->bits) - 1;
    u32 half = (args->bits + 1) / 2;
    do {
        place = (place * args->factor) & mask;
        place ^= place >> half;
        place = (place * PATTERN_FACTOR + args->seed) & mask;
    } while (place >= args->units);
    return place;
}

// Where a thread is: its word, and the pattern's state there.
typedef struct {
    u64 word, z;
} cursor;

// Goes over all tiles of a thread: `here` is its vector of the first unit; there are four at a time,
// `step` words apart.
#define FOR_EACH_TILE(args)                                                                \
    u64 tiles = (args).units / TILE_UNITS;                                                         \
    u64 warp = thread_x() / 32, lane_words = thread_x() % 32 * 2;                                  \
    u64 down = (args).order == 1 ? ~0ull : 0;                                                      \
    /* Downwards unit u is the last one minus u: ~u + units. Everything is negated. */             \
    u64 step = (((u64)MEMORY_WARPS * UNIT_WORDS) ^ down) - down;                                   \
    u64 stride = (((u64)TILE_UNITS * UNIT_WORDS * blocks_x()) ^ down) - down;                      \
    u64 place = (u64)block_x() * TILE_UNITS + warp;                                                \
    cursor here;                                                                                   \
    here.word = ((place ^ down) + ((args).units & down)) * UNIT_WORDS + lane_words;                \
    here.z = ((args).first_word + here.word) * PATTERN_STRIDE + (args).seed;                       \
    u64 z_step = step * PATTERN_STRIDE, z_stride = stride * PATTERN_STRIDE;                        \
    for (u64 tile = block_x(); tile < tiles;                                                       \
         tile += blocks_x(), here.word += stride, here.z += z_stride)

DEVICE cursor cursor_at(const struct memory_args *args, u32 random, cursor here, u64 tile, u32 i,
                        u64 step, u64 z_step) {
    if (random) {
        u64 warp = thread_x() / 32, lane_words = thread_x() % 32 * 2;
        u64 unit = permuted(args, tile * TILE_UNITS + i * MEMORY_WARPS + warp);
        here.word = unit * UNIT_WORDS + lane_words;
        here.z = (args->first_word + here.word) * PATTERN_STRIDE + args->seed;
    } else {
        here.word += i * step;
        here.z += i * z_step;
    }
    return here;
}

DEVICE vector128 pattern_here(cursor at, u64 mask) {
    vector128 v;
    v.low = pattern_mix(at.z) ^ mask;
    v.high = pattern_mix(at.z + PATTERN_STRIDE) ^ mask;
    return v;
}

DEVICE void write_all(const struct memory_args *args, u32 random) {
    FOR_EACH_TILE(*args) {
        UNROLL for (u32 i = 0; i < IN_FLIGHT; i++) {
            cursor at = cursor_at(args, random, here, tile, i, step, z_step);
            store_stream(args->base + at.word * 8, pattern_here(at, args->written_mask));
        }
    }
}

// Verifies; with `turn`, also writes what comes next in the same pass over memory: the element
// (read, write) of a march test. What is written depends on seed and index alone, never on what was
// read.
DEVICE void verify_all(const struct memory_args *args, u32 random, u32 turn) {
    u64 uncounted = 0;
    u64 turning = args->expected_mask ^ args->written_mask;
    FOR_EACH_TILE(*args) {
        cursor at[IN_FLIGHT];
        vector128 got[IN_FLIGHT];
        UNROLL for (u32 i = 0; i < IN_FLIGHT; i++) {
            at[i] = cursor_at(args, random, here, tile, i, step, z_step);
            got[i] = load_stream(args->base + at[i].word * 8);
        }
        UNROLL for (u32 i = 0; i < IN_FLIGHT; i++) {
            vector128 must = pattern_here(at[i], args->expected_mask);
            if (turn) {
                vector128 next;
                next.low = must.low ^ turning;
                next.high = must.high ^ turning;
                store_stream(args->base + at[i].word * 8, next);
            }
            if (((got[i].low ^ must.low) | (got[i].high ^ must.high)) != 0) {
                u64 word = args->first_word + at[i].word;
                if (got[i].low != must.low)
                    log_error(args->errors, &uncounted, word, must.low, got[i].low);
                if (got[i].high != must.high)
                    log_error(args->errors, &uncounted, word + 1, must.high, got[i].high);
            }
        }
    }
    log_rest(args->errors, uncounted);
}

KERNEL(memory_write, memory_args, MEMORY_THREADS, 4) { write_all(&args, 0); }
KERNEL(memory_verify, memory_args, MEMORY_THREADS, 4) { verify_all(&args, 0, 0); }
KERNEL(memory_turn, memory_args, MEMORY_THREADS, 4) { verify_all(&args, 0, 1); }
KERNEL(memory_verify_random, memory_args, MEMORY_THREADS, 4) { verify_all(&args, 1, 0); }
KERNEL(memory_turn_random, memory_args, MEMORY_THREADS, 4) { verify_all(&args, 1, 1); }

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
