// One linear memory for any number of instances.
//
// WAMR gives each instance a memory of its own, even to a program that imports one. Its allocator is
// a hook, though, and hears which allocation is a linear memory: ours returns the same region for
// every instance of a device. WAMR keeps a size per instance, so growth writes all of them; freeing
// an instance's memory does nothing; the region goes with its last reference.

#include <stdlib.h>
#include <sys/mman.h>

#include "internal.h"
#include "wasm_memory.h"
#include "wasm_shared_memory.h"

static _Thread_local iwh_wamr_region *bound_region;

void iwh_wamr_bind_region(iwh_wamr_region *region) { bound_region = region; }

static bool commit(iwh_wamr_region *region, uint32_t page_count) {
  uint64_t from = (uint64_t)region->page_count * IWH_PAGE_BYTE_LENGTH;
  uint64_t to = (uint64_t)page_count * IWH_PAGE_BYTE_LENGTH;
  return from == to || mprotect(region->base + from, to - from, PROT_READ | PROT_WRITE) == 0;
}

iwh_wamr_region *iwh_wamr_region_create(
    uint32_t page_count, uint32_t max_page_count, bool shared) {
  iwh_wamr_region *region = calloc(1, sizeof *region);
  if (!region) return NULL;
  atomic_init(&region->reference_count, 1);
  region->shared = shared;
  region->max_page_count = max_page_count;
  // The whole maximum, so that growth never moves it; one page even for a maximum of none.
  region->reserved_byte_length =
      ((uint64_t)max_page_count + (max_page_count == 0)) * IWH_PAGE_BYTE_LENGTH;
  void *base = mmap(
      NULL, region->reserved_byte_length, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
      -1, 0);
  if (base == MAP_FAILED) {
    free(region);
    return NULL;
  }
  region->base = base;
  pthread_mutex_init(&region->lock, NULL);
  if (!commit(region, page_count)) {
    iwh_wamr_region_release(region);
    return NULL;
  }
  region->page_count = page_count;
  return region;
}

void iwh_wamr_region_retain(iwh_wamr_region *region) {
  atomic_fetch_add_explicit(&region->reference_count, 1, memory_order_relaxed);
}

void iwh_wamr_region_release(iwh_wamr_region *region) {
  if (atomic_fetch_sub_explicit(&region->reference_count, 1, memory_order_acq_rel) != 1) return;
  munmap(region->base, region->reserved_byte_length);
  pthread_mutex_destroy(&region->lock);
  free(region);
}

uint8_t *iwh_wamr_region_base(iwh_wamr_region *region) { return region->base; }

uint32_t iwh_wamr_region_page_count(iwh_wamr_region *region) {
  pthread_mutex_lock(&region->lock);
  uint32_t page_count = region->page_count;
  pthread_mutex_unlock(&region->lock);
  return page_count;
}

// Makes an instance's memory be the region at its present size. A program may be running on it: it
// reads the size first and anew at each access, and the bytes below the size are accessible already.
static void describe(iwh_wamr_region *region, iwh_wamr_instance *instance) {
  WASMMemoryInstance *memory = instance->native->memories[0];
  uint64_t byte_length = (uint64_t)region->page_count * IWH_PAGE_BYTE_LENGTH;
  memory->num_bytes_per_page = IWH_PAGE_BYTE_LENGTH;
  memory->max_page_count = region->max_page_count;
  memory->memory_data = region->base;
  memory->memory_data_end = region->base + byte_length;
  memory->heap_data = memory->heap_data_end = memory->memory_data_end;
  __atomic_store_n(&memory->cur_page_count, region->page_count, __ATOMIC_RELEASE);
  SET_LINEAR_MEMORY_SIZE(memory, byte_length);
  wasm_runtime_set_mem_bound_check_bytes(memory, byte_length);
}

void iwh_wamr_region_add(iwh_wamr_region *region, iwh_wamr_instance *instance) {
  pthread_mutex_lock(&region->lock);
  instance->next = region->instances;
  if (instance->next) instance->next->previous = instance;
  region->instances = instance;
  describe(region, instance);
  pthread_mutex_unlock(&region->lock);
}

void iwh_wamr_region_remove(iwh_wamr_region *region, iwh_wamr_instance *instance) {
  pthread_mutex_lock(&region->lock);
  if (instance->next) instance->next->previous = instance->previous;
  if (instance->previous) {
    instance->previous->next = instance->next;
  } else {
    region->instances = instance->next;
  }
  pthread_mutex_unlock(&region->lock);
}

// Under the region's lock.
static bool resize(iwh_wamr_region *region, uint32_t page_count) {
  if (page_count > region->max_page_count || !commit(region, page_count)) return false;
  region->page_count = page_count;
  for (iwh_wamr_instance *each = region->instances; each; each = each->next) describe(region, each);
  return true;
}

bool iwh_wamr_region_grow(iwh_wamr_region *region, uint32_t delta_page_count) {
  // WAMR holds this lock while a program grows a shared memory, from reading its size onwards.
  if (region->shared) os_mutex_lock(&g_shared_memory_lock);
  pthread_mutex_lock(&region->lock);
  bool grown = delta_page_count <= region->max_page_count - region->page_count &&
               resize(region, region->page_count + delta_page_count);
  pthread_mutex_unlock(&region->lock);
  if (region->shared) os_mutex_unlock(&g_shared_memory_lock);
  return grown;
}

void *iwh_wamr_allocate(mem_alloc_usage_t usage, unsigned int byte_length) {
  if (usage != Alloc_For_LinearMemory) return malloc(byte_length);
  return bound_region ? bound_region->base : NULL;
}

// For linear memory, memory.grow of a running program. The length is 32 bits wide, and 4 GiB comes
// as 0: what one growth cannot mean is refused.
void *iwh_wamr_reallocate(
    mem_alloc_usage_t usage, bool full_size_mapped, void *pointer, unsigned int byte_length) {
  (void)full_size_mapped;
  if (usage != Alloc_For_LinearMemory) return realloc(pointer, byte_length);
  iwh_wamr_region *region = bound_region;
  if (!region || region->base != pointer) return NULL;
  uint32_t page_count = byte_length ? byte_length / IWH_PAGE_BYTE_LENGTH : 65536;
  pthread_mutex_lock(&region->lock);
  // Not larger: the host has grown an unshared memory meanwhile, and this growth lost the race.
  bool grown = page_count > region->page_count && resize(region, page_count);
  pthread_mutex_unlock(&region->lock);
  return grown ? pointer : NULL;
}

void iwh_wamr_free(mem_alloc_usage_t usage, void *pointer) {
  if (usage != Alloc_For_LinearMemory) free(pointer);
}
