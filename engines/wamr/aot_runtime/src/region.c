// One linear memory for any number of instances.
//
// WAMR gives each instance a memory of its own, even to a program that imports one. Here that one is
// empty, and once it is made it is described anew: base, size and maximum of the region. WAMR keeps
// a size per instance, so growth writes all of them. The region goes with its last reference.

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "internal.h"
#include "wasm_memory.h"

// A 32-bit address, a 32-bit offset, and the 16 bytes of the largest access, or of the last of those
// that a merged one stands for; rounded up to a page of wasm, and one page of the machine more.
#define REACH_BYTE_LENGTH ((8ull << 30) + IWH_PAGE_BYTE_LENGTH)

uint64_t iwh_wamr_aot_region_reserved_byte_length(uint32_t max_page_count, bool guarded) {
  if (guarded) return REACH_BYTE_LENGTH + (uint64_t)sysconf(_SC_PAGESIZE);
  // One page even for a maximum of none.
  return ((uint64_t)max_page_count + (max_page_count == 0)) * IWH_PAGE_BYTE_LENGTH;
}

static bool commit(iwh_wamr_aot_region *region, uint32_t before, uint32_t page_count) {
  uint64_t from = (uint64_t)before * IWH_PAGE_BYTE_LENGTH;
  uint64_t to = (uint64_t)page_count * IWH_PAGE_BYTE_LENGTH;
  return from == to || mprotect(region->base + from, to - from, PROT_READ | PROT_WRITE) == 0;
}

iwh_wamr_aot_region *iwh_wamr_aot_region_create(
    uint32_t page_count, uint32_t max_page_count, bool shared, bool index64, bool guarded) {
  if (page_count > max_page_count || (guarded && (index64 || max_page_count > 65536))) return NULL;
  iwh_wamr_aot_region *region = calloc(1, sizeof *region);
  if (!region) return NULL;
  atomic_init(&region->reference_count, 1);
  atomic_init(&region->page_count, page_count);
  region->shared = shared;
  region->index64 = index64;
  region->guarded = guarded;
  region->max_page_count = max_page_count;
  region->reserved_byte_length =
      iwh_wamr_aot_region_reserved_byte_length(max_page_count, guarded);
  void *base = mmap(
      NULL, region->reserved_byte_length, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
      -1, 0);
  if (base == MAP_FAILED) {
    free(region);
    return NULL;
  }
  region->base = base;
  pthread_mutex_init(&region->lock, NULL);
  if (!commit(region, 0, page_count)) {
    iwh_wamr_aot_region_release(region);
    return NULL;
  }
  return region;
}

void iwh_region_retain(iwh_wamr_aot_region *region) {
  atomic_fetch_add_explicit(&region->reference_count, 1, memory_order_relaxed);
}

void iwh_wamr_aot_region_release(iwh_wamr_aot_region *region) {
  if (atomic_fetch_sub_explicit(&region->reference_count, 1, memory_order_acq_rel) != 1) return;
  munmap(region->base, region->reserved_byte_length);
  pthread_mutex_destroy(&region->lock);
  free(region);
}

uint8_t *iwh_wamr_aot_region_base(iwh_wamr_aot_region *region) { return region->base; }

uint32_t iwh_wamr_aot_region_page_count(iwh_wamr_aot_region *region) {
  return atomic_load(&region->page_count);
}

// Makes an instance's memory be the region at its present size. A program may be running on it:
// what it may access by a size that it reads here is accessible already.
static void describe(iwh_wamr_aot_region *region, iwh_wamr_aot_instance *instance) {
  WASMMemoryInstance *memory = instance->native->memories[0];
  uint32_t page_count = atomic_load(&region->page_count);
  uint64_t byte_length = (uint64_t)page_count * IWH_PAGE_BYTE_LENGTH;
  memory->num_bytes_per_page = IWH_PAGE_BYTE_LENGTH;
  memory->max_page_count = region->max_page_count;
  memory->memory_data = region->base;
  memory->memory_data_end = region->base + byte_length;
  memory->heap_data = memory->heap_data_end = memory->memory_data_end;
  SET_LINEAR_MEMORY_SIZE(memory, byte_length);
  // The last address that an access may begin at. In an empty memory it is 0, which is guarded.
  if (byte_length > 0) wasm_runtime_set_mem_bound_check_bytes(memory, byte_length);
  __atomic_store_n(&memory->cur_page_count, page_count, __ATOMIC_RELEASE);
}

void iwh_region_add(iwh_wamr_aot_region *region, iwh_wamr_aot_instance *instance) {
  pthread_mutex_lock(&region->lock);
  instance->next = region->instances;
  if (instance->next) instance->next->previous = instance;
  region->instances = instance;
  describe(region, instance);
  pthread_mutex_unlock(&region->lock);
}

void iwh_region_remove(iwh_wamr_aot_region *region, iwh_wamr_aot_instance *instance) {
  pthread_mutex_lock(&region->lock);
  if (instance->next) instance->next->previous = instance->previous;
  if (instance->previous) {
    instance->previous->next = instance->next;
  } else {
    region->instances = instance->next;
  }
  pthread_mutex_unlock(&region->lock);
}

uint32_t iwh_region_grow(iwh_wamr_aot_region *region, uint64_t delta_page_count) {
  pthread_mutex_lock(&region->lock);
  uint32_t before = atomic_load(&region->page_count);
  bool grown = delta_page_count <= region->max_page_count - before &&
               commit(region, before, before + (uint32_t)delta_page_count);
  if (grown && delta_page_count > 0) {
    atomic_store(&region->page_count, before + (uint32_t)delta_page_count);
    for (iwh_wamr_aot_instance *each = region->instances; each; each = each->next) {
      describe(region, each);
    }
  }
  pthread_mutex_unlock(&region->lock);
  return grown ? before : UINT32_MAX;
}

bool iwh_wamr_aot_region_grow(iwh_wamr_aot_region *region, uint32_t delta_page_count) {
  return iwh_region_grow(region, delta_page_count) != UINT32_MAX;
}
