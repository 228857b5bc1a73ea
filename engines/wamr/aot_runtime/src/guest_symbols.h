// What compiled code may call, in place of WAMR's list (cmake/wamr_corrections.cmake).

#ifndef IREE_WASM_HAL_WAMR_AOT_GUEST_SYMBOLS_H_
#define IREE_WASM_HAL_WAMR_AOT_GUEST_SYMBOLS_H_

#include <math.h>

#include "aot_runtime.h"

// What a waiting thread sleeps on.
enum { IWH_WAITING = 0, IWH_NOTIFIED = 1, IWH_WAIT_INTERRUPTED = 2 };

_Noreturn void iwh_guest_trap_with_id(AOTModuleInstance *native, uint32_t id);
_Noreturn void iwh_guest_trap(AOTModuleInstance *native, const char *trap);
bool iwh_guest_call_indirect(
    WASMExecEnv *execution, uint32_t table_index, uint32_t element_index, uint32_t cell_count,
    uint32_t *cells);
bool iwh_guest_enlarge_memory(AOTModuleInstance *native, uint32_t delta_page_count);
uint64_t iwh_guest_grow_memory(AOTModuleInstance *native, uint64_t delta_page_count);
void *iwh_guest_move(void *to, const void *from, size_t byte_length);
void *iwh_guest_set(void *to, int value, size_t byte_length);
bool iwh_guest_memory_init(
    AOTModuleInstance *native, uint32_t segment_index, uint32_t offset, uint32_t byte_length,
    size_t destination);
uint32_t iwh_guest_wait(
    AOTModuleInstance *native, void *address, uint64_t expected, int64_t timeout_ns,
    bool is_64_bit);
uint32_t iwh_guest_notify(AOTModuleInstance *native, void *address, uint32_t count);
void iwh_guest_table_init(
    AOTModuleInstance *native, uint32_t table_index, uint32_t segment_index, uint32_t count,
    uint32_t from, uint32_t to);
void iwh_guest_table_copy(
    AOTModuleInstance *native, uint32_t from_table_index, uint32_t to_table_index,
    uint32_t count, uint32_t from, uint32_t to);
void iwh_guest_table_fill(
    AOTModuleInstance *native, uint32_t table_index, uint32_t count, table_elem_type_t value,
    uint32_t at);

#define IWH_GUEST_FLOAT(name) {#name, (void *)name}, {#name "f", (void *)name##f}

#define IWH_GUEST_SYMBOLS                                                  \
  {"aot_set_exception_with_id", (void *)iwh_guest_trap_with_id},           \
  {"aot_set_exception", (void *)iwh_guest_trap},                           \
  {"aot_call_indirect", (void *)iwh_guest_call_indirect},                  \
  {"aot_enlarge_memory", (void *)iwh_guest_enlarge_memory},                \
  {"iwh_guest_grow_memory", (void *)iwh_guest_grow_memory},                \
  {"memset", (void *)iwh_guest_set},                                       \
  {"memmove", (void *)iwh_guest_move},                                     \
  {"memcpy", (void *)iwh_guest_move},                                      \
  {"aot_memory_init", (void *)iwh_guest_memory_init},                      \
  {"aot_data_drop", (void *)aot_data_drop},                                \
  {"wasm_runtime_atomic_wait", (void *)iwh_guest_wait},                    \
  {"wasm_runtime_atomic_notify", (void *)iwh_guest_notify},                \
  {"aot_drop_table_seg", (void *)aot_drop_table_seg},                      \
  {"aot_table_init", (void *)iwh_guest_table_init},                        \
  {"aot_table_copy", (void *)iwh_guest_table_copy},                        \
  {"aot_table_fill", (void *)iwh_guest_table_fill},                        \
  {"aot_table_grow", (void *)aot_table_grow},                              \
  IWH_GUEST_FLOAT(sqrt), IWH_GUEST_FLOAT(fmin), IWH_GUEST_FLOAT(fmax),     \
  IWH_GUEST_FLOAT(ceil), IWH_GUEST_FLOAT(floor), IWH_GUEST_FLOAT(trunc),   \
  IWH_GUEST_FLOAT(rint), IWH_GUEST_FLOAT(nearbyint), IWH_GUEST_FLOAT(fma)

#endif
