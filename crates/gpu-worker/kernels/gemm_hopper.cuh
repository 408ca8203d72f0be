// Product on Hopper. Included once a type (gemm_hopper.cu): HOPPER_NAME, HOPPER_STEP.
//
// A block makes tiles of 128 x 256, one after the other: two warpgroups of 64 x 256 each multiply,
// and of a third one a single thread drives the copy engine. Depth comes in slices of 128 bytes (64
// bf16, 128 e4m3), 48 KiB a slice, four of them in shared memory. Two blocks on neighbouring
// multiprocessors are a cluster: their tiles lie one below the other and share the columns' operand,
// of which each fetches a half and sends it to both. So each byte of B is fetched once for two tiles.
//
// Who waits for what, for every slot:
//   full   the copy engine's thread of this block has announced 48 KiB, and as many have come
//          (16 KiB of A, 16 KiB of B by this block, 16 KiB of B by the other one)
//   empty  four arrivals: both multiplying warpgroups of both blocks have read the slot. All four,
//          for what is fetched into it goes to both blocks.
//
// The three other warps of the copying warpgroup load the memory while the tensor cores work: they
// read words with the pattern and verify them, as fast as the caller asks. That is how power is
// driven to the limit.

#define HOPPER_ROWS 128
#define HOPPER_COLUMNS 256
#define HOPPER_SLICE 128
#define HOPPER_SLOTS 4
#define HOPPER_A_BYTES (HOPPER_ROWS * HOPPER_SLICE)
#define HOPPER_B_BYTES (HOPPER_COLUMNS * HOPPER_SLICE)
#define HOPPER_SLOT_BYTES (HOPPER_A_BYTES + HOPPER_B_BYTES)
#define HOPPER_THREADS 384

#ifndef HOPPER_COMMON
#define HOPPER_COMMON
// Barriers and the progress of the copying thread lie below the slots; slots are aligned to 1 KiB
// because the swizzle is a function of the address.
#define HOPPER_FULL(slot) (shared + (slot) * 8)
#define HOPPER_EMPTY(slot) (shared + 64 + (slot) * 8)
#define HOPPER_PROGRESS 128
#define HOPPER_SLOTS_AT 1024

// How a warpgroup's instruction finds an operand: rows of 128 bytes, swizzled; eight rows are 1 KiB,
// and the next eight follow. In units of 16 bytes: address, (unused) 1, 64; layout 1 in bits 62, 63.
DEVICE u64 hopper_descriptor(u32 address) {
    return (u64)(address >> 4 & 0x3fff) | 1ull << 16 | 64ull << 32 | 1ull << 62;
}

// Tile of this block in the cluster's `number`th pair; pairs are two tiles high.
DEVICE tile_place hopper_tile(const struct gemm_args *args, u32 number, u32 rank) {
    tile_place place = tile_at(number, args->rows / (2 * HOPPER_ROWS),
                               args->columns / HOPPER_COLUMNS, args->group);
    place.row = place.row * 2 + rank;
    return place;
}

DEVICE u32 hopper_pairs(const struct gemm_args *args) {
    return args->rows / (2 * HOPPER_ROWS) * (args->columns / HOPPER_COLUMNS);
}

// The thread that drives the copy engine.
DEVICE void hopper_copy(const struct hopper_args *args, u32 shared, u32 rank, u32 slices) {
    volatile u32 *progress = (volatile u32 *)shared_pointer(HOPPER_PROGRESS);
    u32 slot = 0, parity = 0, issued = 0;
    tensor_prefetch(&args->a);
    tensor_prefetch(&args->b);
    for (u32 pair = block_x() / 2; pair < hopper_pairs(&args->gemm); pair += blocks_x() / 2) {
        tile_place place = hopper_tile(&args->gemm, pair, rank);
        NO_UNROLL for (u32 slice = 0; slice < slices; slice++) {
            // The first time round a slot is empty: the phase before the first one counts as over.
            barrier_wait(HOPPER_EMPTY(slot), parity ^ 1);
            u32 at = shared + HOPPER_SLOTS_AT + slot * HOPPER_SLOT_BYTES;
            barrier_expect(HOPPER_FULL(slot), HOPPER_SLOT_BYTES);
            tensor_load(at, &args->a, slice * HOPPER_SLICE, place.row * HOPPER_ROWS,
                        HOPPER_FULL(slot));
            tensor_load_multicast(at + HOPPER_A_BYTES + rank * (HOPPER_B_BYTES / 2), &args->b,
                                  slice * HOPPER_SLICE,
                                  place.column * HOPPER_COLUMNS + rank * (HOPPER_COLUMNS / 2),
                                  HOPPER_FULL(slot), 3);
            if (++slot == HOPPER_SLOTS) {
                slot = 0;
                parity ^= 1;
            }
            *progress = ++issued;
        }
    }
    *progress = ~0u;
}

// A warp that loads the memory: `stream_rate` units in 16 slices, four accesses of a thread in
// flight.
DEVICE void hopper_stream(const struct hopper_args *args, u32 warp, u32 lane) {
    volatile u32 *progress = (volatile u32 *)shared_pointer(HOPPER_PROGRESS);
    u64 unit = ((u64)args->stream_phase + block_x() * 3 + warp) * 4 % args->stream_units;
    u64 uncounted = 0;
    u32 done = 0;
    for (;;) {
        u32 issued = *progress;
        if (issued == ~0u)
            break;
        if (done >= (u32)((u64)issued * args->stream_rate >> 4)) {
            pause_ns(200);
            continue;
        }
        u64 at = args->stream_base + unit * 512 + lane * 16;
        vector128 got[4];
        UNROLL for (u32 i = 0; i < 4; i++)
            got[i] = load_stream(at + i * 512);
        UNROLL for (u32 i = 0; i < 4; i++) {
            u64 word = args->stream_first_word + (unit + i) * 64 + lane * 2;
            vector128 must = pattern_vector(args->stream_seed, word, args->stream_mask);
            if (((got[i].low ^ must.low) | (got[i].high ^ must.high)) != 0) {
                if (got[i].low != must.low)
                    log_error(args->stream_errors, &uncounted, word, must.low, got[i].low);
                if (got[i].high != must.high)
                    log_error(args->stream_errors, &uncounted, word + 1, must.high, got[i].high);
            }
        }
        done += 4;
        // Units are a multiple of four.
        unit += (u64)blocks_x() * 12;
        if (unit >= args->stream_units)
            unit %= args->stream_units;
    }
    log_rest(args->stream_errors, uncounted);
}
#endif

KERNEL(HOPPER_NAME, hopper_args, HOPPER_THREADS, 1) {
    u32 shared = shared_base();
    u32 thread = thread_x(), group = thread / 128;
    u32 rank = cluster_rank();
    u32 slices = args.gemm.depth * element_bytes(args.gemm.type) / HOPPER_SLICE;

    if (thread == 0) {
        for (u32 slot = 0; slot < HOPPER_SLOTS; slot++) {
            barrier_make(HOPPER_FULL(slot), 1);
            barrier_make(HOPPER_EMPTY(slot), 4);
        }
        *(volatile u32 *)shared_pointer(HOPPER_PROGRESS) = 0;
        barrier_fence();
    }
    sync_cluster();

    if (group == 0) {
        registers_give_back(40);
        u32 warp = thread / 32;
        if (thread == 0)
            hopper_copy(&args, shared, rank, slices);
        else if (warp != 0 && args.stream_rate != 0)
            hopper_stream(&args, warp - 1, thread % 32);
    } else {
        registers_take(232);
        u32 lane = thread % 32, warp = thread / 32 % 4;
        u32 slot = 0, parity = 0;
        float sum[128];
        UNROLL for (u32 i = 0; i < 128; i++)
            sum[i] = 0;
        for (u32 pair = block_x() / 2; pair < hopper_pairs(&args.gemm); pair += blocks_x() / 2) {
            tile_place place = hopper_tile(&args.gemm, pair, rank);
            u32 before = 0;
            NO_UNROLL for (u32 slice = 0; slice < slices; slice++) {
                barrier_wait(HOPPER_FULL(slot), parity);
                u32 at = shared + HOPPER_SLOTS_AT + slot * HOPPER_SLOT_BYTES;
                u64 a = hopper_descriptor(at + (group - 1) * (HOPPER_A_BYTES / 2));
                u64 b = hopper_descriptor(at + HOPPER_A_BYTES);
                wgmma_fence();
                // The first of a tile begins anew.
                UNROLL for (u32 step = 0; step < 4; step++)
                    HOPPER_STEP(sum, a + step * 2, b + step * 2, (slice | step) != 0);
                wgmma_commit();
                // What was begun in the slice before is done now, so its slot can be filled again.
                wgmma_wait(1);
                if (slice != 0 && thread % 128 < 2)
                    barrier_arrive_at(HOPPER_EMPTY(before), thread % 128);
                before = slot;
                if (++slot == HOPPER_SLOTS) {
                    slot = 0;
                    parity ^= 1;
                }
            }
            wgmma_wait(0);
            wgmma_settle(sum);
            if (thread % 128 < 2)
                barrier_arrive_at(HOPPER_EMPTY(before), thread % 128);

            u64 row = (u64)place.row * HOPPER_ROWS + (group - 1) * 64 + warp * 16 + lane / 4;
            u64 column = (u64)place.column * HOPPER_COLUMNS;
            u64 to = args.gemm.c + (row * args.gemm.columns + column) * 4;
            UNROLL for (u32 i = 0; i < 32; i += 2) {
                store_groups(to + i * 32, lane, sum + i * 4, sum + i * 4 + 4);
                store_groups(to + i * 32 + (u64)args.gemm.columns * 32, lane, sum + i * 4 + 2,
                             sum + i * 4 + 6);
            }
            if (thread == 128)
                store32(args.gemm.tile_sm + (u64)(place.row * (args.gemm.columns / HOPPER_COLUMNS) +
                                                  place.column) * 4,
                        multiprocessor());
        }
    }
    // Nobody leaves while the other block may still send to it or arrive at its barriers. Threads of
    // the copying warp come here at different times; the cluster's barrier wants them together.
    sync_warp();
    sync_cluster();
}

#undef HOPPER_NAME
#undef HOPPER_STEP
