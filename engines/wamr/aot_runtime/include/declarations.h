// The C interface to WAMR's AOT runtime that the plugin calls through cffi: plain C without
// preprocessor lines, for both compilers to read (iree_wasm_hal_wamr_aot.h includes this file).
//
// Regions, programs and instances are counted references: an instance holds its program and its
// region, so they may be released in any order. Every function may be called from any thread; one
// instance runs one call at a time, which the caller sees to.

typedef struct iwh_wamr_aot_region iwh_wamr_aot_region;
typedef struct iwh_wamr_aot_program iwh_wamr_aot_program;
typedef struct iwh_wamr_aot_instance iwh_wamr_aot_instance;
typedef struct iwh_wamr_aot_function iwh_wamr_aot_function;

// Changes when a declaration here does.
uint32_t iwh_wamr_aot_interface_version(void);

// WAMR's version, such as "2.4.3".
const char *iwh_wamr_aot_version(void);

// Starts WAMR and installs the signal handlers, once per process; neither is ever undone. False if
// that fails; the message says why.
bool iwh_wamr_aot_initialize(char *message, uint32_t message_capacity);

// What the CPU and the operating system offer to code, of all that matters to it, in LLVM's names:
// "+sse4.2,+avx,+avx2".
const char *iwh_wamr_aot_cpu_features(void);

// Address space that a region takes. A guarded one reserves all that a 32-bit address and a 32-bit
// offset reach, so that code needs no comparisons; any other one its maximum.
uint64_t iwh_wamr_aot_region_reserved_byte_length(uint32_t max_page_count, bool guarded);

// A linear memory: a range of address space whose first pages are accessible, zeroed and never
// moved. A region with 64-bit addresses cannot be guarded. NULL if the machine cannot give it.
iwh_wamr_aot_region *iwh_wamr_aot_region_create(
    uint32_t page_count, uint32_t max_page_count, bool shared, bool index64, bool guarded);
void iwh_wamr_aot_region_release(iwh_wamr_aot_region *region);
uint8_t *iwh_wamr_aot_region_base(iwh_wamr_aot_region *region);
uint32_t iwh_wamr_aot_region_page_count(iwh_wamr_aot_region *region);

// Grows a region and the memory of every instance on it, at once and whatever runs on it. False,
// and nothing changed, beyond the maximum or if the machine cannot give the pages.
bool iwh_wamr_aot_region_grow(iwh_wamr_aot_region *region, uint32_t delta_page_count);

// Loads the images of a program's parts; copies what it keeps. Every part has the program's
// function_count own (not imported) functions; function i is taken from part owners[i]. Guarded
// says that they were compiled without comparisons. NULL if one is damaged, for another machine,
// or does not fit the others; the message says why.
iwh_wamr_aot_program *iwh_wamr_aot_program_load(
    uint32_t part_count, const uint8_t *const *images, const size_t *byte_lengths,
    const uint16_t *owners, uint32_t function_count, bool guarded,
    char *message, uint32_t message_capacity);
void iwh_wamr_aot_program_release(iwh_wamr_aot_program *program);

// Binds a program, whose one import is a memory that fits the region, to the region. A call takes
// no more than stack_byte_length of its thread's stack, or than the thread has; 0 is no limit.
// NULL if it fails; the message says why.
iwh_wamr_aot_instance *iwh_wamr_aot_instance_create(
    iwh_wamr_aot_program *program, iwh_wamr_aot_region *region, uint32_t stack_byte_length,
    char *message, uint32_t message_capacity);
void iwh_wamr_aot_instance_release(iwh_wamr_aot_instance *instance);

// The exported function of that name, or NULL. It belongs to the instance.
iwh_wamr_aot_function *iwh_wamr_aot_instance_function(
    iwh_wamr_aot_instance *instance, const char *name);
// Its type as text: one letter per parameter, a colon, one per result. i and I are 32-bit and
// 64-bit integers, any other type is an x. False if that does not fit the buffer.
bool iwh_wamr_aot_function_type(
    iwh_wamr_aot_instance *instance, iwh_wamr_aot_function *function, char *type,
    uint32_t capacity);

// How a call ended: returned, trapped, or ended by iwh_wamr_aot_interrupt.
typedef enum {
  IWH_WAMR_AOT_RETURNED = 0,
  IWH_WAMR_AOT_TRAPPED = 1,
  IWH_WAMR_AOT_INTERRUPTED = 2
} iwh_wamr_aot_outcome;

// Calls a function of integers with at most one result. Each slot holds one argument; the result
// replaces the first. After a trap the message has its name in the words of the specification.
iwh_wamr_aot_outcome iwh_wamr_aot_call(
    iwh_wamr_aot_instance *instance, iwh_wamr_aot_function *function, uint64_t *slots,
    char *message, uint32_t message_capacity);

// Functions on the stack of the last trap, innermost first, numbered as the module's functions are
// (imported ones first); how many were written. Without frame pointers in the code it is one.
uint32_t iwh_wamr_aot_trap_frames(
    iwh_wamr_aot_instance *instance, uint32_t *function_indices, uint32_t capacity);

// Ends the call that the instance is running, if any, and no other; returns at once. False if
// calls cannot be interrupted here, because another library took over the signal.
bool iwh_wamr_aot_interrupt(iwh_wamr_aot_instance *instance);
