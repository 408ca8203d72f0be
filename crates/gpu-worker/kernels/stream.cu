// Plain streams of memory: a copy by the multiprocessors (to the same GPU or to a peer), and a read
// that displaces what a cache holds.

#define STREAM_THREADS 256
#define STREAM_FLIGHT 4

KERNEL(stream_copy, stream_args, STREAM_THREADS, 4) {
    u64 step = (u64)blocks_x() * STREAM_THREADS;
    u64 at = (u64)block_x() * STREAM_THREADS + thread_x();
    for (; at + (STREAM_FLIGHT - 1) * step < args.vectors; at += STREAM_FLIGHT * step) {
        vector128 v[STREAM_FLIGHT];
        UNROLL for (u32 i = 0; i < STREAM_FLIGHT; i++)
            v[i] = load_stream(args.from + (at + i * step) * 16);
        UNROLL for (u32 i = 0; i < STREAM_FLIGHT; i++)
            store_stream(args.to + (at + i * step) * 16, v[i]);
    }
    for (; at < args.vectors; at += step)
        store_stream(args.to + at * 16, load_stream(args.from + at * 16));
}

// The sum of each thread goes to `to` (u64[threads of the launch]), so that no load can be left out.
KERNEL(stream_read, stream_args, STREAM_THREADS, 4) {
    u64 step = (u64)blocks_x() * STREAM_THREADS;
    u64 thread = (u64)block_x() * STREAM_THREADS + thread_x();
    u64 at = thread;
    u64 sum = 0;
    for (; at + (STREAM_FLIGHT - 1) * step < args.vectors; at += STREAM_FLIGHT * step) {
        vector128 v[STREAM_FLIGHT];
        UNROLL for (u32 i = 0; i < STREAM_FLIGHT; i++)
            v[i] = load_stream(args.from + (at + i * step) * 16);
        UNROLL for (u32 i = 0; i < STREAM_FLIGHT; i++)
            sum += v[i].low ^ v[i].high;
    }
    for (; at < args.vectors; at += step) {
        vector128 v = load_stream(args.from + at * 16);
        sum += v.low ^ v.high;
    }
    store64(args.to + thread * 8, sum);
}
