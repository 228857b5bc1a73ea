// What the files of this library share. WAMR's own headers are used where its interface hides what
// one memory for many instances, and a program of several images, need.

#ifndef IREE_WASM_HAL_WAMR_AOT_INTERNAL_H_
#define IREE_WASM_HAL_WAMR_AOT_INTERNAL_H_

#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>

#include "aot_runtime.h"
#include "iree_wasm_hal_wamr_aot.h"
#include "wasm_export.h"

#define IWH_PAGE_BYTE_LENGTH 65536u
#define IWH_MAX_FRAME_COUNT 64

struct iwh_wamr_aot_region {
  atomic_uint reference_count;
  bool shared;
  bool index64;
  bool guarded;
  uint32_t max_page_count;
  uint8_t *base;
  uint64_t reserved_byte_length;
  atomic_uint page_count;  // changed under the lock
  pthread_mutex_t lock;    // guards what follows
  iwh_wamr_aot_instance *instances;
};

// Where a function begins in a part's code.
typedef struct {
  uintptr_t address;
  uint32_t function_index;
} iwh_start;

typedef struct {
  uint8_t *image;  // WAMR keeps pointers into it
  AOTModule *module;
  uintptr_t text;
  uintptr_t text_byte_length;
  iwh_start *starts;  // by address
} iwh_part;

struct iwh_wamr_aot_function {
  const char *name;
  void *code;
  const AOTFuncType *type;
  uint32_t parameter_count;
  bool results_in_32_bits;
  bool results_in_64_bits;
};

struct iwh_wamr_aot_program {
  atomic_uint reference_count;
  bool guarded;
  uint32_t part_count;
  uint32_t function_count;
  uint32_t export_count;
  iwh_wamr_aot_function *exports;  // functions only
  iwh_part parts[];
};

// What a thread runs, on its stack.
typedef struct iwh_call iwh_call;

struct iwh_wamr_aot_instance {
  iwh_wamr_aot_program *program;
  iwh_wamr_aot_region *region;
  AOTModuleInstance *native;
  WASMExecEnv *execution;
  uint32_t stack_byte_length;
  // The list of the region's instances, under its lock.
  iwh_wamr_aot_instance *previous;
  iwh_wamr_aot_instance *next;
  // Of the last trap.
  uint32_t frame_count;
  uint32_t frames[IWH_MAX_FRAME_COUNT];
  // Whether a call runs and is cancelled; written without the lock by the thread that calls.
  atomic_uint state;
  atomic_int running_thread_id;
  pthread_mutex_t interruption_lock;  // guards what follows
  bool has_timer;
  timer_t timer;
};

enum { IWH_IDLE = 0, IWH_RUNNING = 1, IWH_CANCELLED = 2 };

struct iwh_call {
  // Where entry.S leaves the code to; these two first, it knows their places.
  void *entry_stack_pointer;
  void *entry_frame_pointer;
  iwh_call *previous;
  iwh_wamr_aot_instance *instance;
  // The word that the thread sleeps on in memory.atomic.wait, or NULL.
  atomic_uint *volatile sleeping_on;
  // The code that asked for a long copy that is under way, which may fault, or NULL.
  const struct iwh_place *volatile copying_for;
  const char *trap;
};
_Static_assert(offsetof(iwh_call, entry_stack_pointer) == 0, "entry.S");
_Static_assert(offsetof(iwh_call, entry_frame_pointer) == 8, "entry.S");

// A place in guest code.
typedef struct iwh_place {
  uintptr_t program_counter;
  uintptr_t frame_pointer;
  uintptr_t stack_pointer;
  uint32_t function_number;  // if it is known: the function's index plus one
} iwh_place;

// The guest code that called this function; for functions that guest code calls directly.
#define IWH_CALLER                                                        \
  ((iwh_place){                                                           \
      .program_counter = (uintptr_t)__builtin_return_address(0) - 1,      \
      .frame_pointer = *(const uintptr_t *)__builtin_frame_address(0),    \
      .stack_pointer = (uintptr_t)__builtin_frame_address(0) + 16,        \
  })

// The call that this thread runs. Without lazy allocation, so that a signal handler may look.
extern _Thread_local iwh_call *iwh_current_call
    __attribute__((tls_model("initial-exec"), visibility("hidden")));

// entry.S. Calls code(execution, slots...) of integers; {its result, 0}, or {0, 1} if left.
typedef struct {
  uint64_t value;
  uint64_t left;
} iwh_entered;
iwh_entered iwh_enter(
    iwh_call *call, void *code, void *execution, const uint64_t *slots, uint64_t slot_count);
// Ends the code of a call; for functions that it called.
_Noreturn void iwh_leave(iwh_call *call);
// Whether AVX registers are to be cleared when code is left at any instruction.
extern uint8_t iwh_clear_vectors __attribute__((visibility("hidden")));

// thread.c. The lowest address that this thread's stack may grow to. Prepares the thread for
// signals when it first calls. NULL if its stack cannot be told.
uint8_t *iwh_thread_stack_limit(void);
int iwh_thread_id(void);
bool iwh_thread_initialize(void);

// signals.c
bool iwh_signals_install(char *message, uint32_t message_capacity);
bool iwh_signals_can_interrupt(void);
int iwh_signals_interruption(void);

// trap.c
bool iwh_call_holds(const iwh_call *call, uintptr_t program_counter);
bool iwh_call_may_touch(const iwh_call *call, uintptr_t address);
void iwh_trap_record(iwh_call *call, iwh_place place, const char *trap);
_Noreturn void iwh_trap(iwh_place place, const char *trap);

// interruption.c
void iwh_interruption_begin(iwh_wamr_aot_instance *instance);
bool iwh_interruption_end(iwh_wamr_aot_instance *instance);
bool iwh_interruption_is_due(const iwh_call *call);

// wait.c
bool iwh_wait_initialize(void);

// cpu.c
bool iwh_cpu_has_avx(void);

// image.c. NULL, or why an image is not even worth loading.
const char *iwh_image_objection(const uint8_t *image, size_t byte_length);

// module_check.c. NULL, or why a module is not one to run.
const char *iwh_module_objection(const AOTModule *module, uint32_t function_count);

void iwh_region_retain(iwh_wamr_aot_region *region);
void iwh_region_add(iwh_wamr_aot_region *region, iwh_wamr_aot_instance *instance);
void iwh_region_remove(iwh_wamr_aot_region *region, iwh_wamr_aot_instance *instance);
// The page count before, or UINT32_MAX if it cannot grow.
uint32_t iwh_region_grow(iwh_wamr_aot_region *region, uint64_t delta_page_count);
void iwh_program_retain(iwh_wamr_aot_program *program);

#endif
