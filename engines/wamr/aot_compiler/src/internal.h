// What the files of this library share.

#ifndef IREE_WASM_HAL_WAMR_AOTC_INTERNAL_H_
#define IREE_WASM_HAL_WAMR_AOTC_INTERNAL_H_

#include "iree_wasm_hal_wamr_aotc.h"

struct iwh_aotc_module {
  uint8_t *wasm;  // WAMR keeps pointers into it
  struct WASMModule *native;
  bool cancelled;  // read and written by several threads, atomically
};

#endif
