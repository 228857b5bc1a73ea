// What the translation tells LLVM and our passes beyond WAMR's own code.

#include <llvm-c/Core.h>
#include <string.h>

#include "part.h"
#include "wasm.h"

static unsigned kind(LLVMContextRef context, const char *name) {
  return LLVMGetMDKindIDInContext(context, name, (unsigned)strlen(name));
}

static void add_attribute(LLVMValueRef function, const char *name) {
  LLVMContextRef context = LLVMGetModuleContext(LLVMGetGlobalParent(function));
  LLVMAddAttributeAtIndex(
      function, LLVMAttributeFunctionIndex,
      LLVMCreateEnumAttribute(context, LLVMGetEnumAttributeKindForName(name, strlen(name)), 0));
}

void iwh_aotc_add_absent_function(LLVMModuleRef module) {
  LLVMContextRef context = LLVMGetModuleContext(module);
  LLVMTypeRef type = LLVMFunctionType(LLVMVoidTypeInContext(context), NULL, 0, false);
  LLVMValueRef function = LLVMAddFunction(module, IWH_AOTC_ABSENT_FUNCTION, type);
  // Not optimized, or it would go where rarely used code goes.
  add_attribute(function, "optnone");
  add_attribute(function, "noinline");
  LLVMBuilderRef builder = LLVMCreateBuilderInContext(context);
  LLVMPositionBuilderAtEnd(builder, LLVMAppendBasicBlockInContext(context, function, ""));
  LLVMBuildUnreachable(builder);
  LLVMDisposeBuilder(builder);
}

static void mark_load(LLVMValueRef load, const char *name) {
  LLVMContextRef context = LLVMGetTypeContext(LLVMTypeOf(load));
  LLVMSetMetadata(load, kind(context, name), LLVMMDNodeInContext(context, NULL, 0));
}

void iwh_aotc_mark_invariant(LLVMValueRef load) {
  mark_load(load, "invariant.load");
  mark_load(load, "nonnull");
  mark_load(load, "noundef");
}

void iwh_aotc_mark_memory_base(LLVMValueRef load) {
  iwh_aotc_mark_invariant(load);
  mark_load(load, "iwh.memory_base");
}

bool iwh_aotc_is_memory_base(LLVMValueRef value) {
  if (!LLVMIsALoadInst(value)) return false;
  LLVMContextRef context = LLVMGetTypeContext(LLVMTypeOf(value));
  return LLVMGetMetadata(value, kind(context, "iwh.memory_base")) != NULL;
}

LLVMValueRef iwh_aotc_build_stack_pointer(LLVMBuilderRef builder, LLVMModuleRef module) {
  LLVMTypeRef pointer = LLVMPointerTypeInContext(LLVMGetModuleContext(module), 0);
  static const char name[] = "llvm.addressofreturnaddress";
  LLVMValueRef function = LLVMGetIntrinsicDeclaration(
      module, LLVMLookupIntrinsicID(name, sizeof name - 1), &pointer, 1);
  return LLVMBuildCall2(builder, LLVMGlobalGetValueType(function), function, NULL, 0, "");
}

#define MAX_INLINED_BODY_BYTE_LENGTH 512

bool iwh_aotc_is_inlined(const struct WASMFunction *function) {
  return !function->has_op_func_call && function->code_size <= MAX_INLINED_BODY_BYTE_LENGTH;
}

// Twice what the compilers of models make at most; some seconds.
#define MAX_OPTIMIZED_BODY_BYTE_LENGTH 65536

void iwh_aotc_mark_effort(LLVMValueRef code, const struct WASMFunction *function) {
  add_attribute(code, iwh_aotc_is_inlined(function) ? "alwaysinline" : "noinline");
  if (function->code_size > MAX_OPTIMIZED_BODY_BYTE_LENGTH) add_attribute(code, "optnone");
}

#define MAX_OPTIMIZED_EDGE_COUNT 1500

// Some of LLVM's passes take time by the cube of the branches: a net of 600 loops took 17 seconds.
// A function that is inlined, and whose own stack is therefore not checked, is too short for that.
void iwh_aotc_bound_effort(LLVMValueRef function) {
  unsigned edge_count = 0;
  for (LLVMBasicBlockRef block = LLVMGetFirstBasicBlock(function); block;
       block = LLVMGetNextBasicBlock(block)) {
    LLVMValueRef end = LLVMGetBasicBlockTerminator(block);
    if (end) edge_count += LLVMGetNumSuccessors(end);
  }
  if (edge_count <= MAX_OPTIMIZED_EDGE_COUNT) return;
  unsigned inlined = LLVMGetEnumAttributeKindForName("alwaysinline", strlen("alwaysinline"));
  LLVMRemoveEnumAttributeAtIndex(function, LLVMAttributeFunctionIndex, inlined);
  add_attribute(function, "noinline");
  add_attribute(function, "optnone");
}

void iwh_aotc_mark_not_inlined(LLVMValueRef call) {
  LLVMContextRef context = LLVMGetTypeContext(LLVMTypeOf(call));
  unsigned noinline = LLVMGetEnumAttributeKindForName("noinline", strlen("noinline"));
  LLVMAddCallSiteAttribute(
      call, LLVMAttributeFunctionIndex, LLVMCreateEnumAttribute(context, noinline, 0));
}
