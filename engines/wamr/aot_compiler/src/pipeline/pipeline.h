// The LLVM pass pipeline, from WAMR's unoptimized code to what the code generator takes.

#ifndef IREE_WASM_HAL_WAMR_AOTC_PIPELINE_H_
#define IREE_WASM_HAL_WAMR_AOTC_PIPELINE_H_

#include <llvm-c/TargetMachine.h>
#include <llvm-c/Types.h>

#include "iree_wasm_hal_wamr_aotc.h"

#ifdef __cplusplus
extern "C" {
#endif

// Optimizes a module whose functions carry their target attributes already. Thread-safe.
void iwh_aotc_optimize(
    LLVMModuleRef module, LLVMTargetMachineRef machine, const iwh_aotc_options *options);

#ifdef __cplusplus
}
#endif

#endif
