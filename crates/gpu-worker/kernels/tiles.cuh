// Which tile of the result a block works on.
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
