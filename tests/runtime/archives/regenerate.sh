#!/bin/sh
# Compiles model.mlir with each supported release of iree-base-compiler. Each release goes into an
# environment of its own: pip install 'iree-base-compiler==3.11.*'.
# usage: regenerate.sh RELEASE IREE_COMPILE   (as in: regenerate.sh 3.11 venv311/bin/iree-compile)
set -eu
cd "$(dirname "$0")"
"$2" model.mlir -o "model-$1.vmfb" \
  --iree-hal-target-device=local \
  --iree-hal-local-target-device-backends=llvm-cpu \
  --iree-llvmcpu-target-triple=wasm32-unknown-unknown \
  --iree-llvmcpu-link-embedded=false \
  --iree-llvmcpu-target-cpu-features=+simd128 \
  --iree-llvmcpu-debug-symbols=false
