// f32x4.min, max and the like for f64x2. The corrected simd_floating_point.c calls this in place of
// what WAMR has, which gives a signalling NaN back as it is.
//
// In plain IR of one select each, which are minps or maxps, so that they merge into wider vectors.

#include "float_min_max.h"

#include "simd/simd_common.h"

bool iwh_aotc_compile_min_max(
    AOTCompContext *comp_ctx, AOTFuncContext *func_ctx, LLVMTypeRef type, bool is_min) {
  LLVMValueRef right = simd_pop_v128_and_bitcast(comp_ctx, func_ctx, type, "right");
  LLVMValueRef left = simd_pop_v128_and_bitcast(comp_ctx, func_ctx, type, "left");
  if (!left || !right) return false;
  LLVMBuilderRef builder = comp_ctx->builder;
  LLVMRealPredicate predicate = is_min ? LLVMRealOLT : LLVMRealOGT;
  // Both orders, because lanes that are equal give the second one, which matters for zeros.
  LLVMValueRef is_left = LLVMBuildFCmp(builder, predicate, left, right, "is_left");
  LLVMValueRef one = LLVMBuildSelect(builder, is_left, left, right, "one");
  LLVMValueRef is_right = LLVMBuildFCmp(builder, predicate, right, left, "is_right");
  LLVMValueRef other = LLVMBuildSelect(builder, is_right, right, left, "other");
  // Two equal bit patterns, or a zero of each sign: the smaller one has the sign, the larger not.
  LLVMTypeRef bits_type = V128_i64x2_TYPE;
  LLVMValueRef one_bits = LLVMBuildBitCast(builder, one, bits_type, "one_bits");
  LLVMValueRef other_bits = LLVMBuildBitCast(builder, other, bits_type, "other_bits");
  LLVMValueRef bits = is_min ? LLVMBuildOr(builder, one_bits, other_bits, "bits")
                             : LLVMBuildAnd(builder, one_bits, other_bits, "bits");
  LLVMValueRef ordered = LLVMBuildBitCast(builder, bits, type, "ordered");
  // A NaN of one of them, made quiet.
  LLVMValueRef nan = LLVMBuildFAdd(builder, left, right, "nan");
  LLVMValueRef is_nan = LLVMBuildFCmp(builder, LLVMRealUNO, left, right, "is_nan");
  LLVMValueRef result = LLVMBuildSelect(builder, is_nan, nan, ordered, "result");
  return simd_bitcast_and_push_v128(comp_ctx, func_ctx, result, "result");
}
