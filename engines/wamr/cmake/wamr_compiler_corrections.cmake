# Fits WAMR 2.4.3's ahead-of-time compiler to ours in the copy of its sources: one target, several
# threads, parts. What code it generates is corrected in wamr_codegen_corrections.cmake.

set(compilation core/iwasm/compilation)

# --- Whose compiler it is: aot_compiler/src/part.h.

correct(core/iwasm/include/aot_comp_option.h
  "    const char *builtin_intrinsics;
} AOTCompOption"
  "    const char *builtin_intrinsics;
    struct iwh_aotc_part *part;
} AOTCompOption")
correct(${compilation}/aot_llvm.h
  "    const char *builtin_intrinsics;

    /* Current frame"
  "    const char *builtin_intrinsics;
    struct iwh_aotc_part *part;

    /* Current frame")
correct(${compilation}/aot_llvm.c
  "    if (option->builtin_intrinsics)
        comp_ctx->builtin_intrinsics"
  "    comp_ctx->part = option->part;
    if (option->builtin_intrinsics)
        comp_ctx->builtin_intrinsics")
correct(${compilation}/aot_llvm.c
  "#include \"aot_llvm_extra2.h\""
  "#include \"aot_llvm_extra2.h\"
#include \"failure.h\"
#include \"part.h\"")
correct(${compilation}/aot_compiler.c
  "#include \"aot_compiler.h\""
  "#include \"aot_compiler.h\"
#include \"failure.h\"
#include \"part.h\"")

# --- One target, no just-in-time compiler: keeps most of LLVM out of the library.

foreach (kind TargetInfo Target TargetMC AsmPrinter)
  correct(${compilation}/aot_llvm.c "LLVMInitializeAll${kind}s();" "LLVMInitializeX86${kind}();")
endforeach ()
correct(${compilation}/aot_llvm.c
  "#if LLVM_VERSION_MAJOR >= 21
    /* Construct an LLVMContext"
  "#if 1
    comp_ctx->context = LLVMContextCreate();
    iwh_aotc_watch_context(comp_ctx->context);
#elif LLVM_VERSION_MAJOR >= 21
    /* Construct an LLVMContext")
correct(${compilation}/aot_llvm.c
  "    if (comp_ctx->orc_thread_safe_context)
        LLVMOrcDisposeThreadSafeContext(comp_ctx->orc_thread_safe_context);"
  "    if (comp_ctx->context)
        LLVMContextDispose(comp_ctx->context);")
correct(${compilation}/aot_llvm.c
  "    if (comp_ctx->orc_jit)
        LLVMOrcDisposeLLLazyJIT(comp_ctx->orc_jit);
"
  "")
correct(${compilation}/aot_llvm.c
  "    if (option->is_jit_mode) {
        comp_ctx->is_jit_mode = true;
"
  "    if (false) {
")
foreach (file aot_compiler.c aot_llvm.c)
  correct(${compilation}/${file} "comp_ctx->is_jit_mode" "false")
endforeach ()
correct(${compilation}/aot_emit_aot_file.c
  "(uint8 *)aot_compress_aot_func_names(
                        obj_data->comp_ctx, &data_section->size)"
  "NULL")

# --- The target machine, the pipeline and the check of SIMD are ours.

correct(${compilation}/aot_llvm.c
  "if (!(comp_ctx->target_machine = LLVMCreateTargetMachineWithOpts(
                  target, triple_norm, cpu, features, opt_level,
                  LLVMRelocStatic, code_model, false,
                  comp_ctx->stack_usage_file))) {"
  "(void)code_model;
        if (!(comp_ctx->target_machine = iwh_aotc_create_target_machine(
                  target, triple_norm, cpu, features,
                  comp_ctx->stack_usage_file))) {")
correct(${compilation}/aot_compiler.c
  "aot_apply_llvm_new_pass_manager(comp_ctx, comp_ctx->module);"
  "iwh_aotc_finish_module(comp_ctx->module, comp_ctx->target_machine, comp_ctx->part);
        if (iwh_aotc_is_cancelled()) {
            aot_set_last_error(\"cancelled\");
            return false;
        }")
correct(${compilation}/aot_llvm.c
  "aot_check_simd_compatibility(comp_ctx->target_arch, tmp);"
  "strstr(features, \"+sse4.1\") != NULL;")
correct(${compilation}/aot_llvm.c
  "\"SIMD compatibility check failed, \"
                               \"try adding --cpu=<cpu> to specify a cpu \"
                               \"or adding --disable-simd to disable SIMD\""
  "\"the CPU lacks SSE 4.1\"")

# The compiler's environment is not ours to look at.
correct(${compilation}/aot_llvm.c "getenv(\"WAMRC_LLC_COMPILER\")" "NULL")
correct(${compilation}/aot_llvm.c "getenv(\"WAMRC_ASM_COMPILER\")" "NULL")

# --- Several compilations at once.

correct(${compilation}/aot.c
  "static char aot_error[128];" "static _Thread_local char aot_error[512];")

# --- Parts: only what is wanted, and what that calls directly, is translated.

correct(${compilation}/aot_llvm.h
  "    unsigned int stack_consumption_for_func_call;
"
  "    unsigned int stack_consumption_for_func_call;
    bool is_translated;
")
correct(${compilation}/aot_llvm.h
  "void
aot_destroy_comp_context(AOTCompContext *comp_ctx);
"
  "void
aot_destroy_comp_context(AOTCompContext *comp_ctx);

/* Makes a function part of the compilation, if it is not yet. */
bool
iwh_aotc_need_function(AOTCompContext *comp_ctx, uint32 func_index);
")
correct(${compilation}/aot_llvm.c
  "    /* Create each function context */
    for (i = 0; i < comp_data->func_count; i++) {
"
  "    iwh_aotc_add_absent_function(comp_ctx->module);

    /* Create each function context */
    for (i = 0; i < comp_data->func_count; i++) {
        if (!comp_ctx->part->wanted[i])
            continue;
")
correct(${compilation}/aot_llvm.c
  "static bool
aot_set_llvm_basic_types("
  "bool
iwh_aotc_need_function(AOTCompContext *comp_ctx, uint32 func_index)
{
    const AOTCompData *comp_data = comp_ctx->comp_data;
    LLVMBasicBlockRef block = LLVMGetInsertBlock(comp_ctx->builder);

    if (comp_ctx->func_ctxes[func_index])
        return true;
    comp_ctx->part->copied_byte_length += comp_data->funcs[func_index]->code_size;
    if (comp_ctx->part->copied_byte_length > IWH_AOTC_MAX_COPIED_BYTE_LENGTH) {
        aot_set_last_error(\"it calls too many functions of other parts\");
        return false;
    }
    comp_ctx->func_ctxes[func_index] = aot_create_func_context(
        comp_data, comp_ctx, comp_data->funcs[func_index], func_index);
    LLVMPositionBuilderAtEnd(comp_ctx->builder, block);
    return comp_ctx->func_ctxes[func_index] != NULL;
}

static bool
aot_set_llvm_basic_types(")
correct(${compilation}/aot_emit_function.c
  "        signature = import_funcs[func_idx].signature;
    }
    else {
        func_type =
            func_ctxes[func_idx - import_func_count]->aot_func->func_type;"
  "        signature = import_funcs[func_idx].signature;
    }
    else {
        if (!iwh_aotc_need_function(comp_ctx, func_idx - import_func_count))
            return false;
        func_type =
            func_ctxes[func_idx - import_func_count]->aot_func->func_type;")
correct(${compilation}/aot_compiler.c
  "    for (i = 0; i < comp_ctx->func_ctx_count; i++) {
        if (!aot_compile_func(comp_ctx, i)) {
            return false;
        }
    }
"
  "    bool more;
    do {
        more = false;
        for (i = 0; i < comp_ctx->func_ctx_count; i++) {
            AOTFuncContext *func_ctx = comp_ctx->func_ctxes[i];
            if (!func_ctx || func_ctx->is_translated)
                continue;
            func_ctx->is_translated = more = true;
            comp_ctx->part->current_function = i;
            if (func_ctx->aot_func->code_size > IWH_AOTC_MAX_BODY_BYTE_LENGTH) {
                aot_set_last_error_v(
                    \"its body has %u bytes; at most %u are compiled\",
                    func_ctx->aot_func->code_size,
                    IWH_AOTC_MAX_BODY_BYTE_LENGTH);
                return false;
            }
            if (!aot_compile_func(comp_ctx, i)) {
                return false;
            }
        }
    } while (more);
    comp_ctx->part->current_function = UINT32_MAX;
")
correct(${compilation}/aot_emit_aot_file.c
  "                const AOTFuncContext *func_ctx = comp_ctx->func_ctxes[i];
"
  "                const AOTFuncContext *func_ctx = comp_ctx->func_ctxes[i];
                if (!func_ctx) {
                    stack_sizes[i] = 0;
                    continue;
                }
")
# The list of stack sizes: without the functions of other parts, and with copies of functions that
# LLVM made for constant arguments.
correct(${compilation}/aot_emit_aot_file.c
  "            if (!read_stack_usage_file(comp_ctx, comp_ctx->stack_usage_file,
                                       stack_sizes, obj_data->func_count)) {"
  "            (void)read_stack_usage_file;
            if (!iwh_aotc_stack_usage_read(comp_ctx->part->stack_usage,
                                           stack_sizes, obj_data->func_count)) {
                aot_set_last_error(\"stack sizes are missing\");")
correct(${compilation}/aot_emit_aot_file.c
  "#include \"aot_emit_aot_file.h\""
  "#include \"aot_emit_aot_file.h\"
#include \"part.h\"
#include \"stack_usage.h\"")

# --- Messages that say what it was.

correct(${compilation}/aot_compiler.c
  "aot_set_last_error(\"unsupported SIMD opcode\");"
  "aot_set_last_error_v(\"unknown instruction 0xfd 0x%02x\", opcode);")
correct(${compilation}/aot_compiler.c
  "                aot_set_last_error(\"unsupported opcode\");
                return false;
        }
    }
"
  "                aot_set_last_error_v(\"unknown instruction 0x%02x\", opcode);
                return false;
        }
    }
")
