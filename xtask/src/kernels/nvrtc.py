"""Compiles the kernels through NVRTC's C API. Run by `cargo xtask kernels`.

Its argument is a file: {"library", "sources": {name: text}, "jobs": [{"file", "architecture",
"defines"}], "to"}. Writes each image below "to", and on standard output what the compiler said of it.
Nothing of the toolkit but the NVRTC library is used: no header, no compiler of the host.
"""

import ctypes
import json
import os
import re
import sys


def check(code, what):
    if code != 0:
        sys.exit(f"{what}: NVRTC error {code}")


def text_of(nvrtc, program, name):
    size = ctypes.c_size_t()
    check(getattr(nvrtc, f"nvrtcGet{name}Size")(program, ctypes.byref(size)), name)
    buffer = ctypes.create_string_buffer(size.value)
    check(getattr(nvrtc, f"nvrtcGet{name}")(program, buffer), name)
    return buffer.raw


def usage(log):
    """Registers, stack and spills of each kernel, from what the assembler says of it."""
    kernels = {}
    name = None
    for line in log.splitlines():
        if found := re.search(r"Compiling entry function '(\w+)'", line):
            name = found[1]
            kernels[name] = {}
            of_kernel = True
        elif found := re.search(r"Function properties for (\w+)", line):
            of_kernel = found[1] == name
        elif found := re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+)", line):
            if of_kernel:
                kernels[name]["stack_bytes"] = int(found[1])
                kernels[name]["spill_bytes"] = int(found[2]) + int(found[3])
        elif found := re.search(r"Used (\d+) registers", line):
            kernels[name]["registers"] = int(found[1])
    return kernels


def compile_one(nvrtc, job, sources):
    headers = sorted(name for name in sources if name != "all.cu")
    strings = ctypes.c_char_p * len(headers)
    program = ctypes.c_void_p()
    check(
        nvrtc.nvrtcCreateProgram(
            ctypes.byref(program),
            sources["all.cu"].encode(),
            b"all.cu",
            len(headers),
            strings(*[sources[name].encode() for name in headers]),
            strings(*[name.encode() for name in headers]),
        ),
        "nvrtcCreateProgram",
    )
    portable = job["architecture"].startswith("compute_")
    options = [f"--gpu-architecture={job['architecture']}", "--std=c++17"]
    options += [f"--define-macro={define}" for define in job["defines"]]
    if not portable:
        options.append("--ptxas-options=-v")
    arguments = (ctypes.c_char_p * len(options))(*[option.encode() for option in options])
    code = nvrtc.nvrtcCompileProgram(program, len(options), arguments)
    log = text_of(nvrtc, program, "ProgramLog").rstrip(b"\0").decode()
    if code != 0:
        sys.exit(f"{job['file']}: {log}")
    image = text_of(nvrtc, program, "PTX" if portable else "CUBIN")
    nvrtc.nvrtcDestroyProgram(ctypes.byref(program))
    warnings = [line for line in log.splitlines() if "warning" in line or "Performance" in line]
    return image, {"kernels": usage(log), "warnings": warnings}


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        wanted = json.load(file)
    nvrtc = ctypes.CDLL(wanted["library"])
    told = {}
    for job in wanted["jobs"]:
        image, told[job["file"]] = compile_one(nvrtc, job, wanted["sources"])
        with open(os.path.join(wanted["to"], job["file"]), "wb") as file:
            file.write(image)
    json.dump(told, sys.stdout)


main()
