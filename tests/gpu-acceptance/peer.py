"""What PyTorch measures on the same GPU, for the comparison: cuBLAS, copies, and a plain cuBLAS loop.

`peer.py WHAT SEED SIZE SECONDS` prints one line of JSON. Operands are the same bits as Cupel's
(crates/gpu-worker/kernels/operands.cu): the pattern of the seed, with random signs and mantissas.
"""

import ctypes
import json
import sys
import time

import torch

STRIDE = 0x9E3779B97F4A7C15
FACTOR = 0xBF58476D1CE4E5B9


def wrapped(value):
    """A 64-bit number as PyTorch's signed integers have it."""
    value &= (1 << 64) - 1
    return value - (1 << 64) if value >> 63 else value


def mixed(z):
    # `>>` keeps the sign; a logical shift does not.
    z = z ^ ((z >> 32) & 0xFFFFFFFF)
    z = z * wrapped(FACTOR)
    return z ^ ((z >> 32) & 0xFFFFFFFF)


def pattern_number(seed, index):
    z = (index * STRIDE + seed) & ((1 << 64) - 1)
    z ^= z >> 32
    z = z * FACTOR & ((1 << 64) - 1)
    return z ^ z >> 32


def operand(seed, size, fp8):
    """Element `index` is a function of the seed and the index alone."""
    made = []
    rows = max(1, (1 << 24) // size)
    for first in range(0, size, rows):
        count = min(rows, size - first) * size
        index = torch.arange(first * size, first * size + count, dtype=torch.int64, device="cuda")
        random = mixed(index * wrapped(STRIDE) + wrapped(seed))
        two = (random >> 62) & 3
        if fp8:
            bits = (random & 0x87) | ((5 + two) << 3)
            made.append(bits.to(torch.uint8))
        else:
            bits = (random & 0x807F) | ((125 + two) << 7)
            made.append(bits.to(torch.int32).to(torch.int16))
    flat = torch.cat(made)
    kind = torch.float8_e4m3fn if fp8 else torch.bfloat16
    return flat.view(kind).view(size, size)


def seconds_of(work, seconds):
    """Seconds of one call, the median of rounds of about a fifth of a second."""
    for _ in range(5):
        work()
    torch.cuda.synchronize()
    begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    begin.record()
    work()
    end.record()
    torch.cuda.synchronize()
    calls = max(1, int(0.2 / max(begin.elapsed_time(end) / 1000, 1e-6)))
    rounds = []
    until = time.monotonic() + seconds
    while not rounds or time.monotonic() < until:
        begin.record()
        for _ in range(calls):
            work()
        end.record()
        torch.cuda.synchronize()
        rounds.append(begin.elapsed_time(end) / 1000 / calls)
    return sorted(rounds)[len(rounds) // 2]


def products(seed, size, fp8):
    a = operand(pattern_number(seed, 0xA), size, fp8)
    b = operand(pattern_number(seed, 0xB), size, fp8)
    if not fp8:
        out = torch.empty(size, size, dtype=torch.bfloat16, device="cuda")
        return lambda: torch.mm(a, b.t(), out=out), "torch.mm, bf16 result"
    one = torch.ones((), device="cuda")
    return (
        lambda: torch._scaled_mm(
            a, b.t(), scale_a=one, scale_b=one, out_dtype=torch.bfloat16, use_fast_accum=True
        ),
        "torch._scaled_mm, fast accumulation, bf16 result",
    )


def plain_gemm(size, seconds, kind):
    """Products without tensor cores where cuBLAS lets them be; random data of its own."""
    torch.backends.cuda.matmul.allow_tf32 = False
    a = torch.randn(size, size, dtype=kind, device="cuda")
    b = torch.randn(size, size, dtype=kind, device="cuda")
    out = torch.empty_like(a)
    once = seconds_of(lambda: torch.mm(a, b.t(), out=out), seconds)
    return {"tflops": 2 * size**3 / once / 1e12, "how": f"torch.mm, {kind}, no TF32"}


def gemm(seed, size, seconds, fp8):
    work, how = products(seed, size, fp8)
    once = seconds_of(work, seconds)
    told = {"tflops": 2 * size**3 / once / 1e12, "how": how}
    if not fp8:
        try:
            a = operand(pattern_number(seed, 0xA), size, False)
            b = operand(pattern_number(seed, 0xB), size, False)
            single = seconds_of(
                lambda: torch.mm(a, b.t(), out_dtype=torch.float32), min(seconds, 2)
            )
            told["tflops_fp32_result"] = 2 * size**3 / single / 1e12
        except (TypeError, RuntimeError) as error:
            told["fp32_result"] = str(error).splitlines()[0][:200]
    return told


def copies(seconds):
    size = 8 << 30
    source = torch.empty(size, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    source.random_()
    once = seconds_of(lambda: target.copy_(source), seconds)
    told = {"device_gbps": 2 * size / once / 1e9}
    del target
    size = 1 << 30
    host = torch.empty(size, dtype=torch.uint8, pin_memory=True)
    part = source[:size]
    once = seconds_of(lambda: part.copy_(host, non_blocking=True), seconds / 2)
    told["to_gpu_gbps"] = size / once / 1e9
    once = seconds_of(lambda: host.copy_(part, non_blocking=True), seconds / 2)
    told["to_host_gbps"] = size / once / 1e9
    return told


class Nvml:
    """Energy and limit of the first GPU; NVML needs no package."""

    def __init__(self):
        self.library = ctypes.CDLL("libnvidia-ml.so.1")
        self.library.nvmlInit_v2()
        self.device = ctypes.c_void_p()
        self.library.nvmlDeviceGetHandleByIndex_v2(0, ctypes.byref(self.device))

    def value(self, name, kind):
        value = kind()
        code = getattr(self.library, name)(self.device, ctypes.byref(value))
        return None if code else value.value


def power(seed, size, seconds):
    """A plain loop of products, as gpu-burn and DCGM load a GPU."""
    work, how = products(seed, size, False)
    nvml = Nvml()
    watts, count = [], 0
    begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    began = time.monotonic()
    begin.record()
    energy = None
    while time.monotonic() - began < seconds:
        for _ in range(50):
            work()
        count += 50
        torch.cuda.synchronize()
        if time.monotonic() - began > min(5, seconds / 4):
            if energy is None:
                energy = (
                    time.monotonic(),
                    nvml.value("nvmlDeviceGetTotalEnergyConsumption", ctypes.c_ulonglong),
                )
            milliwatts = nvml.value("nvmlDeviceGetPowerUsage", ctypes.c_uint)
            if milliwatts:
                watts.append(milliwatts / 1000)
    end.record()
    torch.cuda.synchronize()
    told = {
        "how": how,
        "tflops": 2 * size**3 * count / (begin.elapsed_time(end) / 1000) / 1e12,
        "watts": sum(watts) / len(watts) if watts else None,
        "limit": (nvml.value("nvmlDeviceGetEnforcedPowerLimit", ctypes.c_uint) or 0) / 1000,
    }
    now = nvml.value("nvmlDeviceGetTotalEnergyConsumption", ctypes.c_ulonglong)
    if energy and energy[1] and now:
        told["watts_by_energy"] = (now - energy[1]) / 1000 / (time.monotonic() - energy[0])
    return told


def main():
    what, seed, size, seconds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
    torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False
    told = {"torch": torch.__version__, "gpu": torch.cuda.get_device_name(0)}
    if what == "bf16":
        told |= gemm(seed, size, seconds, False)
    elif what == "fp8":
        told |= gemm(seed, size, seconds, True)
    elif what == "fp32":
        told |= plain_gemm(size, seconds, torch.float32)
    elif what == "fp64":
        told |= plain_gemm(size, seconds, torch.float64)
    elif what == "copies":
        told |= copies(seconds)
    elif what == "power":
        told |= power(seed, size, seconds)
    else:
        sys.exit(f"no such thing: {what}")
    print(json.dumps(told))


main()
