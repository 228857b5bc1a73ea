// C declarations of the library that engines/wasmer builds, for cffi's ABI mode.
//
// The other half is engines/wasmer/src/abi.rs; iwh_wasmer_abi_version ties the two together.
// plugins/generate_bindings.py turns this file into _bindings.py.
//
// A function that can fail returns an owned iwh_wasmer_failure_t, or null. Texts are UTF-8 without
// a terminator and live as long as what lends them.

typedef struct iwh_wasmer_failure iwh_wasmer_failure_t;
typedef struct iwh_wasmer_engine iwh_wasmer_engine_t;
typedef struct iwh_wasmer_program iwh_wasmer_program_t;
typedef struct iwh_wasmer_memory iwh_wasmer_memory_t;
typedef struct iwh_wasmer_instance iwh_wasmer_instance_t;
typedef struct iwh_wasmer_function iwh_wasmer_function_t;

uint32_t iwh_wasmer_abi_version(void);
const char *iwh_wasmer_version(size_t *byte_length);

// Failures

uint32_t iwh_wasmer_failure_kind(const iwh_wasmer_failure_t *);
int32_t iwh_wasmer_failure_trap_code(const iwh_wasmer_failure_t *);
const char *iwh_wasmer_failure_message(const iwh_wasmer_failure_t *, size_t *byte_length);
size_t iwh_wasmer_failure_frame_count(const iwh_wasmer_failure_t *);
const char *iwh_wasmer_failure_frame(
    const iwh_wasmer_failure_t *, size_t index, size_t *byte_length);
void iwh_wasmer_failure_delete(iwh_wasmer_failure_t *);

// Engines

iwh_wasmer_failure_t *iwh_wasmer_engine_new(
    uint32_t compiler, size_t max_wasm_stack_byte_length, iwh_wasmer_engine_t **);
void iwh_wasmer_engine_delete(iwh_wasmer_engine_t *);
bool iwh_wasmer_can_interrupt(void);

// Programs

iwh_wasmer_failure_t *iwh_wasmer_program_new(
    const iwh_wasmer_engine_t *, const uint8_t *wasm, size_t byte_length, iwh_wasmer_program_t **);
iwh_wasmer_failure_t *iwh_wasmer_program_deserialize(
    const iwh_wasmer_engine_t *, const uint8_t *image, size_t byte_length, iwh_wasmer_program_t **);
iwh_wasmer_failure_t *iwh_wasmer_program_serialize(
    const iwh_wasmer_program_t *, uint8_t **image, size_t *byte_length);
void iwh_wasmer_image_delete(uint8_t *image, size_t byte_length);
void iwh_wasmer_program_delete(iwh_wasmer_program_t *);

// Memories

iwh_wasmer_failure_t *iwh_wasmer_memory_new(
    uint32_t min_page_count, uint32_t max_page_count, bool shared, iwh_wasmer_memory_t **);
uint8_t *iwh_wasmer_memory_base(const iwh_wasmer_memory_t *);
uint32_t iwh_wasmer_memory_page_count(const iwh_wasmer_memory_t *);
iwh_wasmer_failure_t *iwh_wasmer_memory_grow(
    const iwh_wasmer_memory_t *, uint32_t delta_page_count);
void iwh_wasmer_memory_delete(iwh_wasmer_memory_t *);

// Instances and calls

iwh_wasmer_failure_t *iwh_wasmer_instance_new(
    const iwh_wasmer_program_t *, const iwh_wasmer_memory_t *, iwh_wasmer_instance_t **);
iwh_wasmer_failure_t *iwh_wasmer_instance_function(
    const iwh_wasmer_instance_t *, const uint8_t *name, size_t byte_length,
    const iwh_wasmer_function_t **);
const uint8_t *iwh_wasmer_function_parameter_bits(
    const iwh_wasmer_function_t *, size_t *parameter_count);
uint8_t iwh_wasmer_function_result_bits(const iwh_wasmer_function_t *);
iwh_wasmer_failure_t *iwh_wasmer_call(
    const iwh_wasmer_instance_t *, const iwh_wasmer_function_t *, uint64_t *values);
iwh_wasmer_failure_t *iwh_wasmer_instance_interrupt(const iwh_wasmer_instance_t *);
void iwh_wasmer_instance_delete(iwh_wasmer_instance_t *);
