// Calls: arguments, traps and interruption.

#include <string.h>

#include "bh_vector.h"
#include "internal.h"
#include "wasm_suspend_flags.h"

// WAMR's stack slots are 32 bits wide, and wasm functions rarely have more than a few parameters.
#define MAX_CELL_COUNT 2048

static uint32_t pack(const char *type, const uint64_t *slots, uint32_t *cells) {
  uint32_t count = 0;
  for (; *type != ':'; type++, slots++) {
    cells[count++] = (uint32_t)*slots;
    if (*type == 'I') cells[count++] = (uint32_t)(*slots >> 32);
  }
  return count;
}

static void unpack(const char *type, const uint32_t *cells, uint64_t *slots) {
  char result = strchr(type, ':')[1];
  if (result == 'i') slots[0] = cells[0];
  if (result == 'I') slots[0] = cells[0] | (uint64_t)cells[1] << 32;
}

static void begin(iwh_wamr_instance *instance) {
  pthread_mutex_lock(&instance->call_lock);
  instance->running = true;
  instance->interrupted = false;
  pthread_mutex_unlock(&instance->call_lock);
}

// Whether the call was interrupted. No interruption comes after this.
static bool end(iwh_wamr_instance *instance) {
  pthread_mutex_lock(&instance->call_lock);
  instance->running = false;
  bool interrupted = instance->interrupted;
  pthread_mutex_unlock(&instance->call_lock);
  return interrupted;
}

iwh_wamr_outcome iwh_wamr_call(
    iwh_wamr_instance *instance, iwh_wamr_function *function, const char *type, uint64_t *slots,
    char *message, uint32_t message_capacity) {
  uint32_t cells[MAX_CELL_COUNT];
  uint32_t cell_count = pack(type, slots, cells);
  begin(instance);
  iwh_wamr_bind_region(instance->region);
  bool returned = wasm_runtime_call_wasm(
      (wasm_exec_env_t)instance->execution, (wasm_function_inst_t)function, cell_count, cells);
  iwh_wamr_bind_region(NULL);
  bool interrupted = end(instance);
  if (returned && !interrupted) {
    unpack(type, cells, slots);
    return IWH_WAMR_RETURNED;
  }
  // A trap is an exception; an interruption is a flag, which clearing the exception also clears.
  wasm_module_inst_t native = (wasm_module_inst_t)instance->native;
  const char *exception = wasm_runtime_get_exception(native);
  bool trapped = exception != NULL;
  if (trapped) {
    strncpy(message, exception, message_capacity - 1);
    message[message_capacity - 1] = 0;
  }
  wasm_runtime_clear_exception(native);
  return trapped ? IWH_WAMR_TRAPPED : IWH_WAMR_INTERRUPTED;
}

uint32_t iwh_wamr_trap_frames(
    iwh_wamr_instance *instance, iwh_wamr_frame *frames, uint32_t capacity) {
  Vector *stack = instance->native->frames;
  uint32_t count = (uint32_t)bh_vector_size(stack);
  if (count > capacity) count = capacity;
  for (uint32_t index = 0; index < count; index++) {
    WASMCApiFrame frame;
    if (!bh_vector_get(stack, index, &frame)) return index;
    frames[index].function_index = frame.func_index;
    frames[index].name = frame.func_name_wp;
  }
  return count;
}

// Not wasm_runtime_terminate: with call stacks in traps it would walk the frames of the running
// thread from this one. The flag is what ends loops and waits.
void iwh_wamr_interrupt(iwh_wamr_instance *instance) {
  pthread_mutex_lock(&instance->call_lock);
  if (instance->running) {
    instance->interrupted = true;
    WASM_SUSPEND_FLAGS_FETCH_OR(instance->execution->suspend_flags, WASM_SUSPEND_FLAG_TERMINATE);
  }
  pthread_mutex_unlock(&instance->call_lock);
}
