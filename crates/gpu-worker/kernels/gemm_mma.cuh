// Product by `mma.sync`, the matrix instruction of a warp: Ampere, Ada, consumer Blackwell; it runs
// on Hopper and data-centre Blackwell too, at a fraction of what those can do. Included once a type
// (gemm_mma.cu): MMA_NAME, MMA_STEP.
//
// Tile 256 x 128, eight warps of 64 x 64 each: a warp then reads 4 KiB of shared memory for each
// 64 x 64 x 32 bytes of depth, half of what shared memory can give at full rate. Depth comes in
// slices of 64 bytes (32 bf16, 64 e4m3: the fragments of both have the same bytes in the same
// places). Four slices of 24 KiB are in shared memory, which fits where a block may have 99 KiB.
//
// A row of a slice has 64 bytes, four pieces of 16; two rows make a line of all banks. Piece p of
// row r lies at place p ^ (r / 2 % 4): eight rows of one piece, which `ldmatrix` reads at once, then
// touch every bank once.

#define MMA_ROWS 256
#define MMA_COLUMNS 128
#define MMA_SLICE 64
#define MMA_SLOTS 4
#define MMA_SLOT_BYTES ((MMA_ROWS + MMA_COLUMNS) * MMA_SLICE)
#define MMA_THREADS 256

#ifndef MMA_COMMON
#define MMA_COMMON
// Where a piece of 16 bytes of a row lies in a slice.
DEVICE u32 mma_place(u32 row, u32 piece) {
    return row * MMA_SLICE + (piece ^ (row >> 1 & 3)) * 16;
}

// Begins to fetch a slice of both operands. `from_*` are the thread's own first pieces.
DEVICE void mma_fetch(u32 slot, u64 from_a, u64 from_b, u64 pitch, u32 thread) {
    u32 row = thread / 4, piece = thread % 4;
    UNROLL for (u32 i = 0; i < MMA_ROWS / 64; i++)
        copy_async16(slot + mma_place(row + i * 64, piece), from_a + i * 64 * pitch);
    UNROLL for (u32 i = 0; i < MMA_COLUMNS / 64; i++)
        copy_async16(slot + MMA_ROWS * MMA_SLICE + mma_place(row + i * 64, piece),
                     from_b + i * 64 * pitch);
}

// Fragments of one step (32 bytes of depth): 64 rows of A, 64 columns of B.
typedef struct {
    u32 a[4][4];
    u32 b[4][4];
} mma_fragments;

DEVICE void mma_load(mma_fragments *f, u32 slot, u32 step, u32 row, u32 column, u32 lane) {
    UNROLL for (u32 i = 0; i < 4; i++)
        load_matrix4(f->a[i], slot + mma_place(row + i * 16 + lane % 16, step * 2 + lane / 16));
    UNROLL for (u32 j = 0; j < 4; j++) {
        u32 at = column + j * 16 + lane / 16 * 8 + lane % 8;
        load_matrix4(f->b[j], slot + MMA_ROWS * MMA_SLICE +
                                  mma_place(at, step * 2 + lane / 8 % 2));
    }
}
#endif

KERNEL(MMA_NAME, gemm_args, MMA_THREADS, 1) {
    u32 shared = shared_base();
    u32 thread = thread_x(), lane = thread % 32, warp = thread / 32;
    u32 warp_row = warp % 4 * 64, warp_column = warp / 4 * 64;
    u32 tiles_across = args.columns / MMA_COLUMNS;
    tile_place place = tile_at(block_x(), args.rows / MMA_ROWS, tiles_across, args.group);
    u64 pitch = (u64)args.depth * element_bytes(args.type);
    u32 slices = (u32)(pitch / MMA_SLICE);
    u64 from_a = args.a + ((u64)place.row * MMA_ROWS + thread / 4) * pitch + thread % 4 * 16;
    u64 from_b = args.b + ((u64)place.column * MMA_COLUMNS + thread / 4) * pitch + thread % 4 * 16;

    float sum[4][8][4];
    UNROLL for (u32 i = 0; i < 4; i++) {
        UNROLL for (u32 j = 0; j < 8; j++) {
            UNROLL for (u32 k = 0; k < 4; k++)
                sum[i][j][k] = 0;
        }
    }
    UNROLL for (u32 slot = 0; slot < MMA_SLOTS - 1; slot++) {
        if (slot < slices)
            mma_fetch(shared + slot * MMA_SLOT_BYTES, from_a + slot * MMA_SLICE,
                      from_b + slot * MMA_SLICE, pitch, thread);
        copy_async_commit();
    }
    copy_async_wait(MMA_SLOTS - 2);
    sync_threads();
    mma_fragments fragments[2];
    mma_load(&fragments[0], shared, 0, warp_row, warp_column, lane);

    u32 reading = 0, writing = MMA_SLOTS - 1;
    NO_UNROLL for (u32 slice = 0; slice < slices; slice++) {
        UNROLL for (u32 step = 0; step < 2; step++) {
            if (step == 0) {
                mma_load(&fragments[1], shared + reading * MMA_SLOT_BYTES, 1, warp_row,
                         warp_column, lane);
                // The slot that is filled now was last read in the slice before; everybody has
                // passed the barrier of that slice's second step since.
                u32 ahead = slice + MMA_SLOTS - 1;
                if (ahead < slices)
                    mma_fetch(shared + writing * MMA_SLOT_BYTES, from_a + (u64)ahead * MMA_SLICE,
                              from_b + (u64)ahead * MMA_SLICE, pitch, thread);
                copy_async_commit();
                writing = (writing + 1) % MMA_SLOTS;
            } else {
                // The next slice is there, for everybody; its first fragments come while these are
                // worked on. After the last slice they are of an old one and nobody uses them.
                copy_async_wait(MMA_SLOTS - 2);
                sync_threads();
                reading = (reading + 1) % MMA_SLOTS;
                mma_load(&fragments[0], shared + reading * MMA_SLOT_BYTES, 0, warp_row,
                         warp_column, lane);
            }
            UNROLL for (u32 i = 0; i < 4; i++) {
                UNROLL for (u32 j = 0; j < 8; j++)
                    MMA_STEP(sum[i][j], fragments[step].a[i], fragments[step].b[j / 2][j % 2 * 2],
                             fragments[step].b[j / 2][j % 2 * 2 + 1]);
            }
        }
    }

    u64 row = (u64)place.row * MMA_ROWS + warp_row + lane / 4;
    u64 column = (u64)place.column * MMA_COLUMNS + warp_column;
    UNROLL for (u32 i = 0; i < 4; i++) {
        UNROLL for (u32 j = 0; j < 8; j += 2) {
            u64 at = args.c + ((row + i * 16) * args.columns + column + j * 8) * 4;
            store_groups(at, lane, sum[i][j], sum[i][j + 1]);
            store_groups(at + (u64)args.columns * 32, lane, sum[i][j] + 2, sum[i][j + 1] + 2);
        }
    }
    if (thread == 0)
        store32(args.tile_sm + (u64)(place.row * tiles_across + place.column) * 4,
                multiprocessor());
}

#undef MMA_NAME
#undef MMA_STEP
