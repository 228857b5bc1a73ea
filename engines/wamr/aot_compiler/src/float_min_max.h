// The smaller or the larger of each two lanes; a NaN where one of them is.

#ifndef IREE_WASM_HAL_WAMR_AOTC_FLOAT_MIN_MAX_H_
#define IREE_WASM_HAL_WAMR_AOTC_FLOAT_MIN_MAX_H_

#include "aot_compiler.h"

// Pops two vectors of that type and pushes the result. False, with WAMR's last error set, if it
// fails.
bool iwh_aotc_compile_min_max(
    AOTCompContext *comp_ctx, AOTFuncContext *func_ctx, LLVMTypeRef type, bool is_min);

#endif
