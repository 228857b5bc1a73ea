// The file in which LLVM tells each function's stack size: in memory.

#ifndef IREE_WASM_HAL_WAMR_AOTC_STACK_USAGE_H_
#define IREE_WASM_HAL_WAMR_AOTC_STACK_USAGE_H_

#include <stdbool.h>
#include <stdint.h>

typedef struct iwh_aotc_stack_usage {
  bool open;
  int descriptor;
  char path[40];
} iwh_aotc_stack_usage;

bool iwh_aotc_stack_usage_open(iwh_aotc_stack_usage *self);
void iwh_aotc_stack_usage_close(iwh_aotc_stack_usage *self);

// Sets the sizes of those functions that are in the file. False if it cannot be read, or if a
// function has no fixed size.
bool iwh_aotc_stack_usage_read(
    const iwh_aotc_stack_usage *self, uint32_t *sizes, uint32_t function_count);

#endif
