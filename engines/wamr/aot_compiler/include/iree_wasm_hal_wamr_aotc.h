// Exports the C interface in declarations.h, which says what it is.

#ifndef IREE_WASM_HAL_WAMR_AOTC_H_
#define IREE_WASM_HAL_WAMR_AOTC_H_

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#pragma GCC visibility push(default)
#include "declarations.h"
#pragma GCC visibility pop

#endif
