// What ends a call by itself, and where it was.
//
// Functions here that record are called from signal handlers: they read the stack of the guest code
// and write to the call and its instance, nothing else.

#include "internal.h"

static const iwh_part *part_of(const iwh_call *call, uintptr_t program_counter) {
  const iwh_wamr_aot_program *program = call->instance->program;
  for (uint32_t index = 0; index < program->part_count; index++) {
    const iwh_part *part = &program->parts[index];
    if (program_counter - part->text < part->text_byte_length) return part;
  }
  return NULL;
}

bool iwh_call_holds(const iwh_call *call, uintptr_t program_counter) {
  return part_of(call, program_counter) != NULL;
}

bool iwh_call_may_touch(const iwh_call *call, uintptr_t address) {
  const iwh_wamr_aot_region *region = call->instance->region;
  return address - (uintptr_t)region->base < region->reserved_byte_length;
}

static uint32_t function_at(const iwh_part *part, uint32_t count, uintptr_t program_counter) {
  uint32_t low = 0, high = count;
  while (high - low > 1) {
    uint32_t middle = low + (high - low) / 2;
    if (part->starts[middle].address <= program_counter) {
      low = middle;
    } else {
      high = middle;
    }
  }
  return part->starts[low].function_index;
}

static void add_function(iwh_wamr_aot_instance *instance, uint32_t function_index) {
  if (instance->frame_count == IWH_MAX_FRAME_COUNT) return;
  instance->frames[instance->frame_count++] = function_index;
}

static void add_frame(iwh_call *call, uintptr_t program_counter) {
  const iwh_part *part = part_of(call, program_counter);
  uint32_t count = call->instance->program->function_count;
  if (part && count > 0) add_function(call->instance, function_at(part, count, program_counter));
}

// The function that trapped and, if it was inlined, the one that it is in.
static void add_innermost(iwh_call *call, iwh_place place) {
  iwh_wamr_aot_instance *instance = call->instance;
  add_frame(call, place.program_counter);
  if (place.function_number == 0 || place.function_number > instance->program->function_count) {
    return;
  }
  uint32_t trapped = place.function_number - 1;
  if (instance->frame_count == 1 && instance->frames[0] == trapped) return;
  uint32_t outer = instance->frames[0];
  bool has_outer = instance->frame_count == 1;
  instance->frame_count = 0;
  add_function(instance, trapped);
  if (has_outer) add_function(instance, outer);
}

// Follows the frame pointers. Code need not keep them: only a chain that ends at the entry is one.
static void add_callers(iwh_call *call, iwh_place place) {
  uintptr_t end = (uintptr_t)call->entry_frame_pointer;
  uintptr_t frame = place.frame_pointer, below = place.stack_pointer;
  uint32_t certain_count = call->instance->frame_count;
  while (frame != end) {
    if (frame % sizeof(uintptr_t) != 0 || frame < below || frame >= end) break;
    const uintptr_t *words = (const uintptr_t *)frame;
    if (words[0] == end) {  // called by the entry
      frame = end;
      break;
    }
    if (!part_of(call, words[1] - 1)) break;
    add_frame(call, words[1] - 1);
    below = frame + 2 * sizeof(uintptr_t);
    frame = words[0];
  }
  if (frame != end) call->instance->frame_count = certain_count;
}

void iwh_trap_record(iwh_call *call, iwh_place place, const char *trap) {
  call->trap = trap;
  call->instance->frame_count = 0;
  add_innermost(call, place);
  add_callers(call, place);
}

_Noreturn void iwh_trap(iwh_place place, const char *trap) {
  iwh_call *call = iwh_current_call;
  iwh_trap_record(call, place, trap);
  iwh_leave(call);
}

uint32_t iwh_wamr_aot_trap_frames(
    iwh_wamr_aot_instance *instance, uint32_t *function_indices, uint32_t capacity) {
  uint32_t count = instance->frame_count < capacity ? instance->frame_count : capacity;
  uint32_t imported = instance->program->parts[0].module->import_func_count;
  for (uint32_t index = 0; index < count; index++) {
    function_indices[index] = imported + instance->frames[index];
  }
  return count;
}
