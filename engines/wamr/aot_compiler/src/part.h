// What of a module one compilation makes, and how: WAMR's compiler is corrected to ask here.

#ifndef IREE_WASM_HAL_WAMR_AOTC_PART_H_
#define IREE_WASM_HAL_WAMR_AOTC_PART_H_

#include <llvm-c/TargetMachine.h>
#include <llvm-c/Types.h>

#include "iree_wasm_hal_wamr_aotc.h"

#ifdef __cplusplus
extern "C" {
#endif

// The name of a part's first function, which traps. The functions that a part does not have start
// where the text starts, so they are this one.
#define IWH_AOTC_ABSENT_FUNCTION "iwh_absent"

struct WASMFunction;

typedef struct iwh_aotc_part {
  const iwh_aotc_options *options;
  const uint8_t *wanted;
  const struct iwh_aotc_stack_usage *stack_usage;
  uint32_t current_function;  // being translated, for messages; UINT32_MAX if none is
  uint32_t copied_byte_length;  // of the bodies that other functions needed
} iwh_aotc_part;

// Of wasm, so that all parts together are a few times the module at most.
#define IWH_AOTC_MAX_COPIED_BYTE_LENGTH 32768u

// A longer function is refused: it would take minutes.
#define IWH_AOTC_MAX_BODY_BYTE_LENGTH 524288u

// Creates the target machine. The stack usage file may be NULL.
LLVMTargetMachineRef iwh_aotc_create_target_machine(
    LLVMTargetRef target, const char *triple, const char *cpu, const char *features,
    const char *stack_usage_file);

// Adds the function that functions of other parts are; to be called before any other is added.
void iwh_aotc_add_absent_function(LLVMModuleRef module);

// Says of a load that all of a call's loads of that address give the same pointer.
void iwh_aotc_mark_invariant(LLVMValueRef load);

// Says of a load that it gives the base of the linear memory, which is invariant.
void iwh_aotc_mark_memory_base(LLVMValueRef load);
bool iwh_aotc_is_memory_base(LLVMValueRef value);

// The address of the return address: where a function finds the stack.
LLVMValueRef iwh_aotc_build_stack_pointer(LLVMBuilderRef builder, LLVMModuleRef module);

// Whether a function is inlined where it is called, until so much is in one caller.
#define IWH_AOTC_MAX_INLINED_BYTE_LENGTH 65536
bool iwh_aotc_is_inlined(const struct WASMFunction *function);
// Says of a function whether to inline it, and whether to optimize it: what LLVM does grows with the
// square of a function's length and more.
void iwh_aotc_mark_effort(LLVMValueRef code, const struct WASMFunction *function);
void iwh_aotc_mark_not_inlined(LLVMValueRef call);
// Leaves a translated function unoptimized whose control flow would take LLVM too long.
void iwh_aotc_bound_effort(LLVMValueRef function);

// Inlines what is marked, promotes locals to registers, and then keeps the loads that nothing
// needs: out of bounds, they trap.
void iwh_aotc_keep_unused_loads(LLVMModuleRef module);

// Sets the attributes of the code that is to be made on a module's functions, then optimizes it.
void iwh_aotc_finish_module(
    LLVMModuleRef module, LLVMTargetMachineRef machine, const iwh_aotc_part *part);

#ifdef __cplusplus
}
#endif

#endif
