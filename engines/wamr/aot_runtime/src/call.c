// Calls: arguments, results and how they end.

#include <string.h>

#include "internal.h"

#define REGISTER_SLOT_COUNT 5

static void say(const char *trap, char *message, uint32_t message_capacity) {
  if (message_capacity == 0) return;
  strncpy(message, trap, message_capacity - 1);
  message[message_capacity - 1] = 0;
}

// Whether this thread has room for a call of the instance, of which it tells the code.
static bool bound_stack(iwh_wamr_aot_instance *instance, uint64_t slot_count) {
  uintptr_t here = (uintptr_t)__builtin_frame_address(0);
  uintptr_t limit = (uintptr_t)iwh_thread_stack_limit();
  if (!limit) return false;
  uintptr_t wanted = instance->stack_byte_length;
  if (wanted && here > wanted && here - wanted > limit) limit = here - wanted;
  instance->execution->native_stack_boundary = (uint8_t *)limit;
  // What iwh_enter and the caller's frame take, before code compares for itself.
  return here > limit && here - limit > 512 + slot_count * sizeof(uint64_t);
}

static void store_result(
    const iwh_wamr_aot_function *function, uint64_t value, uint64_t *slots) {
  if (function->results_in_32_bits) slots[0] = (uint32_t)value;
  if (function->results_in_64_bits) slots[0] = value;
}

iwh_wamr_aot_outcome iwh_wamr_aot_call(
    iwh_wamr_aot_instance *instance, iwh_wamr_aot_function *function, uint64_t *slots,
    char *message, uint32_t message_capacity) {
  uint64_t few[REGISTER_SLOT_COUNT] = {0};
  const uint64_t *arguments = slots;
  if (function->parameter_count < REGISTER_SLOT_COUNT) {
    for (uint32_t index = 0; index < function->parameter_count; index++) few[index] = slots[index];
    arguments = few;
  }
  instance->frame_count = 0;
  if (!bound_stack(instance, function->parameter_count)) {
    say("call stack exhausted", message, message_capacity);
    return IWH_WAMR_AOT_TRAPPED;
  }
  iwh_call call = {.instance = instance, .previous = iwh_current_call};
  atomic_signal_fence(memory_order_seq_cst);  // from here on a signal handler reads it
  iwh_current_call = &call;
  iwh_interruption_begin(instance);
  iwh_entered entered = iwh_enter(
      &call, function->code, instance->execution, arguments, function->parameter_count);
  bool interrupted = iwh_interruption_end(instance);
  iwh_current_call = call.previous;
  atomic_signal_fence(memory_order_seq_cst);
  if (call.trap) {
    say(call.trap, message, message_capacity);
    return IWH_WAMR_AOT_TRAPPED;
  }
  if (interrupted) return IWH_WAMR_AOT_INTERRUPTED;
  store_result(function, entered.value, slots);
  return IWH_WAMR_AOT_RETURNED;
}
