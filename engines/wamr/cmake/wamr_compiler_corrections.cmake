# Corrects WAMR 2.4.3's ahead-of-time compiler in the copy of its sources, and fits it to ours.

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
  "iwh_aotc_finish_module(comp_ctx->module, comp_ctx->target_machine, comp_ctx->part);")
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

# --- Wrong in WAMR.

# A module that LLVM's verifier refuses was taken, since its result is true for a broken one.
correct(${compilation}/aot_compiler.c
  "LLVMVerifyModule(comp_ctx->module, LLVMPrintMessageAction, &msg);
    if (!ret && msg) {"
  "LLVMVerifyModule(comp_ctx->module, LLVMReturnStatusAction, &msg);
    if (ret && msg) {")
