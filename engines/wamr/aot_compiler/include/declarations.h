// The C interface to WAMR's ahead-of-time compiler that the plugin calls through cffi: plain C
// without preprocessor lines, for both compilers to read (iree_wasm_hal_wamr_aotc.h includes this
// file).
//
// A module is read-only once loaded: any number of threads may compile parts of it at once. Nothing
// is run, detected, printed, or written to a file.

typedef struct iwh_aotc_module iwh_aotc_module;
typedef struct iwh_aotc_buffer iwh_aotc_buffer;

// Changes when a declaration here does.
uint32_t iwh_aotc_interface_version(void);

// Version of the LLVM inside, such as "22.1.8".
const char *iwh_aotc_llvm_version(void);

// LLVM's name of this machine's CPU, such as "znver5": what to tune for.
const char *iwh_aotc_host_cpu(void);

// Whether the compiler can merge 128-bit operations into wider ones: with LLVM 22 or newer.
bool iwh_aotc_can_widen(void);

// Starts WAMR and LLVM, once per process; they are never shut down. False if they cannot start.
bool iwh_aotc_initialize(void);

typedef struct {
  // What the code may use, and nothing else: LLVM's words, such as "+sse4.1,+avx2,+fma". SSE 4.1 is
  // the least.
  const char *features;
  // The CPU the code is made fast for, in LLVM's words; "" for none in particular.
  const char *tune_cpu;
  // 128 leaves vectors as they are; 256 and 512 merge them into wider ones where that pays.
  uint32_t vector_bit_width;
  // Compares every address with the memory's size. Without it the code is only safe on a memory in
  // 8 GiB of address space of its own. A memory of 64-bit addresses is always compared.
  bool explicit_bounds_checks;
} iwh_aotc_options;

// Validates a module; copies the bytes. NULL if it is refused; the message says why, in WAMR's
// words.
iwh_aotc_module *iwh_aotc_module_load(
    const uint8_t *wasm, size_t byte_length, char *message, uint32_t message_capacity);
void iwh_aotc_module_release(iwh_aotc_module *module);

// Ends all compilations of the module, those that run before their next pass. For any thread.
void iwh_aotc_module_cancel(iwh_aotc_module *module);

// Functions that the module defines; imported ones are not counted, and every index here is into
// these.
uint32_t iwh_aotc_module_function_count(const iwh_aotc_module *module);
uint32_t iwh_aotc_module_body_byte_length(const iwh_aotc_module *module, uint32_t index);

typedef enum {
  IWH_AOTC_COMPILED = 0,
  IWH_AOTC_FAILED = 1,           // the message says why
  IWH_AOTC_TOO_MANY_COPIES = 2,  // the module has to be compiled as a whole
} iwh_aotc_outcome;

// Compiles the functions whose byte in `wanted` is not zero (one byte per function), and private
// copies of what these call, directly or by way of others, into an image of the whole module in which all other functions
// trap. Copies are limited: in a long chain of calls each part would copy all that follows.
// Thread-safe.
iwh_aotc_outcome iwh_aotc_compile(
    const iwh_aotc_module *module, const iwh_aotc_options *options, const uint8_t *wanted,
    iwh_aotc_buffer **image, char *message, uint32_t message_capacity);

const uint8_t *iwh_aotc_buffer_data(const iwh_aotc_buffer *buffer);
size_t iwh_aotc_buffer_byte_length(const iwh_aotc_buffer *buffer);
void iwh_aotc_buffer_release(iwh_aotc_buffer *buffer);
