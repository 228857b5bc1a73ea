// The C interface to WAMR that the plugin calls through cffi: plain C without preprocessor lines, for
// both compilers to read (iree_wasm_hal_wamr.h includes this file).
//
// Regions, programs and instances are counted references: an instance holds its program and its
// region, so they may be released in any order. Every function may be called from any thread; one
// instance runs one call at a time, which the caller sees to.

typedef struct iwh_wamr_region iwh_wamr_region;
typedef struct iwh_wamr_program iwh_wamr_program;
typedef struct iwh_wamr_instance iwh_wamr_instance;
typedef struct iwh_wamr_function iwh_wamr_function;

// Changes when a declaration here does.
uint32_t iwh_wamr_interface_version(void);

// WAMR's version, such as "2.4.3".
const char *iwh_wamr_version(void);

// Initialises WAMR, once per process; it is never shut down. False if WAMR cannot start.
bool iwh_wamr_initialize(void);

// A linear memory: a range of address space whose first pages are accessible, zeroed and never
// moved. NULL if the machine cannot give it.
iwh_wamr_region *iwh_wamr_region_create(
    uint32_t page_count, uint32_t max_page_count, bool shared);
void iwh_wamr_region_release(iwh_wamr_region *region);
uint8_t *iwh_wamr_region_base(iwh_wamr_region *region);
uint32_t iwh_wamr_region_page_count(iwh_wamr_region *region);

// Grows a region and the memory of every instance on it. False, and nothing changed, beyond the
// maximum or if the machine cannot give the pages.
bool iwh_wamr_region_grow(iwh_wamr_region *region, uint32_t delta_page_count);

// Validates a module and prepares it for the interpreter; copies the bytes. NULL if it is refused;
// the message says why, in WAMR's words.
iwh_wamr_program *iwh_wamr_program_load(
    const uint8_t *wasm, size_t byte_length, char *message, uint32_t message_capacity);
void iwh_wamr_program_release(iwh_wamr_program *program);

// Binds a program, whose one import is a memory that fits the region, to the region. The stack is
// WAMR's own, for the frames of wasm functions. NULL if it fails; the message says why.
iwh_wamr_instance *iwh_wamr_instance_create(
    iwh_wamr_program *program, iwh_wamr_region *region, uint32_t stack_byte_length,
    char *message, uint32_t message_capacity);
void iwh_wamr_instance_release(iwh_wamr_instance *instance);

// The exported function of that name, or NULL. It belongs to the instance.
iwh_wamr_function *iwh_wamr_instance_function(iwh_wamr_instance *instance, const char *name);
// Its type as text: one letter per parameter, a colon, one per result. i and I are 32-bit and
// 64-bit integers, any other type is an x. False if that does not fit the buffer.
bool iwh_wamr_function_type(
    iwh_wamr_instance *instance, iwh_wamr_function *function, char *type, uint32_t capacity);

// How a call ended: returned, trapped, or ended by iwh_wamr_interrupt.
typedef enum {
  IWH_WAMR_RETURNED = 0,
  IWH_WAMR_TRAPPED = 1,
  IWH_WAMR_INTERRUPTED = 2
} iwh_wamr_outcome;

// Calls a function of integers with at most one result. Each slot holds one argument; the result
// replaces the first. After a trap the message has WAMR's name for it.
iwh_wamr_outcome iwh_wamr_call(
    iwh_wamr_instance *instance, iwh_wamr_function *function, const char *type, uint64_t *slots,
    char *message, uint32_t message_capacity);

// Functions on the stack of the last trap, innermost first; how many were written.
typedef struct {
  uint32_t function_index;
  const char *name;
} iwh_wamr_frame;
uint32_t iwh_wamr_trap_frames(
    iwh_wamr_instance *instance, iwh_wamr_frame *frames, uint32_t capacity);

// Ends the call that the instance is running, if any, at its next branch or call.
void iwh_wamr_interrupt(iwh_wamr_instance *instance);
