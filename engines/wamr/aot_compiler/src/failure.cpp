#include "failure.h"

#include <llvm-c/Core.h>
#include <llvm/Support/ErrorHandling.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <new>

namespace {

thread_local jmp_buf *current_landing;
thread_local const bool *cancellation;
std::atomic<bool> has_failed;
thread_local char reason[256];

[[noreturn]] void land(const char *why) {
  if (!reason[0]) std::snprintf(reason, sizeof reason, "%s", why);
  if (!current_landing) std::abort();
  jmp_buf *landing = current_landing;
  current_landing = nullptr;
  longjmp(*landing, 1);
}

// Whatever LLVM held, a lock among it, is held for good.
void on_fatal_error(void *, const char *why, bool) {
  has_failed = true;
  land(why);
}

void on_no_memory(void *, const char *, bool) { land("not enough memory"); }

// For operator new, which otherwise throws through code that was compiled without exceptions.
void on_new_failed() { land("not enough memory"); }

void on_diagnostic(LLVMDiagnosticInfoRef info, void *) {
  if (LLVMGetDiagInfoSeverity(info) != LLVMDSError || reason[0]) return;
  char *text = LLVMGetDiagInfoDescription(info);
  std::snprintf(reason, sizeof reason, "%s", text);
  LLVMDisposeMessage(text);
}

}  // namespace

extern "C" void iwh_aotc_catch_llvm_failures(void) {
  llvm::install_fatal_error_handler(on_fatal_error);
  llvm::install_bad_alloc_error_handler(on_no_memory);
  // The library carries a C++ library of its own, so this is nobody else's handler.
  std::set_new_handler(on_new_failed);
}

extern "C" void iwh_aotc_set_landing(jmp_buf *landing) { current_landing = landing; }

extern "C" const char *iwh_aotc_failure(void) { return reason; }

extern "C" void iwh_aotc_clear_failure(void) { reason[0] = '\0'; }

extern "C" void iwh_aotc_set_cancellation(const bool *flag) { cancellation = flag; }

extern "C" bool iwh_aotc_is_cancelled(void) {
  return cancellation && __atomic_load_n(cancellation, __ATOMIC_RELAXED);
}

extern "C" bool iwh_aotc_llvm_has_failed(void) { return has_failed; }

extern "C" void iwh_aotc_watch_context(LLVMContextRef context) {
  LLVMContextSetDiagnosticHandler(context, on_diagnostic, nullptr);
}
