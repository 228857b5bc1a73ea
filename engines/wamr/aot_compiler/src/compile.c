// Compilation of a part of a module to an image in memory.

#include "aot_compiler.h"
#include "aot_emit_aot_file.h"

#include <stdlib.h>
#include <string.h>

#include "failure.h"
#include "internal.h"
#include "part.h"
#include "stack_usage.h"

struct iwh_aotc_buffer {
  uint8_t *data;  // WAMR's allocation
  size_t byte_length;
};

// What a compilation holds; a failure of LLVM leaves it in the middle.
typedef struct {
  const iwh_aotc_module *module;
  iwh_aotc_part part;
  iwh_aotc_stack_usage stack_usage;
  AOTCompData *data;
  AOTCompContext *context;
  uint8_t *image;
  uint32_t image_byte_length;
} compilation;

// Memory flags of the module as WAMR's compiler sees them. Shared or not makes no difference to the
// code, since the memory never moves and its size is read anew; but WAMR polls a flag in the loops
// of a shared one.
static void show_memories_as(compilation *self, bool as_declared) {
  const WASMModule *native = self->module->native;
  uint32_t imported = native->import_memory_count;
  // WAMR's compiler gives a module without a memory one of no pages, which nothing declares.
  for (uint32_t i = 0; i < imported + native->memory_count; i++) {
    if (!as_declared) {
      self->data->memories[i].flags &= (uint8_t)~SHARED_MEMORY_FLAG;
      continue;
    }
    self->data->memories[i].flags = i < imported
        ? native->import_memories[i].u.memory.mem_type.flags
        : native->memories[i - imported].flags;
  }
}

static bool run(compilation *self) {
  AOTCompOption option = {
      .target_arch = "x86_64",
      .target_abi = "gnu",
      .target_cpu = "x86-64",
      .cpu_features = (char *)self->part.options->features,
      .opt_level = 3,
      .size_level = 3,
      .output_format = AOT_FORMAT_FILE,
      .bounds_checks = self->part.options->explicit_bounds_checks ? 1 : 2,
      .stack_bounds_checks = 1,
      .enable_simd = true,
      .enable_bulk_memory = true,
      .enable_bulk_memory_opt = true,
      .enable_ref_types = true,
      .enable_call_indirect_overlong = true,
      .enable_tail_call = true,
      .enable_extended_const = true,
      .stack_usage_file = self->stack_usage.path,
      .part = &self->part,
  };
  self->data = aot_create_comp_data(self->module->native, "x86_64", false);
  if (!self->data) return false;
  show_memories_as(self, false);
  self->context = aot_create_comp_context(self->data, &option);
  if (!self->context || !aot_compile_wasm(self->context)) return false;
  show_memories_as(self, true);
  self->image = aot_emit_aot_file_buf(self->context, self->data, &self->image_byte_length);
  return self->image != NULL;
}

static bool run_guarded(compilation *self) {
  jmp_buf landing;
  iwh_aotc_clear_failure();
  aot_set_last_error(NULL);
  if (setjmp(landing)) {
    self->context = NULL;  // its LLVM objects are in an unknown state
    return false;
  }
  iwh_aotc_set_landing(&landing);
  iwh_aotc_set_cancellation(&self->module->cancelled);
  bool done = run(self);
  iwh_aotc_set_landing(NULL);
  return done && !*iwh_aotc_failure();
}

static void report(const compilation *self, char *message, uint32_t capacity) {
  const char *reason = *iwh_aotc_failure() ? iwh_aotc_failure() : aot_get_last_error();
  const char *prefix = "Error: ";
  if (strncmp(reason, prefix, strlen(prefix)) == 0) reason += strlen(prefix);
  if (self->part.current_function == UINT32_MAX) {
    snprintf(message, capacity, "%s", reason);
  } else {
    snprintf(message, capacity, "function %u: %s", self->part.current_function, reason);
  }
}

static void release(compilation *self) {
  iwh_aotc_set_cancellation(NULL);
  if (self->context) aot_destroy_comp_context(self->context);
  if (self->data) aot_destroy_comp_data(self->data);
  iwh_aotc_stack_usage_close(&self->stack_usage);
}

iwh_aotc_outcome iwh_aotc_compile(
    const iwh_aotc_module *module, const iwh_aotc_options *options, const uint8_t *wanted,
    iwh_aotc_buffer **image, char *message, uint32_t message_capacity) {
  compilation self = {
      .module = module,
      .part = {.options = options, .wanted = wanted, .current_function = UINT32_MAX},
  };
  if (iwh_aotc_llvm_has_failed()) {
    snprintf(message, message_capacity, "LLVM failed before in this process; start a new one");
    return IWH_AOTC_FAILED;
  }
  iwh_aotc_buffer *buffer = malloc(sizeof *buffer);
  if (!buffer || !iwh_aotc_stack_usage_open(&self.stack_usage)) {
    free(buffer);
    snprintf(message, message_capacity, "not enough memory");
    return IWH_AOTC_FAILED;
  }
  self.part.stack_usage = &self.stack_usage;
  bool done = run_guarded(&self);
  if (done) {
    buffer->data = self.image;
    buffer->byte_length = self.image_byte_length;
    *image = buffer;
  } else {
    report(&self, message, message_capacity);
    free(buffer);
    if (self.image) wasm_runtime_free(self.image);
  }
  release(&self);
  if (done) return IWH_AOTC_COMPILED;
  bool excessive = self.part.copied_byte_length > IWH_AOTC_MAX_COPIED_BYTE_LENGTH;
  return excessive ? IWH_AOTC_TOO_MANY_COPIES : IWH_AOTC_FAILED;
}

const uint8_t *iwh_aotc_buffer_data(const iwh_aotc_buffer *buffer) { return buffer->data; }

size_t iwh_aotc_buffer_byte_length(const iwh_aotc_buffer *buffer) { return buffer->byte_length; }

void iwh_aotc_buffer_release(iwh_aotc_buffer *buffer) {
  wasm_runtime_free(buffer->data);
  free(buffer);
}
