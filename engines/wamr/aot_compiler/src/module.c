// Validated modules.

#include <stdlib.h>
#include <string.h>

#include "internal.h"
#include "wasm.h"
#include "wasm_export.h"

iwh_aotc_module *iwh_aotc_module_load(
    const uint8_t *wasm, size_t byte_length, char *message, uint32_t message_capacity) {
  iwh_aotc_module *module = calloc(1, sizeof *module);
  uint8_t *copy = malloc(byte_length + 1);
  if (!module || !copy || byte_length > UINT32_MAX) {
    free(module);
    free(copy);
    snprintf(message, message_capacity, "not enough memory for the module");
    return NULL;
  }
  memcpy(copy, wasm, byte_length);
  wasm_module_t native =
      wasm_runtime_load(copy, (uint32_t)byte_length, message, message_capacity);
  if (!native) {
    free(module);
    free(copy);
    return NULL;
  }
  module->wasm = copy;
  module->native = (WASMModule *)native;
  return module;
}

void iwh_aotc_module_release(iwh_aotc_module *module) {
  wasm_runtime_unload((wasm_module_t)module->native);
  free(module->wasm);
  free(module);
}

void iwh_aotc_module_cancel(iwh_aotc_module *module) {
  __atomic_store_n(&module->cancelled, true, __ATOMIC_RELAXED);
}

uint32_t iwh_aotc_module_function_count(const iwh_aotc_module *module) {
  return module->native->function_count;
}

uint32_t iwh_aotc_module_body_byte_length(const iwh_aotc_module *module, uint32_t index) {
  return module->native->functions[index]->code_size;
}
