// A program bound to a region.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

// WAMR instantiates an imported memory as a new one of the imported type, and has turned that type
// into one big page where the program does not grow it. It is written anew before each use.
static void set_imported_memory_type(iwh_wamr_program *program, iwh_wamr_region *region) {
  WASMMemoryType *type = &program->module->import_memories[0].u.memory.mem_type;
  type->num_bytes_per_page = IWH_PAGE_BYTE_LENGTH;
  type->init_page_count = iwh_wamr_region_page_count(region);
  type->max_page_count = region->max_page_count;
}

// Exported functions of these names run when WAMR instantiates a module, as a start function does.
static const char *const implicit_starts[] = {"__post_instantiate", "__wasm_call_ctors"};

static bool starts_by_itself(const WASMModule *module) {
  if (module->start_function != UINT32_MAX) return true;
  for (uint32_t index = 0; index < module->export_count; index++) {
    for (size_t start = 0; start < sizeof implicit_starts / sizeof *implicit_starts; start++) {
      if (strcmp(module->exports[index].name, implicit_starts[start]) == 0) return true;
    }
  }
  return false;
}

static const char *objection(const WASMModule *module) {
  if (module->import_count != 1 || module->import_memory_count != 1) {
    return "its one import must be a memory";
  }
  if (module->memory_count != 0) return "it has a memory of its own";
  return starts_by_itself(module) ? "it runs code when it is instantiated" : NULL;
}

static WASMModuleInstance *instantiate(
    iwh_wamr_program *program, iwh_wamr_region *region, uint32_t stack_byte_length, char *message,
    uint32_t message_capacity) {
  pthread_mutex_lock(&program->instantiation_lock);
  set_imported_memory_type(program, region);
  iwh_wamr_bind_region(region);
  wasm_module_inst_t native = wasm_runtime_instantiate(
      (wasm_module_t)program->module, stack_byte_length, 0, message, message_capacity);
  iwh_wamr_bind_region(NULL);
  pthread_mutex_unlock(&program->instantiation_lock);
  return (WASMModuleInstance *)native;
}

iwh_wamr_instance *iwh_wamr_instance_create(
    iwh_wamr_program *program, iwh_wamr_region *region, uint32_t stack_byte_length, char *message,
    uint32_t message_capacity) {
  const char *reason = objection(program->module);
  if (reason) {
    snprintf(message, message_capacity, "%s", reason);
    return NULL;
  }
  iwh_wamr_instance *instance = calloc(1, sizeof *instance);
  if (!instance) {
    snprintf(message, message_capacity, "not enough memory for an instance");
    return NULL;
  }
  instance->native = instantiate(program, region, stack_byte_length, message, message_capacity);
  if (!instance->native) {
    free(instance);
    return NULL;
  }
  wasm_module_inst_t native = (wasm_module_inst_t)instance->native;
  instance->execution = wasm_runtime_create_exec_env(native, stack_byte_length);
  if (!instance->execution) {
    wasm_runtime_deinstantiate(native);
    free(instance);
    snprintf(message, message_capacity, "not enough memory for a stack");
    return NULL;
  }
  pthread_mutex_init(&instance->call_lock, NULL);
  iwh_wamr_program_retain(program);
  iwh_wamr_region_retain(region);
  instance->program = program;
  instance->region = region;
  iwh_wamr_region_add(region, instance);
  return instance;
}

void iwh_wamr_instance_release(iwh_wamr_instance *instance) {
  iwh_wamr_region_remove(instance->region, instance);
  wasm_runtime_destroy_exec_env(instance->execution);
  wasm_runtime_deinstantiate((wasm_module_inst_t)instance->native);
  iwh_wamr_program_release(instance->program);
  iwh_wamr_region_release(instance->region);
  pthread_mutex_destroy(&instance->call_lock);
  free(instance);
}

iwh_wamr_function *iwh_wamr_instance_function(iwh_wamr_instance *instance, const char *name) {
  return (iwh_wamr_function *)wasm_runtime_lookup_function(
      (wasm_module_inst_t)instance->native, name);
}

static char letter(wasm_valkind_t kind) {
  return kind == WASM_I32 ? 'i' : kind == WASM_I64 ? 'I' : 'x';
}

bool iwh_wamr_function_type(
    iwh_wamr_instance *instance, iwh_wamr_function *function, char *type, uint32_t capacity) {
  wasm_module_inst_t native = (wasm_module_inst_t)instance->native;
  wasm_function_inst_t native_function = (wasm_function_inst_t)function;
  uint32_t parameter_count = wasm_func_get_param_count(native_function, native);
  uint32_t result_count = wasm_func_get_result_count(native_function, native);
  if (parameter_count >= capacity || result_count >= capacity - parameter_count - 1) return false;
  wasm_valkind_t kinds[capacity];
  wasm_func_get_param_types(native_function, native, kinds);
  for (uint32_t index = 0; index < parameter_count; index++) *type++ = letter(kinds[index]);
  *type++ = ':';
  wasm_func_get_result_types(native_function, native, kinds);
  for (uint32_t index = 0; index < result_count; index++) *type++ = letter(kinds[index]);
  *type = 0;
  return true;
}
