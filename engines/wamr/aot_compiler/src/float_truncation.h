// i32x4.trunc_sat_f32x4_s and _u. The corrected simd_conversions.c calls this: LLVM converts the
// lanes of its saturating conversions one by one.

#ifndef IREE_WASM_HAL_WAMR_AOTC_FLOAT_TRUNCATION_H_
#define IREE_WASM_HAL_WAMR_AOTC_FLOAT_TRUNCATION_H_

#include "aot_compiler.h"

// Pops a vector and pushes its lanes as integers. False, with WAMR's last error set, if it fails.
bool iwh_aotc_compile_trunc_sat_f32x4(
    AOTCompContext *comp_ctx, AOTFuncContext *func_ctx, bool is_signed);

#endif
