// What the files of this library share. WAMR's own headers are used where its interface hides what
// one memory for many instances needs.

#ifndef IREE_WASM_HAL_WAMR_INTERNAL_H_
#define IREE_WASM_HAL_WAMR_INTERNAL_H_

#include <pthread.h>
#include <stdatomic.h>

#include "iree_wasm_hal_wamr.h"
#include "wasm_export.h"
#include "wasm_runtime.h"

#define IWH_PAGE_BYTE_LENGTH 65536u

struct iwh_wamr_region {
  atomic_uint reference_count;
  bool shared;
  uint32_t max_page_count;
  uint8_t *base;
  uint64_t reserved_byte_length;
  pthread_mutex_t lock;  // guards what follows
  uint32_t page_count;
  iwh_wamr_instance *instances;
};

struct iwh_wamr_program {
  atomic_uint reference_count;
  uint8_t *wasm;  // WAMR keeps pointers into it
  WASMModule *module;
  pthread_mutex_t instantiation_lock;  // guards the module's type of the imported memory
};

struct iwh_wamr_instance {
  iwh_wamr_program *program;
  iwh_wamr_region *region;
  WASMModuleInstance *native;
  WASMExecEnv *execution;
  // The list of the region's instances, under its lock.
  iwh_wamr_instance *previous;
  iwh_wamr_instance *next;
  pthread_mutex_t call_lock;  // guards what follows
  bool running;
  bool interrupted;
};

// WAMR's allocator functions: the linear memory of whatever this thread instantiates or runs is the
// region it has bound.
void *iwh_wamr_allocate(mem_alloc_usage_t usage, unsigned int byte_length);
void *iwh_wamr_reallocate(
    mem_alloc_usage_t usage, bool full_size_mapped, void *pointer, unsigned int byte_length);
void iwh_wamr_free(mem_alloc_usage_t usage, void *pointer);

// Binds a region to the calling thread, until it is bound to NULL.
void iwh_wamr_bind_region(iwh_wamr_region *region);

void iwh_wamr_region_retain(iwh_wamr_region *region);
void iwh_wamr_region_add(iwh_wamr_region *region, iwh_wamr_instance *instance);
void iwh_wamr_region_remove(iwh_wamr_region *region, iwh_wamr_instance *instance);
void iwh_wamr_program_retain(iwh_wamr_program *program);

#endif
