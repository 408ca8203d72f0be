#!/usr/bin/env bash
# GPU acceptance: `run.sh [KIT [OUT [OPTION...]]]`.
# KIT: the directory that `cargo xtask acceptance-kit` made (default: where this script is).
# OUT: where the report goes (default: gpu-acceptance-report below the current directory).
# OPTION: --minutes N (9.5 for all of it), --cuda-only.
# Beside Cupel's worker PyTorch is measured, where `python3` has it.
# Exit: 0 everything agreed, 1 something did not, 2 it could not be run, 3 no NVIDIA driver here.
set -euo pipefail

kit=${1:-$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")}
out=${2:-$PWD/gpu-acceptance-report}

# Said here already, so that it can be said without a kit.
smi=
for directory in ${PATH//:/ } /usr/bin /usr/local/nvidia/bin /run/nvidia/driver/usr/bin; do
    if [ -x "$directory/nvidia-smi" ]; then smi=$directory/nvidia-smi; break; fi
done
if [ -z "$smi" ]; then
    echo "no NVIDIA driver here: there is no nvidia-smi; nothing was tested"
    exit 3
fi

for program in cupel cupel-gpu-worker cupel-gpu-acceptance; do
    if [ ! -x "$kit/$program" ]; then
        # A copy may have lost the permission to run.
        chmod +x "$kit/$program" 2>/dev/null || {
            echo "error: $kit has no $program; make a kit with: cargo xtask acceptance-kit" >&2
            exit 2
        }
    fi
done
exec "$kit/cupel-gpu-acceptance" run --kit "$kit" --out "$out" "${@:3}"
