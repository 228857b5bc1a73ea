// Arithmetic on floating-point vectors, where WAMR's is not wasm's. The corrected
// simd_floating_point.c calls this.
//
// LLVM takes no notice of signalling NaNs: what wasm makes quiet, it may leave as it is.

#ifndef IREE_WASM_HAL_WAMR_AOTC_FLOAT_ARITHMETIC_H_
#define IREE_WASM_HAL_WAMR_AOTC_FLOAT_ARITHMETIC_H_

#include "aot_compiler.h"

// Each pops two vectors of that type and pushes the result. False, with WAMR's last error set, if
// it fails.

// The sum, difference, product or quotient of each two lanes.
bool iwh_aotc_compile_float_arithmetic(
    AOTCompContext *comp_ctx, AOTFuncContext *func_ctx, LLVMTypeRef type,
    FloatArithmetic operation);
// The smaller or the larger of each two lanes; a NaN where one of them is.
bool iwh_aotc_compile_float_min_max(
    AOTCompContext *comp_ctx, AOTFuncContext *func_ctx, LLVMTypeRef type, bool is_min);

// Whether one of these values is a constant vector. A function with such an argument is not
// inlined: its arithmetic is not looked at by then for constants that need care.
bool iwh_aotc_has_constant_vector(LLVMValueRef const *values, uint32 count);

#endif
