// The file in which LLVM tells each function's stack size and WAMR reads it: in memory.

#ifndef IREE_WASM_HAL_WAMR_AOTC_STACK_USAGE_H_
#define IREE_WASM_HAL_WAMR_AOTC_STACK_USAGE_H_

#include <stdbool.h>

typedef struct {
  bool open;
  int descriptor;
  char path[40];
} iwh_aotc_stack_usage;

bool iwh_aotc_stack_usage_open(iwh_aotc_stack_usage *self);
void iwh_aotc_stack_usage_close(iwh_aotc_stack_usage *self);

#endif
