// WAMR's process-wide state: started once, never stopped.

#include <stdio.h>

#include "internal.h"

// Raised when include/iree_wasm_hal_wamr.h changes; the plugin knows one.
#define INTERFACE_VERSION 1

static pthread_once_t started_once = PTHREAD_ONCE_INIT;
static bool started;
static char version[32];

// Everything WAMR prints comes here (WAMR_BH_VPRINTF): its messages reach us by other ways too, and
// the standard output of a host program is not ours.

int iwh_wamr_discard_print(const char *format, va_list arguments) {
  (void)format;
  (void)arguments;
  return 0;
}

static void start(void) {
  RuntimeInitArgs arguments = {
      .mem_alloc_type = Alloc_With_Allocator,
      .mem_alloc_option.allocator =
          {
              .malloc_func = (void *)iwh_wamr_allocate,
              .realloc_func = (void *)iwh_wamr_reallocate,
              .free_func = (void *)iwh_wamr_free,
          },
  };
  started = wasm_runtime_full_init(&arguments);
  if (started) wasm_runtime_set_log_level(WASM_LOG_LEVEL_FATAL);
  uint32_t major, minor, patch;
  wasm_runtime_get_version(&major, &minor, &patch);
  snprintf(version, sizeof version, "%u.%u.%u", major, minor, patch);
}

uint32_t iwh_wamr_interface_version(void) { return INTERFACE_VERSION; }

bool iwh_wamr_initialize(void) {
  pthread_once(&started_once, start);
  return started;
}

const char *iwh_wamr_version(void) {
  pthread_once(&started_once, start);
  return version;
}
