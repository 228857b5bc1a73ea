// return_call_indirect. WAMR makes an ordinary call of it, which takes a frame each time.

#ifndef IREE_WASM_HAL_WAMR_AOTC_TAIL_CALL_H_
#define IREE_WASM_HAL_WAMR_AOTC_TAIL_CALL_H_

#include "aot_compiler.h"

// Makes a call of a function of that LLVM type the last thing that the function does, if it is to
// be. The builder is left where more code may follow, which is never reached.
void iwh_aotc_end_with_tail_call(
    AOTCompContext *comp_ctx, AOTFuncContext *func_ctx, LLVMValueRef call, LLVMTypeRef type,
    uint32 result_count);

#endif
