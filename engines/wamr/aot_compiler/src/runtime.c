// WAMR's and LLVM's process-wide state: started once, never stopped.

#include <llvm-c/TargetMachine.h>
#include <llvm/Config/llvm-config.h>
#include <pthread.h>
#include <stdarg.h>

#include "failure.h"
#include "internal.h"
#include "wasm_export.h"

// Raised when include/iree_wasm_hal_wamr_aotc.h changes; the plugin knows one.
#define INTERFACE_VERSION 2

static pthread_once_t started_once = PTHREAD_ONCE_INIT;
static bool started;
static char *host_cpu;

// Everything WAMR prints comes here (BH_VPRINTF): the standard output of a host program is not ours.
int iwh_aotc_discard_print(const char *format, va_list arguments) {
  (void)format;
  (void)arguments;
  return 0;
}

static void start(void) {
  RuntimeInitArgs arguments = {.mem_alloc_type = Alloc_With_System_Allocator};
  if (!wasm_runtime_full_init(&arguments)) return;
  wasm_runtime_set_log_level(WASM_LOG_LEVEL_FATAL);
  iwh_aotc_catch_llvm_failures();
  host_cpu = LLVMGetHostCPUName();
  started = host_cpu != NULL;
}

uint32_t iwh_aotc_interface_version(void) { return INTERFACE_VERSION; }

const char *iwh_aotc_llvm_version(void) { return LLVM_VERSION_STRING; }

bool iwh_aotc_can_widen(void) { return LLVM_VERSION_MAJOR >= 22; }

bool iwh_aotc_initialize(void) {
  pthread_once(&started_once, start);
  return started;
}

const char *iwh_aotc_host_cpu(void) { return iwh_aotc_initialize() ? host_cpu : ""; }
