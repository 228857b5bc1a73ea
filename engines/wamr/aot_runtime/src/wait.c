// memory.atomic.wait and notify, between all instances of a region.
//
// WAMR's look once a second whether they are to end, and use one lock for the process. Here a
// waiting thread sleeps on a word of its own, which a notification, or the signal handler of an
// interruption, changes from IWH_WAITING once.
// Spec: https://github.com/WebAssembly/threads (proposals/threads/Overview.md, wait and notify)

#include <errno.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "guest_symbols.h"
#include "internal.h"

#define BUCKET_COUNT 64
#define NS_PER_S 1000000000ull

typedef struct iwh_waiter {
  struct iwh_waiter *previous, *next;
  uintptr_t address;
  atomic_uint state;
} iwh_waiter;

// Those who wait at the addresses of one hash value, in the order in which they came.
typedef struct {
  pthread_mutex_t lock;
  iwh_waiter *first, *last;
} iwh_bucket;

static iwh_bucket buckets[BUCKET_COUNT];

static iwh_bucket *bucket_of(uintptr_t address) {
  return &buckets[(address * 0x9e3779b97f4a7c15ull) >> 58];
}

static void append(iwh_bucket *bucket, iwh_waiter *waiter) {
  waiter->previous = bucket->last;
  waiter->next = NULL;
  if (bucket->last) {
    bucket->last->next = waiter;
  } else {
    bucket->first = waiter;
  }
  bucket->last = waiter;
}

static void unlink_waiter(iwh_bucket *bucket, iwh_waiter *waiter) {
  if (waiter->previous) {
    waiter->previous->next = waiter->next;
  } else {
    bucket->first = waiter->next;
  }
  if (waiter->next) {
    waiter->next->previous = waiter->previous;
  } else {
    bucket->last = waiter->previous;
  }
}

static long futex(atomic_uint *word, int operation, unsigned value, struct timespec *until) {
  return syscall(SYS_futex, word, operation | FUTEX_PRIVATE_FLAG, value, until, NULL,
                 FUTEX_BITSET_MATCH_ANY);
}

// False if that is so far away that it never comes.
static bool deadline_of(int64_t timeout_ns, struct timespec *deadline) {
  if (timeout_ns < 0) return false;
  clock_gettime(CLOCK_MONOTONIC, deadline);
  uint64_t ns = (uint64_t)deadline->tv_nsec + (uint64_t)timeout_ns % NS_PER_S;
  deadline->tv_sec += (time_t)((uint64_t)timeout_ns / NS_PER_S + ns / NS_PER_S);
  deadline->tv_nsec = (long)(ns % NS_PER_S);
  return true;
}

static void sleep_until_changed(iwh_call *call, iwh_waiter *waiter, int64_t timeout_ns) {
  struct timespec deadline;
  struct timespec *until = deadline_of(timeout_ns, &deadline) ? &deadline : NULL;
  call->sleeping_on = &waiter->state;
  while (atomic_load(&waiter->state) == IWH_WAITING) {
    long failed = futex(&waiter->state, FUTEX_WAIT_BITSET, IWH_WAITING, until);
    if (failed && errno == ETIMEDOUT) break;
  }
  call->sleeping_on = NULL;
}

static bool is_expected(const void *address, uint64_t expected, bool is_64_bit) {
  return is_64_bit ? atomic_load((const _Atomic uint64_t *)address) == expected
                   : atomic_load((const _Atomic uint32_t *)address) == (uint32_t)expected;
}

// Whether all of these bytes are in the memory of the running instance.
static bool is_inside(const iwh_wamr_aot_region *region, uintptr_t address, uint64_t byte_length) {
  uint64_t size = (uint64_t)atomic_load(&region->page_count) * IWH_PAGE_BYTE_LENGTH;
  uint64_t offset = address - (uintptr_t)region->base;
  return offset < size && byte_length <= size - offset;
}

uint32_t iwh_guest_wait(
    AOTModuleInstance *native, void *address, uint64_t expected, int64_t timeout_ns,
    bool is_64_bit) {
  (void)native;
  iwh_call *call = iwh_current_call;
  const iwh_wamr_aot_region *region = call->instance->region;
  if (!is_inside(region, (uintptr_t)address, is_64_bit ? 8 : 4)) {
    iwh_trap(IWH_CALLER, "out of bounds memory access");
  }
  if (!region->shared) iwh_trap(IWH_CALLER, "expected shared memory");
  iwh_bucket *bucket = bucket_of((uintptr_t)address);
  iwh_waiter self = {.address = (uintptr_t)address};
  atomic_init(&self.state, IWH_WAITING);
  pthread_mutex_lock(&bucket->lock);
  // Under the lock, so that no notification is missed between this and falling asleep.
  if (!is_expected(address, expected, is_64_bit)) {
    pthread_mutex_unlock(&bucket->lock);
    if (iwh_interruption_is_due(call)) iwh_leave(call);
    return 1;
  }
  append(bucket, &self);
  pthread_mutex_unlock(&bucket->lock);
  sleep_until_changed(call, &self, timeout_ns);
  pthread_mutex_lock(&bucket->lock);
  unsigned state = atomic_load(&self.state);
  if (state != IWH_NOTIFIED) unlink_waiter(bucket, &self);
  pthread_mutex_unlock(&bucket->lock);
  if (state == IWH_WAIT_INTERRUPTED || iwh_interruption_is_due(call)) iwh_leave(call);
  return state == IWH_NOTIFIED ? 0 : 2;
}

// Wakes a waiter, unless it is interrupted at the same time.
static bool wake(iwh_bucket *bucket, iwh_waiter *waiter) {
  unsigned waiting = IWH_WAITING;
  if (!atomic_compare_exchange_strong(&waiter->state, &waiting, IWH_NOTIFIED)) return false;
  unlink_waiter(bucket, waiter);
  futex(&waiter->state, FUTEX_WAKE, 1, NULL);
  return true;
}

uint32_t iwh_guest_notify(AOTModuleInstance *native, void *address, uint32_t count) {
  (void)native;
  const iwh_wamr_aot_region *region = iwh_current_call->instance->region;
  if (!is_inside(region, (uintptr_t)address, 4)) {
    iwh_trap(IWH_CALLER, "out of bounds memory access");
  }
  if (!region->shared) return 0;
  iwh_bucket *bucket = bucket_of((uintptr_t)address);
  uint32_t woken = 0;
  pthread_mutex_lock(&bucket->lock);
  for (iwh_waiter *each = bucket->first, *next; each && woken < count; each = next) {
    next = each->next;
    if (each->address == (uintptr_t)address && wake(bucket, each)) woken++;
  }
  pthread_mutex_unlock(&bucket->lock);
  if (iwh_interruption_is_due(iwh_current_call)) iwh_leave(iwh_current_call);
  return woken;
}

static void clear_buckets(void) {
  for (size_t index = 0; index < BUCKET_COUNT; index++) {
    buckets[index] = (iwh_bucket){.first = NULL};
    pthread_mutex_init(&buckets[index].lock, NULL);
  }
}

// A forked child has none of the threads that wait, nor the one that may have held a lock.
bool iwh_wait_initialize(void) {
  clear_buckets();
  return pthread_atfork(NULL, NULL, clear_buckets) == 0;
}
