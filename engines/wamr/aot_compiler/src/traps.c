// Fits translated functions to how the runtime ends calls (aot_runtime/src/guest.c, trap.c).
//
// A trap never returns: what WAMR has code do after one falls away, and the address that the runtime
// finds on its stack is the trapping function's. Where that is inlined, the address is its caller's,
// so the trap's number carries the function as well, from before anything was inlined. And a
// function stays on the stack while what it calls runs: frame pointers lead to its callers, and a
// call at its end is no jump, which would also make an endless recursion an endless loop.

#include "traps.h"

#include <llvm-c/Core.h>
#include <stdlib.h>
#include <string.h>

#define TRAP_FUNCTION "aot_set_exception_with_id"
// The runtime's guest.c takes it apart.
#define FUNCTION_SHIFT 8

static void add_flag(LLVMValueRef function, const char *name) {
  LLVMContextRef context = LLVMGetModuleContext(LLVMGetGlobalParent(function));
  unsigned kind = LLVMGetEnumAttributeKindForName(name, strlen(name));
  LLVMAddAttributeAtIndex(
      function, LLVMAttributeFunctionIndex, LLVMCreateEnumAttribute(context, kind, 0));
}

// The function's index, which WAMR puts at the end of its name, plus one; 0 for any other.
static unsigned long number_of(LLVMValueRef function) {
  size_t byte_length;
  const char *name = LLVMGetValueName2(function, &byte_length);
  const char *index = strchr(name, '#');
  return index ? strtoul(index + 1, NULL, 10) + 1 : 0;
}

static void add_number(LLVMValueRef trap, unsigned long number) {
  LLVMContextRef context = LLVMGetModuleContext(LLVMGetGlobalParent(
      LLVMGetBasicBlockParent(LLVMGetInstructionParent(trap))));
  LLVMBuilderRef builder = LLVMCreateBuilderInContext(context);
  LLVMPositionBuilderBefore(builder, trap);
  LLVMValueRef shifted =
      LLVMConstInt(LLVMInt32TypeInContext(context), number << FUNCTION_SHIFT, 0);
  LLVMSetOperand(trap, 1, LLVMBuildOr(builder, LLVMGetOperand(trap, 1), shifted, ""));
  LLVMDisposeBuilder(builder);
}

// Makes no call a jump but those that the module says are tail calls.
static void keep_callers(LLVMValueRef function) {
  for (LLVMBasicBlockRef block = LLVMGetFirstBasicBlock(function); block;
       block = LLVMGetNextBasicBlock(block)) {
    for (LLVMValueRef each = LLVMGetFirstInstruction(block); each;
         each = LLVMGetNextInstruction(each)) {
      if (LLVMIsACallInst(each) && !LLVMIsAIntrinsicInst(each) &&
          LLVMGetTailCallKind(each) == LLVMTailCallKindNone) {
        LLVMSetTailCallKind(each, LLVMTailCallKindNoTail);
      }
    }
  }
}

void iwh_aotc_prepare_traps(LLVMModuleRef module) {
  for (LLVMValueRef function = LLVMGetFirstFunction(module); function;
       function = LLVMGetNextFunction(function)) {
    if (!LLVMIsDeclaration(function)) keep_callers(function);
  }
  LLVMValueRef trap_function = LLVMGetNamedFunction(module, TRAP_FUNCTION);
  if (!trap_function) return;
  add_flag(trap_function, "noreturn");
  add_flag(trap_function, "nounwind");
  add_flag(trap_function, "cold");
  for (LLVMUseRef use = LLVMGetFirstUse(trap_function); use; use = LLVMGetNextUse(use)) {
    LLVMValueRef trap = LLVMGetUser(use);
    if (!LLVMIsACallInst(trap) || LLVMGetCalledValue(trap) != trap_function) continue;
    unsigned long number =
        number_of(LLVMGetBasicBlockParent(LLVMGetInstructionParent(trap)));
    if (number) add_number(trap, number);
  }
}
