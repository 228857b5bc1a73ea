# Corrects the code that WAMR 2.4.3's ahead-of-time compiler generates, in the copy of its sources:
# addresses, traps, stack checks, calls.

set(compilation core/iwasm/compilation)

# --- Wrong in WAMR.

# A module that LLVM's verifier refuses was taken, since its result is true for a broken one.
correct(${compilation}/aot_compiler.c
  "LLVMVerifyModule(comp_ctx->module, LLVMPrintMessageAction, &msg);
    if (!ret && msg) {"
  "LLVMVerifyModule(comp_ctx->module, LLVMReturnStatusAction, &msg);
    if (ret && msg) {")

# An address of 64 bits and its offset were added modulo 2^64 where the address is constant: one
# beyond all memory was taken for one inside, and not compared.
correct(${compilation}/aot_emit_memory.c
  "        if (mem_offset + bytes <= mem_data_size) {"
  "        if (mem_offset >= value && mem_offset <= mem_data_size
            && bytes <= mem_data_size - mem_offset) {")
correct(${compilation}/aot_emit_memory.c
  "if (mem_data_size > 0 && mem_offset + mem_len <= mem_data_size) {"
  "if (mem_offset <= mem_data_size && mem_len <= mem_data_size - mem_offset) {")
# memory.copy and memory.fill took a range that ends at 2^64, which is before the memory's start.
correct(${compilation}/aot_emit_memory.c
  "        BUILD_OP(And, cmp, cmp1, cmp, \"overflow\");"
  "        (void)cmp1;")

# An address out of bounds is a legal one that traps: it must not be called in bounds.
correct(${compilation}/aot_emit_memory.c "LLVMBuildInBoundsGEP2" "LLVMBuildGEP2")

# Other threads may write what is loaded here at any time. What is checked before it is used is
# frozen: the load may not be repeated between the two.
correct(${compilation}/aot_emit_memory.c
  "    POP_MEM_OFFSET(addr);
"
  "    POP_MEM_OFFSET(addr);
    if (comp_ctx->enable_bound_check)
        addr = LLVMBuildFreeze(comp_ctx->builder, addr, \"\");
")
correct(${compilation}/aot_emit_memory.c
  "    POP_MEM_OFFSET(len);
    POP_MEM_OFFSET(src);
    POP_MEM_OFFSET(dst);
"
  "    POP_MEM_OFFSET(len);
    POP_MEM_OFFSET(src);
    POP_MEM_OFFSET(dst);
    len = LLVMBuildFreeze(comp_ctx->builder, len, \"\");
    src = LLVMBuildFreeze(comp_ctx->builder, src, \"\");
    dst = LLVMBuildFreeze(comp_ctx->builder, dst, \"\");
")
correct(${compilation}/aot_emit_memory.c
  "    POP_MEM_OFFSET(len);
    POP_I32(val);
    POP_MEM_OFFSET(dst);
"
  "    POP_MEM_OFFSET(len);
    POP_I32(val);
    POP_MEM_OFFSET(dst);
    len = LLVMBuildFreeze(comp_ctx->builder, len, \"\");
    dst = LLVMBuildFreeze(comp_ctx->builder, dst, \"\");
")
foreach (file aot_emit_function.c aot_emit_table.c)
  correct(${compilation}/${file}
    "    POP_TBL_ELEM_IDX(elem_idx);
"
    "    POP_TBL_ELEM_IDX(elem_idx);
    elem_idx = LLVMBuildFreeze(comp_ctx->builder, elem_idx, \"\");
")
endforeach ()
correct(${compilation}/aot_emit_control.c
  "    /*
     * if (value_cmp > br_count)"
  "    if (!LLVMIsEfficientConstInt(value_cmp))
        value_cmp = LLVMBuildFreeze(comp_ctx->builder, value_cmp, \"\");

    /*
     * if (value_cmp > br_count)")
# WAMR remembers that a local was compared, but that was another frozen value.
correct(${compilation}/aot_emit_memory.c
  "        && !(is_local_of_aot_value
             && aot_checked_addr_list_find(func_ctx, local_idx_of_aot_value,
                                           offset, bytes))) {"
  "    ) {")
correct(${compilation}/aot_emit_memory.c
  "        if (is_local_of_aot_value) {
            if (!aot_checked_addr_list_add(func_ctx, local_idx_of_aot_value,
                                           offset, bytes))
                goto fail;
        }
"
  "        (void)is_local_of_aot_value;
        (void)local_idx_of_aot_value;
")

# --- The memory never moves, and any thread may grow it: its base is loaded once per function, its
# size at each use.

correct(${compilation}/aot_llvm.c
  "    bool mem_space_unchanged =
        (!func->has_op_memory_grow && !func->has_op_func_call)
        || (!module->possible_memory_grow);"
  "    bool mem_space_unchanged = false;
    (void)func;")
correct(${compilation}/aot_llvm.c
  "    else if (is_shared_memory) {
        /* The base address for shared memory will never changed,"
  "    else {
        /* The base address will never change,")
correct(${compilation}/aot_llvm.c
  "            aot_set_last_error(\"llvm build load failed\");
            return false;
        }
    }
#endif
"
  "            aot_set_last_error(\"llvm build load failed\");
            return false;
        }
        iwh_aotc_mark_memory_base(func_ctx->mem_info[0].mem_base_addr);
    }
#endif
")
correct(${compilation}/aot_emit_memory.c
  "    if (func_ctx->mem_space_unchanged
#if WASM_ENABLE_SHARED_MEMORY != 0
        || is_shared_memory
#endif
    ) {"
  "    (void)is_shared_memory;
    if (true) {")
correct(${compilation}/aot_emit_memory.c
  "    if (func_ctx->mem_space_unchanged || is_shared_memory) {"
  "    (void)is_shared_memory;
    if (true) {")

# memory.grow gives the size that it found, in one step, and takes 64 bits.
correct(${compilation}/aot_emit_memory.c
  "    param_types[1] = I32_TYPE;
    ret_type = INT8_TYPE;

    if (!(func_type = LLVMFunctionType(ret_type, param_types, 2, false))) {"
  "    param_types[1] = I64_TYPE;
    ret_type = I64_TYPE;

    if (!(func_type = LLVMFunctionType(ret_type, param_types, 2, false))) {")
correct(${compilation}/aot_emit_memory.c
  "        char *func_name = \"aot_enlarge_memory\";"
  "        char *func_name = \"iwh_guest_grow_memory\";")
correct(${compilation}/aot_emit_memory.c
  "LLVMBuildTrunc(comp_ctx->builder, delta, I32_TYPE, \"\");"
  "LLVMBuildZExt(comp_ctx->builder, delta, I64_TYPE, \"\");")
correct(${compilation}/aot_emit_memory.c
  "    BUILD_ICMP(LLVMIntUGT, ret_value, I8_ZERO, ret_value, \"mem_grow_ret\");
#if WASM_ENABLE_MEMORY64 != 0"
  "    (void)mem_size;
    ret_value = LLVMBuildTrunc(comp_ctx->builder, ret_value,
                               MEMORY64_COND_VALUE(I64_TYPE, I32_TYPE), \"\");
    PUSH_PAGE_COUNT(ret_value);
    return true;

    BUILD_ICMP(LLVMIntUGT, ret_value, I8_ZERO, ret_value, \"mem_grow_ret\");
#if WASM_ENABLE_MEMORY64 != 0")

# --- A trap ends the call where it is: the runtime's functions do not return from one, and no
# function has to look for the exception of another.

correct(${compilation}/aot_emit_function.c
  "    LLVMBasicBlockRef block_curr, check_exce_succ;
    LLVMValueRef value, cmp;
"
  "    LLVMBasicBlockRef block_curr, check_exce_succ;
    LLVMValueRef value, cmp;

    if (true)
        return true;
")
correct(${compilation}/aot_emit_function.c
  "    LLVMBasicBlockRef block_curr, check_call_succ;
    LLVMValueRef cmp;
"
  "    LLVMBasicBlockRef block_curr, check_call_succ;
    LLVMValueRef cmp;

    if (true)
        return true;
")
correct(${compilation}/aot_emit_exception.c
  "        /* Create return IR */
        AOTFuncType *aot_func_type = func_ctx->aot_func->func_type;
        if (!aot_build_zero_function_ret(comp_ctx, func_ctx, aot_func_type)) {
            return false;
        }
"
  "        LLVMBuildUnreachable(comp_ctx->builder);
")

# --- Native stack: what looks whether there is enough of it takes none itself.

correct(${compilation}/aot_llvm.c
  "    LLVMValueRef sp_ptr = LLVMBuildAlloca(b, I32_TYPE, \"sp_ptr\");"
  "    LLVMValueRef sp_ptr = iwh_aotc_build_stack_pointer(b, module);")

# --- Small functions that call none, such as fmaxf, are inlined into those that call them, whose
# own stack checks then cover them. Very large ones are not optimized.

correct(${compilation}/aot_llvm.c
  "        LLVMAddAttributeAtIndex(func, LLVMAttributeFunctionIndex,
                                attr_noinline);
        if (!strcmp"
  "        iwh_aotc_mark_effort(func, aot_func);
        if (!strcmp")
correct(${compilation}/aot_llvm.c
  "    if (aot_target_precheck_can_use_musttail(comp_ctx)) {
        LLVMSetTailCallKind(retval, LLVMTailCallKindMustTail);"
  "    iwh_aotc_mark_not_inlined(retval);
    if (aot_target_precheck_can_use_musttail(comp_ctx)) {
        LLVMSetTailCallKind(retval, LLVMTailCallKindMustTail);")
correct(${compilation}/aot_llvm.h
  "    bool is_translated;
"
  "    bool is_translated;
    uint32 inlined_byte_length;
")
correct(${compilation}/aot_emit_function.c
  "#if LLVM_VERSION_MAJOR >= 14
        llvm_func_type = func_ctxes[func_idx - import_func_count]->func_type;
#endif
"
  "        llvm_func_type = func_ctxes[func_idx - import_func_count]->func_type;

        const WASMFunction *callee =
            comp_ctx->comp_data->wasm_module
                ->functions[func_idx - import_func_count];
        if (!tail_call && iwh_aotc_is_inlined(callee)
            && func_ctx->inlined_byte_length < IWH_AOTC_MAX_INLINED_BYTE_LENGTH) {
            func_ctx->inlined_byte_length += callee->code_size;
            func = func_ctxes[func_idx - import_func_count]->func;
        }
")
correct(${compilation}/aot_emit_function.c
  "#include \"aot_emit_function.h\""
  "#include \"aot_emit_function.h\"
#include \"part.h\"")
correct(${compilation}/aot_llvm.c
  "                                              aot_inst_addr, \"aot_inst\"))) {
        aot_set_last_error(\"llvm build load failed\");
        goto fail;
    }
"
  "                                              aot_inst_addr, \"aot_inst\"))) {
        aot_set_last_error(\"llvm build load failed\");
        goto fail;
    }
    iwh_aotc_mark_invariant(func_ctx->aot_inst);
")

# A tail call is one for certain where LLVM can promise it.
correct(${compilation}/aot_emit_function.c
  "        if (tail_call)
            LLVMSetTailCall(value_ret, true);

        /* Check whether there was exception thrown when executing
           the function */
        if (!tail_call
            && (comp_ctx"
  "        if (tail_call)
            LLVMSetTailCallKind(
                value_ret,
                llvm_func_type == func_ctx->func_type
                        && func_type->result_count <= 1
                    ? LLVMTailCallKindMustTail
                    : LLVMTailCallKindTail);

        /* Check whether there was exception thrown when executing
           the function */
        if (!tail_call
            && (comp_ctx")
