// Which tile of the result a block works on, and how accumulators leave for it.
#pragma once

typedef struct {
    u32 row, column; // of tiles
} tile_place;

// Tiles are taken column by column within a group of `group` rows of tiles, so that those that are
// worked on at the same time share operands in the cache.
DEVICE tile_place tile_at(u32 number, u32 rows, u32 columns, u32 group) {
    u32 in_group = group * columns;
    u32 first = number / in_group * group;
    u32 height = rows - first < group ? rows - first : group;
    u32 rest = number % in_group;
    tile_place place;
    place.row = first + rest % height;
    place.column = rest / height;
    return place;
}

// Stores accumulators of two neighbouring groups of eight columns, as matrix instructions leave them:
// lane q of four has columns 2q and 2q + 1 of both. Even lanes give their half of the second group
// for the odd lane's half of the first one, so that each stores four columns at once: 64 bytes of a
// row by four lanes, in half as many instructions. `address` is of column 0 of the first group.
DEVICE void store_groups(u64 address, u32 lane, const float first[2], const float second[2]) {
    u32 odd = lane & 1;
    float a = shuffle_xor(odd ? first[0] : second[0], 1);
    float b = shuffle_xor(odd ? first[1] : second[1], 1);
    u64 to = address + (odd ? 32 : 0) + (lane % 4 / 2) * 16;
    if (odd)
        store_float4(to, a, b, second[0], second[1]);
    else
        store_float4(to, first[0], first[1], a, b);
}
