#!/bin/sh
# Compiles add.mlir with one compiler release:
#   regenerate.sh RELEASE PATH_OF_IREE_COMPILE
# Checked in: add-3.11.vmfb, add-3.12.vmfb and add-3.13.vmfb, each made with
# iree-base-compiler RELEASE.0 from PyPI.
set -eu
cd "$(dirname "$0")"
exec "$2" add.mlir -o "add-$1.vmfb" \
  --iree-hal-target-device=local \
  --iree-hal-local-target-device-backends=llvm-cpu \
  --iree-llvmcpu-target-triple=wasm32-unknown-unknown \
  --iree-llvmcpu-link-embedded=false \
  --iree-llvmcpu-target-cpu-features=+simd128
