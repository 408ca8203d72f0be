// Checks of results: bit by bit against another result, exact sums for the oracle, hashes of tiles.

#define CHECK_THREADS 256

// Words of 4 bytes, numbered from 0; floats are compared as bits, so that a NaN is what it is.
KERNEL(compare_words, compare_args, CHECK_THREADS, 4) {
    u64 step = (u64)blocks_x() * CHECK_THREADS;
    u64 uncounted = 0;
    u64 at = (u64)block_x() * CHECK_THREADS + thread_x();
    while (at < args.vectors) {
        vector128 left[2], right[2];
        u32 count = at + step < args.vectors ? 2 : 1;
        left[0] = load_stream(args.left + at * 16);
        right[0] = load_stream(args.right + at * 16);
        if (count == 2) {
            left[1] = load_stream(args.left + (at + step) * 16);
            right[1] = load_stream(args.right + (at + step) * 16);
        }
        UNROLL for (u32 i = 0; i < 2; i++) {
            if (i >= count)
                break;
            u64 word = (at + i * step) * 4;
            u64 low = left[i].low ^ right[i].low, high = left[i].high ^ right[i].high;
            if ((low | high) != 0) {
                NO_UNROLL for (u32 part = 0; part < 4; part++) {
                    u32 shift = part % 2 * 32;
                    u32 is = (u32)((part < 2 ? right[i].low : right[i].high) >> shift);
                    u32 must = (u32)((part < 2 ? left[i].low : left[i].high) >> shift);
                    if (is != must)
                        log_error(args.errors, &uncounted, word + part, must, is);
                }
            }
        }
        at += 2 * step;
    }
    log_rest(args.errors, uncounted);
}

// The integer in an element; one that is none (NaN, infinite, with a fraction, too large) is logged
// and counts as 0. What must be there is not known here: `expected` is all ones.
DEVICE i64 exact_element(const struct sums_args *args, u64 *uncounted, u64 index) {
    if (args->wide) {
        u64 bits = load64(args->matrix + index * 8);
        double value = as_double(bits);
        // False for NaN.
        if (value > -9007199254740992.0 && value < 9007199254740992.0 &&
            (double)(i64)value == value)
            return (i64)value;
        log_error(args->errors, uncounted, index, ~0ull, bits);
        return 0;
    }
    u32 bits = load32(args->matrix + index * 4);
    float value = as_float(bits);
    if (value > -16777216.0f && value < 16777216.0f && (float)(i32)value == value)
        return (i64)(i32)value;
    log_error(args->errors, uncounted, index, ~0ull, bits);
    return 0;
}

// One block a row.
KERNEL(row_sums, sums_args, CHECK_THREADS, 4) {
    i64 *partial = (i64 *)shared_pointer(0);
    u64 uncounted = 0;
    for (u32 row = block_x(); row < args.rows; row += blocks_x()) {
        i64 sum = 0;
        for (u32 column = thread_x(); column < args.columns; column += CHECK_THREADS)
            sum += exact_element(&args, &uncounted, (u64)row * args.columns + column);
        partial[thread_x()] = sum;
        sync_threads();
        for (u32 half = CHECK_THREADS / 2; half > 0; half /= 2) {
            if (thread_x() < half)
                partial[thread_x()] += partial[thread_x() + half];
            sync_threads();
        }
        if (thread_x() == 0)
            store64(args.sums + (u64)row * 8, (u64)partial[0]);
        sync_threads();
    }
    log_rest(args.errors, uncounted);
}

// One thread a column of one slab of rows; `sums` is zero before. Elements are not logged a second
// time: row sums do that.
KERNEL(column_sums, sums_args, CHECK_THREADS, 4) {
    u32 column = block_x() * CHECK_THREADS + thread_x();
    if (column >= args.columns)
        return;
    u32 first = block_y() * args.slab;
    u32 last = first + args.slab < args.rows ? first + args.slab : args.rows;
    i64 sum = 0;
    for (u32 row = first; row < last; row++) {
        u64 index = (u64)row * args.columns + column;
        if (args.wide) {
            double value = as_double(load64(args.matrix + index * 8));
            if (value > -9007199254740992.0 && value < 9007199254740992.0)
                sum += (i64)value;
        } else {
            float value = as_float(load32(args.matrix + index * 4));
            if (value > -16777216.0f && value < 16777216.0f)
                sum += (i64)(i32)value;
        }
    }
    atomic_add(args.sums + (u64)column * 8, (u64)sum);
}

// A number for each tile that changes with any bit of it, to be compared over time and between
// GPUs. Sums do not depend on the order in which threads come.
KERNEL(hash_tiles, hash_args, CHECK_THREADS, 4) {
    u64 *partial = (u64 *)shared_pointer(0);
    u32 across = args.columns / args.tile_columns;
    u32 tile = block_x();
    u32 top = tile / across * args.tile_rows, left = tile % across * args.tile_columns;
    u32 elements = args.tile_rows * args.tile_columns;
    u64 sum = 0;
    for (u32 at = thread_x(); at < elements; at += CHECK_THREADS) {
        u64 index = (u64)(top + at / args.tile_columns) * args.columns + left +
                    at % args.tile_columns;
        sum += pattern_word(load32(args.matrix + index * 4), index);
    }
    partial[thread_x()] = sum;
    sync_threads();
    for (u32 half = CHECK_THREADS / 2; half > 0; half /= 2) {
        if (thread_x() < half)
            partial[thread_x()] += partial[thread_x() + half];
        sync_threads();
    }
    if (thread_x() == 0)
        store64(args.hashes + (u64)tile * 8, partial[0]);
}
