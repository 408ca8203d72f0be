// The product as anybody would write it down: one thread an element, one multiplication after the
// other, in the order of the depth. Slow, and independent of tensor cores, of shared memory and of
// the tiles of the other kernels. Exact operands give the same bits here as everywhere.

DEVICE float element_float(u32 type, u64 address, u64 index) {
    if (type == ELEMENT_BF16)
        return as_float(load16(address + index * 2) << 16);
    if (type == ELEMENT_F32)
        return as_float(load32(address + index * 4));
    // e4m3: sign, four bits of exponent with a bias of 7, three of mantissa; no infinity.
    u32 bits = load8(address + index);
    u32 exponent = bits >> 3 & 15, mantissa = bits & 7;
    float value;
    if ((bits & 0x7f) == 0x7f)
        value = as_float(0x7fffffff);
    else if (exponent == 0)
        value = (float)mantissa * 0.001953125f; // 2^-9
    else
        value = as_float((exponent + 120) << 23 | mantissa << 20);
    return bits & 0x80 ? -value : value;
}

KERNEL(gemm_reference, gemm_args, 256, 1) {
    u64 elements = (u64)args.rows * args.columns;
    u64 step = (u64)blocks_x() * 256;
    for (u64 at = (u64)block_x() * 256 + thread_x(); at < elements; at += step) {
        u64 a = at / args.columns * args.depth, b = at % args.columns * args.depth;
        if (args.type == ELEMENT_F64) {
            double sum = 0;
            NO_UNROLL for (u32 k = 0; k < args.depth; k++)
                sum = fma_double(as_double(load64(args.a + (a + k) * 8)),
                                 as_double(load64(args.b + (b + k) * 8)), sum);
            store64(args.c + at * 8, double_bits(sum));
        } else {
            float sum = 0;
            NO_UNROLL for (u32 k = 0; k < args.depth; k++)
                sum = fma_float(element_float(args.type, args.a, a + k),
                                element_float(args.type, args.b, b + k), sum);
            store32(args.c + at * 4, float_bits(sum));
        }
    }
}
