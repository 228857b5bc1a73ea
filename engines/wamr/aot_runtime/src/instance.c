// A program bound to a region.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

// WAMR's own stack holds frames that it makes for functions where an image asks for them.
#define WAMR_STACK_BYTE_LENGTH 1024

static const char *objection_to(
    const iwh_wamr_aot_program *program, const iwh_wamr_aot_region *region) {
  uint32_t flags = program->parts[0].module->memories[0].flags;
  if (!!(flags & SHARED_MEMORY_FLAG) != region->shared) {
    return region->shared ? "its memory is not shared, the region is"
                          : "its memory is shared, the region is not";
  }
  if (!!(flags & MEMORY64_FLAG) != region->index64) {
    return region->index64 ? "its memory has 32-bit addresses, the region 64-bit ones"
                           : "its memory has 64-bit addresses, the region 32-bit ones";
  }
  if (program->guarded && !region->guarded) return "it needs guard pages, the region has none";
  return NULL;
}

static bool attach(iwh_wamr_aot_instance *instance, char *message, uint32_t message_capacity) {
  wasm_module_inst_t native = wasm_runtime_instantiate(
      (wasm_module_t)instance->program->parts[0].module, WAMR_STACK_BYTE_LENGTH, 0, message,
      message_capacity);
  if (!native) return false;
  instance->native = (AOTModuleInstance *)native;
  instance->execution = wasm_exec_env_create_internal(
      (WASMModuleInstanceCommon *)native, WAMR_STACK_BYTE_LENGTH);
  if (!instance->execution) {
    wasm_runtime_deinstantiate(native);
    snprintf(message, message_capacity, "not enough memory for an instance");
  }
  return instance->execution != NULL;
}

iwh_wamr_aot_instance *iwh_wamr_aot_instance_create(
    iwh_wamr_aot_program *program, iwh_wamr_aot_region *region, uint32_t stack_byte_length,
    char *message, uint32_t message_capacity) {
  const char *objection = objection_to(program, region);
  iwh_wamr_aot_instance *instance = objection ? NULL : calloc(1, sizeof *instance);
  if (!instance) {
    if (!objection) objection = "not enough memory for an instance";
    snprintf(message, message_capacity, "%s", objection);
    return NULL;
  }
  instance->program = program;
  instance->region = region;
  instance->stack_byte_length = stack_byte_length;
  if (!attach(instance, message, message_capacity)) {
    free(instance);
    return NULL;
  }
  pthread_mutex_init(&instance->interruption_lock, NULL);
  iwh_program_retain(program);
  iwh_region_retain(region);
  iwh_region_add(region, instance);
  return instance;
}

void iwh_wamr_aot_instance_release(iwh_wamr_aot_instance *instance) {
  iwh_region_remove(instance->region, instance);
  // WAMR would free it, and more than once if it is shared.
  instance->native->memories[0]->memory_data = NULL;
  wasm_exec_env_destroy_internal(instance->execution);
  wasm_runtime_deinstantiate((wasm_module_inst_t)instance->native);
  iwh_wamr_aot_program_release(instance->program);
  iwh_wamr_aot_region_release(instance->region);
  pthread_mutex_destroy(&instance->interruption_lock);
  free(instance);
}

iwh_wamr_aot_function *iwh_wamr_aot_instance_function(
    iwh_wamr_aot_instance *instance, const char *name) {
  iwh_wamr_aot_program *program = instance->program;
  for (uint32_t index = 0; index < program->export_count; index++) {
    if (strcmp(program->exports[index].name, name) == 0) return &program->exports[index];
  }
  return NULL;
}

static char letter(uint8 type) {
  return type == VALUE_TYPE_I32 ? 'i' : type == VALUE_TYPE_I64 ? 'I' : 'x';
}

bool iwh_wamr_aot_function_type(
    iwh_wamr_aot_instance *instance, iwh_wamr_aot_function *function, char *type,
    uint32_t capacity) {
  (void)instance;
  const AOTFuncType *native = function->type;
  if ((uint32_t)native->param_count + native->result_count + 2 > capacity) return false;
  for (uint32_t index = 0; index < native->param_count; index++) {
    *type++ = letter(native->types[index]);
  }
  *type++ = ':';
  for (uint32_t index = 0; index < native->result_count; index++) {
    *type++ = letter(native->types[native->param_count + index]);
  }
  *type = 0;
  return true;
}
