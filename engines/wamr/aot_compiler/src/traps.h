// How translated functions trap, and how their callers are found.

#ifndef IREE_WASM_HAL_WAMR_AOTC_TRAPS_H_
#define IREE_WASM_HAL_WAMR_AOTC_TRAPS_H_

#include <llvm-c/Types.h>

// Before the functions are optimized.
void iwh_aotc_prepare_traps(LLVMModuleRef module);

#endif
