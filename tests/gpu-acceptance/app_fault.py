"""An application that goes wrong on the first GPU: `app_fault.py WHAT`.

The driver ends it and says so in the kernel log. Nothing but Python and the driver is needed.
Exit: 0 it went wrong as it was told to, 1 it did not.
"""

import ctypes
import sys

KERNEL = """
.version 7.0
.target sm_70
.address_size 64
.visible .entry fault(.param .u64 place)
{
    .reg .u64 %place;
    .reg .u32 %word;
    ld.param.u64 %place, [place];
    mov.u32 %word, 1;
    BODY
    ret;
}
"""

STORE = "st.global.u32 [%place], %word;"
# What the kernel does, and how far from allocated memory.
FAULTS = {
    "illegal-address": (STORE, 1 << 44),
    "misaligned-address": (STORE, 1),
    "trap": ("trap;", 0),
}


def main():
    body, offset = FAULTS[sys.argv[1]]
    cuda = ctypes.CDLL("libcuda.so.1")

    def call(name, *args):
        code = getattr(cuda, name)(*args)
        if code:
            sys.exit(f"{name}: error {code}")

    device, context = ctypes.c_int(), ctypes.c_void_p()
    module, function = ctypes.c_void_p(), ctypes.c_void_p()
    memory = ctypes.c_uint64()
    call("cuInit", 0)
    call("cuDeviceGet", ctypes.byref(device), 0)
    call("cuCtxCreate_v2", ctypes.byref(context), 0, device)
    text = KERNEL.replace("BODY", body).encode() + b"\0"
    call("cuModuleLoadData", ctypes.byref(module), text)
    call("cuModuleGetFunction", ctypes.byref(function), module, b"fault")
    call("cuMemAlloc_v2", ctypes.byref(memory), ctypes.c_size_t(4096))
    place = ctypes.c_uint64(memory.value + offset)
    parameters = (ctypes.c_void_p * 1)(ctypes.addressof(place))
    call("cuLaunchKernel", function, 1, 1, 1, 1, 1, 1, 0, None, parameters, None)
    code = cuda.cuCtxSynchronize()
    print(f"error {code}")
    sys.exit(0 if code else 1)


main()
