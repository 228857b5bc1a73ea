// WAMR's process-wide state and ours: started once, never stopped.

#include <stdio.h>

#include "internal.h"

// Raised when include/declarations.h changes; the plugin knows one.
#define INTERFACE_VERSION 1

static pthread_once_t started_once = PTHREAD_ONCE_INIT;
static char failure[128];
static bool started;
static char version[32];

// Everything WAMR prints comes here (WAMR_BH_VPRINTF): its messages reach us by other ways too, and
// the standard output of a host program is not ours.
int iwh_wamr_aot_discard_print(const char *format, va_list arguments) {
  (void)format;
  (void)arguments;
  return 0;
}

static void start(void) {
  RuntimeInitArgs arguments = {.mem_alloc_type = Alloc_With_System_Allocator};
  if (!wasm_runtime_full_init(&arguments)) {
    snprintf(failure, sizeof failure, "WAMR cannot start");
    return;
  }
  wasm_runtime_set_log_level(WASM_LOG_LEVEL_FATAL);
  uint32_t major, minor, patch;
  wasm_runtime_get_version(&major, &minor, &patch);
  snprintf(version, sizeof version, "%u.%u.%u", major, minor, patch);
  iwh_clear_vectors = iwh_cpu_has_avx();
  if (!iwh_thread_initialize() || !iwh_wait_initialize()) {
    snprintf(failure, sizeof failure, "not enough memory to start");
    return;
  }
  started = iwh_signals_install(failure, sizeof failure);
}

uint32_t iwh_wamr_aot_interface_version(void) { return INTERFACE_VERSION; }

bool iwh_wamr_aot_initialize(char *message, uint32_t message_capacity) {
  pthread_once(&started_once, start);
  if (!started) snprintf(message, message_capacity, "%s", failure);
  return started;
}

const char *iwh_wamr_aot_version(void) {
  pthread_once(&started_once, start);
  return version;
}
