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

typedef struct iwh_aotc_part {
  const iwh_aotc_options *options;
  const uint8_t *wanted;
  uint32_t current_function;  // being translated; for messages
} iwh_aotc_part;

// Creates the target machine. The stack usage file may be NULL.
LLVMTargetMachineRef iwh_aotc_create_target_machine(
    LLVMTargetRef target, const char *triple, const char *cpu, const char *features,
    const char *stack_usage_file);

// Sets the attributes of the code that is to be made on a module's functions, then optimizes it.
void iwh_aotc_finish_module(
    LLVMModuleRef module, LLVMTargetMachineRef machine, const iwh_aotc_part *part);

#ifdef __cplusplus
}
#endif

#endif
