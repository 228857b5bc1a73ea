// Relaxed SIMD, which WAMR does not know. The corrected aot_compiler.c calls this.
//
// Spec: https://github.com/WebAssembly/relaxed-simd/blob/main/proposals/relaxed-simd/Overview.md

#ifndef IREE_WASM_HAL_WAMR_AOTC_RELAXED_SIMD_H_
#define IREE_WASM_HAL_WAMR_AOTC_RELAXED_SIMD_H_

#include "aot_compiler.h"

// Emits one instruction of the prefix 0xfd; opcode is 0x100 or more. False, with WAMR's last error
// set, if it fails or there is no such instruction.
bool iwh_aotc_compile_relaxed_simd(
    AOTCompContext *comp_ctx, AOTFuncContext *func_ctx, uint32 opcode);

#endif
