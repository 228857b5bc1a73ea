// Included before every source of musl: what is one wasm instruction must not become a call.
// musl is compiled with -fno-builtin (so that the compiler does not turn exp10(x) = pow(10, x)
// back into a call of exp10), which would leave these as calls of functions we do not ship.
#ifndef IREE_WASM_HAL_WASM_INSTRUCTIONS_H
#define IREE_WASM_HAL_WASM_INSTRUCTIONS_H

#include <math.h>

#define fabs(x) __builtin_fabs(x)
#define fabsf(x) __builtin_fabsf(x)
#define sqrt(x) __builtin_sqrt(x)
#define sqrtf(x) __builtin_sqrtf(x)
#define floor(x) __builtin_floor(x)
#define floorf(x) __builtin_floorf(x)
#define ceil(x) __builtin_ceil(x)
#define ceilf(x) __builtin_ceilf(x)
#define trunc(x) __builtin_trunc(x)
#define truncf(x) __builtin_truncf(x)
#define copysign(x, y) __builtin_copysign(x, y)
#define copysignf(x, y) __builtin_copysignf(x, y)

#endif
