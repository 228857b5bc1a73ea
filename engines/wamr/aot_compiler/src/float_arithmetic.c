#include "float_arithmetic.h"

#include <math.h>

#include "simd/simd_common.h"

static bool is_zero_or_one(uint64 lane, bool is_single) {
  if (is_single) {
    uint32 low = (uint32)lane << 1, high = (uint32)(lane >> 32) << 1;  // without signs
    return low == 0 || low == 0x7f000000 || high == 0 || high == 0x7f000000;
  }
  return lane << 1 == 0 || lane << 1 == 0x7fe0000000000000;
}

// Whether the operand is a constant that LLVM may drop an operation for, with all that it does to a
// NaN: a zero of a sum, a one of a product. The constant is two integers of 64 bits, or a cast of
// those, which LLVM leaves as it is here.
static bool may_be_dropped(LLVMValueRef operand, bool is_single) {
  if (!LLVMIsConstant(operand)) return false;
  while (LLVMIsAConstantExpr(operand)) operand = LLVMGetOperand(operand, 0);
  for (unsigned index = 0; index < LLVMGetVectorSize(LLVMTypeOf(operand)); index++) {
    LLVMValueRef lane = LLVMGetAggregateElement(operand, index);
    LLVMBool inexact;
    if (!lane) return true;
    if (LLVMIsAConstantFP(lane)) {
      double value = fabs(LLVMConstRealGetDouble(lane, &inexact));
      if (value == 0 || value == 1) return true;
    } else if (LLVMIsAConstantInt(lane)) {
      if (is_zero_or_one(LLVMConstIntGetZExtValue(lane), is_single)) return true;
    }
  }
  return false;
}

// Whether a value is the result of arithmetic, so that no NaN in it is a signalling one.
static bool is_quiet(LLVMValueRef value) {
  while (LLVMIsABitCastInst(value)) value = LLVMGetOperand(value, 0);
  if (!LLVMIsAInstruction(value)) return false;
  LLVMOpcode opcode = LLVMGetInstructionOpcode(value);
  return opcode == LLVMFAdd || opcode == LLVMFSub || opcode == LLVMFMul || opcode == LLVMFDiv;
}

// An operation that LLVM leaves in place, but does not merge into wider ones either.
static LLVMValueRef emit_kept(
    AOTCompContext *comp_ctx, AOTFuncContext *func_ctx, FloatArithmetic operation,
    LLVMTypeRef type, LLVMValueRef left, LLVMValueRef right) {
  static const char *const names[] = {
      [FLOAT_ADD] = "fadd", [FLOAT_SUB] = "fsub", [FLOAT_MUL] = "fmul", [FLOAT_DIV] = "fdiv"};
  char name[64];
  snprintf(
      name, sizeof name, "llvm.experimental.constrained.%s.%s", names[operation],
      type == V128_f32x4_TYPE ? "v4f32" : "v2f64");
  LLVMTypeRef types[] = {type, type, MD_TYPE, MD_TYPE};
  return aot_call_llvm_intrinsic(
      comp_ctx, func_ctx, name, type, types, 4, left, right, comp_ctx->fp_rounding_mode,
      comp_ctx->fp_exception_behavior);
}

bool iwh_aotc_compile_float_arithmetic(
    AOTCompContext *comp_ctx, AOTFuncContext *func_ctx, LLVMTypeRef type,
    FloatArithmetic operation) {
  static const LLVMOpcode opcodes[] = {
      [FLOAT_ADD] = LLVMFAdd,
      [FLOAT_SUB] = LLVMFSub,
      [FLOAT_MUL] = LLVMFMul,
      [FLOAT_DIV] = LLVMFDiv,
  };
  LLVMValueRef right = simd_pop_v128_and_bitcast(comp_ctx, func_ctx, type, "right");
  LLVMValueRef left = simd_pop_v128_and_bitcast(comp_ctx, func_ctx, type, "left");
  if (!left || !right) return false;
  bool is_single = type == V128_f32x4_TYPE;
  bool is_kept = (may_be_dropped(left, is_single) && !is_quiet(right)) ||
                 (may_be_dropped(right, is_single) && !is_quiet(left));
  LLVMValueRef result =
      is_kept ? emit_kept(comp_ctx, func_ctx, operation, type, left, right)
              : LLVMBuildBinOp(comp_ctx->builder, opcodes[operation], left, right, "result");
  return result && simd_bitcast_and_push_v128(comp_ctx, func_ctx, result, "result");
}

// The NaN that wasm calls canonical, in each lane.
static LLVMValueRef canonical_nan(const AOTCompContext *comp_ctx, LLVMTypeRef type) {
  bool single = type == V128_f32x4_TYPE;
  LLVMValueRef bits = single ? simd_build_splat_const_integer_vector(
                                   comp_ctx, I32_TYPE, 0x7fc00000, 4)
                             : simd_build_splat_const_integer_vector(
                                   comp_ctx, I64_TYPE, 0x7ff8000000000000, 2);
  return bits ? LLVMConstBitCast(bits, type) : NULL;
}

// In plain IR: two selects that are minps or maxps, and one more, which merge into wider vectors.
bool iwh_aotc_compile_float_min_max(
    AOTCompContext *comp_ctx, AOTFuncContext *func_ctx, LLVMTypeRef type, bool is_min) {
  LLVMValueRef right = simd_pop_v128_and_bitcast(comp_ctx, func_ctx, type, "right");
  LLVMValueRef left = simd_pop_v128_and_bitcast(comp_ctx, func_ctx, type, "left");
  LLVMValueRef nan = canonical_nan(comp_ctx, type);
  if (!left || !right || !nan) return false;
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
  LLVMValueRef is_nan = LLVMBuildFCmp(builder, LLVMRealUNO, left, right, "is_nan");
  LLVMValueRef result = LLVMBuildSelect(builder, is_nan, nan, ordered, "result");
  return simd_bitcast_and_push_v128(comp_ctx, func_ctx, result, "result");
}

bool iwh_aotc_has_constant_vector(LLVMValueRef const *values, uint32 count) {
  for (uint32 index = 0; index < count; index++) {
    if (LLVMIsConstant(values[index]) &&
        LLVMGetTypeKind(LLVMTypeOf(values[index])) == LLVMVectorTypeKind) {
      return true;
    }
  }
  return false;
}
