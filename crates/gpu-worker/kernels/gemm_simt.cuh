// Product on the units that are no tensor cores: SIMT_TYPE, tiles of SIMT_TILE x SIMT_TILE, each
// thread SIMT_EACH x SIMT_EACH of it. Included once a type (gemm_simt.cu).
//
// Tiles of operands are transposed on their way into shared memory, so that a thread reads its rows
// and columns as vectors; the next tiles are fetched into registers while these are worked on.

#define SIMT_DEPTH 16
#define SIMT_THREADS 256
#define SIMT_PITCH (SIMT_TILE + 4)
// Elements of each operand's tile that one thread fetches.
#define SIMT_FETCH (SIMT_TILE * SIMT_DEPTH / SIMT_THREADS)
#define SIMT_BYTES ((u32)sizeof(SIMT_TYPE))

KERNEL(SIMT_NAME, gemm_args, SIMT_THREADS, 1) {
    SIMT_TYPE *left = (SIMT_TYPE *)shared_pointer(0);
    SIMT_TYPE *right = left + SIMT_DEPTH * SIMT_PITCH;
    u32 tiles_down = args.rows / SIMT_TILE, tiles_across = args.columns / SIMT_TILE;
    u32 thread = thread_x();
    // Fetching: 16 elements of depth by rows. Working: 16 x 16 threads over the tile.
    u32 fetch_depth = thread % SIMT_DEPTH, fetch_row = thread / SIMT_DEPTH;
    u32 across = thread % 16, down = thread / 16;

    for (u32 tile = block_x(); tile < tiles_down * tiles_across; tile += blocks_x()) {
        tile_place place = tile_at(tile, tiles_down, tiles_across, args.group);
        u64 a = args.a + ((u64)place.row * SIMT_TILE + fetch_row) * args.depth * SIMT_BYTES;
        u64 b = args.b + ((u64)place.column * SIMT_TILE + fetch_row) * args.depth * SIMT_BYTES;
        u64 row_step = (u64)(SIMT_THREADS / SIMT_DEPTH) * args.depth * SIMT_BYTES;
        SIMT_TYPE sum[SIMT_EACH][SIMT_EACH];
        SIMT_TYPE next_left[SIMT_FETCH], next_right[SIMT_FETCH];
        UNROLL for (u32 i = 0; i < SIMT_EACH; i++) {
            UNROLL for (u32 j = 0; j < SIMT_EACH; j++)
                sum[i][j] = 0;
        }
        UNROLL for (u32 i = 0; i < SIMT_FETCH; i++) {
            next_left[i] = SIMT_LOAD(a + i * row_step + fetch_depth * SIMT_BYTES);
            next_right[i] = SIMT_LOAD(b + i * row_step + fetch_depth * SIMT_BYTES);
        }
        for (u32 k = 0; k < args.depth; k += SIMT_DEPTH) {
            sync_threads();
            UNROLL for (u32 i = 0; i < SIMT_FETCH; i++) {
                u32 at = fetch_depth * SIMT_PITCH + fetch_row + i * (SIMT_THREADS / SIMT_DEPTH);
                left[at] = next_left[i];
                right[at] = next_right[i];
            }
            sync_threads();
            if (k + SIMT_DEPTH < args.depth) {
                u64 along = (u64)(k + SIMT_DEPTH + fetch_depth) * SIMT_BYTES;
                UNROLL for (u32 i = 0; i < SIMT_FETCH; i++) {
                    next_left[i] = SIMT_LOAD(a + i * row_step + along);
                    next_right[i] = SIMT_LOAD(b + i * row_step + along);
                }
            }
            UNROLL for (u32 d = 0; d < SIMT_DEPTH; d++) {
                SIMT_TYPE l[SIMT_EACH], r[SIMT_EACH];
                // Halves of the thread's elements lie half a tile apart: neighbouring threads then
                // read neighbouring banks.
                UNROLL for (u32 i = 0; i < SIMT_EACH; i++) {
                    u32 half = i / (SIMT_EACH / 2), at = i % (SIMT_EACH / 2);
                    u32 offset = half * (SIMT_TILE / 2) + at;
                    l[i] = left[d * SIMT_PITCH + offset + down * (SIMT_EACH / 2)];
                    r[i] = right[d * SIMT_PITCH + offset + across * (SIMT_EACH / 2)];
                }
                UNROLL for (u32 i = 0; i < SIMT_EACH; i++) {
                    UNROLL for (u32 j = 0; j < SIMT_EACH; j++)
                        sum[i][j] = SIMT_FMA(l[i], r[j], sum[i][j]);
                }
            }
        }
        UNROLL for (u32 i = 0; i < SIMT_EACH; i++) {
            u32 row = i / (SIMT_EACH / 2) * (SIMT_TILE / 2) + down * (SIMT_EACH / 2) +
                      i % (SIMT_EACH / 2);
            UNROLL for (u32 j = 0; j < SIMT_EACH; j++) {
                u32 column = j / (SIMT_EACH / 2) * (SIMT_TILE / 2) + across * (SIMT_EACH / 2) +
                             j % (SIMT_EACH / 2);
                u64 index = ((u64)place.row * SIMT_TILE + row) * args.columns +
                            (u64)place.column * SIMT_TILE + column;
                SIMT_STORE(args.c + index * SIMT_BYTES, sum[i][j]);
            }
        }
        if (thread == 0 && args.tile_sm != 0)
            store32(args.tile_sm + (u64)(place.row * tiles_across + place.column) * 4,
                    multiprocessor());
    }
}

#undef SIMT_DEPTH
#undef SIMT_THREADS
#undef SIMT_PITCH
#undef SIMT_FETCH
#undef SIMT_BYTES
#undef SIMT_NAME
#undef SIMT_TYPE
#undef SIMT_TILE
#undef SIMT_EACH
#undef SIMT_LOAD
#undef SIMT_STORE
#undef SIMT_FMA
