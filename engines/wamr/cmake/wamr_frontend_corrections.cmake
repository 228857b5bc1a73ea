# Corrects what the ahead-of-time compiler makes of wasm instructions, in the copy of its sources.

# --- Relaxed SIMD: aot_compiler/src/relaxed_simd.c.

# WAMR's loader refuses its instructions, numbered from 0x100 on, where it does not take the low byte
# for the number of another one. The macro is the compiler's: the interpreter, which has the same
# loader, goes on refusing them.
correct(core/iwasm/interpreter/wasm_loader.c
"                opcode = (uint8)opcode1;

                /* follow the order of enum WASMSimdEXTOpcode in wasm_opcode.h
"
"#if IWH_RELAXED_SIMD
                if (opcode1 > UINT8_MAX) break; /* without immediates */
#endif
                opcode = (uint8)opcode1;

                /* follow the order of enum WASMSimdEXTOpcode in wasm_opcode.h
")
correct(core/iwasm/interpreter/wasm_loader.c
"                    case SIMD_i32x4_trunc_sat_f32x4_s:
" "#if IWH_RELAXED_SIMD
                    case 0x105 ... 0x10c: /* madd, nmadd, laneselect */
                    case 0x113:           /* dot with add */
                        POP_V128();
                        POP2_AND_PUSH(VALUE_TYPE_V128, VALUE_TYPE_V128);
                        break;
                    case 0x100:           /* swizzle */
                    case 0x10d ... 0x112: /* min, max, q15mulr, dot */
                        POP2_AND_PUSH(VALUE_TYPE_V128, VALUE_TYPE_V128);
                        break;
                    case 0x101 ... 0x104: /* trunc */
#endif
                    case SIMD_i32x4_trunc_sat_f32x4_s:
")
correct(core/iwasm/compilation/aot_compiler.c
"#include \"simd/simd_access_lanes.h\"
" "#include \"simd/simd_access_lanes.h\"
#include \"relaxed_simd.h\"
")
correct(core/iwasm/compilation/aot_compiler.c
"                opcode = (uint8)opcode1;

                /* follow the order of enum WASMSimdEXTOpcode in
                   wasm_opcode.h */
"
"                if (opcode1 > UINT8_MAX) {
                    if (!iwh_aotc_compile_relaxed_simd(comp_ctx, func_ctx, opcode1))
                        return false;
                    break;
                }
                opcode = (uint8)opcode1;

                /* follow the order of enum WASMSimdEXTOpcode in
                   wasm_opcode.h */
")

# --- Wrong results, which the official tests found.

# What LLVM and WAMR's choice of smaller and larger lanes leave of a signalling NaN:
# aot_compiler/src/float_arithmetic.c.
set(floating_point core/iwasm/compilation/simd/simd_floating_point.c)
correct(${floating_point} "#include \"simd_common.h\"
" "#include \"simd_common.h\"
#include \"float_arithmetic.h\"
")
foreach (type f32x4 f64x2)
  correct(${floating_point}
    "return simd_v128_float_arith(comp_ctx, func_ctx, arith_op, V128_${type}_TYPE);"
    "return iwh_aotc_compile_float_arithmetic(comp_ctx, func_ctx, V128_${type}_TYPE, arith_op);")
  correct(${floating_point}
    "    return run_min ? simd_float_min(comp_ctx, func_ctx, V128_${type}_TYPE)
                   : simd_float_max(comp_ctx, func_ctx, V128_${type}_TYPE);"
    "    return iwh_aotc_compile_float_min_max(comp_ctx, func_ctx, V128_${type}_TYPE, run_min);")
endforeach ()
correct(core/iwasm/compilation/aot_emit_function.c "#include \"aot_emit_function.h\"
" "#include \"aot_emit_function.h\"
#include \"float_arithmetic.h\"
")
correct(core/iwasm/compilation/aot_emit_function.c
  "iwh_aotc_is_inlined(callee)"
  "iwh_aotc_is_inlined(callee)
            && !iwh_aotc_has_constant_vector(param_values + 1, param_count)")

# return_call_indirect was an ordinary call: aot_compiler/src/tail_call.c.
correct(core/iwasm/compilation/aot_llvm.h
"    LLVMValueRef func_type_indexes;
"
"    LLVMValueRef func_type_indexes;
    bool is_tail_call;
")
correct(core/iwasm/compilation/aot_compiler.c
"                if (!aot_compile_op_call_indirect(comp_ctx, func_ctx, type_idx,
                                                  tbl_idx))
                    return false;
                if (!aot_compile_op_return("
"                func_ctx->is_tail_call = true;
                if (!aot_compile_op_call_indirect(comp_ctx, func_ctx, type_idx,
                                                  tbl_idx))
                    return false;
                func_ctx->is_tail_call = false;
                if (!aot_compile_op_return(")
set(emit_function core/iwasm/compilation/aot_emit_function.c)
correct(${emit_function} "#include \"aot_emit_function.h\"
" "#include \"aot_emit_function.h\"
#include \"tail_call.h\"
")
correct(${emit_function}
"                                     func_result_count > 0 ? \"ret\" : \"\"))) {
        aot_set_last_error(\"llvm build call failed.\");
        goto fail;
    }

    /* Check whether exception was thrown"
"                                     func_result_count > 0 ? \"ret\" : \"\"))) {
        aot_set_last_error(\"llvm build call failed.\");
        goto fail;
    }
    iwh_aotc_end_with_tail_call(
        comp_ctx, func_ctx, value_ret, llvm_func_type, func_result_count);

    /* Check whether exception was thrown")

# --- Slow code.

# Truncations converted lane by lane: aot_compiler/src/float_truncation.c.
set(conversions core/iwasm/compilation/simd/simd_conversions.c)
correct(${conversions} "#include \"simd_common.h\"
" "#include \"simd_common.h\"
#include \"float_truncation.h\"
")
correct(${conversions}
"    LLVMValueRef result;
    if (!(result = simd_trunc_sat(comp_ctx, func_ctx,
                                  is_signed ? \"llvm.fptosi.sat.v4i32.v4f32\""
"    LLVMValueRef result;
    return iwh_aotc_compile_trunc_sat_f32x4(comp_ctx, func_ctx, is_signed);
    if (!(result = simd_trunc_sat(comp_ctx, func_ctx,
                                  is_signed ? \"llvm.fptosi.sat.v4i32.v4f32\"")

# --- NaN constants: WAMR stores their bits to a variable and loads it, anywhere in a function. Where
# the function is not optimized, the variable stays and makes its frame one of unknown size.

correct(core/iwasm/compilation/aot_emit_const.c
"    else if (!isnan(f32_const)) {
"
"    else if (isnan(f32_const)) {
        uint32 bits;
        memcpy(&bits, &f32_const, sizeof(bits));
        value = LLVMConstBitCast(I32_CONST(bits), F32_TYPE);
        PUSH_F32(value);
    }
    else if (!isnan(f32_const)) {
")
correct(core/iwasm/compilation/aot_emit_const.c
"    else if (!isnan(f64_const)) {
"
"    else if (isnan(f64_const)) {
        uint64 bits;
        memcpy(&bits, &f64_const, sizeof(bits));
        value = LLVMConstBitCast(I64_CONST(bits), F64_TYPE);
        PUSH_F64(value);
    }
    else if (!isnan(f64_const)) {
")
