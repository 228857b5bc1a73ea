// Lowers the twenty instructions of relaxed SIMD, each to one of the results that the specification
// allows: the one that is cheap on x86, which is wasmtime's too, except where noted. The CPU has
// SSE 4.1 (module.c sees to it), so that only madd and dot with add have two forms.
//
// What is plain IR (fma, compare and select, and/or, saturating conversions) merges into wider
// vectors as it is; the x86 intrinsics have wide forms, which pipeline/widen_calls.cpp knows:
//
//   swizzle        llvm.x86.ssse3.pshuf.b.128       signed trunc  llvm.x86.sse2.cvttps2dq
//   q15mulr        llvm.x86.ssse3.pmul.hr.sw.128    dot           llvm.x86.ssse3.pmadd.ub.sw.128
//   dot with add   llvm.x86.avx512.vpdpbusd.128, or dot, llvm.x86.sse2.pmadd.wd and add
//
// Not fptosi for the truncations: out of range it is poison, which constant folding would turn into
// something that the specification does not allow.

#include "relaxed_simd.h"

#include <string.h>

#include "aot_emit_exception.h"
#include "simd/simd_bitwise_ops.h"
#include "simd/simd_common.h"
#include "simd/simd_conversions.h"

enum {
  RELAXED_SWIZZLE = 0x100,
  RELAXED_TRUNC_F32X4_S = 0x101,
  RELAXED_TRUNC_F32X4_U = 0x102,
  RELAXED_TRUNC_F64X2_S_ZERO = 0x103,
  RELAXED_TRUNC_F64X2_U_ZERO = 0x104,
  RELAXED_F32X4_MADD = 0x105,
  RELAXED_F32X4_NMADD = 0x106,
  RELAXED_F64X2_MADD = 0x107,
  RELAXED_F64X2_NMADD = 0x108,
  RELAXED_I8X16_LANESELECT = 0x109,
  RELAXED_I16X8_LANESELECT = 0x10a,
  RELAXED_I32X4_LANESELECT = 0x10b,
  RELAXED_I64X2_LANESELECT = 0x10c,
  RELAXED_F32X4_MIN = 0x10d,
  RELAXED_F32X4_MAX = 0x10e,
  RELAXED_F64X2_MIN = 0x10f,
  RELAXED_F64X2_MAX = 0x110,
  RELAXED_Q15MULR = 0x111,
  RELAXED_DOT = 0x112,
  RELAXED_DOT_ADD = 0x113,
};

#define MAX_OPERAND_COUNT 3

// Whether the features that the target machine was made with name this one, such as "+fma".
static bool has_feature(const AOTCompContext *comp_ctx, const char *feature) {
  char *features = LLVMGetTargetMachineFeatureString(comp_ctx->target_machine);
  size_t length = strlen(feature);
  bool found = false;
  for (const char *each = features; each && !found; each = strchr(each, ',')) {
    each += *each == ',';
    found = strncmp(each, feature, length) == 0 && (each[length] == ',' || each[length] == 0);
  }
  LLVMDisposeMessage(features);
  return found;
}

// Pops operands, the last one first, as vectors of a type each.
static bool pop(
    AOTCompContext *comp_ctx, AOTFuncContext *func_ctx, uint32 count, LLVMTypeRef const *types,
    LLVMValueRef *operands) {
  while (count--) {
    operands[count] = simd_pop_v128_and_bitcast(comp_ctx, func_ctx, types[count], "operand");
    if (!operands[count]) return false;
  }
  return true;
}

static bool push(AOTCompContext *comp_ctx, AOTFuncContext *func_ctx, LLVMValueRef vector) {
  if (!vector) {
    HANDLE_FAILURE("relaxed SIMD");
    return false;
  }
  return simd_bitcast_and_push_v128(comp_ctx, func_ctx, vector, "result");
}

// Calls an x86 intrinsic. Its types are asked for, since they differ between releases of LLVM: the
// operands are 128 bits in any case.
static LLVMValueRef call_intrinsic(
    AOTCompContext *comp_ctx, AOTFuncContext *func_ctx, const char *name,
    LLVMValueRef const *operands) {
  unsigned identifier = LLVMLookupIntrinsicID(name, strlen(name));
  if (!identifier) return NULL;
  LLVMValueRef function = LLVMGetIntrinsicDeclaration(func_ctx->module, identifier, NULL, 0);
  LLVMTypeRef type = LLVMIntrinsicGetType(comp_ctx->context, identifier, NULL, 0);
  uint32 count = LLVMCountParamTypes(type);
  LLVMTypeRef types[MAX_OPERAND_COUNT];
  LLVMValueRef arguments[MAX_OPERAND_COUNT];
  if (count > MAX_OPERAND_COUNT) return NULL;
  LLVMGetParamTypes(type, types);
  for (uint32 index = 0; index < count; index++) {
    arguments[index] =
        LLVMBuildBitCast(comp_ctx->builder, operands[index], types[index], "argument");
  }
  return LLVMBuildCall2(comp_ctx->builder, type, function, arguments, count, "call");
}

// One rounding where the CPU can, two elsewhere: nothing but these four instructions may be fused.
static bool compile_madd(
    AOTCompContext *comp_ctx, AOTFuncContext *func_ctx, LLVMTypeRef type, const char *fma,
    bool negated) {
  LLVMTypeRef types[] = {type, type, type};
  LLVMValueRef operands[3];
  if (!pop(comp_ctx, func_ctx, 3, types, operands)) return false;
  LLVMBuilderRef builder = comp_ctx->builder;
  if (negated) operands[0] = LLVMBuildFNeg(builder, operands[0], "negated");
  LLVMValueRef result;
  if (has_feature(comp_ctx, "+fma")) {
    result = aot_call_llvm_intrinsic(
        comp_ctx, func_ctx, fma, type, types, 3, operands[0], operands[1], operands[2]);
  } else {
    LLVMValueRef product = LLVMBuildFMul(builder, operands[0], operands[1], "product");
    result = LLVMBuildFAdd(builder, product, operands[2], "sum");
  }
  return push(comp_ctx, func_ctx, result);
}

// minps and maxps: where the lanes do not compare (a NaN, or two zeros) the second one.
static bool compile_min_max(
    AOTCompContext *comp_ctx, AOTFuncContext *func_ctx, LLVMTypeRef type,
    LLVMRealPredicate predicate) {
  LLVMTypeRef types[] = {type, type};
  LLVMValueRef operands[2];
  if (!pop(comp_ctx, func_ctx, 2, types, operands)) return false;
  LLVMBuilderRef builder = comp_ctx->builder;
  LLVMValueRef first = LLVMBuildFCmp(builder, predicate, operands[0], operands[1], "first");
  return push(
      comp_ctx, func_ctx, LLVMBuildSelect(builder, first, operands[0], operands[1], "selected"));
}

// pshufb: an index from 16 to 127 selects the lane of its low four bits, a larger one zero.
static bool compile_swizzle(AOTCompContext *comp_ctx, AOTFuncContext *func_ctx) {
  LLVMTypeRef types[] = {V128_i8x16_TYPE, V128_i8x16_TYPE};
  LLVMValueRef operands[2];
  return pop(comp_ctx, func_ctx, 2, types, operands) &&
         push(comp_ctx, func_ctx,
              call_intrinsic(comp_ctx, func_ctx, "llvm.x86.ssse3.pshuf.b.128", operands));
}

// pmulhrsw: -1 times -1 is -1.
static bool compile_q15mulr(AOTCompContext *comp_ctx, AOTFuncContext *func_ctx) {
  LLVMTypeRef types[] = {V128_i16x8_TYPE, V128_i16x8_TYPE};
  LLVMValueRef operands[2];
  return pop(comp_ctx, func_ctx, 2, types, operands) &&
         push(comp_ctx, func_ctx,
              call_intrinsic(comp_ctx, func_ctx, "llvm.x86.ssse3.pmul.hr.sw.128", operands));
}

// cvttps2dq, cvttpd2dq: INT32_MIN for what does not fit. There is no such instruction for unsigned
// integers without AVX-512; the saturating conversion costs little there, and with it no more.
static bool compile_trunc(
    AOTCompContext *comp_ctx, AOTFuncContext *func_ctx, LLVMTypeRef type, const char *name) {
  LLVMValueRef operand;
  return pop(comp_ctx, func_ctx, 1, &type, &operand) &&
         push(comp_ctx, func_ctx, call_intrinsic(comp_ctx, func_ctx, name, &operand));
}

// pmaddubsw: products of bytes, added in pairs with saturation, which operands of eight and seven
// bits never meet.
static LLVMValueRef emit_dot(
    AOTCompContext *comp_ctx, AOTFuncContext *func_ctx, LLVMValueRef const *operands) {
  // The unsigned operand of pmaddubsw is the first one: wasm's second one, of seven bits.
  LLVMValueRef swapped[] = {operands[1], operands[0]};
  return call_intrinsic(comp_ctx, func_ctx, "llvm.x86.ssse3.pmadd.ub.sw.128", swapped);
}

static bool compile_dot(AOTCompContext *comp_ctx, AOTFuncContext *func_ctx) {
  LLVMTypeRef types[] = {V128_i8x16_TYPE, V128_i8x16_TYPE};
  LLVMValueRef operands[2];
  return pop(comp_ctx, func_ctx, 2, types, operands) &&
         push(comp_ctx, func_ctx, emit_dot(comp_ctx, func_ctx, operands));
}

// vpdpbusd as in V8, or what wasmtime has: they differ only where the second operand has eight bits
// and a sum of two products does not fit 16.
static bool compile_dot_add(AOTCompContext *comp_ctx, AOTFuncContext *func_ctx) {
  LLVMTypeRef types[] = {V128_i8x16_TYPE, V128_i8x16_TYPE, V128_i32x4_TYPE};
  LLVMValueRef operands[3];
  if (!pop(comp_ctx, func_ctx, 3, types, operands)) return false;
  // The 512-bit form, which merging leads to, is in AVX-512's extension alone.
  bool has_vnni = has_feature(comp_ctx, "+avx512f")
                      ? has_feature(comp_ctx, "+avx512vnni") && has_feature(comp_ctx, "+avx512vl")
                      : has_feature(comp_ctx, "+avxvnni");
  if (has_vnni) {
    // Accumulator, unsigned bytes, signed bytes.
    LLVMValueRef reordered[] = {operands[2], operands[1], operands[0]};
    return push(
        comp_ctx, func_ctx,
        call_intrinsic(comp_ctx, func_ctx, "llvm.x86.avx512.vpdpbusd.128", reordered));
  }
  LLVMValueRef pairs = emit_dot(comp_ctx, func_ctx, operands);
  LLVMValueRef ones = simd_build_splat_const_integer_vector(comp_ctx, INT16_TYPE, 1, 8);
  LLVMValueRef sums[] = {pairs, ones};
  LLVMValueRef fours = call_intrinsic(comp_ctx, func_ctx, "llvm.x86.sse2.pmadd.wd", sums);
  return push(
      comp_ctx, func_ctx, LLVMBuildAdd(comp_ctx->builder, fours, operands[2], "accumulated"));
}

bool iwh_aotc_compile_relaxed_simd(
    AOTCompContext *comp_ctx, AOTFuncContext *func_ctx, uint32 opcode) {
  LLVMTypeRef f32x4 = V128_f32x4_TYPE, f64x2 = V128_f64x2_TYPE;
  switch (opcode) {
    case RELAXED_SWIZZLE:
      return compile_swizzle(comp_ctx, func_ctx);
    case RELAXED_TRUNC_F32X4_S:
      return compile_trunc(comp_ctx, func_ctx, f32x4, "llvm.x86.sse2.cvttps2dq");
    case RELAXED_TRUNC_F64X2_S_ZERO:
      return compile_trunc(comp_ctx, func_ctx, f64x2, "llvm.x86.sse2.cvttpd2dq");
    case RELAXED_TRUNC_F32X4_U:
      return aot_compile_simd_i32x4_trunc_sat_f32x4(comp_ctx, func_ctx, false);
    case RELAXED_TRUNC_F64X2_U_ZERO:
      return aot_compile_simd_i32x4_trunc_sat_f64x2(comp_ctx, func_ctx, false);
    case RELAXED_F32X4_MADD:
    case RELAXED_F32X4_NMADD:
      return compile_madd(
          comp_ctx, func_ctx, f32x4, "llvm.fma.v4f32", opcode == RELAXED_F32X4_NMADD);
    case RELAXED_F64X2_MADD:
    case RELAXED_F64X2_NMADD:
      return compile_madd(
          comp_ctx, func_ctx, f64x2, "llvm.fma.v2f64", opcode == RELAXED_F64X2_NMADD);
    case RELAXED_I8X16_LANESELECT:
    case RELAXED_I16X8_LANESELECT:
    case RELAXED_I32X4_LANESELECT:
    case RELAXED_I64X2_LANESELECT:
      // One vpternlog, or two and and an or; a blend where the mask is a comparison. wasmtime
      // blends by the top bit, so masks that are not all ones or all zeros differ.
      return aot_compile_simd_v128_bitwise(comp_ctx, func_ctx, V128_BITSELECT);
    case RELAXED_F32X4_MIN:
    case RELAXED_F64X2_MIN:
      return compile_min_max(
          comp_ctx, func_ctx, opcode == RELAXED_F32X4_MIN ? f32x4 : f64x2, LLVMRealOLT);
    case RELAXED_F32X4_MAX:
    case RELAXED_F64X2_MAX:
      return compile_min_max(
          comp_ctx, func_ctx, opcode == RELAXED_F32X4_MAX ? f32x4 : f64x2, LLVMRealOGT);
    case RELAXED_Q15MULR:
      return compile_q15mulr(comp_ctx, func_ctx);
    case RELAXED_DOT:
      return compile_dot(comp_ctx, func_ctx);
    case RELAXED_DOT_ADD:
      return compile_dot_add(comp_ctx, func_ctx);
    default:
      aot_set_last_error("unsupported SIMD opcode");
      return false;
  }
}
