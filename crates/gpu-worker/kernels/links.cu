// All-reduce over peer memory.
//
// Each GPU owns a slice. It reads that slice from every GPU, adds up, and writes the sum to every
// GPU: reduce-scatter and all-gather in one kernel, without flags, because nobody writes what
// another one reads. Each byte crosses a link as often as in the best ring, and every pair of GPUs
// is busy at once in both directions.
//
// Values are 32-bit unsigned integers that wrap: a sum has every bit exposed and no rounding.

KERNEL(reduce_fill, reduce_fill_args, 256, 4) {
    u64 step = (u64)blocks_x() * 256;
    for (u64 at = (u64)block_x() * 256 + thread_x(); at < args.vectors; at += step)
        store_stream(args.input + at * 16, pattern_vector(args.seed, at * 2, 0));
}

// Adds the two halves of a word each for itself.
DEVICE u64 add_halves(u64 a, u64 b) {
    u32 low = (u32)a + (u32)b;
    u32 high = (u32)(a >> 32) + (u32)(b >> 32);
    return (u64)high << 32 | low;
}

KERNEL(reduce_all, reduce_args, 256, 4) {
    u64 step = (u64)blocks_x() * 256;
    for (u64 at = (u64)block_x() * 256 + thread_x(); at < args.vectors; at += step) {
        u64 offset = (args.first + at) * 16;
        vector128 sum = {0, 0};
        for (u32 peer = 0; peer < args.peers; peer++) {
            vector128 v = load_stream(args.inputs[peer] + offset);
            sum.low = add_halves(sum.low, v.low);
            sum.high = add_halves(sum.high, v.high);
        }
        for (u32 peer = 0; peer < args.peers; peer++)
            store_stream(args.outputs[peer] + offset, sum);
    }
}

// Words of 8 bytes are numbered.
KERNEL(reduce_check, reduce_check_args, 256, 4) {
    u64 step = (u64)blocks_x() * 256;
    u64 uncounted = 0;
    for (u64 at = (u64)block_x() * 256 + thread_x(); at < args.vectors; at += step) {
        vector128 got = load_stream(args.output + at * 16);
        vector128 must = {0, 0};
        for (u32 peer = 0; peer < args.peers; peer++) {
            vector128 v = pattern_vector(args.seeds[peer], at * 2, 0);
            must.low = add_halves(must.low, v.low);
            must.high = add_halves(must.high, v.high);
        }
        if (got.low != must.low)
            log_error(args.errors, &uncounted, at * 2, must.low, got.low);
        if (got.high != must.high)
            log_error(args.errors, &uncounted, at * 2 + 1, must.high, got.high);
    }
    log_rest(args.errors, uncounted);
}
