// The pattern of tested memory, and the log of what differs from it.
#pragma once

// A function of seed and index that can be undone: a wrong word tells which word's content it
// holds (an address fault), and no two words of a GPU are alike. Two multiplications a word leave
// the memory the bottleneck. crates/burnin/src/memory/pattern.rs is the same function.
#define PATTERN_STRIDE 0x9e3779b97f4a7c15ull
#define PATTERN_FACTOR 0xbf58476d1ce4e5b9ull

DEVICE u64 pattern_mix(u64 z) {
    z ^= z >> 32;
    z *= PATTERN_FACTOR;
    return z ^ (z >> 32);
}

DEVICE u64 pattern_word(u64 seed, u64 index) { return pattern_mix(index * PATTERN_STRIDE + seed); }

// Two neighbouring words.
DEVICE vector128 pattern_vector(u64 seed, u64 index, u64 mask) {
    u64 z = index * PATTERN_STRIDE + seed;
    vector128 v;
    v.low = pattern_mix(z) ^ mask;
    v.high = pattern_mix(z + PATTERN_STRIDE) ^ mask;
    return v;
}

// So many single additions to the count are made; beyond, a thread adds up for itself first. Memory
// that is wrong everywhere must not take minutes to say so.
#define LOG_SATURATED (1ull << 22)

// Counts one difference, and keeps it while there is room.
DEVICE_COLD void log_error(u64 errors, u64 *uncounted, u64 word, u64 expected, u64 got) {
    if (load_word(errors) >= LOG_SATURATED) {
        *uncounted += 1;
        return;
    }
    u64 number = atomic_add(errors, 1);
    if (number < load_word(errors + 8)) {
        u64 record = errors + sizeof(struct error_log) + number * sizeof(struct error_record);
        store64(record, word);
        store64(record + 8, expected);
        store64(record + 16, got);
        store64(record + 24, (u64)multiprocessor());
    }
}

// At the end of a thread.
DEVICE void log_rest(u64 errors, u64 uncounted) {
    if (uncounted != 0)
        atomic_add(errors, uncounted);
}
