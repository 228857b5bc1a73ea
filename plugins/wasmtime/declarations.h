// C declarations of the part of wasmtime's C API that the plugin uses, for cffi's ABI mode.
//
// The wheel carries no headers; names, layouts and signatures are those of wasmtime/_bindings.py in
// wasmtime-py 50 (C API reference: https://docs.wasmtime.dev/c-api/).
// plugins/generate_bindings.py turns this file into _bindings.py.

// Types

typedef struct wasm_config_t wasm_config_t;
typedef struct wasm_engine_t wasm_engine_t;
typedef struct wasm_memorytype_t wasm_memorytype_t;
typedef struct wasm_functype_t wasm_functype_t;
typedef struct wasm_valtype_t wasm_valtype_t;
typedef struct wasm_externtype_t wasm_externtype_t;
typedef struct wasm_importtype_t wasm_importtype_t;
typedef struct wasm_trap_t wasm_trap_t;
typedef struct wasm_frame_t wasm_frame_t;
typedef struct wasmtime_error wasmtime_error_t;
typedef struct wasmtime_module wasmtime_module_t;
typedef struct wasmtime_store wasmtime_store_t;
typedef struct wasmtime_context wasmtime_context_t;
typedef struct wasmtime_sharedmemory wasmtime_sharedmemory_t;

typedef struct { size_t size; char *data; } wasm_byte_vec_t;
typedef struct { size_t size; wasm_frame_t **data; } wasm_frame_vec_t;
typedef struct { size_t size; wasm_valtype_t **data; } wasm_valtype_vec_t;
typedef struct { size_t size; wasm_importtype_t **data; } wasm_importtype_vec_t;

typedef struct { uint64_t store_id; void *private_0; } wasmtime_func_t;
typedef struct { uint64_t store_id; uint32_t private_0; } wasmtime_handle_t;
typedef struct { wasmtime_handle_t handle; uint32_t private_1; } wasmtime_memory_t;
typedef struct {
    uint64_t store_id; uint32_t private_0; uint32_t private_1; uint32_t private_2;
} wasmtime_global_t;
typedef struct { uint64_t store_id; size_t private_0; } wasmtime_instance_t;
typedef union {
    wasmtime_func_t func;
    wasmtime_global_t global_;
    wasmtime_memory_t memory;
    wasmtime_sharedmemory_t *sharedmemory;
} wasmtime_extern_union_t;
typedef struct { uint8_t kind; wasmtime_extern_union_t of; } wasmtime_extern_t;

typedef uint8_t *(*get_memory_callback_t)(
    void *env, size_t *byte_length, size_t *byte_capacity);
typedef wasmtime_error_t *(*grow_memory_callback_t)(void *env, size_t byte_length);
typedef struct {
    void *env;
    get_memory_callback_t get_memory;
    grow_memory_callback_t grow_memory;
    void (*finalizer)(void *env);
} wasmtime_linear_memory_t;
typedef wasmtime_error_t *(*new_memory_callback_t)(
    void *env, const wasm_memorytype_t *, size_t minimum, size_t maximum, size_t reserved,
    size_t guard, wasmtime_linear_memory_t *result);
typedef struct {
    void *env;
    new_memory_callback_t new_memory;
    void (*finalizer)(void *env);
} wasmtime_memory_creator_t;

typedef wasmtime_error_t *(*epoch_callback_t)(
    wasmtime_context_t *, void *data, uint64_t *deadline_delta, uint8_t *kind);

// Configuration and engine

wasm_config_t *wasm_config_new(void);
void wasm_config_delete(wasm_config_t *);
void wasmtime_config_epoch_interruption_set(wasm_config_t *, bool);
void wasmtime_config_max_wasm_stack_set(wasm_config_t *, size_t);
void wasmtime_config_wasm_threads_set(wasm_config_t *, bool);
void wasmtime_config_shared_memory_set(wasm_config_t *, bool);
void wasmtime_config_wasm_tail_call_set(wasm_config_t *, bool);
void wasmtime_config_wasm_reference_types_set(wasm_config_t *, bool);
void wasmtime_config_wasm_simd_set(wasm_config_t *, bool);
void wasmtime_config_wasm_relaxed_simd_set(wasm_config_t *, bool);
void wasmtime_config_wasm_relaxed_simd_deterministic_set(wasm_config_t *, bool);
void wasmtime_config_wasm_bulk_memory_set(wasm_config_t *, bool);
void wasmtime_config_wasm_multi_value_set(wasm_config_t *, bool);
void wasmtime_config_wasm_multi_memory_set(wasm_config_t *, bool);
void wasmtime_config_wasm_memory64_set(wasm_config_t *, bool);
void wasmtime_config_wasm_exceptions_set(wasm_config_t *, bool);
void wasmtime_config_strategy_set(wasm_config_t *, uint8_t);
void wasmtime_config_parallel_compilation_set(wasm_config_t *, bool);
void wasmtime_config_cranelift_opt_level_set(wasm_config_t *, uint8_t);
void wasmtime_config_memory_may_move_set(wasm_config_t *, bool);
void wasmtime_config_memory_reservation_set(wasm_config_t *, uint64_t);
void wasmtime_config_memory_init_cow_set(wasm_config_t *, bool);
void wasmtime_config_host_memory_creator_set(wasm_config_t *, wasmtime_memory_creator_t *);
wasm_engine_t *wasm_engine_new_with_config(wasm_config_t *);
void wasm_engine_delete(wasm_engine_t *);
void wasmtime_engine_increment_epoch(wasm_engine_t *);

// Modules

wasmtime_error_t *wasmtime_module_new(
    wasm_engine_t *, const uint8_t *, size_t, wasmtime_module_t **);
wasmtime_error_t *wasmtime_module_validate(wasm_engine_t *, const uint8_t *, size_t);
wasmtime_error_t *wasmtime_module_serialize(wasmtime_module_t *, wasm_byte_vec_t *);
wasmtime_error_t *wasmtime_module_deserialize(
    wasm_engine_t *, const uint8_t *, size_t, wasmtime_module_t **);
void wasmtime_module_imports(const wasmtime_module_t *, wasm_importtype_vec_t *);
void wasmtime_module_delete(wasmtime_module_t *);
const wasm_byte_vec_t *wasm_importtype_module(const wasm_importtype_t *);
const wasm_byte_vec_t *wasm_importtype_name(const wasm_importtype_t *);
const wasm_externtype_t *wasm_importtype_type(const wasm_importtype_t *);
uint8_t wasm_externtype_kind(const wasm_externtype_t *);
void wasm_importtype_vec_delete(wasm_importtype_vec_t *);
void wasm_byte_vec_delete(wasm_byte_vec_t *);

// Memories

wasmtime_error_t *wasmtime_memorytype_new(
    uint64_t minimum, bool maximum_present, uint64_t maximum, bool is_64, bool shared,
    uint8_t page_size_log2, wasm_memorytype_t **);
void wasm_memorytype_delete(wasm_memorytype_t *);
wasmtime_error_t *wasmtime_memory_new(
    wasmtime_context_t *, const wasm_memorytype_t *, wasmtime_memory_t *);
uint8_t *wasmtime_memory_data(const wasmtime_context_t *, const wasmtime_memory_t *);
uint64_t wasmtime_memory_size(const wasmtime_context_t *, const wasmtime_memory_t *);
wasmtime_error_t *wasmtime_memory_grow(
    wasmtime_context_t *, const wasmtime_memory_t *, uint64_t delta, uint64_t *previous);
wasmtime_error_t *wasmtime_sharedmemory_new(
    const wasm_engine_t *, const wasm_memorytype_t *, wasmtime_sharedmemory_t **);
void wasmtime_sharedmemory_delete(wasmtime_sharedmemory_t *);
uint8_t *wasmtime_sharedmemory_data(const wasmtime_sharedmemory_t *);
uint64_t wasmtime_sharedmemory_size(const wasmtime_sharedmemory_t *);
wasmtime_error_t *wasmtime_sharedmemory_grow(
    const wasmtime_sharedmemory_t *, uint64_t delta, uint64_t *previous);

// Stores, instances and calls

wasmtime_store_t *wasmtime_store_new(wasm_engine_t *, void *data, void (*finalizer)(void *));
wasmtime_context_t *wasmtime_store_context(wasmtime_store_t *);
void wasmtime_store_delete(wasmtime_store_t *);
void wasmtime_store_limiter(
    wasmtime_store_t *, int64_t memory_byte_length, int64_t table_element_count,
    int64_t instance_count, int64_t table_count, int64_t memory_count);
void wasmtime_context_set_epoch_deadline(wasmtime_context_t *, uint64_t ticks_beyond_current);
void wasmtime_store_epoch_deadline_callback(
    wasmtime_store_t *, epoch_callback_t, void *data, void (*finalizer)(void *));
wasmtime_error_t *wasmtime_instance_new(
    wasmtime_context_t *, const wasmtime_module_t *, const wasmtime_extern_t *imports,
    size_t import_count, wasmtime_instance_t *, wasm_trap_t **);
bool wasmtime_instance_export_get(
    wasmtime_context_t *, const wasmtime_instance_t *, const char *name, size_t name_length,
    wasmtime_extern_t *);
void wasmtime_extern_delete(wasmtime_extern_t *);
wasm_functype_t *wasmtime_func_type(const wasmtime_context_t *, const wasmtime_func_t *);
const wasm_valtype_vec_t *wasm_functype_params(const wasm_functype_t *);
const wasm_valtype_vec_t *wasm_functype_results(const wasm_functype_t *);
uint8_t wasm_valtype_kind(const wasm_valtype_t *);
void wasm_functype_delete(wasm_functype_t *);
wasmtime_error_t *wasmtime_func_call_unchecked(
    wasmtime_context_t *, const wasmtime_func_t *, uint64_t *args_and_results, size_t slot_count,
    wasm_trap_t **);

// Errors and traps

wasmtime_error_t *wasmtime_error_new(const char *);
void wasmtime_error_delete(wasmtime_error_t *);
void wasmtime_error_message(const wasmtime_error_t *, wasm_byte_vec_t *);
bool wasmtime_trap_code(const wasm_trap_t *, uint8_t *);
void wasm_trap_message(const wasm_trap_t *, wasm_byte_vec_t *);
void wasm_trap_trace(const wasm_trap_t *, wasm_frame_vec_t *);
void wasm_trap_delete(wasm_trap_t *);
const wasm_byte_vec_t *wasmtime_frame_func_name(const wasm_frame_t *);
uint32_t wasm_frame_func_index(const wasm_frame_t *);
void wasm_frame_vec_delete(wasm_frame_vec_t *);
