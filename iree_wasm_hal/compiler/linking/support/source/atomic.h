// Stands in for musl's internal header of that name, of which fma.c needs this one operation.
#ifndef IREE_WASM_HAL_ATOMIC_H
#define IREE_WASM_HAL_ATOMIC_H

#define a_clz_64(x) __builtin_clzll(x)

#endif
