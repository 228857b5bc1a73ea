// LLVM's failures, which would end the process, as errors of the compilation that met them.

#ifndef IREE_WASM_HAL_WAMR_AOTC_FAILURE_H_
#define IREE_WASM_HAL_WAMR_AOTC_FAILURE_H_

#include <llvm-c/Types.h>
#include <setjmp.h>
#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

// Installs the handlers, once per process.
void iwh_aotc_catch_llvm_failures(void);

// Where this thread goes on after a failure, until it is set to NULL. What LLVM held is lost: its
// frames are left by longjmp.
void iwh_aotc_set_landing(jmp_buf *landing);

// Why this thread went to its landing, or the first error that LLVM reported for a context that is
// watched; "" if there was none.
const char *iwh_aotc_failure(void);
void iwh_aotc_clear_failure(void);

// A flag by which other threads end what this thread compiles; NULL for none.
void iwh_aotc_set_cancellation(const bool *flag);
bool iwh_aotc_is_cancelled(void);

// Whether LLVM failed in this process in a way that leaves it in an unknown state.
bool iwh_aotc_llvm_has_failed(void);

// Reports a context's errors here instead of printing them and ending the process.
void iwh_aotc_watch_context(LLVMContextRef context);

#ifdef __cplusplus
}
#endif

#endif
