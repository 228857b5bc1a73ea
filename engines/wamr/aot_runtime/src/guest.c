// Functions that guest code calls, but for waits (src/wait.c).
//
// None of them holds a lock when it ends the call, and each that takes time looks whether the call
// was interrupted: code that does little else is hardly ever met by the signal itself.

#include <string.h>

#include "guest_symbols.h"
#include "internal.h"

// How much is copied between two looks at an interruption: about a millisecond.
#define CHUNK_BYTE_LENGTH (16u << 20)

// WAMR's numbers of exceptions, in the words of the official tests where it has other ones.
static const char *trap_name(uint32_t id) {
  switch (id) {
    case EXCE_UNREACHABLE: return "unreachable";
    case EXCE_OUT_OF_MEMORY: return "allocate memory failed";
    case EXCE_OUT_OF_BOUNDS_MEMORY_ACCESS: return "out of bounds memory access";
    case EXCE_INTEGER_OVERFLOW: return "integer overflow";
    case EXCE_INTEGER_DIVIDE_BY_ZERO: return "integer divide by zero";
    case EXCE_INVALID_CONVERSION_TO_INTEGER: return "invalid conversion to integer";
    case EXCE_INVALID_FUNCTION_TYPE_INDEX: return "indirect call type mismatch";
    case EXCE_UNDEFINED_ELEMENT: return "undefined element";
    case EXCE_UNINITIALIZED_ELEMENT: return "uninitialized element";
    case EXCE_NATIVE_STACK_OVERFLOW: return "call stack exhausted";
    case EXCE_UNALIGNED_ATOMIC: return "unaligned atomic";
    case EXCE_OUT_OF_BOUNDS_TABLE_ACCESS: return "out of bounds table access";
    case EXCE_NULL_REFERENCE: return "null reference";
    default: return "unknown";
  }
}

// Ends the call if a function of WAMR's set an exception. Its texts are of the specification.
static void trap_if_set(AOTModuleInstance *native, iwh_place place) {
  if (!native->cur_exception[0]) return;
  static const char prefix[] = "Exception: ";
  const char *text = native->cur_exception;
  if (strncmp(text, prefix, sizeof prefix - 1) == 0) text += sizeof prefix - 1;
  static const char *const known[] = {
      "out of bounds memory access", "out of bounds table access", "undefined element",
      "uninitialized element", "indirect call type mismatch"};
  const char *trap = "unknown";
  for (size_t index = 0; index < sizeof known / sizeof *known; index++) {
    if (strcmp(text, known[index]) == 0) trap = known[index];
  }
  if (strcmp(text, "native stack overflow") == 0) trap = "call stack exhausted";
  native->cur_exception[0] = 0;
  iwh_trap(place, trap);
}

// Above the exception's number is that of the function plus one, which may have been inlined into
// the one that calls (aot_compiler/src/traps.c).
void iwh_guest_trap_with_id(AOTModuleInstance *native, uint32_t id) {
  (void)native;
  iwh_place place = IWH_CALLER;
  place.function_number = id >> 8;
  iwh_trap(place, trap_name(id & 0xff));
}

void iwh_guest_trap(AOTModuleInstance *native, const char *trap) {
  (void)native;
  (void)trap;
  iwh_trap(IWH_CALLER, "unknown");
}

static void leave_if_interrupted(void) {
  iwh_call *call = iwh_current_call;
  if (iwh_interruption_is_due(call)) iwh_leave(call);
}

bool iwh_guest_call_indirect(
    WASMExecEnv *execution, uint32_t table_index, uint32_t element_index, uint32_t cell_count,
    uint32_t *cells) {
  aot_call_indirect(execution, table_index, element_index, cell_count, cells);
  trap_if_set((AOTModuleInstance *)execution->module_inst, IWH_CALLER);
  return true;
}

uint64_t iwh_guest_grow_memory(AOTModuleInstance *native, uint64_t delta_page_count) {
  (void)native;
  uint32_t before = iwh_region_grow(iwh_current_call->instance->region, delta_page_count);
  leave_if_interrupted();
  return before == UINT32_MAX ? UINT64_MAX : before;
}

bool iwh_guest_enlarge_memory(AOTModuleInstance *native, uint32_t delta_page_count) {
  return iwh_guest_grow_memory(native, delta_page_count) != UINT64_MAX;
}

// Code compares before it asks for memory.copy and memory.fill. The compiler's own copies, made of
// a loop's stores, rely on the guard pages as the stores did: they may fault.

static void begin_copy(iwh_call *call, const iwh_place *place) {
  atomic_signal_fence(memory_order_seq_cst);
  call->copying_for = place;
  atomic_signal_fence(memory_order_seq_cst);
}

static void end_copy(iwh_call *call) {
  atomic_signal_fence(memory_order_seq_cst);
  call->copying_for = NULL;
}

void *iwh_guest_set(void *to, int value, size_t byte_length) {
  iwh_call *call = iwh_current_call;
  const iwh_place place = IWH_CALLER;
  begin_copy(call, &place);
  for (size_t done = 0; done < byte_length;) {
    size_t left = byte_length - done;
    size_t chunk = left < CHUNK_BYTE_LENGTH ? left : CHUNK_BYTE_LENGTH;
    memset((char *)to + done, value, chunk);
    done += chunk;
    leave_if_interrupted();
  }
  end_copy(call);
  return to;
}

static void move_up(char *to, const char *from, size_t byte_length) {
  for (size_t done = 0; done < byte_length;) {
    size_t left = byte_length - done;
    size_t chunk = left < CHUNK_BYTE_LENGTH ? left : CHUNK_BYTE_LENGTH;
    memmove(to + done, from + done, chunk);
    done += chunk;
    leave_if_interrupted();
  }
}

static void move_down(char *to, const char *from, size_t byte_length) {
  for (size_t left = byte_length; left > 0;) {
    size_t chunk = left < CHUNK_BYTE_LENGTH ? left : CHUNK_BYTE_LENGTH;
    left -= chunk;
    memmove(to + left, from + left, chunk);
    leave_if_interrupted();
  }
}

void *iwh_guest_move(void *to, const void *from, size_t byte_length) {
  iwh_call *call = iwh_current_call;
  const iwh_place place = IWH_CALLER;
  begin_copy(call, &place);
  // Chunks that overlap are moved in the order in which none is overwritten before it is read.
  if ((uintptr_t)to - (uintptr_t)from < byte_length) {
    move_down(to, from, byte_length);
  } else {
    move_up(to, from, byte_length);
  }
  end_copy(call);
  return to;
}

bool iwh_guest_memory_init(
    AOTModuleInstance *native, uint32_t segment_index, uint32_t offset, uint32_t byte_length,
    size_t destination) {
  aot_memory_init(native, segment_index, offset, byte_length, destination);
  trap_if_set(native, IWH_CALLER);
  leave_if_interrupted();
  return true;
}

void iwh_guest_table_init(
    AOTModuleInstance *native, uint32_t table_index, uint32_t segment_index, uint32_t count,
    uint32_t from, uint32_t to) {
  aot_table_init(native, table_index, segment_index, count, from, to);
  trap_if_set(native, IWH_CALLER);
  leave_if_interrupted();
}

void iwh_guest_table_copy(
    AOTModuleInstance *native, uint32_t from_table_index, uint32_t to_table_index,
    uint32_t count, uint32_t from, uint32_t to) {
  aot_table_copy(native, from_table_index, to_table_index, count, from, to);
  trap_if_set(native, IWH_CALLER);
  leave_if_interrupted();
}

void iwh_guest_table_fill(
    AOTModuleInstance *native, uint32_t table_index, uint32_t count, table_elem_type_t value,
    uint32_t at) {
  aot_table_fill(native, table_index, count, value, at);
  trap_if_set(native, IWH_CALLER);
  leave_if_interrupted();
}
