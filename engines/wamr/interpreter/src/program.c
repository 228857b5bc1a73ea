// Validated modules.

#include <stdlib.h>
#include <string.h>

#include "internal.h"

iwh_wamr_program *iwh_wamr_program_load(
    const uint8_t *wasm, size_t byte_length, char *message, uint32_t message_capacity) {
  iwh_wamr_program *program = calloc(1, sizeof *program);
  uint8_t *copy = malloc(byte_length + 1);
  if (!program || !copy || byte_length > UINT32_MAX) {
    free(program);
    free(copy);
    strncpy(message, "not enough memory for the module", message_capacity);
    return NULL;
  }
  memcpy(copy, wasm, byte_length);
  wasm_module_t module =
      wasm_runtime_load(copy, (uint32_t)byte_length, message, message_capacity);
  if (!module) {
    free(program);
    free(copy);
    return NULL;
  }
  atomic_init(&program->reference_count, 1);
  pthread_mutex_init(&program->instantiation_lock, NULL);
  program->wasm = copy;
  program->module = (WASMModule *)module;
  return program;
}

void iwh_wamr_program_retain(iwh_wamr_program *program) {
  atomic_fetch_add_explicit(&program->reference_count, 1, memory_order_relaxed);
}

void iwh_wamr_program_release(iwh_wamr_program *program) {
  if (atomic_fetch_sub_explicit(&program->reference_count, 1, memory_order_acq_rel) != 1) return;
  wasm_runtime_unload((wasm_module_t)program->module);
  pthread_mutex_destroy(&program->instantiation_lock);
  free(program->wasm);
  free(program);
}
