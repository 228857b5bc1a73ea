#include "tail_call.h"

void iwh_aotc_end_with_tail_call(
    AOTCompContext *comp_ctx, AOTFuncContext *func_ctx, LLVMValueRef call, LLVMTypeRef type,
    uint32 result_count) {
  if (!func_ctx->is_tail_call) return;
  // Further results go through memory, and are read after the call.
  if (type != func_ctx->func_type || result_count > 1) {
    LLVMSetTailCall(call, true);
    return;
  }
  LLVMSetTailCallKind(call, LLVMTailCallKindMustTail);
  if (result_count) {
    LLVMBuildRet(comp_ctx->builder, call);
  } else {
    LLVMBuildRetVoid(comp_ctx->builder);
  }
  LLVMPositionBuilderAtEnd(
      comp_ctx->builder,
      LLVMAppendBasicBlockInContext(comp_ctx->context, func_ctx->func, "after_tail_call"));
}
