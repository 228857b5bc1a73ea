// What a program's module must be: one that the core made, and one that code of this image can run.
//
// WAMR's loader takes indices and sizes as its compiler wrote them. Each is looked at once here, so
// that none that was damaged since is followed when a module is instantiated or run.

#include <string.h>

#include "internal.h"

// As the web's engines have it: https://webassembly.github.io/spec/js-api/#limits
#define MAX_TABLE_SIZE 10000000u

// Exported functions of these names run when WAMR instantiates a module, as a start function does.
static const char *const implicit_starts[] = {"__post_instantiate", "__wasm_call_ctors"};

static bool starts_by_itself(const AOTModule *module) {
  if (module->start_func_index != UINT32_MAX) return true;
  for (uint32_t index = 0; index < module->export_count; index++) {
    for (size_t start = 0; start < sizeof implicit_starts / sizeof *implicit_starts; start++) {
      if (strcmp(module->exports[index].name, implicit_starts[start]) == 0) return true;
    }
  }
  return false;
}

static bool is_reference(const AOTModule *module, const InitializerExpression *expression) {
  uint32_t index = expression->u.unary.v.ref_index;
  if (expression->init_expr_type == INIT_EXPR_TYPE_REFNULL_CONST) return index == UINT32_MAX;
  return expression->init_expr_type == INIT_EXPR_TYPE_FUNCREF_CONST && index < module->func_count;
}

static bool has_good_tables(const AOTModule *module) {
  for (uint32_t index = 0; index < module->table_count; index++) {
    const AOTTable *table = &module->tables[index];
    uint32_t size = table->table_type.init_size;
    if (size > MAX_TABLE_SIZE || aot_get_tbl_data_slots(table, false) > MAX_TABLE_SIZE ||
        aot_get_tbl_data_slots(table, false) < size) {
      return false;
    }
  }
  for (uint32_t index = 0; index < module->table_init_data_count; index++) {
    const AOTTableInitData *data = module->table_init_data_list[index];
    if (data->table_index >= module->table_count && wasm_elem_is_active(data->mode)) return false;
    for (uint32_t value = 0; value < data->value_count; value++) {
      if (!is_reference(module, &data->init_values[value])) return false;
    }
  }
  return true;
}

static bool has_good_globals(const AOTModule *module) {
  for (uint32_t index = 0; index < module->global_count; index++) {
    const AOTGlobal *global = &module->globals[index];
    if (global->type.val_type == VALUE_TYPE_FUNCREF &&
        !is_reference(module, &global->init_expr)) {
      return false;
    }
  }
  return true;
}

const char *iwh_module_objection(const AOTModule *module, uint32_t function_count) {
  if (module->import_func_count || module->import_global_count || module->import_table_count) {
    return "its one import must be a memory";
  }
  if (module->memory_count != 1) return "it has not one memory";
  if (module->func_count != function_count) return "it has another number of functions";
  if (!has_good_tables(module)) return "its tables are damaged";
  if (!has_good_globals(module)) return "its globals are damaged";
  for (uint32_t index = 0; index < module->mem_init_data_count; index++) {
    if (!module->mem_init_data_list[index]->is_passive) return "it writes to its memory";
  }
  return starts_by_itself(module) ? "it runs code when it is instantiated" : NULL;
}
