// Programs: the loaded images of their parts.
//
// Each part is a whole image of the module in which the functions of other parts are stubs. What a
// part calls directly it has itself, so all that has to be put together is the list of functions
// that indirect calls and the host go by: part 0's, which is the one that is instantiated.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

// What instances and their layout depend on.
static bool is_same_module(const AOTModule *one, const AOTModule *other) {
  return one->func_count == other->func_count && one->type_count == other->type_count &&
         one->table_count == other->table_count && one->global_count == other->global_count &&
         one->global_data_size == other->global_data_size &&
         one->export_count == other->export_count &&
         one->memories[0].flags == other->memories[0].flags &&
         (one->func_count == 0 ||
          memcmp(one->func_type_indexes, other->func_type_indexes,
                 one->func_count * sizeof *one->func_type_indexes) == 0);
}

static int compare_starts(const void *left, const void *right) {
  const iwh_start *a = left, *b = right;
  return (a->address > b->address) - (a->address < b->address);
}

static bool find_starts(iwh_part *part) {
  uint32_t count = part->module->func_count;
  part->starts = malloc((count + 1) * sizeof *part->starts);
  if (!part->starts) return false;
  for (uint32_t index = 0; index < count; index++) {
    part->starts[index] = (iwh_start){(uintptr_t)part->module->func_ptrs[index], index};
  }
  qsort(part->starts, count, sizeof *part->starts, compare_starts);
  return true;
}

static const char *load_part(
    iwh_part *part, const uint8_t *image, size_t byte_length, uint32_t function_count,
    char *message, uint32_t message_capacity) {
  const char *objection = iwh_image_objection(image, byte_length);
  if (objection) return objection;
  part->image = malloc(byte_length);
  if (!part->image) return "not enough memory for it";
  memcpy(part->image, image, byte_length);
  part->module = (AOTModule *)wasm_runtime_load(
      part->image, (uint32_t)byte_length, message, message_capacity);
  if (!part->module) return message;
  objection = iwh_module_objection(part->module, function_count);
  if (objection) return objection;
  // Instances have the memory of their region.
  part->module->memories[0].num_bytes_per_page = IWH_PAGE_BYTE_LENGTH;
  part->module->memories[0].init_page_count = 0;
  part->module->memories[0].max_page_count = 0;
  part->text = (uintptr_t)part->module->code;
  part->text_byte_length = part->module->code_size;
  return find_starts(part) ? NULL : "not enough memory for its functions";
}

static bool take_functions(iwh_wamr_aot_program *program, const uint16_t *owners) {
  void **functions = program->parts[0].module->func_ptrs;
  for (uint32_t index = 0; index < program->function_count; index++) {
    if (owners[index] >= program->part_count) return false;
    functions[index] = program->parts[owners[index]].module->func_ptrs[index];
  }
  return true;
}

static bool list_exports(iwh_wamr_aot_program *program) {
  const AOTModule *module = program->parts[0].module;
  program->exports = calloc(module->export_count + 1, sizeof *program->exports);
  if (!program->exports) return false;
  for (uint32_t index = 0; index < module->export_count; index++) {
    const AOTExport *each = &module->exports[index];
    if (each->kind != EXPORT_KIND_FUNC) continue;
    const AOTFuncType *type =
        (const AOTFuncType *)module->types[module->func_type_indexes[each->index]];
    uint8 result = type->result_count ? type->types[type->param_count] : 0;
    program->exports[program->export_count++] = (iwh_wamr_aot_function){
        .name = each->name,
        .code = module->func_ptrs[each->index],
        .type = type,
        .parameter_count = type->param_count,
        .results_in_32_bits = result == VALUE_TYPE_I32,
        .results_in_64_bits = result == VALUE_TYPE_I64,
    };
  }
  return true;
}

static const char *load_parts(
    iwh_wamr_aot_program *program, const uint8_t *const *images, const size_t *byte_lengths,
    const uint16_t *owners, char *message, uint32_t message_capacity) {
  for (uint32_t index = 0; index < program->part_count; index++) {
    const char *objection =
        load_part(&program->parts[index], images[index], byte_lengths[index],
                  program->function_count, message, message_capacity);
    if (objection) return objection;
    if (!is_same_module(program->parts[0].module, program->parts[index].module)) {
      return "it is of another module";
    }
  }
  if (!take_functions(program, owners)) return "a function has no part";
  return list_exports(program) ? NULL : "not enough memory for its exports";
}

iwh_wamr_aot_program *iwh_wamr_aot_program_load(
    uint32_t part_count, const uint8_t *const *images, const size_t *byte_lengths,
    const uint16_t *owners, uint32_t function_count, bool guarded, char *message,
    uint32_t message_capacity) {
  if (part_count == 0 || part_count > UINT16_MAX) {
    snprintf(message, message_capacity, "it has %u parts", part_count);
    return NULL;
  }
  iwh_wamr_aot_program *program =
      calloc(1, sizeof *program + part_count * sizeof *program->parts);
  if (!program) {
    snprintf(message, message_capacity, "not enough memory for it");
    return NULL;
  }
  atomic_init(&program->reference_count, 1);
  program->guarded = guarded;
  program->part_count = part_count;
  program->function_count = function_count;
  const char *objection =
      load_parts(program, images, byte_lengths, owners, message, message_capacity);
  if (!objection) return program;
  if (objection != message) snprintf(message, message_capacity, "%s", objection);
  iwh_wamr_aot_program_release(program);
  return NULL;
}

void iwh_program_retain(iwh_wamr_aot_program *program) {
  atomic_fetch_add_explicit(&program->reference_count, 1, memory_order_relaxed);
}

void iwh_wamr_aot_program_release(iwh_wamr_aot_program *program) {
  if (atomic_fetch_sub_explicit(&program->reference_count, 1, memory_order_acq_rel) != 1) return;
  for (uint32_t index = 0; index < program->part_count; index++) {
    iwh_part *part = &program->parts[index];
    if (part->module) wasm_runtime_unload((wasm_module_t)part->module);
    free(part->starts);
    free(part->image);
  }
  free(program->exports);
  free(program);
}
