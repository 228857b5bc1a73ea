#include "float_truncation.h"

#include "simd/simd_common.h"

// cvttps2dq: INT32_MIN for what does not fit.
static LLVMValueRef convert(
    AOTCompContext *comp_ctx, AOTFuncContext *func_ctx, LLVMValueRef vector) {
  LLVMTypeRef type = V128_f32x4_TYPE;
  return aot_call_llvm_intrinsic(
      comp_ctx, func_ctx, "llvm.x86.sse2.cvttps2dq", V128_i32x4_TYPE, &type, 1, vector);
}

// All ones where a lane is at least that large.
static LLVMValueRef at_least(AOTCompContext *comp_ctx, LLVMValueRef vector, float bound) {
  LLVMValueRef bounds = simd_build_splat_const_float_vector(comp_ctx, F32_TYPE, bound, 4);
  LLVMValueRef lanes = LLVMBuildFCmp(comp_ctx->builder, LLVMRealOGE, vector, bounds, "at_least");
  return LLVMBuildSExt(comp_ctx->builder, lanes, V128_i32x4_TYPE, "mask");
}

// INT32_MIN is right below the range; above it, inverting makes it INT32_MAX.
static LLVMValueRef truncate_signed(
    AOTCompContext *comp_ctx, AOTFuncContext *func_ctx, LLVMValueRef vector) {
  LLVMBuilderRef builder = comp_ctx->builder;
  LLVMValueRef is_number = LLVMBuildFCmp(builder, LLVMRealORD, vector, vector, "is_number");
  LLVMValueRef zero = LLVMConstNull(V128_f32x4_TYPE);
  LLVMValueRef number = LLVMBuildSelect(builder, is_number, vector, zero, "number");
  LLVMValueRef whole = convert(comp_ctx, func_ctx, number);
  return whole ? LLVMBuildXor(builder, whole, at_least(comp_ctx, number, 0x1p31f), "saturated")
               : NULL;
}

// In two halves of the range, the upper one without its top bit, which the lower conversion gives.
static LLVMValueRef truncate_unsigned(
    AOTCompContext *comp_ctx, AOTFuncContext *func_ctx, LLVMValueRef vector) {
  LLVMBuilderRef builder = comp_ctx->builder;
  LLVMValueRef zero = LLVMConstNull(V128_f32x4_TYPE);
  LLVMValueRef is_positive = LLVMBuildFCmp(builder, LLVMRealOGT, vector, zero, "is_positive");
  LLVMValueRef positive = LLVMBuildSelect(builder, is_positive, vector, zero, "positive");
  LLVMValueRef middle = simd_build_splat_const_float_vector(comp_ctx, F32_TYPE, 0x1p31f, 4);
  LLVMValueRef rest = LLVMBuildFSub(builder, positive, middle, "rest");
  LLVMValueRef low = convert(comp_ctx, func_ctx, positive);
  LLVMValueRef high = convert(comp_ctx, func_ctx, rest);
  if (!low || !high) return NULL;
  LLVMValueRef sign_shift = simd_build_splat_const_integer_vector(comp_ctx, I32_TYPE, 31, 4);
  LLVMValueRef is_high = LLVMBuildAShr(builder, low, sign_shift, "is_high");
  LLVMValueRef whole =
      LLVMBuildOr(builder, low, LLVMBuildAnd(builder, high, is_high, "high"), "whole");
  return LLVMBuildOr(builder, whole, at_least(comp_ctx, positive, 0x1p32f), "saturated");
}

bool iwh_aotc_compile_trunc_sat_f32x4(
    AOTCompContext *comp_ctx, AOTFuncContext *func_ctx, bool is_signed) {
  LLVMValueRef vector = simd_pop_v128_and_bitcast(comp_ctx, func_ctx, V128_f32x4_TYPE, "vector");
  if (!vector) return false;
  LLVMValueRef result = is_signed ? truncate_signed(comp_ctx, func_ctx, vector)
                                  : truncate_unsigned(comp_ctx, func_ctx, vector);
  return result && simd_bitcast_and_push_v128(comp_ctx, func_ctx, result, "result");
}
