#!/bin/sh
# usage: native.sh IREE_COMPILE
set -eu
cd "$(dirname "$0")"
"$1" model.mlir -o native-x86_64.vmfb \
  --iree-hal-target-device=local \
  --iree-hal-local-target-device-backends=llvm-cpu \
  --iree-llvmcpu-target-triple=x86_64-unknown-linux-gnu \
  --iree-llvmcpu-target-cpu=generic \
  --iree-llvmcpu-debug-symbols=false
