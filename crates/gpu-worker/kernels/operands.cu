// Operands of the matrix products, from seed and index alone: the host makes the same ones
// (crates/gpu-worker/src/cuda/operands.rs) for its oracle, and never reads the GPU's.
//
// Exact operands are small integers. Every partial sum of a product, in whatever order, is then an
// integer that the accumulator holds without rounding, so that the order in which a tensor core
// adds up makes no difference and one right answer exists. The accumulator of fp8 products keeps
// fewer bits than float's 24 (14 were seen on Hopper), so fp8 operands are -1, 0 or 1, half of
// them 0: over a depth of 8192 the magnitudes add up to about 2^11.
//
// Random operands have random signs and mantissas and a spread of exponents: they toggle the most
// wires and draw the most power.

DEVICE u64 operand_random(u64 seed, u64 index) { return pattern_word(seed, index); }

// Largest magnitude of an exact operand.
DEVICE i32 operand_amplitude(u32 type) {
    if (type == ELEMENT_BF16)
        return 15; // 15 * 15 * 8192 < 2^21
    if (type == ELEMENT_F32)
        return 31; // 31 * 31 * 8192 < 2^23
    return 1 << 19; // 2^38 * 8192 = 2^51
}

DEVICE i32 exact_integer(u32 type, u64 random) {
    if (type == ELEMENT_E4M3) {
        u32 two = (u32)(random & 3);
        return two == 0 ? 1 : two == 1 ? -1 : 0;
    }
    i32 amplitude = operand_amplitude(type);
    // The upper bits times the range: even enough, and without a division.
    u64 range = 2 * (u64)amplitude + 1;
    return (i32)((random >> 32) * range >> 32) - amplitude;
}

DEVICE u64 operand_bits(u32 type, u32 kind, u64 random) {
    if (kind == OPERAND_EXACT) {
        i32 n = exact_integer(type, random);
        if (type == ELEMENT_BF16)
            return float_bits((float)n) >> 16; // an integer below 256 has all its bits in there
        if (type == ELEMENT_E4M3)
            return n == 0 ? 0 : n > 0 ? 0x38 : 0xb8;
        if (type == ELEMENT_F32)
            return float_bits((float)n);
        return double_bits((double)n);
    }
    // Sign and mantissa at random, exponents of 2^-2 to 2^1.
    u64 two = random >> 62;
    if (type == ELEMENT_BF16)
        return (random & 0x807f) | (125 + two) << 7;
    if (type == ELEMENT_E4M3)
        return (random & 0x87) | (5 + two) << 3;
    if (type == ELEMENT_F32)
        return (random & 0x807fffff) | (125 + two) << 23;
    return (random & 0x800fffffffffffffull) | (1021 + two) << 52;
}

// Bytes of an element.
DEVICE u32 element_bytes(u32 type) {
    return type == ELEMENT_BF16 ? 2 : type == ELEMENT_E4M3 ? 1 : type == ELEMENT_F32 ? 4 : 8;
}

// Each thread writes eight bytes at a time; the number of elements is a multiple of eight.
KERNEL(fill_operands, fill_args, 256, 4) {
    u32 bytes = element_bytes(args.type);
    u64 each = 8 / bytes;
    u64 words = args.elements / each;
    u64 step = (u64)blocks_x() * 256;
    for (u64 at = (u64)block_x() * 256 + thread_x(); at < words; at += step) {
        u64 word = 0;
        for (u32 i = 0; i < each; i++) {
            u64 bits = operand_bits(args.type, args.kind, operand_random(args.seed, at * each + i));
            word |= bits << (i * bytes * 8);
        }
        store64(args.to + at * 8, word);
    }
}
