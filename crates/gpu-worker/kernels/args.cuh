// What kernels are told, and what they tell. crates/gpu-worker/src/cuda/args.rs has the same
// structures; a test holds their sizes and offsets against these.
//
// Addresses are plain 64-bit numbers: they are of the GPU, and of its peers.
#pragma once

// A word that was not what it must be. 32 bytes.
struct error_record {
    u64 word;     // index of the word: of the tested memory, or of the compared array
    u64 expected; // bits
    u64 got;      // bits
    u32 sm;       // multiprocessor that saw it
    u32 reserved;
};

// All that a launch found: a count of everything, and the first `capacity` of it.
struct error_log {
    u64 total;
    u64 capacity;
    // struct error_record records[capacity]
};

struct memory_args {
    u64 base;          // address of the first word
    u64 first_word;    // its index in the numbering of all tested memory of this GPU
    u64 units;         // how many units of 512 bytes: a multiple of 32
    u64 seed;          // of the pattern
    u64 expected_mask; // 0: the pattern is there, all ones: its inverse
    u64 written_mask;  // likewise, for what is written
    u64 errors;        // struct error_log *
    u64 factor;        // random order: odd factor of the permutation
    u32 order;         // 0 upwards, 1 downwards
    u32 bits;          // random order: the permutation is of 2^bits >= units numbers, bits < 64
};

struct word_list_args {
    u64 addresses; // u64[count]: where
    u64 values;    // u64[count]: read into, or written from
    u64 count;
};

struct stream_args {
    u64 to;      // copied to; a read alone writes a sum of each thread there, to keep it honest
    u64 from;
    u64 vectors; // of 16 bytes
};

struct fill_args {
    u64 to;
    u64 elements;
    u64 seed;
    u32 type; // enum element
    u32 kind; // enum operand
};

struct compare_args {
    u64 left;    // what must be
    u64 right;   // what is
    u64 vectors; // of 16 bytes; words of 4 bytes are numbered
    u64 errors;  // struct error_log *
};

struct sums_args {
    u64 matrix;  // rows x columns, row after row
    u64 sums;    // i64[rows] or i64[columns]
    u64 errors;  // struct error_log *: elements that are no integer, or too large to be one
    u32 rows, columns;
    u32 wide;    // 0: float, 1: double
    u32 slab;    // column sums: rows that one block adds up
};

struct hash_args {
    u64 matrix; // rows x columns words of 4 bytes
    u64 hashes; // u64[tiles], row of tiles after row of tiles
    u32 rows, columns;
    u32 tile_rows, tile_columns;
};

struct gemm_args {
    u64 a; // rows x depth, row after row
    u64 b; // columns x depth, row after row: C = A * transpose(B)
    u64 c; // rows x columns, row after row; float, or double where the operands are
    u64 tile_sm; // u32[tiles]: the multiprocessor of each tile, row of tiles after row
    u32 rows, columns, depth;
    u32 type; // enum element, of a and b
    u32 group; // rows of tiles that are worked on together, so that the cache serves them
    u32 reserved;
};

// As the driver encodes a tensor for the copy engine: opaque, 128 bytes, aligned to 64.
struct ALIGNED(64) tensor_map {
    u64 opaque[16];
};

struct hopper_args {
    struct tensor_map a, b; // first, so that they are aligned
    struct gemm_args gemm;
    // Load on memory beside the tensor cores: words with the pattern, read and verified.
    u64 stream_base, stream_first_word, stream_units, stream_seed, stream_mask;
    u64 stream_errors;
    u32 stream_rate; // units of 512 bytes that each of three warps reads in 16 steps of a tile
    u32 stream_phase; // where this launch begins, so that launches together cover everything
};

// All-reduce over peer memory: this GPU adds up its slice from all and gives it to all.
#define PEERS_MAX 16
struct reduce_args {
    u64 inputs[PEERS_MAX];
    u64 outputs[PEERS_MAX];
    u64 first, vectors; // the slice, in vectors of 16 bytes
    u32 peers;
    u32 reserved;
};
struct reduce_check_args {
    u64 output;
    u64 vectors;
    u64 errors;
    u64 seeds[PEERS_MAX];
    u32 peers;
    u32 reserved;
};
struct reduce_fill_args {
    u64 input;
    u64 vectors;
    u64 seed;
};

// Types of matrix elements.
enum element { ELEMENT_BF16 = 0, ELEMENT_E4M3 = 1, ELEMENT_F32 = 2, ELEMENT_F64 = 3 };
// What operands are made of.
enum operand { OPERAND_EXACT = 0, OPERAND_RANDOM = 1 };
